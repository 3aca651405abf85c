"""Negotiate without SDP (ORTC): from what a browser sends to what every other browser receives.

Three steps, each a pure function over mediasoup's JSON. `producer_mapping` finds the router's payload type for each of
the producer's. `consumable_rtp_parameters` restates the producer in the router's terms, once. `consumer_rtp_parameters`
cuts that down to what one receiver can take. Every fault is InvalidRequest("bad_request", why).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Literal

from sfu.core import capabilities as extension_uris
from sfu.core import h264
from sfu.core.parameters import RtpCapabilities, RtpParameters, read, write
from sfu.protocol import InvalidRequest, Json

MAX_SPATIAL = 4  # no codec has more
_SCALABILITY = re.compile(r"^[LS]([1-9]\d?)T([1-9]\d?)")


def validate_rtp_parameters(kind: str, parameters: object) -> Json:
    """A producer's RTP parameters, checked and normalised; at least one encoding is in them."""
    json = write(read(parameters, RtpParameters))
    codecs, encodings = json["codecs"], json["encodings"] or [{}]
    json["encodings"] = encodings
    for codec in codecs:
        if _kind_of(codec["mimeType"]) != kind:
            raise InvalidRequest("bad_request", f"a codec of another kind than {kind}")
        _normalise_codec(codec)
    _unique("payload type", (codec["payloadType"] for codec in codecs))
    _unique("header extension id", (extension["id"] for extension in json["headerExtensions"]))
    _unique("rid", (encoding["rid"] for encoding in encodings if "rid" in encoding))
    _unique("ssrc", [*_ssrcs(encodings)])
    if _is_rtx(codecs[0]):
        raise InvalidRequest("bad_request", "the first codec is a repair format")
    if any(64 <= codec["payloadType"] <= 95 for codec in codecs):
        raise InvalidRequest("bad_request", "payload types 64-95 cannot be told from RTCP")  # RFC 5761, section 4
    # A packet is assigned to an encoding by SSRC, MID or RID: one of them must be there.
    if len(encodings) > 1 and any("ssrc" not in encoding and "rid" not in encoding for encoding in encodings):
        raise InvalidRequest("bad_request", "several encodings need an ssrc or a rid each")
    if "mid" not in json and any("ssrc" not in encoding and "rid" not in encoding for encoding in encodings):
        raise InvalidRequest("bad_request", "neither mid, ssrc nor rid tells this producer's packets")
    return json


def validate_rtp_capabilities(capabilities: object) -> Json:
    """A receiver's RTP capabilities, checked and normalised."""
    json = write(read(capabilities, RtpCapabilities))
    for codec in json["codecs"]:
        codec["kind"] = _kind_of(codec["mimeType"])
        _normalise_codec(codec)
    return json


def producer_type(parameters: Json) -> Literal["simple", "simulcast", "svc"]:
    """Of validated or consumable parameters."""
    if len(parameters["encodings"]) > 1:
        return "simulcast"
    found = _SCALABILITY.match(parameters["encodings"][0].get("scalabilityMode", ""))
    layered = found is not None and max(int(found[1]), int(found[2])) > 1
    in_one_stream = parameters["codecs"][0]["mimeType"].lower() in ("video/vp9", "video/av1")
    return "svc" if layered and in_one_stream else "simple"


def spatial_layers(encoding: Json) -> int:
    """How many there may be in that one stream."""
    found = _SCALABILITY.match(encoding.get("scalabilityMode", ""))
    return min(MAX_SPATIAL, int(found[1])) if found else 1


def producer_mapping(parameters: Json, capabilities: Json, *, ssrc: int) -> Json:
    """`{codecs: [{payloadType, mappedPayloadType}], encodings: [{mappedSsrc, ssrc?, rid?}]}`.

    `parameters` are validated ones, `capabilities` the router's; mapped SSRCs count up from `ssrc`.
    """
    mapped: dict[int, int] = {}
    for codec in parameters["codecs"]:
        if _is_rtx(codec):
            continue
        capability = _find(codec, capabilities["codecs"])
        if capability is None:
            raise InvalidRequest("bad_request", f"codec {codec['mimeType']} is not supported")
        mapped[codec["payloadType"]] = capability["preferredPayloadType"]
    for codec in parameters["codecs"]:
        if not _is_rtx(codec):
            continue
        original = mapped.get(codec["parameters"].get("apt", -1))
        if original is None:
            raise InvalidRequest(
                "bad_request", f"payload type {codec['payloadType']} repairs no codec of this producer"
            )
        repair = _rtx_of(original, capabilities)
        if repair is None:
            raise InvalidRequest("bad_request", f"payload type {codec['payloadType']} repairs what is never repaired")
        mapped[codec["payloadType"]] = repair["preferredPayloadType"]
    return {
        "codecs": [
            {"payloadType": codec["payloadType"], "mappedPayloadType": mapped[codec["payloadType"]]}
            for codec in parameters["codecs"]
        ],
        "encodings": [
            {
                "mappedSsrc": ssrc + index,
                **{name: encoding[name] for name in ("ssrc", "rid") if name in encoding},
            }
            for index, encoding in enumerate(parameters["encodings"])
        ],
    }


def consumable_rtp_parameters(kind: str, parameters: Json, mapping: Json, capabilities: Json, *, cname: str) -> Json:
    """The producer in the router's terms: router payload types, extension ids and SSRCs, the producer's own fmtp.

    `cname` is the peer's one name for audio and video, so that browsers keep them in step; it must not be empty, since
    a browser drops a source description without it.
    """
    payload_types = payload_type_map(mapping)
    codecs: list[Json] = []
    for codec in parameters["codecs"]:
        payload_type = payload_types[codec["payloadType"]]
        # The first of two that are the same to the router: no receiver takes a payload type twice.
        if _is_rtx(codec) or any(known["payloadType"] == payload_type for known in codecs):
            continue
        capability = next(c for c in capabilities["codecs"] if c["preferredPayloadType"] == payload_type)
        codecs.append(_codec(capability, _producers_own(codec, capability)))
        repair = _rtx_of(payload_type, capabilities)
        if repair is not None:
            codecs.append(_codec(repair, repair["parameters"]))

    negotiated = {extension["uri"] for extension in parameters["headerExtensions"]}
    extensions = [
        {"uri": extension["uri"], "id": extension["preferredId"], "encrypt": False, "parameters": {}}
        for extension in capabilities["headerExtensions"]
        if extension["kind"] == kind
        and extension["direction"] in ("sendrecv", "sendonly")
        # Only the producer knows when it captured: nobody can fill it in.
        and (extension["uri"] != extension_uris.ABS_CAPTURE_TIME or extension["uri"] in negotiated)
    ]
    encodings = [
        {
            **{name: value for name, value in encoding.items() if name not in ("rid", "rtx")},
            "ssrc": mapped["mappedSsrc"],
        }
        for encoding, mapped in zip(parameters["encodings"], mapping["encodings"], strict=True)
    ]
    return {
        "codecs": codecs,
        "headerExtensions": extensions,
        "encodings": encodings,
        "rtcp": {"cname": cname, "reducedSize": True},
    }


def can_consume(consumable: Json, capabilities: object) -> bool:
    """Whether a receiver of these capabilities can take the producer at all."""
    receiver = validate_rtp_capabilities(capabilities)
    codecs = (codec for codec in consumable["codecs"] if _find(codec, receiver["codecs"]) is not None)
    first = next(codecs, None)
    return first is not None and not _is_rtx(first)


def consumer_rtp_parameters(consumable: Json, capabilities: object, *, mid: int, ssrc: int) -> Json:
    """What one receiver gets: one stream with `ssrc`, and `ssrc + 1` for its repair where both sides can.

    `mid` counts a transport's consumers, 0 to 999. It is three digits wide so that it can be patched in place.
    """
    if not 0 <= mid <= 999:
        raise InvalidRequest("bad_request", "too many consumers on this transport")
    receiver = validate_rtp_capabilities(capabilities)
    codecs = _supported(consumable["codecs"], receiver["codecs"])
    if not codecs:
        raise InvalidRequest("bad_request", "the receiver supports no codec of this producer")

    supported = {(extension["preferredId"], extension["uri"]) for extension in receiver["headerExtensions"]}
    extensions = [
        copy.deepcopy(extension)
        for extension in consumable["headerExtensions"]
        if (extension["id"], extension["uri"]) in supported
    ]
    _choose_congestion_control(codecs, {extension["uri"] for extension in extensions})

    encoding: Json = {"ssrc": ssrc}
    if any(_is_rtx(codec) for codec in codecs):
        encoding["rtx"] = {"ssrc": ssrc + 1}
    mode = _scalability_mode(consumable["encodings"])
    if mode is not None:
        encoding["scalabilityMode"] = mode
    max_bitrate = max(layer.get("maxBitrate", 0) for layer in consumable["encodings"])
    if max_bitrate > 0:
        encoding["maxBitrate"] = max_bitrate
    return {
        "mid": f"{mid:03}",
        "codecs": codecs,
        "headerExtensions": extensions,
        "encodings": [encoding],
        "rtcp": dict(consumable["rtcp"]),
    }


def payload_type_map(mapping: Json) -> dict[int, int]:
    """The producer's payload types to the router's."""
    return {codec["payloadType"]: codec["mappedPayloadType"] for codec in mapping["codecs"]}


def extension_ids(parameters: Json) -> dict[str, int]:
    """Header extension ids by uri, of a producer's, consumable or consumer's parameters."""
    return {extension["uri"]: extension["id"] for extension in parameters["headerExtensions"]}


# --- codecs ----------------------------------------------------------------------------------------------------------


def _kind_of(mime_type: str) -> str:
    return mime_type.split("/", 1)[0].lower()


def _is_rtx(codec: Json) -> bool:
    return bool(codec["mimeType"].lower().endswith("/rtx"))


def _rtx_of(payload_type: int, capabilities: Json) -> Json | None:
    """The repair format of one of the router's payload types."""
    return next((c for c in capabilities["codecs"] if _is_rtx(c) and c["parameters"].get("apt") == payload_type), None)


def _normalise_codec(codec: Json) -> None:
    if _kind_of(codec["mimeType"]) == "audio":
        codec.setdefault("channels", 1)
    else:
        codec.pop("channels", None)
    if "apt" in codec["parameters"] and type(codec["parameters"]["apt"]) is not int:
        raise InvalidRequest("bad_request", "apt is not a payload type")


def _codec(capability: Json, parameters: Json) -> Json:
    codec = {
        "mimeType": capability["mimeType"],
        "payloadType": capability["preferredPayloadType"],
        "clockRate": capability["clockRate"],
        "parameters": dict(parameters),
        "rtcpFeedback": copy.deepcopy(capability["rtcpFeedback"]),
    }
    if "channels" in capability:
        codec["channels"] = capability["channels"]
    return codec


def _match(a: Json, b: Json) -> bool:
    """Whether two codecs are the same, so that packets of one can be sent as the other."""
    mime_type = a["mimeType"].lower()
    if mime_type != b["mimeType"].lower() or a["clockRate"] != b["clockRate"]:
        return False
    if a.get("channels") != b.get("channels"):
        return False
    ours, theirs = a["parameters"], b["parameters"]
    if mime_type == "video/h264":
        # An absent mode is 0, as an absent profile-id is (RFC 6184, 8.1; RFC 9628, 6).
        mode = "packetization-mode"
        if (ours.get(mode) or 0) != (theirs.get(mode) or 0):
            return False
        profile = h264.profile(ours)
        return profile is not None and profile == h264.profile(theirs)
    if mime_type == "video/vp9":
        return bool((ours.get("profile-id") or 0) == (theirs.get("profile-id") or 0))
    return True


def _find(codec: Json, among: list[Json]) -> Json | None:
    return next((candidate for candidate in among if _match(codec, candidate)), None)


def _producers_own(codec: Json, capability: Json) -> Json:
    """The format parameters that receivers are told: the producer's, H264 with the level that both sides can."""
    parameters = dict(codec["parameters"])
    if codec["mimeType"].lower() == "video/h264":
        answer = h264.answer(parameters, capability["parameters"])
        if answer is not None:
            parameters["profile-level-id"] = answer
    return parameters


def _supported(codecs: list[Json], receiver_codecs: list[Json]) -> list[Json]:
    """Of a producer's consumable codecs those that the receiver has, with its feedback; repair only for these."""
    chosen: list[Json] = []
    kept: set[int] = set()
    for codec in codecs:
        if _is_rtx(codec) and codec["parameters"].get("apt") not in kept:
            continue
        capability = _find(codec, receiver_codecs)
        if capability is None:
            continue
        kept.add(codec["payloadType"])
        chosen.append({**copy.deepcopy(codec), "rtcpFeedback": copy.deepcopy(capability["rtcpFeedback"])})
    return chosen


# --- encodings and feedback ------------------------------------------------------------------------------------------


def _ssrcs(encodings: list[Json]) -> Iterable[int]:
    for encoding in encodings:
        if "ssrc" in encoding:
            yield encoding["ssrc"]
        if "rtx" in encoding:
            yield encoding["rtx"]["ssrc"]


def _unique(what: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise InvalidRequest("bad_request", f"{what} {value} is there twice")
        seen.add(value)


def _scalability_mode(encodings: list[Json]) -> str | None:
    """One mode for all layers: a simulcast of N layers, T temporal ones each, is received as LNTt."""
    mode: str | None = next(
        (encoding["scalabilityMode"] for encoding in encodings if "scalabilityMode" in encoding), None
    )
    if len(encodings) == 1:
        return mode
    found = _SCALABILITY.match(mode or "")
    return f"L{len(encodings)}T{int(found[2]) if found else 1}"


def _choose_congestion_control(codecs: list[Json], uris: set[str]) -> None:
    """Leave one bandwidth feedback: transport-wide where its extension is there, else REMB, else none."""
    if extension_uris.TRANSPORT_CC in uris:
        unwanted = {"goog-remb"}
    elif extension_uris.ABS_SEND_TIME in uris:
        unwanted = {"transport-cc"}
    else:
        unwanted = {"goog-remb", "transport-cc"}
    for codec in codecs:
        codec["rtcpFeedback"] = [entry for entry in codec["rtcpFeedback"] if entry["type"] not in unwanted]
