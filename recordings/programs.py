"""The FFmpeg program, and how it is run: never through a shell, never with a protocol but files and pipes."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

BASE_DIR = Path(__file__).resolve().parent.parent
FONT = BASE_DIR / "static" / "vendor" / "fonts" / "DejaVuSans-Bold.ttf"
LOCAL = "file,pipe"  # a media file that names a network address is not followed
PR_SET_PDEATHSIG = 1  # of prctl(2)
LIBC = ctypes.CDLL(None)
NEEDED = ("drawtext", "alimiter")  # filters; Debian's FFmpeg has them, some small builds do not
NICENESS = 5  # composing waits for classes that run, but a busy machine does not starve it
NICENESS_ALONG = 19  # while the very class goes on that is composed


class FfmpegFailed(Exception):
    """FFmpeg's last words are the message."""


@cache
def ffmpeg_program() -> str:
    """The system's FFmpeg where it can do what we need, otherwise the one that came with the packages."""
    system = shutil.which("ffmpeg")
    if system is not None:
        listed = subprocess.run([system, "-hide_banner", "-filters"], capture_output=True, text=True, check=False)
        encoders = subprocess.run([system, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False)
        if all(f" {name} " in listed.stdout for name in NEEDED) and " libx264 " in encoders.stdout:
            return system
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def command(stream: Any) -> list[str]:
    """The arguments for a graph of ffmpeg-python."""
    quiet = stream.global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-y")
    return [str(part) for part in ffmpeg.compile(quiet, cmd=ffmpeg_program())]


def run(stream: Any, *, timeout: float, cwd: Path | None = None, niceness: int = 0) -> bytes:
    """Run a graph to its end and give what it wrote to its standard output."""
    words = ["nice", "-n", str(niceness), *command(stream)] if niceness else command(stream)
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, cwd=cwd, check=False)
    if done.returncode != 0:
        raise FfmpegFailed(last_words(done.stderr, done.returncode))
    return done.stdout


def last_words(stderr: bytes, status: int) -> str:
    text = stderr.decode(errors="replace").strip()
    return text[-400:] or f"FFmpeg ended with status {status}"


def killed_with_parent() -> None:
    """In a child, before its program: the kernel kills it in the moment in which the thread that started it ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def be_nice(niceness: int = NICENESS) -> None:
    """In a process of its own: composing waits for everything else on the machine."""
    os.nice(niceness)
