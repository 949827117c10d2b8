"""Presence: the newest of each, once a tick, and what the slow have missed."""

from __future__ import annotations

import pytest

from collabkernel.client.attendance import Attendance
from collabkernel.crdt.ids import OpId
from collabkernel.document.room_state import RoomState
from collabkernel.limits import CLUSTER, Limits
from collabkernel.room.busy import Busy
from collabkernel.room.effects import Send
from collabkernel.room.events import SessionBlocked, SessionClosed, SessionDrained
from collabkernel.room.presence import TICK_BYTES, PresenceBoard
from collabkernel.room.session import Principal, Session
from collabkernel.room.viewport import Viewports
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.messages import Presence, Role, Viewport
from tests.room.book import Book

pytestmark = pytest.mark.core


def session(id: int) -> Session:
    made = Session(id, Principal(f"a{id}", "A", "", Role.WRITER), Limits(), 0)
    made.site, made.is_live = 100 + id, True
    return made


def entries(effect: object) -> list[tuple[str, str, bool]]:
    assert isinstance(effect, Send)
    message = decode_server_message(effect.frame, Limits())
    moves = [(f"a{move.site - 100}", move.state_json, False) for move in message.moves]
    return [(entry.actor, entry.state_json, entry.left) for entry in message.presence] + moves


def test_the_newest_of_each_goes_out_once() -> None:
    board, ann, bob = PresenceBoard(Busy(Limits()), Viewports(RoomState())), session(1), session(2)
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
    board, ann, bob = PresenceBoard(Busy(Limits()), Viewports(RoomState())), session(1), session(2)
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
    board, ann, bob = PresenceBoard(Busy(Limits()), Viewports(RoomState())), session(1), session(2)
    bob.blocked_since_ms = 0
    board.show(ann)
    board.send([bob], 0)

    board.hide(bob)

    assert board.make_up(bob) == []


@pytest.mark.heavy
def test_a_tick_carries_so_much_and_what_is_left_waits_its_turn() -> None:
    board, crowd = PresenceBoard(Busy(Limits()), Viewports(RoomState())), [session(n) for n in range(1, 1001)]
    state = '{"n":"' + "x" * 4000 + '"}'
    for member in crowd:
        member.presence_json = state
        board.show(member)
    told: list[str] = []
    ticks = 0
    while board.due_ms() is not None:
        (effect,) = board.send(crowd, ticks * 100)
        assert isinstance(effect, Send)
        assert len(effect.frame) * len(crowd) < TICK_BYTES + 2 * 5000 * len(crowd), "one of each kind over it"
        told += [actor for actor, _, _ in entries(effect)]
        ticks += 1
        board.show(crowd[0]) if ticks == 2 else None

    assert told.count("a1") == 2, "what he shows next waits for nobody's coming"
    del told[told.index("a1", 1)]
    assert told == [f"a{n}" for n in range(1, 1001)]


# -- in a document


def moves(book: Book, reader: int) -> list[tuple[str, OpId | None]]:
    """State and block of what a reader is told at the next tick."""
    book.driver.take(reader)
    book.tick()
    return [(move.state_json, move.block) for message in book.driver.take(reader) for move in message.moves]


class Reader:
    """A session that looks at blocks, and what it believes of the others by all that it was told."""

    def __init__(self, book: Book, *blocks: OpId) -> None:
        self.book, self.named = book, blocks
        self.session = book.join(*blocks)
        self.attendance = Attendance()
        self.listen()

    def look(self, *blocks: OpId) -> None:
        """Scroll."""
        self.named = blocks
        self.book.driver.send(self.session, Viewport(blocks))

    def listen(self) -> None:
        """Take what came."""
        for message in self.book.driver.take(self.session):
            self.attendance.take(message, 100 + self.session, self.named)

    def where(self, other: int) -> OpId | None:
        """Where it believes somebody to be, after the next tick."""
        self.book.tick()
        self.book.tick()
        self.listen()
        return self.attendance.by_site[100 + other].block


def counts(book: Book, reader: int) -> dict[OpId, int]:
    """How many are in blocks, as a reader is told at the next tick."""
    book.driver.take(reader)
    book.tick()
    return {each.block: each.count for message in book.driver.take(reader) for each in message.clusters}


def show(book: Book, session: int, block: OpId | None, n: int = 0) -> str:
    state = f'{{"n":{n}}}'
    book.driver.send(session, Presence(state, block))
    return state


def test_a_cursor_is_told_to_those_who_look_there_and_to_who_looks_at_everything() -> None:
    book = Book()
    near, far = book.join(book.blocks[0]), book.join(book.blocks[-1])
    book.tick()
    book.driver.take(book.writer)

    mover = book.driver.join("eve")
    book.tick()
    state = show(book, mover, book.blocks[1])

    assert moves(book, near) == [(state, book.blocks[1])]
    assert not [move for message in book.driver.take(far) for move in message.moves]
    assert [m.block for message in book.driver.take(book.writer) for m in message.moves] == [book.blocks[1]]


def test_who_goes_away_is_seen_to_go_and_who_comes_into_sight_is_told_of() -> None:
    book = Book()
    near, far, mover = book.join(book.blocks[0]), book.join(book.blocks[-1]), book.driver.join("eve")
    book.tick()
    show(book, mover, book.blocks[1])
    moves(book, far)
    book.driver.take(near)

    state = show(book, mover, book.blocks[-1], 1)

    assert moves(book, far) == [(state, book.blocks[-1])]
    assert [m.block for message in book.driver.take(near) for m in message.moves] == [book.blocks[-1]]
    show(book, mover, book.blocks[300], 2)
    assert moves(book, near) == []
    book.look(near, book.blocks[300])
    assert moves(book, near) == [('{"n":2}', book.blocks[300])]
    book.look(near, book.blocks[301])
    assert moves(book, near) == [], "it knows"


@pytest.mark.parametrize("block", [None, OpId(7, 7)])
def test_who_is_in_no_block_is_told_of_to_all(block: OpId | None) -> None:
    book = Book()
    reader, mover = book.join(book.blocks[0]), book.driver.join("eve")
    book.tick()

    state = show(book, mover, block)

    assert moves(book, reader) == [(state, block)]


def test_of_a_crowd_those_are_told_of_who_did_something_last_and_how_many_there_are() -> None:
    book = Book()
    reader = book.join(book.blocks[0])
    crowd = [book.driver.join(f"p{n}") for n in range(CLUSTER + 2)]
    book.tick()
    for n, member in enumerate(crowd):
        show(book, member, book.blocks[1], n)
    assert counts(book, reader) == {book.blocks[1]: CLUSTER + 2}

    late = book.join(book.blocks[1])
    told = moves(book, late)
    assert sorted(state for state, _ in told) == sorted(f'{{"n":{n}}}' for n in range(2, CLUSTER + 2))

    book.driver.take(reader)
    for member in crowd[2:4]:
        show(book, member, None)
    book.tick()
    messages = book.driver.take(reader)
    assert {each.block: each.count for message in messages for each in message.clusters} == {book.blocks[1]: CLUSTER}
    states = {each.state_json for message in messages for each in message.moves}
    assert {'{"n":0}', '{"n":1}'} <= states, "those of whom was not told before"


def test_who_was_blocked_is_told_anew_of_what_is_in_sight() -> None:
    book = Book()
    reader, mover = book.join(book.blocks[0]), book.driver.join("eve")
    book.tick()
    book.driver.feed(SessionBlocked(reader))
    state = show(book, mover, book.blocks[1])
    assert moves(book, reader) == []

    book.driver.feed(SessionDrained(reader))

    assert moves(book, reader) == [(state, book.blocks[1])]


# -- nobody stays where he is not any more


def test_who_moved_while_nobody_looked_is_not_where_he_was() -> None:
    book = Book()
    mover = book.driver.join("eve")
    show(book, mover, book.blocks[0])
    book.tick()
    reader = Reader(book, book.blocks[300])
    assert reader.where(mover) == book.blocks[0], "with the Welcome"

    show(book, mover, book.blocks[-1], 1)
    assert reader.where(mover) == book.blocks[0], "out of sight"
    reader.look(book.blocks[0], book.blocks[1])

    assert reader.where(mover) is None
    reader.look(book.blocks[-1])
    assert reader.where(mover) == book.blocks[-1]


def test_who_left_while_a_reader_was_blocked_is_not_there_any_more() -> None:
    book = Book()
    reader, mover = Reader(book, book.blocks[0]), book.driver.join("eve")
    show(book, mover, book.blocks[0])
    assert reader.where(mover) == book.blocks[0]
    book.driver.feed(SessionBlocked(reader.session))
    show(book, mover, book.blocks[-1], 1)
    book.tick()

    book.driver.feed(SessionDrained(reader.session))

    assert reader.where(mover) is None


def test_who_goes_into_a_crowd_is_seen_to_leave() -> None:
    book = Book()
    reader, mover = Reader(book, book.blocks[0]), book.driver.join("eve")
    crowd = [book.driver.join(f"p{n}") for n in range(CLUSTER + 2)]
    show(book, mover, book.blocks[0])
    assert reader.where(mover) == book.blocks[0]

    show(book, mover, book.blocks[1], 1)
    for n, member in enumerate(crowd):
        show(book, member, book.blocks[1], n)

    assert reader.where(mover) == book.blocks[1]
    assert reader.attendance.crowds == {book.blocks[1]: CLUSTER + 3}


@pytest.mark.parametrize("closes", [True, False])
def test_a_crowd_that_is_gone_at_once_is_none_any_more(closes: bool) -> None:
    book = Book()
    reader = Reader(book, book.blocks[0])
    crowd = [book.driver.join(f"p{n}") for n in range(CLUSTER + 2)]
    for n, member in enumerate(crowd):
        show(book, member, book.blocks[1], n)
    assert reader.where(crowd[0]) == book.blocks[1]
    assert reader.attendance.crowds == {book.blocks[1]: CLUSTER + 2}

    for member in crowd:
        if closes:
            book.driver.feed(SessionClosed(member))
        else:
            show(book, member, book.blocks[-1])
    book.tick()
    reader.listen()

    assert reader.attendance.crowds == {}


def test_that_some_of_a_crowd_left_the_room_is_counted_though_nobody_moves() -> None:
    book = Book()
    reader = Reader(book, book.blocks[0])
    crowd = [book.driver.join(f"p{n}") for n in range(CLUSTER + 5)]
    for n, member in enumerate(crowd):
        show(book, member, book.blocks[1], n)
    reader.where(crowd[0])

    for member in crowd[:2]:
        book.driver.feed(SessionClosed(member))
    book.tick()
    reader.listen()

    assert reader.attendance.crowds == {book.blocks[1]: CLUSTER + 3}


def test_of_a_crowd_of_eleven_one_who_moves_is_told_of_alone() -> None:
    book = Book()
    reader = book.join(book.blocks[0])
    crowd = [book.driver.join(f"p{n}") for n in range(CLUSTER + 1)]
    for n, member in enumerate(crowd):
        show(book, member, book.blocks[1], n)
    book.tick()

    state = show(book, crowd[3], book.blocks[1], 99)

    assert moves(book, reader) == [(state, book.blocks[1])]


def test_who_is_resumed_in_the_tick_in_which_he_moved_has_an_entry_and_no_move() -> None:
    board, ann, bob = PresenceBoard(Busy(Limits()), Viewports(RoomState())), session(1), session(2)
    for _ in range(2):
        board.show(ann)
        board.send([bob], 0)
        ann.presence_json = '{"n":1}'
    ann.presence_json = '{"n":2}'
    board.show(ann)
    board.hide(ann)
    again = session(1)
    board.show(again)

    (effect,) = board.send([bob], 200)

    assert entries(effect) == [("a1", "", False)]
