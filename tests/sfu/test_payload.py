"""Key frames, told by a packet's first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.core.payload import is_keyframe

VP8 = {
    "bare descriptor": (b"\x10\x00", True),
    "seven-bit picture id": (b"\x90\x80\x05\x00", True),
    "fifteen-bit picture id": (b"\x90\x80\x81\x05\x00", True),
    "picture id, tl0picidx, tid and keyidx": (b"\x90\xf0\x81\x05\x09\x20\x00", True),
    "tid alone": (b"\x90\x20\x40\x00", True),
    "keyidx and tid share a byte": (b"\x90\x30\x40\x00\x01", True),
    "inter frame": (b"\x10\x01", False),
    "inter frame with everything": (b"\x90\xf0\x81\x05\x09\x20\x01", False),
    "continuation": (b"\x00\x00", False),
    "second partition": (b"\x11\x00", False),
    "nothing after the descriptor": (b"\x10", False),
    "no extension byte": (b"\x90", False),
    "no picture id": (b"\x90\x80", False),
    "ends in the picture id": (b"\x90\x80\x81\x05", False),
    "empty": (b"", False),
}
H264 = {
    "sequence parameter set": (b"\x67\x42", True),
    "aggregate that begins with one": (b"\x18\x00\x02\x67\x42\x00\x02\x68\xce", True),
    "aggregate with one after a delimiter": (b"\x18\x00\x02\x09\x10\x00\x02\x67\x42", True),
    "fragment that begins one": (b"\x7c\x87", True),
    "fragment in the middle of one": (b"\x7c\x07", False),
    "fragment that begins another unit": (b"\x7c\x81", False),
    "slice": (b"\x61\x9a", False),
    "aggregate with one at its end": (b"\x18\x00\x02\x68\xce\x00\x02\x67\x42", True),
    "aggregate of another kind in front of one": (b"\x18\x00\x02\x06\x05\x00\x02\x27\x42", True),
    "slice of a key frame, whose parameters came before": (b"\x65\x88", False),
    "aggregate without one": (b"\x18\x00\x02\x61\x9a", False),
    "aggregate whose size overruns": (b"\x18\xff\xff\x61", False),
    "aggregate of sizes zero": (b"\x18" + b"\x00\x00" * 20, False),
    "fragment of one byte": (b"\x7c", False),
    "empty": (b"", False),
}
VP9 = {
    "first packet of a key frame": (b"\x88\x05\x82", True),
    "inter picture": (b"\xc8\x05\x82", False),
    "continuation": (b"\x80\x05\x82", False),
    "key picture's second layer": (b"\xa8\x05\x03\x00\x82", False),
    "nothing after the descriptor": (b"\x88\x05", False),
    "empty": (b"", False),
}
# Elements: 0x0A a sequence header with a size field, 0x08 without; 0x30 a frame, 0x18 a frame header, 0x10 a delimiter.
AV1 = {
    "sequence header and key frame": (b"\x20\x02\x08\x00\x30\x10", True),
    "the same, marked as a new sequence": (b"\x28\x02\x08\x00\x30\x10", True),
    "each element with its length": (b"\x00\x02\x08\x00\x02\x30\x10", True),
    "the frame goes on in the next packet": (b"\x60\x02\x08\x00\x30\x10", True),
    "after a delimiter": (b"\x30\x01\x10\x02\x08\x00\x30\x10", True),
    "sequence header alone": (b"\x10\x08\x00", True),
    "elements with sizes of their own": (b"\x20\x03\x0a\x01\x00\x32\x01\x10", True),
    "frame header in a layer": (b"\x20\x02\x08\x00\x1c\x08\x10", True),
    "sequence header and inter frame": (b"\x20\x02\x08\x00\x30\x30", False),
    "sequence header and a frame shown again": (b"\x20\x02\x08\x00\x18\x80", False),
    "inter frame": (b"\x10\x30\x30", False),
    "key frame without a sequence header": (b"\x10\x30\x10", False),
    "continuation": (b"\x90\x08\x00", False),
    "frame cut off after its head": (b"\x20\x02\x08\x00\x30", False),
    "element whose length overruns": (b"\x00\x7f\x10\x08", False),
    "length that does not end": (b"\x00\xff\xff\xff\xff\xff\xff\xff", False),
    "elements of length zero": (b"\x00" + bytes(40), False),
    "aggregation header alone": (b"\x10", False),
    "empty": (b"", False),
}


@pytest.mark.parametrize(("payload", "expected"), VP8.values(), ids=VP8.keys())
def test_vp8(payload, expected):
    assert is_keyframe("video/VP8", payload, 0, len(payload)) is expected


@pytest.mark.parametrize(("payload", "expected"), H264.values(), ids=H264.keys())
def test_h264(payload, expected):
    assert is_keyframe("video/H264", payload, 0, len(payload)) is expected


@pytest.mark.parametrize(("payload", "expected"), VP9.values(), ids=VP9.keys())
def test_vp9(payload, expected):
    assert is_keyframe("video/VP9", payload, 0, len(payload)) is expected


@pytest.mark.parametrize(("payload", "expected"), AV1.values(), ids=AV1.keys())
def test_av1(payload, expected):
    assert is_keyframe("video/AV1", payload, 0, len(payload)) is expected


def test_a_key_frame_is_found_at_its_offset_and_not_beyond_its_end():
    data = bytearray(b"\xff" * 12 + b"\x10\x00" + b"\xff")
    assert is_keyframe("video/vp8", data, 12, 14)
    assert not is_keyframe("video/vp8", data, 12, 13)


def test_a_codec_that_is_not_known_has_no_key_frames():
    assert not is_keyframe("video/H265", b"\x10\x00", 0, 2)
    assert not is_keyframe("audio/opus", b"\x10\x00", 0, 2)


@given(
    st.sampled_from(["video/VP8", "video/H264", "video/VP9", "video/AV1"]),
    st.binary(max_size=60),
    st.integers(-5, 70),
    st.integers(-5, 70),
)
def test_arbitrary_bytes_never_raise(mime_type, data, offset, end):
    for buffer in (data, bytearray(data), memoryview(data)):
        assert is_keyframe(mime_type, buffer, offset, end) in (True, False)
