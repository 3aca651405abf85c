"""A stream is pushed to a real RTMP server, and pushed again when that was away."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from recordings.composing.composition import FPS, presentation
from recordings.live.job import Job
from recordings.live.push import Push
from tests.lectern import wait_until
from tests.recordings.live.conftest import Nothing, Streamed
from tests.recordings.live.nginx import Nginx
from tests.recordings.synthetic import read_bars

pytestmark = pytest.mark.service
KEY = "a-key-that-nobody-may-see"


def test_sound_may_come_after_the_pictures_of_its_second(tmp_path: Path, nginx: Nginx) -> None:
    """Without it FFmpeg would hold the pictures back, to have them in their order."""
    push = Push(Job(str(tmp_path), str(tmp_path / "out"), 0.0, ["360p"], nginx.url(KEY), push_private=True))
    assert not push.can_begin()
    stream = Nothing(tmp_path / "out")
    stream.show()
    assert not push.can_begin()
    stream.sound()
    stream.show()
    assert push.can_begin()
    nginx.start()
    push.connect()
    stream.sound()
    assert push.step()
    push.close()
    nginx.stop()
    (received,) = nginx.received()
    with av.open(str(received)) as container:
        frames = list(container.decode())
    assert sum(isinstance(frame, av.VideoFrame) for frame in frames) >= FPS - 1
    assert sum(isinstance(frame, av.AudioFrame) for frame in frames) > 20  # of 47 a second, but for the last part


@pytest.mark.timeout(120)
def test_rtmp_arrives_and_comes_again_when_the_server_was_away(
    streamed: Streamed, nginx: Nginx, capfd: pytest.CaptureFixture[str]
) -> None:
    process = streamed.start(push=nginx.url(KEY))
    push = streamed.out / "push"
    wait_until(lambda: push.exists() and push.read_text() == "retrying", within=30, what="that the server is away")
    nginx.start()
    streamed.start_class()
    wait_until(lambda: push.read_text() == "sending", within=30, what="the push")
    streamed.wait_for_second(6.5)  # when Sam has long been there
    process.terminate()
    assert process.wait(timeout=10) == 0
    nginx.stop()
    (received,) = nginx.received()
    large = presentation(1)[0]
    counted: list[int] = []
    with av.open(str(received)) as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}
        for frame in container.decode(video=0):
            luma = frame.to_ndarray(format="gray")
            assert luma.shape == (720, 1280)
            counted.append(read_bars(luma[large.y : large.y + large.height, large.x : large.x + large.width]))
    last = counted[-45:]  # more than a second, in which the camera's pictures come one after the other
    assert last == sorted(last)
    assert len(set(last)) >= 5
    with av.open(str(received)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 48000
    said = capfd.readouterr()
    assert "receives the stream" in said.err
    assert KEY not in said.err + said.out
