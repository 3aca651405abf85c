"""Each browser sends in each codec that it has, and both receive it; layers go up and down without a freeze."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.studio import Studio, Watched, running_studio
from tests.lectern import wait_until

SMALL = {"width": 320, "height": 180, "fps": 15}  # several are encoded at once, on two cores, in software
LONGEST_FREEZE = 300  # ms

CODECS: dict[str, dict[str, list[dict[str, Any]]]] = {
    # what a browser of each kind has to have, and in which layers it sends
    "chromium": {
        "video/vp8": [{"rid": "q", "scaleResolutionDownBy": 2}, {"rid": "h"}],
        "video/h264": [{"rid": "q", "scaleResolutionDownBy": 2}, {"rid": "h"}],
        "video/vp9": [{"scalabilityMode": "L2T3_KEY"}],
        "video/av1": [{"scalabilityMode": "L1T3"}],
    },
    "firefox": {
        "video/vp8": [{"rid": "q", "scaleResolutionDownBy": 2}, {"rid": "h"}],
        "video/vp9": [{}],
        "video/av1": [{}],
    },
}


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with running_studio() as running:
        yield running


def decoded(streams: dict[str, Watched], seconds: float) -> dict[str, tuple[int, int]]:
    """Of each stream how many frames were decoded, and how often it froze, in so many seconds."""
    before = {name: stream.stats() for name, stream in streams.items()}
    next(iter(streams.values())).guest.page.wait_for_timeout(seconds * 1000)
    after = {name: stream.stats() for name, stream in streams.items()}
    return {
        name: tuple(after[name].get(key, 0) - before[name].get(key, 0) for key in ("framesDecoded", "freezeCount"))
        for name in streams
    }


def watch_all(studio: Studio, sender: str, browsers: dict[str, Browser], seconds: float) -> None:
    guest = studio.visit(browsers[sender])
    offered = [codec for codec in CODECS[sender] if codec in guest.codecs]
    assert {"video/vp8", "video/vp9"} <= set(offered)
    viewers = {name: studio.visit(browser) for name, browser in browsers.items()}
    streams: dict[str, Watched] = {}
    for codec in offered:
        producer = guest.produce(codec, CODECS[sender][codec], **SMALL)
        for name, viewer in viewers.items():
            if codec in viewer.receivable:
                streams[f"{codec} in {name}"] = viewer.consume(producer)
    for what, stream in streams.items():
        found = stream.wait_for(what, lambda stats: stats.get("framesDecoded", 0) > 10)
        assert what.startswith(found["mimeType"].lower())

    def flow() -> bool:
        counts = decoded(streams, seconds)
        # Firefox draws a canvas ten times a second where it is asked for fifteen.
        return all(frames >= 7 * seconds and not freezes for frames, freezes in counts.values())

    # On a machine that does other work too, a picture may stand still once.
    wait_until(flow, within=max(60, 2.5 * seconds), what=f"all pictures of {sender} flowing for {seconds} s")
    for each in (guest, *viewers.values()):
        each.leave()


@pytest.mark.parametrize("sender", ["chromium", "firefox"])
def test_both_browsers_receive_every_codec_that_one_sends(
    studio: Studio, chromium: Browser, firefox: Browser, sender: str
) -> None:
    watch_all(studio, sender, {"chromium": chromium, "firefox": firefox}, 5.0)


@pytest.mark.nightly
@pytest.mark.parametrize("sender", ["chromium", "firefox"])
def test_for_a_minute_none_of_them_freezes(studio: Studio, chromium: Browser, firefox: Browser, sender: str) -> None:
    watch_all(studio, sender, {"chromium": chromium, "firefox": firefox}, 60.0)


@pytest.mark.parametrize(
    ("codec", "encodings", "type"),
    [
        (
            "video/vp8",
            [
                {"rid": "q", "scaleResolutionDownBy": 2, "scalabilityMode": "L1T3", "maxBitrate": 150_000},
                {"rid": "h", "scalabilityMode": "L1T3", "maxBitrate": 400_000},
            ],
            "simulcast",
        ),
        ("video/vp9", [{"scalabilityMode": "L2T3_KEY", "maxBitrate": 500_000}], "svc"),
    ],
)
def test_layers_go_up_and_down_without_a_freeze(
    studio: Studio, chromium: Browser, codec: str, encodings: list[dict[str, Any]], type: str
) -> None:
    sender, viewer = studio.visit(chromium), studio.visit(chromium)
    watched = viewer.consume(sender.produce(codec, encodings, width=640, height=360, fps=20))
    assert watched.type == type
    watched.wait_for("the larger picture", lambda stats: stats.get("frameHeight") == 360)
    wait_until(
        lambda: all(layer.temporal_layers == 3 for layer in watched.consumer.producer.layers),
        within=10,
        what="three temporal layers in each size",
    )

    def switch() -> bool:
        """Down in size and in rate, and up again; whether nothing stood still. Another's load may, once."""
        watched.forget_gaps()
        watched.prefer(width=320, height=180)
        watched.wait_for("the smaller picture", lambda stats: stats["frameHeight"] == 180)
        watched.prefer(width=640, height=360)
        watched.wait_for("the larger picture", lambda stats: stats["frameHeight"] == 360)
        viewer.page.wait_for_timeout(500)
        return watched.longest_gap() <= LONGEST_FREEZE

    wait_until(switch, within=40, what=f"a switch within {LONGEST_FREEZE} ms")

    watched.prefer(width=640, height=360, temporal=0)
    wait_until(lambda: watched.rung == (1, 0), within=5, what="a quarter of the frames")
    [[few, _]] = decoded({"": watched}, 2).values()
    assert 0 < few <= 16
    watched.prefer(width=640, height=360)
    wait_until(lambda: watched.rung == (1, 7), within=10, what="all frames again")
    assert watched.stats()["pliCount"] == 0, "the decoder lacked nothing"
    for each in (sender, viewer):
        each.leave()
