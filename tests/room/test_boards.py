"""What is due is sent, and what is half due goes along."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from collabkernel.limits import Limits
from collabkernel.room.boards import COMMIT_MS, Boards
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


def test_in_a_busy_server_what_is_due_goes_behind_the_commit_that_is_under_way() -> None:
    board = Timed(100, 50)
    boards = Boards(board)

    boards.hold(is_busy=True, is_settled=False, answered=0)
    boards.send_due([], 100)
    assert (board.sent_ms, boards.due_ms()) == ([], 100 + COMMIT_MS)
    boards.hold(is_busy=True, is_settled=False, answered=3)
    boards.send_due([], 102)

    assert board.sent_ms == [102]


@pytest.mark.parametrize(
    ("is_busy", "is_settled", "sent_ms"), [(True, False, 110), (False, False, 100), (True, True, 100)]
)
def test_nothing_waits_for_a_long_commit_nor_where_there_is_time_or_no_commit(
    is_busy: bool, is_settled: bool, sent_ms: int
) -> None:
    board = Timed(100, 50)
    boards = Boards(board)

    for now_ms in range(100, 112):
        boards.hold(is_busy, is_settled, answered=0)
        boards.send_due([], now_ms)

    assert board.sent_ms[0] == sent_ms


def test_a_busy_room_acknowledges_before_it_shows() -> None:
    world = Driver(Limits(flush_tick_max_ms=5, flush_tick_min_ms=5), flush_ms=5)
    ann, bob = world.join("ann"), world.join("bob")
    world.now_ms += 1000
    world.submit(ann, envelope(1))
    world.now_ms += 1
    world.submit(ann, envelope(2))
    world.answers_log = False
    world.submit(ann, envelope(3))
    world.take(ann), world.take(bob)
    world.now_ms += 6

    world.feed(Ticked())
    assert world.take(bob) == []
    world.answer_log()

    (message,) = world.take(bob)
    assert [stored.envelope.counter for stored in message.ops] == [2, 3]
    assert world.take(ann)[0].acks


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
