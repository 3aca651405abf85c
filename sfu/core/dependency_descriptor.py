"""The dependency descriptor: which frames a receiver of some layers needs, told outside of the payload.

AV1 needs it, any codec may have it, and it stays readable where the payload is encrypted end to end (RTP payload format
for AV1, appendix A). A key frame's first packet brings the structure: templates of frames, and the decode targets (one
for each quality that can be received). All other packets name a template, and in three bytes say everything.
"""

from __future__ import annotations

from sfu.core.errors import ParseError
from sfu.core.rtp import Buffer

# What a frame is to a decode target (table A.1).
NOT_PRESENT = 0
DISCARDABLE = 1  # nothing in the target refers to it
SWITCH = 2  # whoever has it can go on with all of the target that follows
REQUIRED = 3

SHORT = 3  # bytes of a descriptor that only names its template
MAX_LENGTH = 255  # bytes: what a two-byte header extension holds
MAX_TEMPLATES = 64  # as many as template ids
MAX_SPATIAL_ID = 3  # AV1 has no more
MAX_TEMPORAL_ID = 7
MAX_REFERENCES = 8  # frames that one refers to; AV1 keeps no more
RECENT = 512  # frames: a structure from that far back at most came late; further, and the sender counts anew


class Template:
    """What frames of one kind have in common."""

    __slots__ = ("chain_diffs", "dtis", "frame_diffs", "spatial_id", "temporal_id")

    def __init__(self, spatial_id: int, temporal_id: int) -> None:
        self.spatial_id = spatial_id
        self.temporal_id = temporal_id
        self.dtis: tuple[int, ...] = ()  # for each decode target
        self.frame_diffs: tuple[int, ...] = ()  # how many frames back those are that it refers to
        self.chain_diffs: tuple[int, ...] = ()  # for each chain, how many frames back its last one is; 0: it begins


class Structure:
    """What a key frame says of all frames that follow it."""

    __slots__ = (
        "chains",
        "decode_targets",
        "protected_by",
        "resolutions",
        "target_layers",
        "template_offset",
        "templates",
    )

    def __init__(self) -> None:
        self.template_offset = 0
        self.templates: list[Template] = []
        self.decode_targets = 0
        self.chains = 0
        self.protected_by: tuple[int, ...] = ()  # for each decode target its chain; empty without chains
        self.resolutions: tuple[tuple[int, int], ...] = ()  # (width, height) of each spatial layer, if told
        # For each decode target its highest spatial and temporal id.
        self.target_layers: tuple[tuple[int, int], ...] = ()

    def best_target(self, spatial_id: int, temporal_id: int, active: int) -> int | None:
        """Of the `active` decode targets (a bit each) the best one with no higher layers than these, if there is one.

        A larger picture is better than a smoother one.
        """
        best, best_layers = None, (-1, -1)
        for target, layers in enumerate(self.target_layers):
            if active >> target & 1 and layers[0] <= spatial_id and layers[1] <= temporal_id and layers > best_layers:
                best, best_layers = target, layers
        return best


class DependencyDescriptor:
    """What one packet says of its frame."""

    __slots__ = (
        "active",
        "chain_diffs",
        "dtis",
        "first_in_frame",
        "frame_diffs",
        "frame_number",
        "key_frame",
        "last_in_frame",
        "spatial_id",
        "structure",
        "temporal_id",
    )

    first_in_frame: bool
    last_in_frame: bool
    frame_number: int  # 16 bits, in decoding order; each layer of a picture is a frame of its own
    spatial_id: int
    temporal_id: int
    dtis: tuple[int, ...]
    frame_diffs: tuple[int, ...]
    chain_diffs: tuple[int, ...]
    structure: Structure
    active: int  # the decode targets that the sender is producing, a bit each
    key_frame: bool  # the structure is attached: this packet begins a key frame

    # The payload has no numbers that would have to be written anew.
    picture_id = tl0_picture_index = None
    picture_id_at = tl0_picture_index_at = 0

    @property
    def begins_picture(self) -> bool:
        return self.first_in_frame and self.spatial_id == 0

    @property
    def ends_layer(self) -> bool:
        return self.last_in_frame

    def lets_up(self, spatial: int, before: int, after: int) -> bool:
        target = self.structure.best_target(spatial, after, self.active)
        return target is not None and self.temporal_id <= before and self.can_switch_to(target)

    def needed_for(self, target: int) -> bool:
        return self.dtis[target] != NOT_PRESENT

    def discardable_for(self, target: int) -> bool:
        return self.dtis[target] == DISCARDABLE

    def can_switch_to(self, target: int) -> bool:
        """Whether a receiver who can decode this frame can decode all of `target` from here on."""
        return self.dtis[target] == SWITCH

    def previous_in_chain(self, target: int) -> int | None:
        """The number of the frame that must have arrived, or `target` is broken.

        None: its chain begins with this frame, or it has none.
        """
        structure = self.structure
        if not structure.chains:
            return None
        diff = self.chain_diffs[structure.protected_by[target]]
        return self.frame_number - diff & 0xFFFF if diff else None


class DependencyDescriptors:
    """Reads the descriptors of one RTP stream, since most of them only name a template of an earlier one."""

    __slots__ = ("_active", "_active_since", "_structure", "_structure_since")

    def __init__(self) -> None:
        self._structure: Structure | None = None
        self._structure_since = 0  # the frame that brought it
        self._active = 0
        self._active_since = 0

    @property
    def structure(self) -> Structure | None:
        """None until a key frame brought one."""
        return self._structure

    def parse(self, data: Buffer, offset: int, length: int) -> DependencyDescriptor:
        """The descriptor in `length` bytes of `data`.

        Raises ParseError for what is malformed, and for a template that is not known: its key frame was lost, or is on
        its way. Nothing is remembered of a descriptor that is refused.
        """
        if length < SHORT or offset < 0 or offset + length > len(data):
            raise ParseError("dependency descriptor is shorter than three bytes")
        first = data[offset]
        found = DependencyDescriptor()
        found.first_in_frame = first & 0x80 != 0
        found.last_in_frame = first & 0x40 != 0
        found.frame_number = data[offset + 1] << 8 | data[offset + 2]
        if length > SHORT:
            return self._extended(found, first & 0x3F, data, offset, length)
        structure = self._structure
        if structure is None:
            raise ParseError("dependency descriptor without a structure")
        index = (first - structure.template_offset) & 0x3F
        if index >= len(structure.templates):
            raise ParseError("dependency descriptor of an unknown template")
        template = structure.templates[index]
        found.spatial_id = template.spatial_id
        found.temporal_id = template.temporal_id
        found.dtis = template.dtis
        found.frame_diffs = template.frame_diffs
        found.chain_diffs = template.chain_diffs
        found.structure = structure
        found.active = self._active
        found.key_frame = False
        return found

    def _extended(
        self, found: DependencyDescriptor, template_id: int, data: Buffer, offset: int, length: int
    ) -> DependencyDescriptor:
        if length > MAX_LENGTH:
            raise ParseError("dependency descriptor is longer than a header extension")
        bits = _Bits(data, offset + SHORT, length - SHORT)
        flags = bits.read(5)
        found.key_frame = flags & 0x10 != 0
        structure = _read_structure(bits) if found.key_frame else self._structure
        if structure is None:
            raise ParseError("dependency descriptor without a structure")
        active = (1 << structure.decode_targets) - 1 if found.key_frame else self._active
        if flags & 0x08:
            active = bits.read(structure.decode_targets)
        index = (template_id - structure.template_offset) & 0x3F
        if index >= len(structure.templates):
            raise ParseError("dependency descriptor of an unknown template")
        template = structure.templates[index]
        found.spatial_id = template.spatial_id
        found.temporal_id = template.temporal_id
        found.dtis = _read_dtis(bits, structure) if flags & 0x04 else template.dtis
        found.frame_diffs = _read_frame_diffs(bits) if flags & 0x02 else template.frame_diffs
        found.chain_diffs = bits.read_row(structure.chains, 8) if flags & 0x01 else template.chain_diffs
        found.structure = structure
        found.active = active
        # What overtook a newer key frame is read by its own structure, and must not replace the newer one.
        if found.key_frame and (self._structure is None or not _late(found.frame_number, self._structure_since)):
            self._structure, self._structure_since = structure, found.frame_number
            self._active, self._active_since = active, found.frame_number
        elif flags & 0x08 and structure is self._structure and not _late(found.frame_number, self._active_since):
            self._active, self._active_since = active, found.frame_number
        return found


def _late(frame_number: int, than: int) -> bool:
    return 0 < (than - frame_number & 0xFFFF) <= RECENT


class _Bits:
    """A run of bits, read from the first on."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: Buffer, offset: int, length: int) -> None:
        self._value = int.from_bytes(data[offset : offset + length], "big")
        self._left = 8 * length

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ParseError("dependency descriptor is truncated")
        return self._value >> self._left & (1 << count) - 1

    def read_row(self, count: int, width: int) -> tuple[int, ...]:
        """`count` numbers of `width` bits."""
        row, mask = self.read(count * width), (1 << width) - 1
        return tuple([row >> shift & mask for shift in range((count - 1) * width, -1, -width)])

    def read_one_of(self, values: int) -> int:
        """A number below `values`, in one bit less where that is enough: ns(n) of the specification."""
        width = values.bit_length()
        shorter = (1 << width) - values
        value = self.read(width - 1)
        return value if value < shorter else (value << 1) - shorter + self.read(1)


def _read_structure(bits: _Bits) -> Structure:
    structure = Structure()
    structure.template_offset = bits.read(6)
    structure.decode_targets = bits.read(5) + 1
    templates = structure.templates = _read_layers(bits)
    for template in templates:
        template.dtis = _read_dtis(bits, structure)
    for template in templates:
        diffs = []
        while bits.read(1):
            diffs.append(bits.read(4) + 1)
            if len(diffs) > MAX_REFERENCES:
                raise ParseError("dependency descriptor template refers to too many frames")
        template.frame_diffs = tuple(diffs)
    structure.chains = bits.read_one_of(structure.decode_targets + 1)
    if structure.chains:
        structure.protected_by = tuple(bits.read_one_of(structure.chains) for _ in range(structure.decode_targets))
        for template in templates:
            template.chain_diffs = bits.read_row(structure.chains, 4)
    if bits.read(1):
        structure.resolutions = tuple(
            (bits.read(16) + 1, bits.read(16) + 1) for _ in range(templates[-1].spatial_id + 1)
        )
    structure.target_layers = tuple(_layers_of(target, templates) for target in range(structure.decode_targets))
    return structure


def _layers_of(target: int, templates: list[Template]) -> tuple[int, int]:
    members = [template for template in templates if template.dtis[target] != NOT_PRESENT]
    spatial_id = max((template.spatial_id for template in members), default=0)
    return spatial_id, max((template.temporal_id for template in members), default=0)


def _read_layers(bits: _Bits) -> list[Template]:
    spatial_id = temporal_id = 0
    templates = [Template(0, 0)]
    while (following := bits.read(2)) != 3:
        if following == 1:
            temporal_id += 1
        elif following == 2:
            spatial_id, temporal_id = spatial_id + 1, 0
        if len(templates) == MAX_TEMPLATES or spatial_id > MAX_SPATIAL_ID or temporal_id > MAX_TEMPORAL_ID:
            raise ParseError("dependency descriptor of too many layers")
        templates.append(Template(spatial_id, temporal_id))
    return templates


def _read_dtis(bits: _Bits, structure: Structure) -> tuple[int, ...]:
    return bits.read_row(structure.decode_targets, 2)


def _read_frame_diffs(bits: _Bits) -> tuple[int, ...]:
    diffs: list[int] = []
    while size := bits.read(2):
        diffs.append(bits.read(4 * size) + 1)
        if len(diffs) > MAX_REFERENCES:
            raise ParseError("frame refers to too many frames")
    return tuple(diffs)
