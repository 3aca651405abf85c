"""The shapes of mediasoup's RTP parameters and capabilities, with limits: they come from whoever holds a browser.

Only the fields we use are kept; browsers add others. The result is JSON again, normalised: every list and the fields
with a default are there, what was not given is absent.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from sfu.protocol import InvalidRequest, Json

MAX_CODECS = 64  # a browser offers about 50, the repair formats of each codec included
MAX_EXTENSIONS = 64  # about 25
MAX_ENCODINGS = 4  # browsers send three layers at most

MimeType = Annotated[str, Meta(pattern=r"^(?i:audio|video)/[A-Za-z0-9._+-]{1,60}\Z")]
PayloadType = Annotated[int, Meta(ge=0, le=127)]
Ssrc = Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
Uri = Annotated[str, Meta(min_length=1, max_length=256)]
ExtensionId = Annotated[int, Meta(ge=1, le=255)]
ClockRate = Annotated[int, Meta(ge=1, le=1_000_000)]
Channels = Annotated[int, Meta(ge=1, le=32)]
# What a producer says of its codec stands in the SDP that its receivers' browsers build: no line ends in it.
Value = Annotated[str, Meta(pattern=r"^[ -~]{0,256}\Z")] | int | float
Values = Annotated[dict[Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")], Value], Meta(max_length=64)]
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]


class Part(Struct, rename="camel"):
    pass


class RtcpFeedback(Part):
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    parameter: Annotated[str, Meta(max_length=64)] = ""


class CodecParameters(Part):
    mime_type: MimeType
    payload_type: PayloadType
    clock_rate: ClockRate
    channels: Channels | UnsetType = UNSET
    parameters: Values = {}
    rtcp_feedback: Annotated[list[RtcpFeedback], Meta(max_length=32)] = []


class HeaderExtensionParameters(Part):
    uri: Uri
    id: ExtensionId
    encrypt: bool = False
    parameters: Values = {}


class RtxParameters(Part):
    ssrc: Ssrc


class EncodingParameters(Part):
    ssrc: Ssrc | UnsetType = UNSET
    rid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,16}\Z")] | UnsetType = UNSET
    rtx: RtxParameters | UnsetType = UNSET
    dtx: bool = False
    scalability_mode: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,16}\Z")] | UnsetType = UNSET
    max_bitrate: Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)] | UnsetType = UNSET


class RtcpParameters(Part):
    cname: Annotated[str, Meta(pattern=r"^[!-~]{0,255}\Z")] | UnsetType = UNSET
    reduced_size: bool = True


class RtpParameters(Part, kw_only=True):
    mid: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    codecs: Annotated[list[CodecParameters], Meta(min_length=1, max_length=MAX_CODECS)]
    header_extensions: Annotated[list[HeaderExtensionParameters], Meta(max_length=MAX_EXTENSIONS)] = []
    encodings: Annotated[list[EncodingParameters], Meta(max_length=MAX_ENCODINGS)] = []
    rtcp: RtcpParameters = msgspec.field(default_factory=RtcpParameters)


class CodecCapability(Part):
    kind: Literal["audio", "video"]
    mime_type: MimeType
    preferred_payload_type: PayloadType
    clock_rate: ClockRate
    channels: Channels | UnsetType = UNSET
    parameters: Values = {}
    rtcp_feedback: Annotated[list[RtcpFeedback], Meta(max_length=32)] = []


class HeaderExtension(Part):
    kind: Literal["audio", "video"]
    uri: Uri
    preferred_id: ExtensionId
    preferred_encrypt: bool = False
    direction: Direction = "sendrecv"


class RtpCapabilities(Part):
    codecs: Annotated[list[CodecCapability], Meta(max_length=MAX_CODECS)] = []
    header_extensions: Annotated[list[HeaderExtension], Meta(max_length=MAX_EXTENSIONS)] = []


AnyPart = TypeVar("AnyPart", bound=Part)


def read(json: object, shape: type[AnyPart]) -> AnyPart:
    """JSON into its shape. Raises InvalidRequest("bad_request") with the place and the fault."""
    try:
        return msgspec.convert(json, shape)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidRequest("bad_request", str(error)) from error


def write(part: Part) -> Json:
    json: Json = msgspec.to_builtins(part)
    return json
