"""Broadcasts: at once when idle, together when many, bounded whatever is sent."""

from __future__ import annotations

import pytest

from collabkernel.limits import Limits
from collabkernel.room.broadcasts import EVENTS_PER_TICK, QUEUE_BYTES, TICK_BYTES, Broadcasts
from collabkernel.room.effects import Effect, Send
from collabkernel.room.session import Principal, Session
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.messages import Role, RoomEvent

pytestmark = pytest.mark.core


def session(id: int) -> Session:
    made = Session(id, Principal(f"a{id}", "A", "", Role.WRITER), Limits(), 0)
    made.site, made.is_live = 100 + id, True
    return made


def event(id: int, payload: str) -> RoomEvent:
    return RoomEvent(100 + id, f"a{id}", "wave", payload)


def heard(effects: list[Effect]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for effect in effects:
        assert isinstance(effect, Send)
        for session_id in effect.session_ids:
            assert session_id not in found, "one frame a session a tick"
            found[session_id] = [e.payload_json for e in decode_server_message(effect.frame, Limits()).events]
    return found


def test_one_alone_is_due_at_once_and_the_next_ones_share_a_tick() -> None:
    board, sessions = Broadcasts(), [session(n) for n in (1, 2, 3)]
    assert board.due_ms() is None

    assert board.add(event(1, "1"), 100, 5000)
    assert board.due_ms() == 5000
    assert heard(board.send(sessions, 5000)) == {2: ["1"], 3: ["1"]}
    assert board.due_ms() is None

    assert board.add(event(1, "2"), 100, 5001)
    assert board.add(event(2, "3"), 100, 5002)
    assert board.due_ms() == 5100
    assert heard(board.send(sessions, 5100)) == {1: ["3"], 2: ["2"], 3: ["2", "3"]}


def test_the_slow_are_passed_by() -> None:
    board, ann, bob = Broadcasts(), session(1), session(2)
    bob.blocked_since_ms = 0
    board.add(event(1, "1"), 100, 0)
    assert board.send([ann, bob], 0) == []


def test_a_tick_carries_so_much_and_what_is_left_waits_in_order() -> None:
    board, bob = Broadcasts(), session(2)
    for n in range(EVENTS_PER_TICK + 1):
        assert board.add(event(1, str(n)), 100, 0)
    assert heard(board.send([bob], 0)) == {2: [str(n) for n in range(EVENTS_PER_TICK)]}
    assert board.due_ms() == 100
    assert heard(board.send([bob], 100)) == {2: [str(EVENTS_PER_TICK)]}


def test_what_waits_is_bounded_in_bytes() -> None:
    board, bob = Broadcasts(), session(2)
    payload = '"' + "x" * 4000 + '"'
    taken = 0
    while board.add(event(1, payload), 100, 0):
        taken += 1
    assert QUEUE_BYTES - 4200 <= taken * 4000 <= QUEUE_BYTES + 4200

    (effect,) = board.send([bob], 0)

    assert isinstance(effect, Send)
    assert len(effect.frame) <= TICK_BYTES + 4200
    assert board.add(event(1, payload), 100, 0)
