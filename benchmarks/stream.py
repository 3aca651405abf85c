"""A class that is shown live, and those who watch: what do they add to the media worker's delay?

One camera and one voice go to a few receivers, as in `forward`. By turns the class is alone, is streamed (its process
draws and encodes two qualities), and is watched besides: viewers wait for each part of picture and sound at a real web
process, as browsers with hls.js do. Nothing has a core of its own, as in an installation: the kernel puts it where it
likes. Viewers' own work, which elsewhere other machines do, has to wait (`nice` 19).

    rise_ms         by which the p95 lies above that of the class alone; the kernel's way is in both
    asked_s         requests a second that viewers had answered
    parts_percent   the share of the parts that were made while they looked that an average viewer got
    others_percent  the share of all cores that processes of nobody here had
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing as mp
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from benchmarks.fanout import cpu_seconds
from benchmarks.forward import CORES, SERVER_CORE, WARM_UP, Generator, Probe
from benchmarks.machine import OtherWork
from benchmarks.marks import Marks
from benchmarks.peers import die_with_parent, free_port, own_address
from benchmarks.peers.lectern import ROOM, Lectern
from benchmarks.table import Benchmark, Table, median, percentile
from benchmarks.webrtc_client import Client
from recordings.live.job import Job, write_job
from recordings.live.playlist import SOUND
from sfu.protocol import StartStream, StopStream

STREAM = "0123456789abcdef01234567"
QUALITIES = ["720p", "360p"]
WATCHED = (QUALITIES[0], SOUND)
PARTS_A_SECOND = 3 * len(WATCHED)
LOGS = "bench"
COMES_WITHIN = 30.0  # seconds
FIGURES = [
    "p50_ms", "p95_ms", "rise_ms", "worker_percent", "stream_percent", "web_percent", "asked_s", "parts_percent",
    "others_percent",
]  # fmt: skip
HINT = re.compile(rb'PRELOAD-HINT:TYPE=PART,URI="[a-z0-9]+-(\d+)\.(\d+)\.m4s"')
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Bench(Benchmark):
    """A class alone, streamed, and with viewers of its stream: the media worker's delay."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--receivers", type=int, default=10)
        parser.add_argument("--viewers", type=int, default=200)
        parser.add_argument("--seconds", type=float, default=8.0, help="of each window")
        parser.add_argument("--windows", type=int, default=3, help="of each kind; their medians are shown")

    def run(self) -> Table:
        viewers = self.options.viewers
        table = Table(
            f"A class of {self.options.receivers} receivers on {len(CORES)} cores, and {viewers} viewers of its stream",
            ["class", "windows", *FIGURES],
        )
        found = measure(self.options.receivers, viewers, self.options.seconds, self.options.windows)
        for name, rows in found.items():
            table.add(**{**median(rows, FIGURES), "class": name, "windows": len(rows)})
        return table


def measure(receivers: int, viewers: int, seconds: float, windows: int) -> dict[str, list[dict[str, Any]]]:
    peer = Lectern()
    peer.start(SERVER_CORE)
    for thread in os.listdir(f"/proc/{peer.pid}/task"):
        os.sched_setaffinity(int(thread), CORES)
    found: dict[str, list[dict[str, Any]]] = {"alone": [], "streamed": [], "watched": []}
    with ExitStack() as cleanup:
        cleanup.callback(peer.stop)
        generator = teach(peer, receivers, cleanup)
        shown = Shown(peer, generator)
        cleanup.callback(shown.close)
        for _ in range(windows):
            found["alone"].append(alone := window(shown, seconds, viewers=0))
            shown.start()
            found["streamed"].append(window(shown, seconds, viewers=0))
            found["watched"].append(window(shown, seconds, viewers=viewers))
            shown.stop()
            for kind in found:
                row = found[kind][-1]
                row["rise_ms"] = row["p95_ms"] - alone["p95_ms"]
    return found


def teach(peer: Lectern, receivers: int, cleanup: ExitStack) -> Generator:
    """A class on that server: one who sends, and receivers who all measure."""
    sender = Client(own_address())
    cleanup.callback(sender.close)
    generator = Generator(sender, peer.publish(sender))
    generator.marks = LastOfFrames()
    for _ in range(receivers):
        client = Client(own_address())
        cleanup.callback(client.close)
        peer.subscribe(client)
        generator.add(Probe(client, generator.marks))
    return generator


class LastOfFrames(Marks):
    """Marks the last packet of each picture alone: there a decoder passes over what is picture to it elsewhere."""

    def send(self, client: Client, packets: Sequence[bytes]) -> None:
        assert client.outbound is not None
        for packet in packets:
            if packet[1] & 0x80:
                super().send(client, [packet])
            else:
                client.socket.send(client.outbound.protect(packet))


def window(shown: Shown, seconds: float, *, viewers: int) -> dict[str, Any]:
    generator = shown.generator
    watching = Watching(shown.port, viewers) if viewers else None
    generator.run(WARM_UP)
    until = time.monotonic() + COMES_WITHIN
    while watching is not None and watching.counted()[1] < viewers * len(WATCHED):
        if time.monotonic() > until:
            raise TimeoutError("the viewers see nothing")
        generator.run(0.2)
    if shown.process is not None:
        shown.ask()
    other, began = OtherWork(), time.monotonic()
    before = shown.cpu()
    own, counted = time.process_time(), watching.counted() if watching else (0, 0, 0.0)
    generator.start_counting()
    generator.run(seconds)
    took = time.monotonic() - began
    used = {name: after - before.get(name, 0.0) for name, after in shown.cpu().items()}
    latencies = [nanoseconds / 1e6 for nanoseconds in sorted(generator.marks.latencies)]
    row: dict[str, Any] = {
        "p50_ms": percentile(latencies, 50),
        "p95_ms": percentile(latencies, 95),
        **{f"{name}_percent": 100 * cpu / took if cpu else None for name, cpu in used.items()},
        "asked_s": None,
        "parts_percent": None,
    }
    ours = sum(used.values()) + time.process_time() - own
    if watching is not None:
        asked, parts, cpu = (now - then for now, then in zip(watching.counted(), counted, strict=True))
        row["asked_s"] = asked / took
        row["parts_percent"] = 100 * parts / viewers / PARTS_A_SECOND / took
        ours += cpu
        watching.close()
    row["others_percent"] = other.percent(ours)
    return row


class Shown:
    """The stream's process and the web process; the class goes on while they come up."""

    def __init__(self, peer: Lectern, generator: Generator) -> None:
        self.peer, self.generator = peer, generator
        self.out = peer.folder / "live" / STREAM
        self.out.mkdir(parents=True)
        (self.out / "public").touch()
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.port = free_port()
        environ = {**os.environ, "LECTERN_DATA": str(peer.folder), "REDIS_URL": peer.redis_url}
        command = [sys.executable, "-m", "daphne", "-v", "0", "--no-server-name", "-b", "127.0.0.1", "-p"]
        self.web = self._open([*command, str(self.port), "config.asgi:application"], environ)

    def _open(self, command: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environ, preexec_fn=die_with_parent)

    def start(self) -> None:
        self.starts += 1
        self.ask()
        logs = self.peer.folder / "streams" / f"{LOGS}-{self.starts}"
        job = write_job(Job(str(logs), str(self.out), time.time(), QUALITIES))
        self.process = self._open([sys.executable, "-m", "recordings.live", str(job), str(os.getpid())], {**os.environ})
        playlist, until = self.out / f"{WATCHED[0]}.m3u8", time.monotonic() + COMES_WITHIN
        playlist.unlink(missing_ok=True)
        while not playlist.exists():
            if time.monotonic() > until:
                raise TimeoutError("the stream did not begin")
            self.generator.run(0.2)

    def ask(self) -> None:
        """The worker forgets a stream that nobody asks for."""
        self.peer.ask(StartStream(room=ROOM, stream=f"{LOGS}-{self.starts}"))

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            self.peer.ask(StopStream(room=ROOM, stream=f"{LOGS}-{self.starts}"))
            process.terminate()
            process.wait(10)

    def cpu(self) -> dict[str, float]:
        """Seconds so far."""
        stream = cpu_seconds(self.process.pid) if self.process is not None else 0.0
        return {"worker": cpu_seconds(self.peer.pid), "stream": stream, "web": cpu_seconds(self.web.pid)}

    def close(self) -> None:
        self.stop()
        self.web.kill()
        self.web.wait()


# --- those who watch -------------------------------------------------------------------------------------------------


class Watching:
    """Viewers, in a process of their own."""

    def __init__(self, port: int, viewers: int) -> None:
        context = mp.get_context("spawn")
        self._asked, self._parts = context.Value("q", 0), context.Value("q", 0)
        arguments = (port, viewers, self._asked, self._parts)
        self._process = context.Process(target=watch, args=arguments, daemon=True)
        self._process.start()

    def counted(self) -> tuple[int, int, float]:
        """Answers, parts, CPU seconds, so far."""
        return self._asked.value, self._parts.value, cpu_seconds(self._process.pid or 0)

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def watch(port: int, viewers: int, asked: Synchronized[int], parts: Synchronized[int]) -> None:
    os.nice(19)

    async def all_of_them() -> None:
        await asyncio.gather(*(follow(port, name, asked, parts) for _ in range(viewers) for name in WATCHED))

    asyncio.run(all_of_them())


async def follow(port: int, name: str, asked: Synchronized[int], parts: Synchronized[int]) -> None:
    """One rendition for one viewer, from part to part (RFC 8216bis, section 6.2.5.2)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def get(path: str) -> bytes:
        writer.write(f"GET /live/{STREAM}/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        asked.value += 1
        return body if b" 200 " in head[:20] else b""

    playlist = await get(f"{name}.m3u8")
    while True:
        hint = HINT.search(playlist)
        if hint is None:
            await asyncio.sleep(0.2)
            playlist = await get(f"{name}.m3u8")
            continue
        segment, number = int(hint[1]), int(hint[2])
        playlist = await get(f"{name}.m3u8?_HLS_msn={segment}&_HLS_part={number}")
        part = await get(f"{name}-{segment}.{number}.m4s")
        parts.value += part != b""
