"""What a worker is told by its environment. See README.md for the names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sfu.core.router import LARGE_ROOM, LOUDEST
from sfu.protocol import Id
from sfu.worker.addresses import read_announced


class BadSettings(Exception):
    """Told to the operator as it is."""


@dataclass(frozen=True)
class Settings:
    worker_id: str
    port: int  # UDP and TCP, for media
    listen_ip: str
    announced_ips: list[str]  # empty: the machine's own addresses
    region: str
    control_secret: str = field(repr=False)
    control_host: str  # listened on, and told to the web processes: an address that they reach
    control_port: int  # 0: any; the heartbeat tells which
    redis_url: str = field(repr=False)
    data: Path
    log_format: str
    loudest: int  # voices that are forwarded in a large room

    @property
    def recordings(self) -> Path:
        return self.data / "recordings"

    @property
    def streams(self) -> Path:
        return self.data / "streams"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises BadSettings."""

        def text(name: str, default: str = "") -> str:
            return environ.get(name, "").strip() or default

        def number(name: str, default: int, least: int, most: int, what: str) -> int:
            try:
                value = int(text(name, str(default)))
            except ValueError:
                value = least - 1
            if not least <= value <= most:
                raise BadSettings(f"{name} must be {what}, {least} to {most}.")
            return value

        def port(name: str, default: int) -> int:
            return number(name, default, 0, 65535, "a port")

        secret = text("SFU_CONTROL_SECRET")
        if not secret:
            raise BadSettings("SFU_CONTROL_SECRET is not set: whoever reaches the control port could lead the worker.")
        try:
            worker_id = msgspec.convert(text("SFU_WORKER_ID", "sfu-0"), Id)
        except msgspec.ValidationError:
            raise BadSettings("SFU_WORKER_ID must be 1 to 64 letters, digits, - or _.") from None
        listen_ip = text("SFU_LISTEN_IP", "0.0.0.0")  # noqa: S104  media come from anywhere
        try:
            listen_ip = str(ipaddress.ip_address(listen_ip))
        except ValueError:
            raise BadSettings(f"SFU_LISTEN_IP must be an IP address, not {listen_ip!r}.") from None
        try:
            announced = read_announced(text("SFU_ANNOUNCED_IPS"), listen_ip)
        except ValueError as error:
            raise BadSettings(f"SFU_ANNOUNCED_IPS must hold IP addresses that browsers reach: {error}.") from None
        return cls(
            worker_id=worker_id,
            port=port("SFU_PORT", 40000),
            listen_ip=listen_ip,
            announced_ips=announced,
            region=text("SFU_REGION", "local"),
            control_secret=secret,
            control_host=text("SFU_CONTROL_HOST", "127.0.0.1"),
            control_port=port("SFU_CONTROL_PORT", 0),
            redis_url=text("REDIS_URL", "redis://127.0.0.1:6379/0"),
            data=Path(text("LECTERN_DATA", "var")).resolve(),
            log_format=text("LOG_FORMAT", "json"),
            loudest=number("SFU_LOUDEST", LOUDEST, 1, LARGE_ROOM, "a number of voices"),
        )
