"""What a real browser sent, read by our parsers: two descriptions of one packet must say the same."""

import pytest

from sfu.core.dependency_descriptor import DependencyDescriptor, DependencyDescriptors
from sfu.core.payload import is_keyframe
from sfu.core.vp9 import Vp9Descriptor, parse_vp9
from tests.sfu.captured import AV1_L1T3, AV1_L3T3, H264, VP9_L2T3, VP9_L3T3_KEY, Packet


def described(packets: list[Packet]) -> list[DependencyDescriptor]:
    reader = DependencyDescriptors()
    values = [bytes.fromhex(packet.dependency_descriptor) for packet in packets]
    return [reader.parse(value, 0, len(value)) for value in values]


def vp9(packets: list[Packet]) -> list[Vp9Descriptor]:
    payloads = [bytes.fromhex(packet.payload) for packet in packets]
    return [parse_vp9(payload, 0, len(payload)) for payload in payloads]


def begins_key_frame(mime_type: str, packet: Packet) -> bool:
    payload = bytes.fromhex(packet.payload)
    return is_keyframe(mime_type, payload, 0, len(payload))


@pytest.mark.parametrize("packets", [VP9_L3T3_KEY, VP9_L2T3])
def test_vp9s_own_descriptor_and_the_dependency_descriptor_agree(packets):
    for packet, inside, outside in zip(packets, vp9(packets), described(packets), strict=True):
        assert (inside.spatial_id, inside.temporal_id) == (outside.spatial_id, outside.temporal_id)
        assert (inside.begins_frame, inside.ends_frame) == (outside.first_in_frame, outside.last_in_frame)
        assert inside.key_frame == outside.key_frame == begins_key_frame("video/VP9", packet)
        assert inside.length == len(bytes.fromhex(packet.payload)) - 1


def test_vp9s_references_and_the_dependency_descriptors_are_the_same_frames():
    """One counts pictures, the other frames; with one spatial layer these are the same."""
    alone = VP9_L2T3[:12]
    assert [inside.references for inside in vp9(alone)] == [outside.frame_diffs for outside in described(alone)]


def test_a_key_frame_tells_the_layers_and_their_sizes():
    inside = [found for found in vp9(VP9_L3T3_KEY) if found.resolutions]
    assert [found.spatial_layers for found in inside] == [1, 3]
    sizes = ((320, 180), (640, 360), (1280, 720))
    assert inside[1].resolutions == sizes
    structure = described(VP9_L3T3_KEY)[0].structure
    assert structure.resolutions == sizes
    assert structure.target_layers == tuple((spatial, temporal) for spatial in range(3) for temporal in range(3))
    assert (structure.chains, structure.protected_by) == (3, (0, 0, 0, 1, 1, 1, 2, 2, 2))


def test_layers_that_are_not_produced_yet_are_not_active():
    active = [found.active for found in described(VP9_L3T3_KEY)]
    assert active == [0b111] * 7 + [0b111_111_111] * (len(active) - 7)
    assert described(VP9_L3T3_KEY)[0].structure.best_target(2, 2, 0b111) == 2
    assert described(AV1_L3T3)[0].active == 0b111_111


def test_a_layer_that_begins_without_a_key_frame_is_seen_by_both():
    inside, outside = vp9(VP9_L2T3), described(VP9_L2T3)
    first = next(index for index, found in enumerate(inside) if found.spatial_id == 1)
    assert (inside[first].inter_picture, inside[first].inter_layer, inside[first].key_frame) == (False, True, False)
    assert [outside[first].can_switch_to(target) for target in range(6)] == [False] * 3 + [True] * 3
    assert outside[first].chain_diffs == (1, 1)
    assert outside[first - 1].active == 0b111_111


def test_each_chain_leads_back_to_a_frame_that_was_sent():
    for packets in (VP9_L3T3_KEY, VP9_L2T3, AV1_L3T3, AV1_L1T3):
        sent: set[int] = set()
        for found in described(packets):
            sent.add(found.frame_number)
            targets = range(found.structure.decode_targets)
            for target in (target for target in targets if found.active >> target & 1):
                assert found.previous_in_chain(target) in {None, *sent}
            assert {found.frame_number - diff for diff in found.frame_diffs} <= sent


@pytest.mark.parametrize("packets", [AV1_L3T3, AV1_L1T3])
def test_av1_key_frames_are_told_by_the_payload_as_by_the_dependency_descriptor(packets):
    found = [begins_key_frame("video/AV1", packet) for packet in packets]
    assert found == [descriptor.key_frame for descriptor in described(packets)]
    assert found == [True] + [False] * (len(packets) - 1)


def test_temporal_layers_of_av1():
    assert [found.temporal_id for found in described(AV1_L1T3) if found.first_in_frame] == [0, 2, 1, 2, 0]


def test_the_marker_ends_the_picture_not_the_layer():
    for packets in (VP9_L3T3_KEY, VP9_L2T3, AV1_L3T3):
        for packet, found in zip(packets, described(packets), strict=True):
            assert not packet.marker or found.last_in_frame


def test_h264_key_frames_begin_with_their_parameters():
    assert [begins_key_frame("video/H264", packet) for packet in H264] == [True] + [False] * (len(H264) - 1)
