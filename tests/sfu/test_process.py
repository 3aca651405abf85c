"""The worker as the operator meets it: a process that starts, tells of itself, and dies well and badly."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import redis.asyncio

from sfu import protocol as p
from sfu.core.rtp import parse_rtp
from sfu.manifest import LEASE, Started, Stopped, TrackStarted, read_manifest
from sfu.protocol import HEARTBEAT_EXPIRES, HEARTBEAT_KEY, Heartbeat
from sfu.worker.addresses import addresses_to_announce, read_announced
from sfu.worker.settings import BadSettings, Settings
from tests.redis_server import RedisServer, free_port
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender, Vp8Sender, receiver_capabilities
from tests.sfu.worker import SECRET, Speaker, WorkerProcess, entries, event, payloads, read_log
from tests.waiting import until

pytestmark = pytest.mark.service

CAMERA, VOICE = 1111, 2222


@pytest.fixture
async def workers(tmp_path, redis_url):
    """Makes workers that share a data folder and a Redis, as one installation's do."""
    made: list[WorkerProcess] = []

    def make(worker_id: str, *, url: str = redis_url, **environ: str) -> WorkerProcess:
        worker = WorkerProcess(tmp_path, url, worker_id, **environ)
        made.append(worker)
        return worker

    yield make
    for worker in made:
        await worker.close()


async def kept_heartbeat(url: str, worker_id: str) -> Heartbeat | None:
    async with redis.asyncio.Redis.from_url(url) as client:
        value = await client.get(HEARTBEAT_KEY.format(worker_id=worker_id))
    return msgspec.json.decode(value, type=Heartbeat) if value else None


async def recording_of_tina(worker: WorkerProcess, recording: str, *, on_event=None):
    client = await worker.client(on_event=on_event)
    await client.request(p.OpenRoom(room="algebra"))
    await client.request(p.StartRecording(room="algebra", recording=recording))
    tina = Speaker(client, "algebra", "tina")
    await tina.connect()
    await tina.produce(camera=CAMERA, voice=VOICE)
    return client, tina


def recorded(folder, source, *, which=-1):
    """Packets of the latest (or `which`) track of that source; a log that is not there yet has none."""
    tracks = [track for track in entries(folder, TrackStarted) if track.source == source]
    with contextlib.suppress(FileNotFoundError, IndexError):
        return [packet.data for packet in read_log(folder / tracks[which].file) if not packet.is_rtcp]
    return []


# --- starting ---


async def test_a_worker_tells_where_it_is_and_that_it_is_idle(workers):
    heartbeat = await workers("sfu-a", SFU_REGION="lab").start()
    assert heartbeat.worker_id == "sfu-a"
    assert heartbeat.region == "lab"
    assert heartbeat.control.startswith("127.0.0.1:")
    (announced,) = heartbeat.announced
    assert announced.startswith("127.0.0.1:")
    assert not announced.endswith(":0")
    assert (heartbeat.peers, heartbeat.draining) == (0, False)
    assert 0 <= heartbeat.load <= 1
    assert heartbeat.counters["packets_forwarded"] == 0
    assert heartbeat.counters["recordings_running"] == 0


async def test_each_start_has_an_epoch_of_its_own(workers):
    worker = workers("sfu-b")
    first = await worker.start()
    assert (await worker.client()).welcome.epoch == first.epoch
    await worker.end(signal.SIGKILL)
    second = await worker.start()
    assert second.epoch != first.epoch


def run(**environ: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SFU_")}
    return subprocess.run(
        [sys.executable, "-m", "sfu"], env={**clean, **environ}, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "SFU_CONTROL_SECRET"),
        ({"SFU_CONTROL_SECRET": SECRET, "SFU_PORT": "many"}, "SFU_PORT"),
        ({"SFU_CONTROL_SECRET": SECRET, "SFU_PORT": "65536"}, "SFU_PORT"),
        ({"SFU_CONTROL_SECRET": SECRET, "SFU_WORKER_ID": "a b"}, "SFU_WORKER_ID"),
        ({"SFU_CONTROL_SECRET": SECRET, "SFU_LISTEN_IP": "localhost"}, "SFU_LISTEN_IP"),
        ({"SFU_CONTROL_SECRET": SECRET, "SFU_LOUDEST": "0"}, "SFU_LOUDEST"),
        ({"SFU_CONTROL_SECRET": SECRET, "SFU_LOUDEST": "51"}, "SFU_LOUDEST"),
        (
            {"SFU_CONTROL_SECRET": SECRET, "SFU_ANNOUNCED_IPS": "192.0.2.1,example.org"},
            "SFU_ANNOUNCED_IPS.*'example.org'",
        ),
    ],
)
def test_settings_that_make_no_sense_are_named(environ, named):
    with pytest.raises(BadSettings, match=named) as refusal:
        Settings.from_env(environ)
    assert SECRET not in str(refusal.value)


def test_settings_do_not_show_their_secrets():
    settings = Settings.from_env({"SFU_CONTROL_SECRET": SECRET, "REDIS_URL": "redis://:hunter2@127.0.0.1/0"})
    assert SECRET not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_without_a_secret_nothing_starts():
    result = run()
    assert result.returncode == 2
    assert "SFU_CONTROL_SECRET" in result.stderr
    assert "Traceback" not in result.stderr


def test_all_addresses_of_the_machine_are_announced_and_loopback_last():
    assert addresses_to_announce("192.0.2.7") == ["192.0.2.7"]
    assert addresses_to_announce("0.0.0.0")[-1] == "127.0.0.1"
    assert not any(":" in ip for ip in addresses_to_announce("0.0.0.0"))
    assert set(addresses_to_announce("::")) >= set(addresses_to_announce("0.0.0.0"))


@pytest.mark.parametrize(
    ("text", "listen_ip", "announced"),
    [
        ("", "0.0.0.0", []),
        ("192.0.2.1, 198.51.100.2", "0.0.0.0", ["192.0.2.1", "198.51.100.2"]),
        ("192.0.2.1/10.0.0.5,192.0.2.9", "0.0.0.0", ["192.0.2.1", "10.0.0.5", "192.0.2.9"]),
        ("192.0.2.1/10.0.0.5,192.0.2.2/10.0.0.5", "0.0.0.0", ["192.0.2.1", "10.0.0.5", "192.0.2.2"]),
        ("2001:DB8::1/fd00::1,192.0.2.1", "::", ["2001:db8::1", "fd00::1", "192.0.2.1"]),
        ("192.0.2.1", "10.0.0.5", ["192.0.2.1"]),
    ],
)
def test_several_addresses_are_announced_in_order_and_those_of_a_nat_as_a_pair(text, listen_ip, announced):
    assert read_announced(text, listen_ip) == announced


@pytest.mark.parametrize(
    ("text", "listen_ip", "said"),
    [
        ("192.0.2.1/", "0.0.0.0", "'192.0.2.1/' is not an IP address or a pair"),
        ("192.0.2.1:40000", "0.0.0.0", "not an IP address"),
        ("192.0.2.1/10.0.0.5/10.0.0.6", "0.0.0.0", "neither an address nor a pair"),
        ("192.0.2.1/fd00::1", "::", "pairs IPv4 with IPv6"),
        ("0.0.0.0", "0.0.0.0", "no address that a browser could send to"),
        ("fe80::1%eth0", "::", "no address that a browser could send to"),
        ("2001:db8::1", "0.0.0.0", "listens to IPv4"),
        ("192.0.2.1", "2001:db8::1", "listens to IPv6"),
    ],
)
def test_an_address_that_no_browser_could_use_is_told_with_its_reason(text, listen_ip, said):
    with pytest.raises(ValueError, match=said):
        read_announced(text, listen_ip)


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        result = run(
            SFU_CONTROL_SECRET=SECRET, SFU_LISTEN_IP="127.0.0.1", SFU_PORT=str(taken.getsockname()[1]),
            LECTERN_DATA=str(tmp_path), REDIS_URL=f"redis://127.0.0.1:{free_port()}/0",
        )  # fmt: skip
    assert result.returncode == 1
    assert "worker_cannot_start" in result.stderr
    assert "Traceback" not in result.stderr


# --- ending ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_that_is_asked_ends_within_three_seconds(workers, redis_url, number):
    worker = workers(f"sfu-{number.name.lower()}")
    await worker.start()
    closed = []
    client = await worker.client(on_closed=lambda: closed.append(True))
    await client.request(p.OpenRoom(room="algebra"))
    await client.request(p.OpenPeer(room="algebra", peer="sam"))
    began = time.monotonic()
    assert await worker.end(number) == 0
    assert time.monotonic() - began < 3
    await until(lambda: closed)
    last = await kept_heartbeat(redis_url, worker.worker_id)
    assert last is not None
    assert last.draining
    assert "Traceback" not in worker.log.read_text()


async def test_a_worker_whose_disk_hangs_ends_in_time_nevertheless(workers, tmp_path):
    worker = workers("sfu-hangs")
    await worker.start()
    client = await worker.client()
    await client.request(p.OpenRoom(room="algebra"))
    await client.request(p.StartRecording(room="algebra", recording="rec-1"))
    lease = tmp_path / "recordings" / "rec-1" / LEASE
    lease.unlink()
    os.mkfifo(lease)  # opening it waits for a reader, for ever: so does a dead network disk
    await asyncio.sleep(1.5)  # until the writer's next look at the lease has begun
    began = time.monotonic()
    await worker.end(signal.SIGTERM)
    assert time.monotonic() - began < 3.3


async def test_a_killed_worker_is_gone_from_the_registry_when_its_heartbeat_expires(workers, redis_url):
    worker = workers("sfu-killed")
    await worker.start()
    closed = []
    await worker.client(on_closed=lambda: closed.append(time.monotonic()))
    began = time.monotonic()
    await worker.end(signal.SIGKILL)
    await until(lambda: closed)
    assert closed[0] - began < 1
    while await kept_heartbeat(redis_url, "sfu-killed") is not None:
        assert time.monotonic() - began < HEARTBEAT_EXPIRES + 0.5
        await asyncio.sleep(0.05)


# --- recordings ---


async def test_a_recording_lives_through_a_killed_worker(workers, tmp_path):
    folder = tmp_path / "recordings" / "rec-1"
    first = workers("sfu-0")
    begun = await first.start()
    _, tina = await recording_of_tina(first, "rec-1")
    camera, voice = Vp8Sender(CAMERA), OpusSender(VOICE)
    sent_before: list[tuple[float, bytes]] = []
    ends = time.monotonic() + 3
    while time.monotonic() < ends:
        for packet in [*camera.frame(4, key=not sent_before), voice.packet()]:
            sent_before.append((time.monotonic(), packet))
            tina.up.send_rtp(packet)
        await asyncio.sleep(0.02)
    killed = time.monotonic()
    await first.end(signal.SIGKILL)
    await tina.up.close()
    assert read_manifest(folder) is None

    second = workers("sfu-1")
    await second.start()
    client, again = await recording_of_tina(second, "rec-1")
    camera, voice = Vp8Sender(CAMERA), OpusSender(VOICE)
    sent_after = [*camera.frame(40, key=True), *[voice.packet() for _ in range(40)]]
    for packet in sent_after:
        again.up.send_rtp(packet)
    await until(lambda: len(recorded(folder, "camera")) == 40 and len(recorded(folder, "microphone")) == 40)
    await client.request(p.StopRecording(room="algebra", recording="rec-1"))
    await again.up.close()

    for source, payload_type in (("camera", 96), ("microphone", 111)):
        cut = recorded(folder, source, which=0)
        wanted = [(at, packet) for at, packet in sent_before if parse_rtp(packet).payload_type == payload_type]
        bodies = [payload[-40:] for payload in payloads(packet for _, packet in wanted)]
        kept = [payload[-40:] for payload in payloads(cut)]
        assert kept == bodies[: len(kept)]
        lost = wanted[len(kept) :]
        assert not lost or killed - lost[0][0] < 2, "more than two seconds are gone"
        after = [packet for packet in sent_after if parse_rtp(packet).payload_type == payload_type]
        assert [payload[-40:] for payload in payloads(recorded(folder, source))] == [
            payload[-40:] for payload in payloads(after)
        ]
    epochs = [entry.epoch for entry in entries(folder, Started)]
    assert epochs[0] == begun.epoch
    assert len(set(epochs)) == 2
    assert len(entries(folder, Stopped)) == 1
    manifest = read_manifest(folder)
    assert manifest is not None
    assert len(manifest.files) == 4
    assert manifest.started_at == entries(folder, Started)[0].at


async def test_a_worker_that_is_replaced_leaves_all_it_heard_and_no_manifest(workers, tmp_path):
    worker = workers("sfu-replaced")
    await worker.start()
    client, tina = await recording_of_tina(worker, "rec-1")
    voice = OpusSender(VOICE)
    sent = [voice.packet() for _ in range(50)]
    for packet in sent:
        tina.up.send_rtp(packet)

    async def heard() -> int:
        stats = await client.request(p.GetStats(room="algebra"))
        return sum(stream["packets"] for part in stats.producers for stream in part["streams"])

    while await heard() < 50:
        await asyncio.sleep(0.005)
    assert await worker.end(signal.SIGTERM) == 0
    await tina.up.close()
    folder = tmp_path / "recordings" / "rec-1"
    assert payloads(recorded(folder, "microphone")) == payloads(sent)
    assert read_manifest(folder) is None
    assert entries(folder, Stopped) == []


def in_a_small_disk(folder, size: str) -> list[str]:
    """A command that runs another with `folder` as a disk of `size`: as root, or in namespaces of its own."""
    script = f'mount -t tmpfs -o size={size} none "{folder}" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if os.geteuid() != 0:
        command[1:1] = ["--user", "--map-root-user"]
    return command


@pytest.mark.parametrize("fill", ["a_little_left", "nothing_left"])
async def test_a_full_disk_stops_the_recording_cleanly_and_nothing_else(workers, tmp_path, fill):
    disk = tmp_path / "recordings"
    disk.mkdir()
    worker = workers("sfu-full")
    worker.prefix = in_a_small_disk(disk, "8m")
    await worker.start()
    assert worker.process is not None
    inside = Path(f"/proc/{worker.process.pid}/root{disk}")  # the disk as the worker sees it
    events: list[p.EVENTS] = []
    client, tina = await recording_of_tina(worker, "rec-1", on_event=events.append)
    watcher, _ = await sam_watches(client, tina)
    camera = Vp8Sender(CAMERA)
    if fill == "nothing_left":
        fill_up(inside)
    deadline = time.monotonic() + 20
    while not any(isinstance(told, p.RecordingFailed) for told in events):
        assert time.monotonic() < deadline
        for packet in camera.frame(30, key=True):
            tina.up.send_rtp(packet)
        await asyncio.sleep(0.01)
    failed = await event(events, p.RecordingFailed)
    assert (failed.recording, failed.reason) == ("rec-1", "disk_full")
    assert (await client.request(p.OpenRoom(room="algebra"))).recording is None

    folder = inside / "rec-1"
    for log in folder.glob("*.rtpdump"):
        if log.stat().st_size:
            read_log(log)  # ends with a whole record
    if fill == "a_little_left":
        assert read_manifest(folder) is not None
    before = len(watcher.rtp)
    for packet in camera.frame(10, key=True):
        tina.up.send_rtp(packet)
    await watcher.until(lambda: len(watcher.rtp) >= before + 10)
    await tina.up.close()
    await watcher.close()
    fill_up(inside)
    with pytest.raises(p.InvalidRequest, match="disk_full"):
        await client.request(p.StartRecording(room="algebra", recording="rec-2"))


def fill_up(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"\0" * 65536):
            pass


async def sam_watches(client, tina) -> tuple[PeerTransport, str]:
    await client.request(p.OpenPeer(room="algebra", peer="sam"))
    made = await client.request(p.CreateTransport(room="algebra", peer="sam", direction="recv"))
    down = PeerTransport(made)
    ids = {"room": "algebra", "peer": "sam"}
    await client.request(
        p.ConnectTransport(**ids, transport_id=made.transport_id, dtls_parameters=down.dtls_parameters)
    )
    await down.connect()
    consumer = await client.request(
        p.CreateConsumer(
            **ids,
            transport_id=made.transport_id,
            producer_id=tina.producers["camera"],
            rtp_capabilities=receiver_capabilities(),
        )
    )
    await client.request(p.ResumeConsumer(**ids, consumer_id=consumer.consumer_id))
    return down, consumer.consumer_id


# --- what a worker lives through ---


async def test_media_go_on_while_redis_is_gone_and_the_heartbeat_comes_back(workers, tmp_path):
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        worker = workers("sfu-alone", url=server.url)
        await worker.start()
        client, tina = await recording_of_tina(worker, "rec-1")
        watcher, _ = await sam_watches(client, tina)
        server.stop()
        camera = Vp8Sender(CAMERA)
        gone = time.monotonic()
        sent = 0
        longest = 0.0
        while time.monotonic() - gone < 6:
            before = len(watcher.rtp)
            for packet in camera.frame(3, key=sent == 0):
                tina.up.send_rtp(packet)
            sent += 3
            began = time.monotonic()
            await watcher.until(lambda before=before: len(watcher.rtp) >= before + 3)
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.005)
        assert longest < 0.2
        server.start()
        back = time.monotonic()
        while await kept_heartbeat(server.url, "sfu-alone") is None:
            assert time.monotonic() - back < 5
            await asyncio.sleep(0.05)
        lines = worker.log.read_text().count("heartbeat_lost")
        assert 1 <= lines <= 7
        await tina.up.close()
        await watcher.close()
    finally:
        server.stop()
