"""Two who are alone in a class are connected directly, and come back to the worker without a gap in the picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, expect

from tests.browser.conftest import CHROMIUM_ARGUMENTS, PLAIN_ADDRESSES, executable
from tests.browser.person import Person
from tests.lectern import Lectern, wait_until

MakePerson = Callable[..., Person]
GAP = 1000  # ms: the longest that a picture may stand still while its path changes

WATCH_FRAMES = """(id) => {
  const video = document.querySelector(`[data-testid="tile"][data-participant-id="${id}"][data-source="camera"] video`);
  const seen = globalThis.framesSeen = { last: performance.now(), longest: 0, count: Infinity };
  const frame = (now, { presentedFrames }) => {
    // Frames that were on the screen while this page was busy count, too: it is the picture that must not stand still.
    const shown = Math.max(1, presentedFrames - seen.count);
    seen.longest = Math.max(seen.longest, (now - seen.last) / shown);
    seen.last = now;
    seen.count = presentedFrames;
    video.requestVideoFrameCallback(frame);
  };
  video.requestVideoFrameCallback(frame);
}"""
LONGEST_GAP = "Math.max(framesSeen.longest, performance.now() - framesSeen.last)"

COUNT_CONNECTIONS = """
globalThis.directConnections = [];
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration, ...rest) {
    super(configuration, ...rest);
    globalThis.directConnections.push(this);
  }
};
"""
NO_DIRECT_WAY = """
RTCPeerConnection.prototype.addIceCandidate = async function () {};
const set = RTCPeerConnection.prototype.setRemoteDescription;
RTCPeerConnection.prototype.setRemoteDescription = function (description) {
  // The worker's descriptions have no trickled candidates to lose: they say ice-lite.
  const { type, sdp } = description;
  const lost = sdp.includes("a=ice-lite") ? sdp : sdp.replace(/^a=candidate.*\\r\\n/gm, "");
  return set.call(this, { type, sdp: lost });
};
"""


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    running = playwright.chromium.launch(
        executable_path=executable("chromium"), args=[*CHROMIUM_ARGUMENTS, PLAIN_ADDRESSES]
    )
    yield running
    running.close()


def media_path(one: Person) -> str:
    return str(one.page.evaluate("lectern.state().direct"))


def are_direct(*people: Person) -> bool:
    return all(media_path(one) == "direct" for one in people)


def packets(one: Person, direction: str) -> dict[str, int]:
    return {row["source"]: row["packets"] for row in one.stats() if row["direction"] == direction}


def to_the_worker(one: Person) -> int:
    """Packets that this page has sent to the media worker."""
    return int(
        one.page.evaluate(
            """async () => {
              let sent = 0;
              for (const connection of directConnections) {
                if (connection.remoteDescription?.sdp.includes("a=ice-lite") !== true) continue;
                for (const stat of (await connection.getStats()).values()) {
                  if (stat.type === "outbound-rtp") sent += stat.packetsSent;
                }
              }
              return sent;
            }"""
        )
    )


@pytest.fixture
def two(person: MakePerson, browser: Browser) -> tuple[Person, Person]:
    teacher = person("teacher", 0, browser=browser)
    student = person("student1", 1, browser=browser)
    for one in (teacher, student):
        one.context.add_init_script(COUNT_CONNECTIONS)
        one.enter()
    teacher.wait_to_see(student)
    student.wait_to_see(teacher)
    wait_until(lambda: are_direct(teacher, student), within=20, what="the two being connected directly")
    return teacher, student


def watch_frames(*pairs: tuple[Person, Person]) -> None:
    for viewer, seen in pairs:
        viewer.page.evaluate(WATCH_FRAMES, seen.participant_id)


def longest_gap(viewer: Person) -> float:
    return float(viewer.page.evaluate(LONGEST_GAP))


def has_another_worker(one: Person, epochs: set[str]) -> bool:
    state = one.page.evaluate("lectern.state()")
    return state["media"] == "up" and state["epoch"] not in epochs


def test_two_are_connected_directly_until_a_third_comes_and_again_when_he_is_gone(
    two: tuple[Person, Person], person: MakePerson, browser: Browser, lectern: Lectern
) -> None:
    teacher, student = two
    student.wait_to_hear(teacher)
    teacher.wait_to_hear(student)
    wait_until(lambda: resting(teacher) and resting(student), within=10, what="both feeding the worker no more")
    before = student.frames_decoded(teacher.participant_id)

    # A host's mute is obeyed although the worker hears nothing of it.
    teacher.testid("toggle-participants").click()
    row = teacher.page.locator(f'[data-testid="participant"][data-participant-id="{student.participant_id}"]')
    row.get_by_test_id("mute-participant").click()
    wait_until(lambda: not teacher.hears(student.look.tone), within=5, what="the muted student being silent")
    expect(student.testid("toggle-mic")).to_have_attribute("aria-pressed", "false")
    student.testid("toggle-mic").click()
    teacher.wait_to_hear(student)
    assert are_direct(teacher, student)

    # The worker dies: they do not notice, and whoever comes in later finds them.
    watch_frames((teacher, student), (student, teacher))
    epochs = {one.page.evaluate("lectern.state().epoch") for one in two}
    lectern.kill("-m sfu")
    for one in two:
        wait_until(lambda one=one: has_another_worker(one, epochs), within=15, what="media by another worker")
    assert are_direct(teacher, student)
    for one, other in ((teacher, student), (student, teacher)):
        wait_until(lambda one=one: len(one.stats()) == 4, within=10, what="all producers and consumers being made anew")
        assert one.sees(other)
        one.wait_to_hear(other)
        print(f"longest gap of {one.username} at the worker's death: {longest_gap(one):.0f} ms")
        assert longest_gap(one) < GAP, f"{one.username}'s picture stood still"
    assert are_direct(teacher, student)

    watch_frames((teacher, student), (student, teacher))
    third = person("student2", 2, browser=browser)
    third.enter()
    third.wait_to_see(teacher)
    third.wait_to_see(student)
    wait_until(
        lambda: media_path(teacher) == media_path(student) == "off", within=5, what="both being back at the worker"
    )
    teacher.wait_to_see(third)
    for one in two:
        other = student if one is teacher else teacher
        assert one.sees(other)
        one.wait_to_hear(other)
        assert longest_gap(one) < GAP, f"{one.username}'s picture stood still"
    assert student.frames_decoded(teacher.participant_id) > before, "a stream's count went back"

    third.leave()
    wait_until(lambda: are_direct(teacher, student), within=30, what="the two being connected directly again")
    for one in two:
        print(f"longest gap of {one.username}: {longest_gap(one):.0f} ms")
        assert longest_gap(one) < GAP


def resting(one: Person) -> bool:
    before = to_the_worker(one)
    one.page.wait_for_timeout(500)
    return to_the_worker(one) == before


def test_a_recording_and_a_broken_path_bring_them_back(two: tuple[Person, Person]) -> None:
    teacher, student = two
    watch_frames((teacher, student), (student, teacher))
    teacher.testid("record").click()
    student.agree()
    wait_until(lambda: media_path(teacher) == media_path(student) == "off", within=10, what="the worker having them")
    for one, other in ((teacher, student), (student, teacher)):
        wait_until(lambda one=one, other=other: frames_come(one, other), within=5, what="pictures by the worker")
        print(f"longest gap of {one.username}: {longest_gap(one):.0f} ms")
        assert longest_gap(one) < GAP, f"{one.username}'s picture stood still"
    teacher.testid("record").click()
    confirm = teacher.page.get_by_role("dialog").get_by_role("button", name="Stop")
    if confirm.count():
        confirm.click()
    wait_until(lambda: are_direct(teacher, student), within=20, what="the two being connected directly again")

    watch_frames((teacher, student), (student, teacher))
    # The direct path dies, as when a firewall forgets it: no goodbye, no state that changes.
    teacher.page.evaluate(
        """() => {
          const direct = directConnections.at(-1);
          for (const transceiver of direct.getTransceivers()) transceiver.direction = "inactive";
          for (const transceiver of direct.getTransceivers()) transceiver.sender.replaceTrack(null);
        }"""
    )
    wait_until(lambda: media_path(teacher) == media_path(student) == "off", within=10, what="the worker having them")
    for one, other in ((teacher, student), (student, teacher)):
        wait_until(lambda one=one, other=other: frames_come(one, other), within=5, what="pictures by the worker")
        print(f"longest gap of {one.username}: {longest_gap(one):.0f} ms")
        assert longest_gap(one) < GAP, f"{one.username}'s picture stood still"


def frames_come(viewer: Person, sender: Person) -> bool:
    return viewer.decoded_rate([sender.participant_id], over=1.0)[sender.participant_id] >= 8


def test_without_a_direct_way_they_stay_with_the_worker(person: MakePerson, browser: Browser) -> None:
    teacher, student = person("teacher", 0, browser=browser), person("student1", 1, browser=browser)
    for one in (teacher, student):
        one.context.add_init_script(NO_DIRECT_WAY)
    told: list[dict[str, Any]] = []
    teacher.page.on(
        "websocket", lambda socket: socket.on("framereceived", lambda frame: told.append(json.loads(frame)))
    )
    teacher.enter()
    student.enter()
    teacher.wait_to_see(student)
    student.wait_to_see(teacher)
    wait_until(
        # What a socket brought is heard while a page is asked something.
        lambda: media_path(teacher) == "off" and any(frame.get("data", {}).get("reason") == "failed" for frame in told),
        within=20,
        what="the server giving the pair up",
    )
    wait_until(lambda: media_path(student) == "off", within=5, what="the student's page giving it up")
    assert frames_come(teacher, student)
    assert frames_come(student, teacher)
