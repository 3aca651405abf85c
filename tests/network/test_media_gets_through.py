"""A media worker, and people on machines of their own."""

from __future__ import annotations

import pytest

from tests.network.links import Network
from tests.sfu.classroom import Classroom, Person
from tests.sfu.senders import Vp8Sender


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_a_picture_crosses_two_links(network: Network, classroom: Classroom, protocol: str) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    await tina.connect("send", make_socket=network.client(delay=0.01).socket)
    await sam.connect(
        "recv",
        make_socket=network.client(delay=0.02, udp=protocol != "tcp").socket,
        protocol=protocol,
    )
    sam.consume(tina.camera())
    await shows(tina, sam)


async def shows(tina: Person, sam: Person) -> None:
    picture = Vp8Sender(1111)
    for number in range(3):
        for packet in picture.frame(3, key=number == 0):
            tina.transports["send"].send_rtp(packet)
    await sam.transports["recv"].packets(9)
