"""Servers that forward media, each behind the same few verbs, so that all do the same work in the same run."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import socket
from dataclasses import dataclass
from typing import Protocol

import ifaddr

from benchmarks.media_source import Offer, Source
from benchmarks.webrtc_client import Client


class Peer(Protocol):
    name: str
    pid: int

    def start(self, core: int) -> None:
        """Start the server, pinned to one core."""

    def publish(self, client: Client) -> Source:
        """Signal and connect the one who sends; the source speaks the numbers that the server agreed to."""
        ...

    def subscribe(self, client: Client) -> None:
        """Signal and connect one who receives both."""

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Participant:
    """One of a meeting, who sends and receives."""

    room: int
    number: int
    offer: Offer


@dataclass(frozen=True)
class Received:
    """What a participant must know of what he gets: payload types, the id of the transport-wide number (0: none), and
    how many streams of either kind."""

    video_type: int
    audio_type: int
    transport_cc_id: int
    cameras: int
    voices: int


class MeetingPeer(Protocol):
    name: str
    pid: int

    def start(self, core: int) -> None: ...

    def open_room(self, room: int) -> None: ...

    def send_all(self, who: Participant, client: Client) -> None:
        """Signal and connect what he sends: a camera in three layers, and a voice."""

    def receive_all(self, who: Participant, client: Client, layer: int) -> Received:
        """Signal and connect what he receives of all others, who are there already, their cameras in that layer."""
        ...

    def stop(self) -> None: ...


@functools.cache
def own_address() -> str:
    """An address of this machine that is no loopback where there is one: some servers do not offer 127.0.0.1."""
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str) and not ip.ip.startswith(("127.", "169.254.")):
                return ip.ip
    return "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """For `preexec_fn`: a benchmark that is killed leaves no server behind (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def pin(pid: int, core: int) -> None:
    """Every thread of a process to one core."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), {core})
