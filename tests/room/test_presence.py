"""Presence: the newest of each, once a tick, and what the slow have missed."""

from __future__ import annotations

import pytest

from collabkernel.limits import Limits
from collabkernel.room.effects import Send
from collabkernel.room.presence import PresenceBoard
from collabkernel.room.session import Principal, Session
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.messages import Role

pytestmark = pytest.mark.core


def session(id: int) -> Session:
    made = Session(id, Principal(f"a{id}", "A", "", Role.WRITER), Limits(), 0)
    made.site, made.is_live = 100 + id, True
    return made


def entries(effect: object) -> list[tuple[str, str, bool]]:
    assert isinstance(effect, Send)
    message = decode_server_message(effect.frame, Limits())
    return [(entry.actor, entry.state_json, entry.left) for entry in message.presence]


def test_the_newest_of_each_goes_out_once() -> None:
    board, ann, bob = PresenceBoard(100), session(1), session(2)
    assert board.due_ms() is None
    for state in ("1", "2"):
        ann.presence_json = f'{{"n":{state}}}'
        board.show(ann)
    assert board.due_ms() == 100

    (effect,) = board.send([ann, bob], 150)

    assert isinstance(effect, Send)
    assert effect.session_ids == (1, 2)
    assert entries(effect) == [("a1", '{"n":2}', False)]
    board.show(ann)
    assert board.due_ms() == 250


def test_the_slow_get_what_they_missed_merged() -> None:
    board, ann, bob = PresenceBoard(100), session(1), session(2)
    bob.blocked_since_ms = 0
    for state in ("1", "2"):
        ann.presence_json = f'{{"n":{state}}}'
        board.show(ann)
        board.send([ann, bob], 0)
    board.hide(ann)
    assert board.send([bob], 0) == []

    (effect,) = board.make_up(bob)

    assert entries(effect) == [("a1", "", True)]
    assert board.make_up(bob) == []


def test_who_left_is_owed_nothing() -> None:
    board, ann, bob = PresenceBoard(100), session(1), session(2)
    bob.blocked_since_ms = 0
    board.show(ann)
    board.send([bob], 0)

    board.hide(bob)

    assert board.make_up(bob) == []


@pytest.mark.heavy
def test_a_tick_carries_so_much_and_what_is_left_waits_its_turn() -> None:
    board, crowd = PresenceBoard(100), [session(n) for n in range(1, 1001)]
    state = '{"n":"' + "x" * 4000 + '"}'
    for member in crowd:
        member.presence_json = state
        board.show(member)
    told: list[str] = []
    ticks = 0
    while board.due_ms() is not None:
        (effect,) = board.send(crowd, ticks * 100)
        assert isinstance(effect, Send)
        assert len(effect.frame) * len(crowd) < 16 << 20
        told += [actor for actor, _, _ in entries(effect)]
        ticks += 1
        board.show(crowd[0]) if ticks == 2 else None

    assert told[:1000] == [f"a{n}" for n in range(1, 1001)]
    assert told[1000:] == ["a1"]
