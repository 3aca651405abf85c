"""A server, and clients behind links of their own. How to use it stands in the package's docstring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.network import relay
from tests.network.namespace import Namespace

SERVER, SERVER_IPV6 = "10.77.0.1", "fd77::1"
WAY = {"delay", "jitter", "loss", "rate", "queue"}
QUEUE = 5000  # packets that a device holds for the relay: what gets lost is the relay's to say


class Link:
    """What lies between a client and the server."""

    def __init__(self, client_device: int, server_device: int, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", relay.__file__, str(client_device), str(server_device), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(client_device, server_device),
        )
        self._bindings = 0

    def set(
        self,
        *,
        up: dict[str, float] | None = None,
        down: dict[str, float] | None = None,
        connected: bool | None = None,
        udp: bool | None = None,
        **both: float,
    ) -> None:
        """Change what is named, from now on; the rest stays. `both`: delay, jitter (s), loss (0-1), rate (bit/s; 0:
        as fast as can be), queue (s)."""
        ways = {"up": {**both, **(up or {})}, "down": {**both, **(down or {})}}
        assert not {key for way in ways.values() for key in way} - WAY, f"a link has {WAY}, not {ways}"
        switches = {"connected": connected, "udp": udp}
        self._tell({**ways, **{name: value for name, value in switches.items() if value is not None}})

    def rebind(self, *, address: bool = False) -> None:
        """The client's UDP comes from another port now, and from another address if asked: as when a NAT forgot him."""
        self._bindings += 1
        assert not address or self._bindings < 16, "no more addresses in the client's network"
        self._tell({"nat_port": self._bindings, **({"nat_address": 16 * self._bindings} if address else {})})

    def stats(self) -> dict[str, Any]:
        """Of each way, "up" and "down", since the last time: see `relay.Way.stats`."""
        return dict(self._tell({"stats": True}))

    def _tell(self, command: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Client(Namespace):
    """A machine behind a link. `with client:` whatever is opened or started is there; or ask it for a `socket`."""

    def __init__(self, server: Namespace, number: int) -> None:
        super().__init__()
        self.number = number
        self.ipv4, self.ipv6 = f"10.77.{number}.2", f"fd77:{number}::2"
        device = f"to{number}"
        ends = self.tun("net"), server.tun(device)
        try:
            server.ip(
                f"link set {device} addrgenmode none",
                f"link set {device} up txqueuelen {QUEUE}",
                f"route add 10.77.{number}.0/24 dev {device} src {SERVER}",
                f"route add fd77:{number}::/64 dev {device} src {SERVER_IPV6}",
            )
            self.ip("link set net addrgenmode none", f"link set net up txqueuelen {QUEUE}")
            self._settle()
            self.link = Link(*ends, seed=number)
        finally:
            for end in ends:  # the relay has them
                os.close(end)

    def move(self) -> None:
        """Into another network: the old address is gone, and with it the TCP connections from there."""
        before = self.ipv4, self.ipv6
        last = int(self.ipv4.rpartition(".")[2]) + 1
        self.ipv4, self.ipv6 = f"10.77.{self.number}.{last}", f"fd77:{self.number}::{last:x}"
        self.ip(f"address del {before[0]}/24 dev net", f"address del {before[1]}/64 dev net")
        self._settle()

    def _settle(self) -> None:
        self.ip(
            f"address add {self.ipv4}/24 dev net",
            f"address add {self.ipv6}/64 dev net nodad",
            "route replace 0.0.0.0/0 dev net",
            "route replace ::/0 dev net",
        )

    def close(self) -> None:
        self.link.close()
        super().close()


class Network:
    """See the package. On leaving, the links end; what was started in the namespaces is its starter's to end."""

    def __init__(self) -> None:
        self.server = Namespace()
        self.clients: list[Client] = []
        self.server.ip(f"address add {SERVER}/32 dev lo", f"address add {SERVER_IPV6}/128 dev lo nodad")
        self._forward(1)

    def __enter__(self) -> Network:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()
        for client in self.clients:
            client.close()
        self.server.close()

    def part(self) -> None:
        """Clients do not reach each other any more; the server they do."""
        self._forward(0)

    def unite(self) -> None:
        """They do again."""
        self._forward(1)

    def _forward(self, value: int) -> None:
        for family in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.server.write(family, value)

    def client(self, **conditions: Any) -> Client:
        """Another machine, behind a link as `Link.set` describes it."""
        client = Client(self.server, len(self.clients) + 1)
        self.clients.append(client)
        client.link.set(**conditions)
        return client
