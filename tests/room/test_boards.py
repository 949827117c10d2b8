"""What is due is sent, and what is half due goes along."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from collabkernel.limits import Limits
from collabkernel.room.boards import Boards
from collabkernel.room.effects import Effect
from collabkernel.room.events import Ticked
from collabkernel.room.session import Session
from collabkernel.wire.messages import Presence
from tests.room.drive import Driver, envelope

pytestmark = pytest.mark.core


class Timed:
    """A board that is due at a time."""

    def __init__(self, due_ms: int | None, early_ms: int | None) -> None:
        self.times = due_ms, early_ms
        self.sent_ms: list[int] = []

    def due_ms(self) -> int | None:
        return self.times[0]

    def early_ms(self) -> int | None:
        return self.times[1]

    def send(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:  # noqa: ARG002  # a board's
        self.sent_ms.append(now_ms)
        return []


def test_what_is_half_due_goes_along_and_nothing_goes_alone() -> None:
    due, half, later, never = Timed(100, 50), Timed(140, 90), Timed(190, 120), Timed(None, None)
    boards = Boards(due, half, later, never)

    boards.send_due([], 99)
    boards.send_due([], 100)

    assert boards.due_ms() == 100
    assert [each.sent_ms for each in (due, half, later, never)] == [[100], [100], [], []]
    assert Boards(never).due_ms() is None


def test_cursors_and_edits_of_one_turn_come_together() -> None:
    world = Driver(Limits(flush_tick_min_ms=100))
    ann, bob = world.join("ann"), world.join("bob")
    world.now_ms += 1000
    world.feed(Ticked())
    world.submit(ann, envelope(1))
    world.now_ms += 30
    world.send(ann, Presence("{}"))
    world.submit(ann, envelope(2))
    world.take(bob)

    world.now_ms += 70  # the flush is due, and cursors were never sent
    world.feed(Ticked())

    told = world.take(bob)
    assert [move.state_json for message in told for move in message.moves] == ["{}"]
    assert [stored.seq for message in told for stored in message.ops] == [2]
