"""What a video packet says of itself, codec by codec: its layer, whether a key frame begins, how large pictures are."""

from __future__ import annotations

from collections.abc import Sequence

from sfu.core.dependency_descriptor import DependencyDescriptors
from sfu.core.descriptor import Descriptor
from sfu.core.errors import ParseError
from sfu.core.layers import Layer
from sfu.core.payload import is_keyframe
from sfu.core.rtp import Buffer, RtpHeader
from sfu.core.vp8 import key_frame_size, parse_vp8
from sfu.core.vp9 import parse_vp9

Read = tuple[Descriptor | None, bool]  # and whether it begins a key frame


class Reader:
    """Of one incoming stream. This one knows nothing of layers: H264, and AV1 of a sender who does not tell them."""

    def __init__(self, mime_type: str) -> None:
        self.mime_type = mime_type

    def read(self, data: Buffer, header: RtpHeader, layers: Sequence[Layer]) -> Read:
        return None, is_keyframe(self.mime_type, data, header.payload_offset, header.payload_end)


class Vp8Reader(Reader):
    def read(self, data: Buffer, header: RtpHeader, layers: Sequence[Layer]) -> Read:
        found = parse_vp8(data, header.payload_offset, header.payload_end)
        if found is None:
            return None, False
        if found.key_frame:
            layer = layers[0]
            layer.size = key_frame_size(data, header.payload_offset + found.frame_at, header.payload_end) or layer.size
        return found, found.key_frame


class Vp9Reader(Reader):
    def read(self, data: Buffer, header: RtpHeader, layers: Sequence[Layer]) -> Read:
        try:
            found = parse_vp9(data, header.payload_offset, header.payload_end)
        except ParseError:
            return None, False
        if found.resolutions:
            _tell_sizes(layers, found.resolutions)
        if not found.wide:
            found.picture_id = None  # 7 bits hold no number of another's: receivers get along with a leap
        return found, found.key_frame


class DependencyReader(Reader):
    """AV1 as browsers send it."""

    def __init__(self, mime_type: str, extension_id: int) -> None:
        super().__init__(mime_type)
        self._extension_id = extension_id
        self._descriptors = DependencyDescriptors()

    def read(self, data: Buffer, header: RtpHeader, layers: Sequence[Layer]) -> Read:
        place = header.extensions.get(self._extension_id)
        if place is None:
            return super().read(data, header, layers)
        try:
            found = self._descriptors.parse(data, *place)
        except ParseError:
            return None, False
        if found.key_frame and found.structure.resolutions:
            _tell_sizes(layers, found.structure.resolutions)
        return found, found.key_frame


def reader(mime_type: str, dependency_descriptor: int | None) -> Reader:
    """`dependency_descriptor`: the id of that header extension, if it was negotiated."""
    mime_type = mime_type.lower()
    if mime_type == "video/vp8":
        return Vp8Reader(mime_type)
    if mime_type == "video/vp9":
        return Vp9Reader(mime_type)
    if mime_type == "video/av1" and dependency_descriptor is not None:
        return DependencyReader(mime_type, dependency_descriptor)
    return Reader(mime_type)


def _tell_sizes(layers: Sequence[Layer], sizes: Sequence[tuple[int, int]]) -> None:
    """From the smallest; a stream of a simulcast tells of the only one that it is."""
    if len(layers) == 1:
        layers[0].size = sizes[-1]
        return
    for layer, size in zip(layers, sizes, strict=False):
        layer.size = size
