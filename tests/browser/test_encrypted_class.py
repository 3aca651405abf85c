"""An end-to-end encrypted class: who has the key sees and hears, and nobody else, the server included."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Callable

import av
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from playwright.sync_api import Browser, expect

from tests.browser.person import PASSWORD, Person
from tests.lectern import Lectern

MakePerson = Callable[..., Person]

# An older Chromium, without RTCRtpScriptTransform, that keeps what reaches it of others' pictures, as it comes.
OLD_BROWSER = """
    delete globalThis.RTCRtpScriptTransform;
    globalThis.framesOnTheWire = [];
    const create = RTCRtpReceiver.prototype.createEncodedStreams;
    RTCRtpReceiver.prototype.createEncodedStreams = function () {
      const streams = create.call(this);
      if (this.track.kind !== "video") return streams;
      const keep = (frame, out) => {
        const bytes = new Uint8Array(frame.data);
        if (framesOnTheWire.length < 200) framesOnTheWire.push(btoa(String.fromCharCode(...bytes)));
        out.enqueue(frame);
      };
      const kept = streams.readable.pipeThrough(new TransformStream({ transform: keep }));
      return { readable: kept, writable: streams.writable };
    };
"""


@pytest.fixture
def classroom(lectern: Lectern, request: pytest.FixtureRequest) -> str:
    access = lectern.api("auth/token/", {"username": "teacher", "password": PASSWORD})["access"]
    about = {"course": "demo-course", "title": request.node.name[:100], "encrypted": True}
    return f"meetings/lesson/{lectern.api('lessons/', about, token=access)['id']}/"


def make_key(teacher: Person) -> str:
    """The link with the key, as the teacher's page gives it."""
    teacher.testid("key-new").click()
    expect(teacher.testid("key-state")).to_contain_text("Your key is")
    teacher.testid("key-copy").click()
    teacher.page.wait_for_function("document.getElementById('key-copied').textContent")
    link = teacher.testid("key-link").input_value() or teacher.page.evaluate("navigator.clipboard.readText()")
    teacher.testid("key-close").click()
    return str(link)


@pytest.fixture
def teacher(person: MakePerson) -> Person:
    """In class, with a key that was made in the lobby; `classroom` is then the link with it."""
    teacher = person("teacher", 0)
    teacher.context.grant_permissions(["clipboard-read", "clipboard-write"])
    teacher.page.goto(teacher.lectern.url + teacher.classroom)
    expect(teacher.testid("encryption-lobby")).to_contain_text("The server cannot see or hear this class")
    teacher.testid("lobby-key").click()
    teacher.classroom = make_key(teacher).removeprefix(teacher.lectern.url)
    teacher.testid("lobby-join").click()
    expect(teacher.testid("encryption")).to_have_text("Encrypted", timeout=20_000)
    return teacher


def test_who_has_the_key_sees_and_hears_and_nobody_else(person: MakePerson, teacher: Person, firefox: Browser) -> None:
    link = teacher.classroom
    old, fox = person("student1", 1, classroom=link), person("student4", 4, browser=firefox, classroom=link)
    old.context.add_init_script(OLD_BROWSER)
    stranger = person("student2", 2, classroom=link.split("#")[0] + "#key=" + "A" * 22)
    members = [teacher, old, fox]
    for one in (old, fox, stranger):
        one.enter()
        assert "key" not in one.page.url
    for one in members:
        for other in members:
            if one is not other:
                one.wait_to_see(other)
                one.wait_to_hear(other)

    # Who has another key is told, sees and hears nothing, and is neither seen nor heard.
    expect(stranger.page.get_by_text("Your key does not open this class")).to_be_visible()
    expect(stranger.testid("encryption")).to_have_text("Another key")
    for one in members:
        assert stranger.frames_decoded(one.participant_id) == 0
        assert one.frames_decoded(stranger.participant_id) == 0
        assert not stranger.hears(one.look.tone)
        assert not one.hears(stranger.look.tone)
    tile = teacher.page.locator(f'[data-testid="tile"][data-participant-id="{stranger.participant_id}"]')
    expect(tile).to_contain_text("Encrypted with a key that you do not have")

    # What the worker forwards is a picture for none but those who have the key.
    frames = [base64.b64decode(frame) for frame in old.page.evaluate("framesOnTheWire")]
    of_teacher = [frame for frame in frames if opened(frame, teacher, link)]
    assert len(of_teacher) > 5
    assert near(decoded([opened(frame, teacher, link) or b"" for frame in of_teacher]), teacher.look.rgb)
    assert not near(decoded(of_teacher), teacher.look.rgb)

    # The right key makes him one of them, without joining anew.
    stranger.page.get_by_role("button", name="Enter the key").click()
    stranger.testid("key-input").fill("too short")
    stranger.testid("key-enter").click()
    expect(stranger.page.get_by_text("at least 12 characters")).to_be_visible()
    stranger.testid("key-input").fill(stranger.lectern.url + link)
    stranger.testid("key-enter").click()
    expect(stranger.testid("encryption")).to_have_text("Encrypted")
    for one in members:
        stranger.wait_to_see(one)
        one.wait_to_see(stranger)
    stranger.wait_to_hear(teacher)
    teacher.wait_to_hear(stranger)

    # It cannot be recorded, and the button says why.
    record = teacher.testid("record")
    expect(record).to_have_attribute("aria-disabled", "true")
    record.focus()
    teacher.page.keyboard.press("Enter")
    expect(teacher.page.get_by_text("and so not record it")).to_be_visible()


def test_a_key_outlives_the_sign_in_and_a_reload_and_is_changed_without_a_break(
    person: MakePerson, teacher: Person
) -> None:
    link = teacher.classroom
    student = person("", 1, classroom=link)
    student.page.goto(student.lectern.url + link)
    student.page.wait_for_function("[...document.forms].some((form) => form.action.includes('#key='))")
    student.page.fill("input[name=login]", "student1")
    student.page.fill("input[name=password]", PASSWORD)
    student.page.keyboard.press("Enter")
    expect(student.testid("encryption-lobby")).to_contain_text("Your key is")
    student.testid("lobby-join").click()
    student.wait_to_see(teacher)
    assert "#" not in student.page.url
    student.page.reload()
    student.testid("lobby-join").click()
    student.wait_to_see(teacher)
    teacher.wait_to_see(student)

    teacher.testid("encryption").click()
    new_link = make_key(teacher)
    assert new_link.partition("#")[0] == teacher.lectern.url + link.partition("#")[0]
    assert new_link != teacher.lectern.url + link
    expect(student.page.get_by_text("Your key does not open this class")).to_be_visible()
    assert teacher.sees(student), "who has not got the new key yet is still seen"
    student.page.evaluate("(link) => { location.href = link; }", new_link)
    student.wait_to_see(teacher)
    student.wait_to_hear(teacher)
    expect(student.testid("encryption")).to_have_text("Encrypted")
    assert "#" not in student.page.url
    assert teacher.sees(student)
    expect(student.page.get_by_text("Your key does not open this class")).to_be_hidden()


# --- frames by another implementation: Python's hmac and cryptography -------------------------------------------------


def derive(material: bytes, salt: bytes, info: str, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869) of at most 32 bytes."""
    secret = hmac.new(salt or bytes(32), material, hashlib.sha256).digest()
    return hmac.new(secret, info.encode() + b"\x01", hashlib.sha256).digest()[:length]


def opened(frame: bytes, sender: Person, link: str) -> bytes | None:
    """A frame of the sender's camera in the clear; None for one of another's."""
    address, _, key = link.partition("#key=")
    code = address.strip("/").split("/")[-1]
    room = derive(base64.urlsafe_b64decode(key + "=="), code.encode(), "lectern room key", 32)
    bits = derive(room, frame[-14:-6], f"lectern frames {sender.participant_id} camera", 28)
    nonce = bits[16:24] + bytes(a ^ b for a, b in zip(bits[24:], frame[-6:-2], strict=True))
    clear = 3 if frame[0] & 1 else 10
    try:
        body = AESGCM(bits[:16]).decrypt(nonce, frame[clear:-14], frame[:clear] + frame[-14:])
    except InvalidTag:
        return None
    return frame[:clear] + body


def decoded(frames: list[bytes]) -> tuple[int, ...] | None:
    """The colour near the left edge of the last picture that libvpx makes of them."""
    decoder = av.CodecContext.create("libvpx", "r")
    colour: tuple[int, ...] | None = None
    for frame in frames:
        with contextlib.suppress(av.FFmpegError):
            for picture in decoder.decode(av.Packet(frame)):
                image = picture.to_ndarray(format="rgb24")
                colour = tuple(int(value) for value in image[image.shape[0] // 3, image.shape[1] // 10])
    return colour


def near(colour: tuple[int, ...] | None, rgb: tuple[int, int, int]) -> bool:
    return colour is not None and all(abs(a - b) <= 48 for a, b in zip(colour, rgb, strict=True))
