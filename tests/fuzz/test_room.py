"""Any order of events in a room: what tests/fuzz/core.py promises, tried with steps that Hypothesis can make fewer."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.core import STEP, STEPS, Room, code

byte = st.integers(0, 255)
few = st.integers(0, 3)
steps = st.lists(st.builds(code, st.sampled_from(STEPS), few, few, byte, byte, byte), max_size=60)

# Without these most examples have nobody in the room.
BEGINNING = b"".join([
    code(Room.join_to_send), code(Room.join_to_receive, 1), code(Room.join_to_receive, 2),
    code(Room.make_producer, 0, 0), code(Room.make_producer, 0, 2, 0, 1),
    code(Room.make_consumer, 1, 0), code(Room.make_consumer, 1, 1), code(Room.make_consumer, 2, 1),
])  # fmt: skip


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(steps=steps)
def test_whatever_happens_in_a_room_nothing_breaks_and_nothing_is_left_behind(steps: list[bytes]) -> None:
    room = Room()
    room.run(BEGINNING + b"".join(steps))
    room.end()


def test_the_beginning_does_what_it_says() -> None:
    assert len(BEGINNING) % STEP == 0
    room = Room()
    room.run(BEGINNING)
    assert len(room.router.producers) == 2
    assert sum(len(peer.transport.consumers) for peer in room.sent) == 3
