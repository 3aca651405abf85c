"""Senders for tests and benchmarks: RTP parameters as a browser gives them, and packets as its encoders make them."""

from __future__ import annotations

from typing import Any

from sfu.core import capabilities as uris
from sfu.core.rtp import build_rtp

Json = dict[str, Any]

EXTENSIONS = {
    uris.MID: 4, uris.RID: 10, uris.REPAIRED_RID: 11, uris.ABS_SEND_TIME: 2, uris.TRANSPORT_CC: 3, uris.AUDIO_LEVEL: 14,
}  # fmt: skip
"""Header extension ids as a browser might choose them: none is the router's."""

OPUS, VP8, VP8_RTX, H264, H264_RTX = 111, 96, 97, 102, 103
"""Payload types as a browser might choose them."""

_VIDEO_FEEDBACK = [
    {"type": "nack", "parameter": ""},
    {"type": "nack", "parameter": "pli"},
    {"type": "ccm", "parameter": "fir"},
    {"type": "transport-cc", "parameter": ""},
]


def _parameters(codecs: list[Json], encodings: list[Json], mid: str | None, cname: str) -> Json:
    parameters: Json = {
        "codecs": codecs,
        "headerExtensions": [{"uri": uri, "id": id} for uri, id in EXTENSIONS.items()],
        "encodings": encodings,
        "rtcp": {"cname": cname},
    }
    return parameters if mid is None else {**parameters, "mid": mid}


def opus_parameters(ssrc: int, *, mid: str | None = "0") -> Json:
    codec = {
        "mimeType": "audio/opus",
        "payloadType": OPUS,
        "clockRate": 48000,
        "channels": 2,
        "parameters": {"minptime": 10, "useinbandfec": 1},
        "rtcpFeedback": [{"type": "transport-cc", "parameter": ""}, {"type": "nack", "parameter": ""}],
    }
    return _parameters([codec], [{"ssrc": ssrc}], mid, "cname")


def _video(mime_type: str, payload_type: int, rtx: int, parameters: Json) -> list[Json]:
    return [
        {
            "mimeType": mime_type,
            "payloadType": payload_type,
            "clockRate": 90000,
            "parameters": parameters,
            "rtcpFeedback": _VIDEO_FEEDBACK,
        },
        {"mimeType": "video/rtx", "payloadType": rtx, "clockRate": 90000, "parameters": {"apt": payload_type}},
    ]


def vp8_parameters(ssrc: int, *, mid: str | None = "1") -> Json:
    """A camera in one layer; its repairs have the next SSRC."""
    codecs = _video("video/VP8", VP8, VP8_RTX, {})
    return _parameters(codecs, [{"ssrc": ssrc, "rtx": {"ssrc": ssrc + 1}}], mid, "cname")


def h264_parameters(ssrc: int, *, mid: str | None = "1") -> Json:
    parameters = {"packetization-mode": 1, "level-asymmetry-allowed": 1, "profile-level-id": "42e01f"}
    codecs = _video("video/H264", H264, H264_RTX, parameters)
    return _parameters(codecs, [{"ssrc": ssrc, "rtx": {"ssrc": ssrc + 1}}], mid, "cname")


def simulcast_parameters(rids: tuple[str, ...] = ("q", "h", "f"), *, mid: str | None = "1") -> Json:
    """A camera in layers that are told by RID alone, as Chrome and Firefox send it: no SSRC, no cname."""
    return _parameters(_video("video/VP8", VP8, VP8_RTX, {}), [{"rid": rid} for rid in rids], mid, "")


def parameters_of(mime_type: str, payload_type: int, repair: int, parameters: Json) -> Json:
    """A camera of that codec, without encodings yet."""
    return _parameters(_video(mime_type, payload_type, repair, parameters), [], "1", "cname")


def receiver_capabilities() -> Json:
    """Of a browser that takes all that the router has, as mediasoup-client tells it after `Device.load`."""
    capabilities = uris.router_rtp_capabilities()
    return {"codecs": capabilities["codecs"], "headerExtensions": capabilities["headerExtensions"]}


class Vp8Sender:
    """Numbers and descriptors of a VP8 encoder: `frame` gives the packets of one picture."""

    def __init__(
        self, ssrc: int, *, mid: str = "1", rid: str = "", size: int = 1000, first_number: int = 65000
    ) -> None:
        self.ssrc = ssrc
        self.mid = mid
        self.rid = rid
        self.size = size
        self.number = first_number
        self.timestamp = 0xFFFF0000  # wraps soon
        self.picture = 0x7FF0  # and so does this
        self.tl0 = 250
        self.transport_sequence = 0

    def extensions(self) -> dict[int, bytes]:
        extensions = {EXTENSIONS[uris.MID]: self.mid.encode()}
        if self.rid:
            extensions[EXTENSIONS[uris.RID]] = self.rid.encode()
        extensions[EXTENSIONS[uris.ABS_SEND_TIME]] = b"\x00\x00\x00"
        extensions[EXTENSIONS[uris.TRANSPORT_CC]] = self.transport_sequence.to_bytes(2, "big")
        self.transport_sequence = self.transport_sequence + 1 & 0xFFFF
        return extensions

    def frame(
        self,
        packets: int = 1,
        *,
        key: bool = False,
        ticks: int = 3000,
        temporal: int | None = None,
        sync: bool = False,
        trailer: bytes = b"",
    ) -> list[bytes]:
        """`temporal`: the layer, where there are such; `trailer` ends each payload."""
        self.timestamp = self.timestamp + ticks & 0xFFFFFFFF
        self.picture = self.picture + 1 & 0x7FFF
        if not temporal:
            self.tl0 = self.tl0 + 1 & 0xFF
        frame = []
        for index in range(packets):
            first = 0x90 if index == 0 else 0x80
            fields = 0xC0 if temporal is None else 0xE0
            descriptor = bytes((first, fields, 0x80 | self.picture >> 8, self.picture & 0xFF, self.tl0))
            if temporal is not None:
                descriptor += bytes((temporal << 6 | 0x20 * sync,))
            body = (b"\x00" if key else b"\x01") + bytes([index & 0xFF]) * (self.size - 6 - len(trailer)) + trailer
            frame.append(
                build_rtp(
                    payload_type=VP8,
                    sequence_number=self.number,
                    timestamp=self.timestamp,
                    ssrc=self.ssrc,
                    payload=descriptor + body,
                    marker=index == packets - 1,
                    extensions=self.extensions(),
                )
            )
            self.number = self.number + 1 & 0xFFFF
        return frame


class OpusSender:
    """A voice: 20 ms a packet. `level` is told with each (0 the loudest, 127 silence); None: it is not told."""

    def __init__(self, ssrc: int, *, mid: str = "0", size: int = 80, level: int | None = None) -> None:
        self.ssrc = ssrc
        self.mid = mid
        self.size = size
        self.level = level
        self.number = 100
        self.timestamp = 0

    def packet(self) -> bytes:
        extensions = {EXTENSIONS[uris.MID]: self.mid.encode()}
        if self.level is not None:
            extensions[EXTENSIONS[uris.AUDIO_LEVEL]] = bytes((self.level,))
        packet = build_rtp(
            payload_type=OPUS,
            sequence_number=self.number,
            timestamp=self.timestamp,
            ssrc=self.ssrc,
            payload=self.number.to_bytes(2, "big") * (self.size // 2),
            extensions=extensions,
        )
        self.number = self.number + 1 & 0xFFFF
        self.timestamp = self.timestamp + 960 & 0xFFFFFFFF
        return packet
