"""Bad networks, made by the tests themselves: namespaces, and links between them whose faults can be chosen.

    with Network() as network:                        # from here on this test lives on the server's side
        sam = network.client(delay=0.03, loss=0.05)   # a machine of his own, 30 ms away, losing each 20th packet
        ...                                           # start a worker, a Lectern, a TURN server: in namespace `server`
        with sam:                                     # what is opened or started in here is on Sam's machine
            subprocess.Popen(...)
        PeerTransport(made, make_socket=sam.socket)   # a peer of tests/sfu/peer.py, which stays in the test's loop
        person("student1", 1, machine=sam)            # a browser there, in a Lectern here: see the fixtures

        sam.link.set(rate=300_000, queue=0.3)         # at any time, for both ways; or `up={...}`, `down={...}`
        sam.link.set(up={"loss": 0.2}, udp=False)     # UDP does not get through any more
        sam.link.set(connected=False)                 # a blackout
        sam.link.rebind()                             # a NAT on the way gives his UDP another port (and address)
        network.part()                                # from one client to another nothing gets through any more
    sam.move()                                    # another network: his machine has another address
        sam.link.stats()["down"]                      # what was carried, lost, and how long it waited (seconds)

Addresses: the server's are SERVER (10.77.0.1 and fd77::1) for everybody, whatever listens on all addresses is reached
there; a client's are `sam.ipv4` and `sam.ipv6`. Clients reach each other through the server, over both their links.
The `network` fixture gives a Network, and skips the test, or fails it under CI=true, where none can be made.
`classroom` is a media worker in it, `lectern` a whole Lectern, `person` people with Chromium or Firefox on machines
that they are given. Tests with browsers are no coroutines, and have modules of their own.

Needs root, or to be root in a user namespace: `unshare --user --map-root-user --net pytest tests/network`, which
`./test` does by itself. There is no `tc netem` in many kernels, so a link is a process of our own (`relay.py`) between
two TUN devices. Nothing has a name on the machine, and all of it goes with the processes.
"""
