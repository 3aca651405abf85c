"""./bench joins measures what it says: a short run of it, and how it knows a whole key frame."""

from __future__ import annotations

import pytest

from benchmarks.joins import PEERS, KeyFrame, limit, measure
from benchmarks.media_source import Source


def camera() -> Source:
    return Source(video_type=96, audio_type=111, mid_id=1, video_mid="0", audio_mid="1")


def test_a_key_frame_is_whole_with_its_last_packet() -> None:
    packets = camera().next_frame()
    assert len(packets) > 2
    picture = KeyFrame()
    assert [picture.is_whole_with(packet) for packet in packets] == [False] * (len(packets) - 1) + [True]


def test_a_key_frame_with_a_packet_missing_is_never_whole() -> None:
    packets = camera().next_frame()
    for missing in range(len(packets)):
        picture = KeyFrame()
        assert not any(picture.is_whole_with(packet) for packet in packets[:missing] + packets[missing + 1 :])


def test_frames_that_need_another_are_no_picture() -> None:
    source, picture = camera(), KeyFrame()
    source.next_frame()
    assert not any(picture.is_whole_with(packet) for _ in range(5) for packet in source.next_frame())


def test_a_key_frame_asked_for_comes_at_once_but_not_more_often_than_the_encoder_makes_them() -> None:
    source = camera()
    source.next_frame()
    source.ask_for_key_frame()
    source.next_frame()
    assert source.key_frames == 2
    source.key_frames_apart = 3600.0
    source.ask_for_key_frame()
    source.next_frame()
    assert source.key_frames == 2


def test_whose_core_was_busy_is_told() -> None:
    quiet = {"server_percent": 20.0, "generator_percent": 30.0, "others_percent": 1.0}
    assert limit(quiet) == "no core"
    assert limit(quiet | {"others_percent": 60.0}) == "other processes"
    assert limit(quiet | {"server_percent": 95.0}) == "server's core"
    assert limit(quiet | {"server_percent": 90.0, "generator_percent": 95.0}) == "generator's core"


@pytest.mark.service
def test_all_who_join_at_once_are_connected_and_then_see_a_picture() -> None:
    row = measure(PEERS["lectern"], count=4, processes=2)
    assert row["failed"] == 0
    assert 0 < row["ready_p50_ms"] <= row["p50_ms"] <= row["p99_ms"]
    assert row["key_frames"] >= 1
