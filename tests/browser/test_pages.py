"""Every page in a browser: WCAG 2.2 AA by axe-core, wide and narrow, light and dark; nothing sticks out, no errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from tests.browser.person import MADE_UP_DEVICES, PASSWORD
from tests.lectern import Lectern, wait_until

AXE = (Path(settings.BASE_DIR) / "node_modules" / "axe-core" / "axe.min.js").read_text()
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 390, "height": 844}
COLOURS = ["color-contrast"]
# The first two for every page. The frame around somebody's pages is the same for all, and seen in all four once.
LOOKS: list[tuple[ViewportSize, Literal["light", "dark"], list[str] | None]] = [
    (WIDE, "light", None),
    (NARROW, "dark", None),
    (NARROW, "light", COLOURS),
    (WIDE, "dark", COLOURS),
]
LOOK = """async only => {
  await Promise.allSettled(document.getAnimations().map((animation) => animation.finished));
  return axe.run(document, {runOnly: only, resultTypes: ["violations"]});
}"""  # the Django admin's links change colour slowly
SHOTS = os.environ.get("LECTERN_SCREENSHOTS")  # a folder: to look at the pages oneself


@pytest.fixture(scope="module")
def furniture(lectern: Lectern) -> dict[str, Any]:
    environ = {**os.environ, "LECTERN_DATA": str(lectern.data)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.browser.furniture"], env=environ, cwd=settings.BASE_DIR,
        stdout=subprocess.PIPE, check=True, timeout=60,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


class Visitor:
    """Somebody with a browser window, who notes what is wrong with the pages they open."""

    def __init__(self, browser: Browser, lectern: Lectern, name: str) -> None:
        self.lectern, self.name = lectern, name
        self.context: BrowserContext = browser.new_context(viewport=WIDE, reduced_motion="reduce")
        self.context.add_init_script(AXE)
        self.page: Page = self.context.new_page()
        self.wrong: list[str] = []
        self.looks = LOOKS
        self.page.on("pageerror", lambda error: self.wrong.append(f"{self.page.url}: {error}"))
        if name:
            self.page.goto(lectern.url + "accounts/login/")
            self.page.fill("input[name=login]", name)
            self.page.fill("input[name=password]", PASSWORD)
            self.page.click("main form button[type=submit]")
            self.page.wait_for_url(lambda url: "/login/" not in url)

    def open(self, address: str) -> None:
        self.page.set_viewport_size(WIDE)
        self.page.goto(self.lectern.url + address)

    def look(self, what: str, *, inside: bool = True) -> None:
        """At the page as it is now, in both widths and schemes. `inside`: nothing may stick out of a phone's screen."""
        for size, scheme, rules in self.looks:
            where = f"{self.name or 'nobody'} at {what}, {size['width']} px, {scheme}"
            self.page.set_viewport_size(size)
            self.page.emulate_media(color_scheme=scheme)
            only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": STANDARD}
            found = self.page.evaluate(LOOK, only)
            for rule in found["violations"]:
                first = rule["nodes"][0]
                self.wrong.append(f"{where}: {rule['id']}, {len(rule['nodes'])} times, such as {first['html'][:200]}")
            if inside and self.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                self.wrong.append(f"{where}: something sticks out to the right")
            if SHOTS:
                path = f"{SHOTS}/{where.replace('/', '_').replace(' ', '-')}.png"
                self.page.screenshot(path=path, full_page=True)
        self.looks = LOOKS[:2]
        self.page.set_viewport_size(WIDE)

    def visit(self, address: str, *, inside: bool = True) -> None:
        self.open(address)
        self.look(address, inside=inside)


@pytest.fixture
def visitor(chromium: Browser, lectern: Lectern) -> Iterator[Callable[[str], Visitor]]:
    """`visitor("teacher")`; at the end of the test nothing may have been wrong."""
    visitors: list[Visitor] = []

    def come(name: str = "") -> Visitor:
        visitors.append(Visitor(chromium, lectern, name))
        return visitors[-1]

    yield come
    for one in visitors:
        one.context.close()
    wrong = [line for one in visitors for line in one.wrong]
    assert not wrong, "\n".join(wrong)


def test_pages_of_the_admin(visitor, furniture) -> None:  # as long as many others: it begins first
    admin = visitor("admin")
    admin.visit("admin/", inside=False)
    for model, pk in furniture["admin"].items():
        admin.visit(f"admin/{model}/", inside=False)
        admin.visit(f"admin/{model}/{pk}/change/", inside=False)
    admin.visit("admin/classroom/course/add/", inside=False)


def test_pages_for_everybody(visitor, lectern: Lectern, furniture) -> None:
    nobody = visitor()
    for address in ["", "accounts/login/", "accounts/signup/", "accounts/password/reset/"]:
        nobody.visit(address)
    nobody.page.fill("input[name=email]", "student1@demo.example")
    nobody.page.click("main form button[type=submit]")
    nobody.page.wait_for_url("**/reset/done/")
    nobody.look("reset/done")
    wait_until(lambda: "/accounts/password/reset/key/" in lectern.output, within=10, what="the mail with the link")
    link = next(line for line in lectern.lines if "/accounts/password/reset/key/" in line).strip()
    nobody.visit(link.removeprefix(lectern.url))
    nobody.visit("accounts/password/reset/key/1-used-up/")
    nobody.visit("accounts/password/reset/key/done/")
    nobody.visit("no/such/page/")
    nobody.visit("meetings/no-such-class/")


def test_forms_that_come_back_with_errors(visitor) -> None:
    nobody = visitor()
    for address in ["accounts/login/", "accounts/signup/"]:
        nobody.open(address)
        nobody.page.click("main form button[type=submit]")
        expect(nobody.page.locator(".errorlist").first).to_be_visible()
        nobody.look(f"{address} with errors")


@pytest.mark.parametrize("name", ["400", "403_csrf", "429", "500"])
def test_pages_for_when_nothing_else_works(visitor, name: str) -> None:
    nobody = visitor()
    page = render_to_string(f"{name}.html")
    nobody.page.route("**/broken/", lambda route: route.fulfill(body=page, content_type="text/html"))
    nobody.open("broken/")
    nobody.look(name)


def test_pages_of_a_teacher(visitor, furniture) -> None:
    teacher = visitor("teacher")
    course, lesson = "courses/demo-course/", f"courses/demo-course/lessons/{furniture['lesson']}/"
    recordings = [f"recordings/{each}/" for each in furniture["recordings"].values()]
    for address in [
        "", "courses/", "courses/?q=nothing", "courses/new/", course, f"{course}edit/", f"{course}people/",
        f"{course}people/?q=nobody", f"{course}people/{furniture['enrolment']}/remove/", f"{course}lessons/new/",
        lesson, f"{lesson}edit/", f"{lesson}delete/", "recordings/", "recordings/?q=nothing", *recordings,
        "recordings/course/demo-course/",
        "accounts/profile/", "accounts/password/change/", "accounts/email/", "accounts/logout/",
        "accounts/reauthenticate/", "meetings/ended-class/",
    ]:  # fmt: skip
        teacher.visit(address)


def test_menus_and_content_are_reached_by_keyboard(visitor, furniture) -> None:
    teacher = visitor("teacher")
    teacher.page.set_viewport_size(NARROW)
    teacher.page.goto(teacher.lectern.url + "courses/")
    keys, focused = teacher.page.keyboard, teacher.page.locator(":focus")
    keys.press("Tab")
    expect(focused).to_have_text("Skip to the content")
    keys.press("Enter")
    expect(focused).to_have_id("main")
    teacher.page.goto(teacher.lectern.url)  # another page: focus begins at its top
    for _ in range(3):  # past the skip link and the brand
        keys.press("Tab")
    expect(focused).to_have_attribute("aria-label", "Menu")
    keys.press("Enter")
    expect(focused).to_have_attribute("aria-expanded", "true")
    mine = teacher.page.get_by_role("button", name="Adaeze")
    expect(mine).to_be_visible()
    while not mine.evaluate("(button) => button === document.activeElement"):
        keys.press("Tab")
        assert focused.count(), "the menu's button is not among what Tab reaches"
    keys.press("Enter")
    keys.press("ArrowDown")
    expect(focused).to_have_text("Profile")
    keys.press("Escape")
    expect(mine).to_be_focused()
    expect(mine).to_have_attribute("aria-expanded", "false")


def test_pages_of_a_student(visitor, furniture) -> None:
    student = visitor("student1")
    course, lesson = "courses/demo-course/", f"courses/demo-course/lessons/{furniture['lesson']}/"
    recordings = [f"recordings/{each}/" for each in furniture["recordings"].values()]
    for address in [
        "", course, f"{course}people/", f"{course}edit/", lesson, *recordings, "meetings/full-class/",
        "meetings/ended-class/",
    ]:  # fmt: skip
        student.visit(address)


def test_pages_of_the_staff(visitor, furniture) -> None:
    staff = visitor("staff")
    watched, held = (f"recordings/{furniture['recordings'][each]}/" for each in ("ready", "failed"))
    for address in ["", "recordings/", "recordings/storage/", watched, held]:
        staff.visit(address)


def test_the_classroom(visitor, lectern: Lectern) -> None:
    teacher = visitor("teacher")
    me = {"number": 0, "width": 320, "height": 180, "fps": 15, "tone": 440, "colour": "#c02020"}
    teacher.context.add_init_script(f"globalThis.lecternPerson = {json.dumps(me)};\n{MADE_UP_DEVICES}")
    teacher.open("meetings/demo-class/")
    expect(teacher.page.get_by_test_id("lobby-join")).to_be_visible()
    teacher.look("the lobby")
    teacher.page.get_by_test_id("lobby-join").click()
    expect(teacher.page.get_by_test_id("leave").first).to_be_visible(timeout=20_000)
    teacher.look("the class")
    teacher.page.get_by_test_id("connection").first.click()
    teacher.look("the connection panel")
    teacher.page.keyboard.press("Escape")
    for panel in ["toggle-chat", "toggle-participants"]:
        teacher.page.get_by_test_id(panel).click()
        teacher.look(panel)
    access = lectern.api("auth/token/", {"username": "teacher", "password": PASSWORD})["access"]
    encrypted = lectern.api("meetings/", {"title": "Between us", "encrypted": True}, token=access)
    teacher.open(f"meetings/{encrypted['code']}/")
    teacher.page.get_by_test_id("lobby-key").click()
    teacher.page.get_by_test_id("key-new").click()
    expect(teacher.page.get_by_test_id("key-copy")).to_be_visible()
    teacher.look("the keys of an encrypted class")
    link = lectern.api("meetings/demo-class/token/", {"role": "guest", "display_name": "Gina"}, token=access)
    guest = visitor()
    guest.open(f"meetings/demo-class/?token={link['token']}")
    expect(guest.page.get_by_test_id("lobby-join")).to_be_visible()
    guest.look("the lobby of a guest")
    guest.open("meetings/ended-class/?token=" + link["token"])
    guest.look("a class that has ended")
