"""What a room's router can receive and send: the codecs and header extensions that are offered to every browser.

Payload types start at 100; 127, SSRC 1234 and the MID "probator" belong to mediasoup-client's bandwidth probator.
"""

from __future__ import annotations

import copy

from sfu.protocol import Json

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
TIME_OFFSET = "urn:ietf:params:rtp-hdrext:toffset"
ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"

# uri, id, direction for audio, direction for video (seen from the router; None: not for that kind).
_EXTENSIONS = (
    (MID, 1, "sendrecv", "sendrecv"),
    (RID, 2, None, "recvonly"),
    (REPAIRED_RID, 3, None, "recvonly"),
    (ABS_SEND_TIME, 4, "sendrecv", "sendrecv"),
    # Downwards only video takes part in congestion control: audio is small and never held back.
    (TRANSPORT_CC, 5, "recvonly", "sendrecv"),
    (AUDIO_LEVEL, 6, "sendrecv", None),
    # For us alone: what AV1's receivers get is whole without it, and it is longer than our packets have room for.
    (DEPENDENCY_DESCRIPTOR, 7, None, "recvonly"),
    (VIDEO_ORIENTATION, 8, None, "sendrecv"),
    (TIME_OFFSET, 9, None, "sendrecv"),
    (ABS_CAPTURE_TIME, 10, "sendrecv", "sendrecv"),
    (PLAYOUT_DELAY, 11, None, "sendrecv"),
)

_VIDEO_FEEDBACK = (("nack", ""), ("nack", "pli"), ("ccm", "fir"), ("goog-remb", ""), ("transport-cc", ""))


def _feedback(*pairs: tuple[str, str]) -> list[Json]:
    return [{"type": kind, "parameter": parameter} for kind, parameter in pairs]


def _video(mime_type: str, payload_type: int, parameters: Json) -> list[Json]:
    """A video codec, followed by its repair format."""
    return [
        {
            "kind": "video",
            "mimeType": mime_type,
            "preferredPayloadType": payload_type,
            "clockRate": 90_000,
            "parameters": parameters,
            "rtcpFeedback": _feedback(*_VIDEO_FEEDBACK),
        },
        {
            "kind": "video",
            "mimeType": "video/rtx",
            "preferredPayloadType": payload_type + 1,
            "clockRate": 90_000,
            "parameters": {"apt": payload_type},
            "rtcpFeedback": [],
        },
    ]


_ROUTER: Json = {
    "codecs": [
        {
            "kind": "audio",
            "mimeType": "audio/opus",
            "preferredPayloadType": 100,
            "clockRate": 48_000,
            "channels": 2,
            # A lost voice packet is mended out of the next one, without a round trip.
            "parameters": {"minptime": 10, "useinbandfec": 1},
            "rtcpFeedback": _feedback(("nack", ""), ("transport-cc", "")),
        },
        *_video("video/VP8", 101, {}),
        # Constrained baseline: the one profile that every browser has.
        *_video(
            "video/H264",
            103,
            {"packetization-mode": 1, "level-asymmetry-allowed": 1, "profile-level-id": "42e01f"},
        ),
        *_video("video/VP9", 105, {"profile-id": 0}),
        *_video("video/AV1", 107, {}),
    ],
    "headerExtensions": [
        {"kind": kind, "uri": uri, "preferredId": identifier, "preferredEncrypt": False, "direction": direction}
        for uri, identifier, audio, video in _EXTENSIONS
        for kind, direction in (("audio", audio), ("video", video))
        if direction is not None
    ],
}


def router_rtp_capabilities() -> Json:
    """The router's RTP capabilities, as mediasoup-client's `Device.load` takes them. A copy of the caller's own."""
    return copy.deepcopy(_ROUTER)
