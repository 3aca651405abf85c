"""As much SDP as the peers need (RFC 8866): what to send of ours, what to read of theirs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from benchmarks.media_source import AUDIO_SSRC, VIDEO_SSRC
from benchmarks.webrtc_client import Client, Remote, fingerprint

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
TRANSPORT_CC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"


@dataclass
class Section:
    """One m-line: kind, payload type and mid; header extensions (id by URI); the SSRC or the layers that we send."""

    kind: str
    payload_type: int
    mid: str
    extensions: dict[str, int] = field(default_factory=lambda: {MID_URI: 1})
    ssrc: int = 0
    rids: tuple[str, ...] = ()  # the best layer first


def write(client: Client, sections: list[Section], *, direction: str, controlling: bool = True) -> str:
    """An offer or answer of ours. We are always the DTLS client."""
    host, port = client.local_address
    mids = " ".join(section.mid for section in sections)
    lines = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", "t=0 0", f"a=group:BUNDLE {mids}"]
    for section in sections:
        codec = "VP8/90000" if section.kind == "video" else "opus/48000/2"
        lines += [
            f"m={section.kind} {port} UDP/TLS/RTP/SAVPF {section.payload_type}",
            f"c=IN IP4 {host}",
            f"a=mid:{section.mid}",
            f"a={direction}",
            "a=rtcp-mux",
            f"a=ice-ufrag:{client.ufrag}",
            f"a=ice-pwd:{client.password}",
            f"a=fingerprint:sha-256 {fingerprint()}",
            "a=setup:active",
            *(f"a=extmap:{identifier} {uri}" for uri, identifier in section.extensions.items()),
            f"a=rtpmap:{section.payload_type} {codec}",
        ]
        if TRANSPORT_CC_URI in section.extensions:
            lines += [f"a=rtcp-fb:{section.payload_type} transport-cc"]
        if section.kind == "video":
            lines += [f"a=rtcp-fb:{section.payload_type} nack", f"a=rtcp-fb:{section.payload_type} nack pli"]
        if section.rids:
            lines += [f"a=rid:{rid} send" for rid in section.rids] + [f"a=simulcast:send {';'.join(section.rids)}"]
        elif direction == "sendonly":
            ssrc = section.ssrc or (VIDEO_SSRC if section.kind == "video" else AUDIO_SSRC)
            lines += [f"a=msid:bench {section.kind}", f"a=ssrc:{ssrc} cname:bench"]
        lines += [f"a=candidate:1 1 udp 2130706431 {host} {port} typ host", "a=end-of-candidates"]
    return "\r\n".join(lines) + "\r\n"


def sections(sdp: str, *, accept: tuple[str, ...] = ()) -> list[Section]:
    """Their m-lines, for an answer that takes of their header extensions those to `accept`; MID alone if none."""
    found = []
    for part in sdp.split("\r\nm=")[1:]:
        kind, _, _, types = part.split("\r\n", 1)[0].split(" ", 3)
        wanted = "VP8" if kind == "video" else "opus"
        match = re.search(rf"a=rtpmap:(\d+) {wanted}/", part, re.IGNORECASE)
        mid = re.search(r"a=mid:(\S+)", part)
        assert mid is not None
        section = Section(kind, int(match.group(1)) if match else int(types.split()[0]), mid.group(1))
        if accept:
            offered = re.findall(r"a=extmap:(\d+)(?:/\w+)? (\S+)", part)
            section.extensions = {uri: int(identifier) for identifier, uri in offered if uri in accept}
        found.append(section)
    return found


def remote(sdp: str, host: str) -> Remote:
    """Where and how to reach the other side: its UDP candidate on that address."""
    ufrag, password = re.search(r"a=ice-ufrag:(\S+)", sdp), re.search(r"a=ice-pwd:(\S+)", sdp)
    assert ufrag is not None
    assert password is not None
    for address, port in re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", sdp, re.IGNORECASE):
        if address == host:
            return Remote((address, int(port)), ufrag.group(1), password.group(1))
    raise ValueError(f"no candidate on {host} in the other side's SDP")
