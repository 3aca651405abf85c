import asyncio
import os
import signal
import time

import pytest

from meetings.models import Room

pytestmark = pytest.mark.django_db(transaction=True)


async def test_load(browse, daphne, world):
    await Room.objects.filter(pk=world.room.pk).aupdate(capacity=2000)
    first = await browse("First")
    N = 300
    tokens = [world.guest_token(f"G{n}", "attendee") for n in range(N)]

    def cpu():
        a = open(f"/proc/{daphne.process.pid}/stat").read().split()
        return (int(a[13]) + int(a[14])) / 100

    c0, t0 = cpu(), time.monotonic()
    people = [browse(token=t, join=False) for t in tokens]
    people = await asyncio.gather(*people)
    print(f"{N} connected in {time.monotonic() - t0:.2f}s cpu {cpu() - c0:.2f}s")

    async def j(p):
        n = 1
        p.socket.send({"id": 1, "event": "room:join", "data": {}})
        while not any(f.get("ack") == 1 for f in p.frames):
            await asyncio.sleep(0.05)

    c0, t0 = cpu(), time.monotonic()
    await asyncio.gather(*(j(p) for p in people))
    print(f"{N} joined in {time.monotonic() - t0:.2f}s cpu {cpu() - c0:.2f}s")
    await asyncio.sleep(1)
    for p in people:
        p.frames.clear()
    c0 = cpu()
    lat = []
    for n in range(int(os.environ.get("H5_CHAT", "50"))):
        t = time.monotonic()
        await first.ask("chat:send", {"message": f"m{n}"})
        lat.append((time.monotonic() - t) * 1000)
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    print(
        "acks ms p50", sorted(lat)[len(lat) // 2], "max", max(lat), "cpu per message ms", (cpu() - c0) / len(lat) * 1000
    )
    got = [len(p.said()) for p in people]
    print("received", min(got), max(got))
    daphne.process.send_signal(signal.SIGTERM)
    daphne.process.wait(20)
