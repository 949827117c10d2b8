"""Awareness: whose word it is, what newcomers and peers are told, and that echoes do no harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from collabkernel.errors import MalformedFrameError
from collabkernel.limits import Limits
from collabkernel.room.awareness import CLOCK_MAX, GONE_ELSEWHERE_MS, OUTDATED_MS, RENEWAL_TICK_MS, AwarenessBoard
from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import Awareness, AwarenessEntry, decode_y_message, state_json

pytestmark = pytest.mark.core
ANN = Principal("ann", "Ann", "", Role.WRITER)
BOB = Principal("bob", "Bob", "", Role.WRITER)
EVE = Principal("eve", "Eve", "", Role.READER, {"username": "eve", "name": "Eve"})


class Board:
    """A board and its clock."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.board = AwarenessBoard(limits or Limits())
        self.now_ms = 1_000_000

    def show(self, session: int, who: Principal, client: int, clock: int, state: dict[str, Any] | None) -> str | None:
        return self.board.take(session, who, AwarenessEntry(client, clock, state_json(state)), self.now_ms)

    def tick(self, ms: int = 100, sessions: int = 2) -> list[tuple[int, int, Any]]:
        """What is sent to each of so many sessions when so much time has passed."""
        self.now_ms += ms
        due_ms = self.board.due_ms()
        if due_ms is None or due_ms > self.now_ms:
            return []
        return read(self.board.frame(sessions, self.now_ms))

    def full(self) -> list[tuple[int, int, Any]]:
        return read(self.board.full(self.now_ms))


def read(frame: bytes) -> list[tuple[int, int, Any]]:
    if not frame:
        return []
    message = decode_y_message(frame, Limits())
    assert isinstance(message, Awareness)
    return [(entry.client, entry.clock, entry.state) for entry in message.entries]


def test_changes_of_a_tick_come_in_one_frame():
    board = Board()
    board.show(1, ANN, 11, 1, {"x": 1})
    board.show(2, BOB, 22, 1, {"y": 1})
    board.show(1, ANN, 11, 2, {"x": 2})

    assert board.tick() == [(11, 2, {"x": 2}), (22, 1, {"y": 1})]
    assert board.tick() == []


def test_a_newcomer_is_told_what_everybody_shows():
    board = Board()
    board.show(1, ANN, 11, 1, {"x": 1})

    assert board.full() == [(11, 1, {"x": 1})]


def test_who_leaves_is_taken_away():
    board = Board()
    board.show(1, ANN, 11, 3, {"x": 1})
    board.tick()

    board.board.leave(1)

    assert board.full() == []
    assert board.tick() == [(11, 3, None)]


def test_a_client_may_say_that_it_leaves():
    board = Board()
    board.show(1, ANN, 11, 3, {"x": 1})
    board.tick()

    board.show(1, ANN, 11, 4, None)

    assert board.tick() == [(11, 4, None)]


def test_nobody_speaks_for_a_client_of_another():
    board = Board()
    board.show(1, ANN, 11, 1, {"x": 1})
    board.tick()

    assert board.show(2, BOB, 11, 2, {"x": "forged"}) == "awareness-of-another"
    assert board.show(2, BOB, 11, 9, None) == "awareness-of-another"
    assert board.tick() == []
    assert board.full() == [(11, 1, {"x": 1})]


def test_what_stock_clients_send_back_is_passed_over():
    board = Board()
    board.show(1, ANN, 11, 1, {"x": 1})
    board.tick()

    assert board.show(2, BOB, 11, 1, {"x": 1}) is None
    assert board.show(1, ANN, 11, 1, {"x": 1}) is None
    assert board.show(2, BOB, 11, 1, None) is None
    assert board.tick(RENEWAL_TICK_MS) == []


def test_an_echo_does_not_bring_back_who_has_left():
    board = Board()
    board.show(1, ANN, 11, 3, {"x": 1})
    board.tick()
    board.board.leave(1)
    board.tick()

    board.show(2, BOB, 11, 3, {"x": 1})

    assert board.full() == []
    assert board.tick() == []


def test_who_comes_back_with_an_old_clock_is_seen_again():
    board = Board()
    board.show(1, ANN, 11, 3, {"x": 1})
    board.tick()
    board.board.leave(1)
    board.tick()

    board.show(2, ANN, 11, 3, {"x": 1})

    assert board.tick() == [(11, 4, {"x": 1})]


def test_a_newer_connection_of_the_same_user_takes_its_client_along():
    board = Board()
    board.show(1, ANN, 11, 3, {"x": 1})
    board.show(2, ANN, 11, 4, {"x": 2})
    board.tick()

    board.board.leave(1)

    assert board.full() == [(11, 4, {"x": 2})]
    assert board.tick() == []


def test_the_user_shown_is_who_the_server_knows():
    board = Board()
    board.show(1, EVE, 11, 1, {"user": {"username": "ann", "name": "Ann"}, "cursor": 3})

    assert board.tick() == [(11, 1, {"user": {"username": "eve", "name": "Eve"}, "cursor": 3})]


def test_a_session_speaks_for_a_few_clients_only():
    board = Board(replace(Limits(), awareness_clients=2))

    codes = [board.show(1, ANN, client, 1, {}) for client in (1, 2, 3)]

    assert codes == [None, None, "awareness-of-too-many"]
    board.show(1, ANN, 1, 2, None)
    assert board.show(1, ANN, 3, 1, {}) is None


def test_a_state_has_a_bound():
    board = Board(replace(Limits(), awareness_bytes=20))

    assert board.show(1, ANN, 11, 1, {"x": "y" * 20}) == "awareness-too-large"
    assert board.full() == []


def test_a_state_that_is_none_is_refused():
    with pytest.raises(MalformedFrameError):
        AwarenessBoard(Limits()).take(1, ANN, AwarenessEntry(1, 1, b"[]"), 0)


def test_renewals_wait_for_each_other_and_are_told_in_time():
    board = Board()
    for clock in (1, 2):
        board.show(1, ANN, 11, clock, {"x": 1})
        board.show(2, BOB, 22, clock, {"y": 1})
        if clock == 1:
            board.tick()

    assert board.tick(1000) == []
    assert board.tick(RENEWAL_TICK_MS) == [(11, 2, {"x": 1}), (22, 2, {"y": 1})]
    assert board.board.due_ms() is None


def test_who_was_not_heard_for_long_is_not_told_to_newcomers():
    board = Board()
    board.show(1, ANN, 11, 1, {"x": 1})
    board.tick()

    board.now_ms += OUTDATED_MS + RENEWAL_TICK_MS

    assert board.full() == []


def test_a_tick_carries_the_cursors_of_a_thousand_who_move_them_once_a_second():
    """With 8 KB each, a third of them was never shown: newer ones took their places while they waited."""
    board = Board()
    who = replace(EVE, identity={"username": "a" * 32, "name": "b" * 32, "display_name": "c" * 32, "color": "#aabbcc"})
    for client in range(100):
        state = {"user": {"name": "client"}, "cursor": {"anchor": 100_000 + client, "head": 100_000 + client}}
        board.show(client, who, client, 1, state)

    assert [client for client, _, _ in board.tick(sessions=1_000)] == list(range(100))


@pytest.mark.heavy
def test_a_tick_carries_so_much_and_the_rest_comes_with_the_next():
    board = Board()
    for client in range(2000):
        board.board.take(client, ANN, AwarenessEntry(client, 1, state_json({"x": "y" * 10_000})), board.now_ms)

    seen = []
    while entries := board.tick(sessions=8):
        assert len(entries) < 1000
        seen += [client for client, _, _ in entries]

    assert seen == list(range(2000))


@pytest.mark.parametrize("client", [11, 99])
def test_what_would_be_refused_anyway_is_not_read(client: int):
    """Thirty megabytes of brackets took twelve seconds before they were found to be too large."""
    board = Board(replace(Limits(), awareness_clients=1, awareness_bytes=100))
    board.show(1, ANN, 11, 1, {})
    unread = AwarenessEntry(client, 2, b"[" * (101 if client == 11 else 50))

    refused = board.board.take(1, ANN, unread, board.now_ms)

    assert refused == ("awareness-too-large" if client == 11 else "awareness-of-too-many")


def test_a_clock_at_the_end_of_the_wire_s_numbers_is_refused():
    """Its client's next clock could not be read by any page, and all that comes in the same frame was lost with it."""
    board = Board()

    refused = board.show(1, ANN, 11, 2**53 - 1, {"x": 1})
    board.show(1, ANN, 12, CLOCK_MAX, {"x": 1})
    board.board.leave(1)
    board.tick()
    board.show(2, ANN, 12, 1, {"x": 2})

    assert refused == "awareness-clock"
    assert board.tick() == [(12, CLOCK_MAX + 1, {"x": 2})]


class Peer(Board):
    """The board of one of several servers."""

    def __init__(self, origin: bytes) -> None:
        super().__init__()
        self.board = AwarenessBoard(Limits(), has_peers=True)
        self.origin = origin

    def tell(self, *others: Peer) -> list[tuple[int, int, Any]]:
        """What the next message tells the others, who hear it."""
        told = self.board.tell()
        if told is None:
            return []
        message = decode_y_message(told[0], Limits())
        assert isinstance(message, Awareness)
        for other in others:
            other.board.hear(self.origin, message.entries, told[1], other.now_ms)
        return read(told[0])


def signed(name: str, **state: Any) -> dict[str, Any]:
    return {"user": {"username": name}, **state}


def test_what_is_shown_at_one_server_is_shown_at_the_others_and_told_by_one_alone():
    one, two = Peer(b"1"), Peer(b"2")
    one.show(1, ANN, 11, 1, signed("ann"))
    one.tick()
    assert one.tell(two) == [(11, 1, signed("ann"))]
    assert two.tick() == two.full() == [(11, 1, signed("ann"))]
    assert two.tell(one) == [], "it asks, and has nothing of its own"
    one.board.leave(1)
    assert one.tell(two) == [(11, 1, None)]
    assert two.tick() == [(11, 1, None)]
    assert two.full() == []


def test_a_server_that_comes_later_is_told_when_it_asks():
    one, two = Peer(b"1"), Peer(b"2")
    one.show(1, ANN, 11, 1, signed("ann"))
    one.tick()
    one.tell()
    two.tell(one)
    assert one.tell(two) == [(11, 1, signed("ann"))]
    assert two.full() == [(11, 1, signed("ann"))]


def test_renewals_keep_a_client_elsewhere_and_without_them_it_goes():
    one, two = Peer(b"1"), Peer(b"2")
    one.show(1, ANN, 11, 1, signed("ann"))
    one.tick()
    one.tell(two)
    for clock in (2, 3, 4):
        one.tick(15_000)
        two.tick(15_000)
        one.show(1, ANN, 11, clock, signed("ann"))
        one.tick(RENEWAL_TICK_MS + 1_000)
        assert one.tell(two) == [(11, clock, signed("ann"))]
        two.board.forget(two.now_ms)
        assert two.full() == [(11, clock, signed("ann"))]
    two.now_ms += GONE_ELSEWHERE_MS
    two.board.forget(two.now_ms)
    assert two.tick() == [(11, 4, None)]


def test_nobody_here_speaks_for_a_client_elsewhere_and_its_user_takes_it_along():
    one, two = Peer(b"1"), Peer(b"2")
    one.show(1, ANN, 11, 5, signed("ann"))
    one.tick()
    one.tell(two)
    assert two.show(7, BOB, 11, 6, signed("bob")) == "awareness-of-another"
    assert two.show(8, ANN, 11, 6, signed("ann", moved=True)) is None
    one.board.leave(1)
    one.tell(two)
    assert two.full()[-1][2] == signed("ann", moved=True), "the other server speaks for it no more"
    two.tick()
    two.tell(one)
    assert one.full()[-1][2] == signed("ann", moved=True)


def test_an_echo_of_who_left_elsewhere_brings_him_not_back():
    one, two = Peer(b"1"), Peer(b"2")
    one.show(1, ANN, 11, 5, signed("ann"))
    one.tick()
    one.tell(two)
    one.board.leave(1)
    one.tell(two)
    two.show(7, BOB, 11, 5, signed("ann"))
    assert two.full() == []
    assert two.show(8, ANN, 11, 5, signed("ann")) is None
    assert two.full() == [(11, 6, signed("ann"))], "his own page does, above the clock of his leaving"
