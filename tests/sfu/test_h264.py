"""H264's profile-level-id: which codecs are the same, and the level that both sides can."""

import pytest

from sfu.core import h264


@pytest.mark.parametrize(
    ("profile_level_id", "profile"),
    [
        ("42e01f", "constrained baseline"),
        ("42E034", "constrained baseline"),
        ("4d801f", "constrained baseline"),
        ("58c01f", "constrained baseline"),
        ("42001f", "baseline"),
        (420029, "baseline"),
        ("4d001f", "main"),
        (640032, "high"),
        ("640c1f", "constrained high"),
        ("f4001f", "high 4:4:4 predictive"),
        ("", "constrained baseline"),
        (None, "constrained baseline"),
        ("42e0", None),
        ("42e0 1", None),
        ("12e01f", None),
        ("42e000", None),
        ("42e03c", None),
    ],
)
def test_a_profile_has_a_name(profile_level_id, profile):
    assert h264.profile({"profile-level-id": profile_level_id}) == profile


def test_an_absent_profile_is_what_browsers_take_it_for():
    assert h264.profile({}) == "constrained baseline"


@pytest.mark.parametrize(
    ("own", "other", "asymmetric", "answer"),
    [
        ("42e034", "42e01f", (1, 1), "42e034"),
        ("42e034", "42e01f", (1, "1"), "42e034"),
        ("42e034", "42e01f", (1, 0), "42e01f"),
        ("42e034", "42e01f", (0, 1), "42e01f"),
        ("42e00d", "42e01f", (None, None), "42e00d"),
        ("4D801F", "42e01f", (1, 1), "42e01f"),
        ("42d00b", "42e01f", (0, 0), "42f00b"),
        ("42f00b", "42e00b", (0, 0), "42f00b"),
        ("42f00b", "42e00a", (0, 0), "42e00a"),
        (None, "42e034", (0, 0), "42e01f"),
        (None, None, (0, 0), None),
    ],
)
def test_the_level_is_the_own_one_unless_the_other_side_wants_the_same(own, other, asymmetric, answer):
    def parameters(profile_level_id, allowed):
        return {"profile-level-id": profile_level_id, "level-asymmetry-allowed": allowed}

    assert h264.answer(parameters(own, asymmetric[0]), parameters(other, asymmetric[1])) == answer
