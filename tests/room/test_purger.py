"""What a keeper purges at once, and how a room holds back what could name it meanwhile."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Side, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    ContainerKind,
    ListDelete,
    ListInsert,
    MapSet,
    NewContainer,
    Op,
    Purge,
    TextEdit,
)
from collabkernel.limits import PURGED_IDS, PURGES_AT_ONCE
from collabkernel.room.effects import Append, AskKeeping, CountPurged, ReadMissing, WriteSnapshot
from collabkernel.room.events import (
    Keeping,
    KeepingAnswered,
    MissingRead,
    PurgeAsked,
    SessionClosed,
    SnapshotSaved,
    Ticked,
)
from collabkernel.room.purger import Purger
from collabkernel.storage.base import OpRow
from collabkernel.wire.ops import encode_op, op_kind
from tests.document.test_purge_plan import filled, state
from tests.document.test_purging import LIST
from tests.room.book import BODY, Book
from tests.room.drive import HLC0, Driver, envelope

pytestmark = pytest.mark.core


def test_an_envelope_purges_so_many_ids_and_lists_at_most():
    made, ids = filled(PURGED_IDS + 10)
    made.do(*[ListDelete(LIST, id) for id in ids])
    purger = Purger(state(made))
    small, rest = tuple(ids[:10]), tuple(ids[10:])
    purger.ask([Purge(LIST, (OpId(9, 9),)), Purge(LIST, small), Purge(LIST, rest)], 0)

    assert purger.next() == purger.next() == [Purge(LIST, small)]
    purger.written(1)
    assert purger.next() == [Purge(LIST, rest)]
    purger.written(1)
    assert not purger.is_waiting
    assert purger.next() == []

    purger.ask([Purge(LIST, (id,)) for id in ids[: PURGES_AT_ONCE + 1]], 0)
    assert len(purger.next()) == PURGES_AT_ONCE


class PurgedRoom:
    """A room with a list of three, of which the middle one is deleted, that is asked to purge it."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.ann = self.driver.join("ann")
        self.list = self.id(1)
        self.driver.submit(self.ann, envelope(1, MapSet(ROOT, "l", NewContainer(ContainerKind.LIST))))
        ops = [ListInsert(self.list, None if n == 2 else self.id(n - 1), Side.RIGHT, n) for n in (2, 3, 4)]
        self.driver.submit(self.ann, envelope(2, *ops), envelope(5, ListDelete(self.list, self.id(3))))
        self.driver.answers_log = False
        self.driver.feed(PurgeAsked((Purge(self.list, (self.id(3),)),), 5))

    def id(self, counter: int) -> OpId:
        return OpId(100 + self.ann, counter)

    def grant(self, behind: int = 0) -> None:
        until_ms = self.driver.now_ms + 60_000
        self.driver.feed(KeepingAnswered(Keeping(1, 1, 1, self.driver.room.head + behind, until_ms)))
        self.driver.now_ms += 1000
        self.driver.feed(Ticked())

    def insert(self, counter: int, base: int) -> None:
        op = ListInsert(self.list, self.id(3), Side.RIGHT, "x")
        self.driver.submit(self.ann, envelope(counter, op, base=base))

    @property
    def slots(self) -> int:
        return len(list(self.driver.state.tree.nodes[self.list].items.slots()))  # type: ignore[union-attr]  # a list


def test_the_keeper_purges_when_it_has_the_right_to_and_it_is_done_when_it_is_stored():
    room = PurgedRoom()
    assert any(isinstance(effect, AskKeeping) for effect in room.driver.effects)
    room.grant()

    (append,) = [effect for effect in room.driver.effects if isinstance(effect, Append)][-1:]
    assert [(each.site, each.is_purge, each.purged_seq) for each in append.requests] == [(1, True, 0)]
    assert CountPurged(1) in room.driver.effects
    assert room.slots == 3

    room.driver.answer_log()

    assert room.slots == 2
    assert room.driver.state.purged_seq == room.driver.room.head == 6


def test_a_keeper_that_has_not_seen_what_the_last_one_stored_reads_it_once_and_goes_on():
    room = PurgedRoom()
    room.grant(behind=1)
    assert room.driver.pending == []
    reads = [effect for effect in room.driver.effects if isinstance(effect, ReadMissing)]
    assert [read.after_seq for read in reads] == [5]

    op = MapSet(ROOT, "k", 1)
    room.driver.head += 1
    room.driver.feed(MissingRead((OpRow(6, 999, 1, 1, 5, HLC0 + 9, "bob", op_kind(op), encode_op(op)),)))
    room.driver.now_ms += 1000
    room.driver.feed(Ticked())

    assert [type(job) for job in room.driver.pending] == [Append]
    assert sum(isinstance(effect, ReadMissing) for effect in room.driver.effects) == 1


def test_while_a_purge_is_in_flight_edits_are_asked_for_again():
    room = PurgedRoom()
    room.grant()
    room.driver.take(room.ann)

    room.insert(6, base=5)
    (reject,) = [each for message in room.driver.take(room.ann) for each in message.rejects]
    assert (reject.counter, reject.code, reject.final) == (6, "rate", False)

    room.driver.answer_log()
    room.driver.now_ms += 1000
    room.driver.submit(room.ann, envelope(6, MapSet(ROOT, "k", 1), base=5))
    room.driver.answer_log()
    assert room.driver.state.tree.to_json()["k"] == 1


def test_what_names_it_and_has_not_seen_the_purge_sends_its_author_away_to_make_it_again():
    room = PurgedRoom()
    room.grant()
    room.driver.answer_log()
    room.driver.take(room.ann)

    room.insert(6, base=5)

    messages = room.driver.take(room.ann)
    (reject,) = [each for message in messages for each in message.rejects]
    assert (reject.counter, reject.code, reject.final) == (6, "purged", False)
    assert [message.bye.code for message in messages if message.bye is not None] == ["purged"]


def test_it_is_told_so_when_all_before_it_is_stored():
    room = PurgedRoom()
    room.grant()
    room.driver.answer_log()
    room.driver.take(room.ann)

    room.driver.submit(room.ann, envelope(6, MapSet(ROOT, "k", 1), base=5))
    room.insert(7, base=5)
    (reject,) = [each for message in room.driver.take(room.ann) for each in message.rejects]
    assert (reject.counter, reject.code, reject.final) == (7, "rate", False)
    room.driver.answer_log()
    room.driver.now_ms += 1000
    room.insert(7, base=5)
    messages = room.driver.take(room.ann)
    assert [each.code for message in messages for each in message.rejects] == ["purged"]


def test_who_has_seen_it_is_refused_for_good_as_ever():
    room = PurgedRoom()
    room.grant()
    room.driver.answer_log()
    room.driver.take(room.ann)

    room.insert(6, base=6)
    room.driver.answer_log()

    (reject,) = [each for message in room.driver.take(room.ann) for each in message.rejects]
    assert (reject.code, reject.final) == ("unknown-reference", True)


def test_a_session_may_not_purge():
    driver = Driver()
    ann = driver.join("ann")
    driver.submit(ann, envelope(1, Purge(ROOT, (OpId(9, 9),))))
    driver.answer_log()
    (reject,) = [each for message in driver.take(ann) for each in message.rejects]
    assert (reject.code, reject.final) == ("invalid-operation", True)


class PurgedBook:
    """A room with a document of three blocks, the last below the first, and the first deleted and purged."""

    def __init__(self) -> None:
        self.book = Book(2)
        self.driver, self.first, self.second = self.book.driver, *self.book.blocks
        key = key_between(None, None, self.book.site)
        self.book.write(BlockInsert(self.first, Slot.CHILD, key, "paragraph"))
        self.book.write(BlockDelete(self.first))
        self.base = self.driver.room.head
        self.driver.feed(PurgeAsked((Purge(ROOT, (self.first,)),), self.base))
        self.driver.feed(KeepingAnswered(Keeping(1, 1, 1, self.base, self.driver.now_ms + 60_000)))
        for _ in range(3):
            self.book.tick()
        self.driver.take(self.book.writer)

    def answer_to(self, op: Op, base: int) -> list[tuple[str, bool]]:
        self.driver.submit(self.book.writer, envelope(self.book.counter, op, base=base))
        messages = self.driver.take(self.book.writer)
        return [(each.code, each.final) for message in messages for each in message.rejects]


def test_blocks_go_with_what_is_below_them_and_are_counted():
    room = PurgedBook()

    assert CountPurged(2) in room.driver.effects
    blocks = room.driver.state.blocks
    assert blocks is not None
    assert set(blocks.blocks) == {BODY, room.second}


@pytest.mark.parametrize("is_late", [True, False])
@pytest.mark.parametrize("kind", ["insert", "split", "move", "move below", "delete", "set", "type"])
def test_whatever_names_a_block_that_is_gone_is_made_again_if_its_author_could_not_know(kind: str, is_late: bool):
    room = PurgedBook()
    key = key_between(None, None, room.book.site)
    op: Op = {
        "insert": BlockInsert(room.first, Slot.CHILD, key, "paragraph"),
        "split": BlockInsert(BODY, Slot.CHILD, key, "paragraph", room.first),
        "move": BlockMove(room.first, BODY, Slot.CHILD, key),
        "move below": BlockMove(room.second, room.first, Slot.CHILD, key),
        "delete": BlockDelete(room.first),
        "set": MapSet(room.first, "k", 1),
        "type": TextEdit(room.first, TextRope(room.book.site, policy=ROPE_POLICY).insert(0, "x")),
    }[kind]

    ((code, is_final),) = room.answer_to(op, room.base if is_late else room.driver.room.head)

    assert (code, is_final) == (("purged", False) if is_late else (code, True))
    assert code in ("purged", "unknown-target", "unknown-reference")


def test_what_was_purged_goes_from_the_snapshot_before_an_idle_room_ends():
    room = PurgedBook()
    driver = room.driver
    assert driver.room.head < driver.limits.snapshot_ops
    driver.feed(SessionClosed(room.book.writer))
    driver.now_ms += driver.limits.room_idle_ms

    effects = driver.feed(Ticked())
    assert WriteSnapshot(driver.room.head) in effects
    assert not driver.unloaded
    driver.feed(SnapshotSaved(0))
    assert driver.unloaded, "it is tried again another day"


def test_what_depends_on_a_purge_waits_for_it():
    book = Book(2)
    outer, inner = book.blocks
    key = key_between(None, None, book.site)
    book.write(BlockMove(inner, outer, Slot.CHILD, key))
    book.write(BlockDelete(inner))
    book.write(BlockDelete(outer))
    purger = Purger(book.driver.state)
    purger.ask([Purge(ROOT, (inner,)), Purge(ROOT, (outer,))], book.driver.room.head)

    assert purger.next() == [Purge(ROOT, (inner,))]
    purger.written(1)
    book.driver.state.purge(book.driver.room.head, Purge(ROOT, (inner,)))
    assert purger.next() == [Purge(ROOT, (outer,))]


def test_what_is_back_by_then_stays():
    book = Book(2)
    first = book.blocks[0]
    book.write(BlockDelete(first))
    seq = book.driver.room.head
    purger = Purger(book.driver.state)
    purger.ask([Purge(ROOT, (first,))], seq)
    assert purger.next() == [Purge(ROOT, (first,))]

    book.write(BlockMove(first, BODY, Slot.CHILD, book.keys[0]))
    assert purger.next() == []
    book.write(BlockDelete(first))
    purger.ask([Purge(ROOT, (first,))], seq)
    assert purger.next() == []
