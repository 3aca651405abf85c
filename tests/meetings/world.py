"""A small world: Tina teaches, Asa assists, Sam and Sue are enrolled, Gus has a guest's link, Olga is a stranger."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.urls import path

from accounts.models import User
from classroom.models import Course, Enrolment, Lesson
from meetings import tokens
from meetings.hub import Hubs
from meetings.models import Room
from meetings.socket import RoomSocket

ORIGIN = (b"origin", b"http://localhost")
HOST = (b"host", b"localhost")
PATIENCE = 5.0  # seconds to wait for what must come


def make_user(name: str, role: str = User.Role.STUDENT) -> User:
    return User.objects.create(username=name, first_name=name.title(), role=role, email=f"{name}@school.example")


def sign_in(user: User) -> str:
    """-> a session key, as the sign-in page makes it."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


@dataclass
class World:
    room: Room
    users: dict[str, User]
    cookies: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, **room: Any) -> World:
        names = {"tina": User.Role.TEACHER, "staff": User.Role.STAFF}
        users = {n: make_user(n, names.get(n, User.Role.STUDENT)) for n in (
            "tina", "asa", "pia", "sam", "sue", "olga", "staff",
        )}  # fmt: skip
        course = Course.objects.create(slug="physics", title="Physics", created_by=users["tina"])
        for name, role in (("tina", "teacher"), ("asa", "assistant"), ("pia", "student"), ("sam", "student"),
                           ("sue", "student")):  # fmt: skip
            Enrolment.objects.create(course=course, user=users[name], role=role)
        lesson = Lesson.objects.create(course=course, title="Waves")
        settings_of_room = {"title": "Waves", "capacity": 50, "guests_allowed": True, **room}
        made = Room.objects.create(lesson=lesson, created_by=users["tina"], **settings_of_room)
        world = cls(made, users)
        for name, user in users.items():
            world.cookies[name] = sign_in(user)
        return world

    def guest_token(self, name: str = "Gus", role: str = "guest") -> str:
        return tokens.make(self.room, role=role, name=name)[0]


class Client:
    """A participant's end of the socket. `answer` is what `room:join` was answered, once it was."""

    answer: dict[str, Any]

    def __init__(
        self,
        code: str,
        *,
        cookie: str = "",
        token: str = "",
        hubs: Hubs | None = None,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        sent = [HOST, ORIGIN] if headers is None else headers
        if cookie:
            sent = [*sent, (b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())]
        application = URLRouter([path("ws/meetings/<slug:code>/", RoomSocket.as_asgi(hubs=hubs))])
        self.address = f"/ws/meetings/{code}/" + (f"?token={token}" if token else "")
        self.communicator = WebsocketCommunicator(application, self.address, headers=sent)
        self.events: list[dict[str, Any]] = []
        self.acks: dict[int | None, dict[str, Any]] = {}
        self.order: list[dict[str, Any]] = []
        self.closed: int | None = None
        self.ids = 0

    async def open(self) -> bool:
        accepted, code = await self.communicator.connect(timeout=PATIENCE)
        if not accepted:
            self.closed = code
        return bool(accepted)

    async def send_text(self, text: str) -> None:
        await self.communicator.send_to(text_data=text)

    async def send(self, event: str, data: Any = None) -> int:
        self.ids += 1
        await self.send_text(json.dumps({"id": self.ids, "event": event, "data": {} if data is None else data}))
        return self.ids

    async def ask(self, event: str, data: Any = None) -> dict[str, Any]:
        """-> the whole acknowledgement"""
        request = await self.send(event, data)
        await self.until(lambda: request in self.acks)
        return self.acks.pop(request)

    async def do(self, event: str, data: Any = None) -> dict[str, Any]:
        """-> the data of an acknowledgement that must be good"""
        ack = await self.ask(event, data)
        assert ack["ok"], (event, ack)
        return dict(ack["data"])

    async def refused(self, event: str, data: Any = None) -> str:
        """-> the error code of an acknowledgement that must be bad"""
        ack = await self.ask(event, data)
        assert not ack["ok"], (event, ack)
        return str(ack["error"]["code"])

    async def join(self, **data: Any) -> dict[str, Any]:
        return await self.do("room:join", data)

    async def _hear(self, timeout: float) -> None:
        output = await self.communicator.receive_output(timeout=timeout)
        if output["type"] == "websocket.close":
            self.closed = output["code"]
            return
        frame = msgspec.json.decode(output["text"])
        self.order.append(frame)
        if "ack" in frame:
            assert frame["ack"] not in self.acks, "answered twice"
            self.acks[frame["ack"]] = frame
        else:
            self.events.append(frame)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert self.closed is None, f"closed with {self.closed}"
                await self._hear(PATIENCE + 1)

    async def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """-> the data of the first event of that name (and those fields), taken out of what was heard"""

        def found() -> dict[str, Any] | None:
            for frame in self.events:
                if frame["event"] == name and all(frame["data"].get(key) == fields[key] for key in fields):
                    return frame
            return None

        await self.until(found)
        frame = found()
        assert frame is not None
        self.events.remove(frame)
        return dict(frame["data"])

    async def meets(self, name: str) -> dict[str, Any]:
        """Wait until this client was told that somebody of that name has joined."""

        def told() -> list[dict[str, Any]]:
            lists = [f["data"]["participants"] for f in self.order if f.get("event") == "participant:joined"]
            return [person for people in lists for person in people if person["name"] == name]

        await self.until(told)
        return told()[0]

    async def until_closed(self) -> int:
        async with asyncio.timeout(PATIENCE):
            while self.closed is None:
                await self._hear(PATIENCE + 1)
        return self.closed

    async def quiet(self, name: str) -> bool:
        """Whether no event of that name has come by the time that a request of ours is answered."""
        await self.ask("chat:history", {"limit": 1})
        return not [frame for frame in self.events if frame["event"] == name]

    async def close(self) -> None:
        """As a connection that is lost; waits until the server has cleaned up."""
        await self.communicator.disconnect(code=1006, timeout=PATIENCE)
