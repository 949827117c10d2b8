"""When the keeper of a room looks, what it writes, and when it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.ids import KEEPER_SITE, OpId, Slot
from collabkernel.document import block_edits as edits
from collabkernel.document.block_mending import misordered_splits
from collabkernel.document.operations import BlockDelete, BlockMove, BlockRekey, Envelope, StoredEnvelope
from collabkernel.document.room_state import RoomState
from collabkernel.limits import Limits
from collabkernel.room.effects import Append, AskKeeping, ReadMissing, WakeAt
from collabkernel.room.events import Keeping, KeepingAnswered, MissingRead, StopAsked, Ticked
from collabkernel.room.keeper import KEEPER_ACTOR, Keeper
from collabkernel.storage.base import AppendRequest, OpRow
from collabkernel.wire.ops import decode_op, encode_op, op_kind
from tests.document.block_world import BODY, Replica, Server
from tests.document.test_block_purging import Author
from tests.room.drive import T0_MS, Driver

pytestmark = pytest.mark.core

LIMITS = replace(Limits(), flush_tick_max_ms=0, room_idle_ms=10**9, lagging_max_ms=10**9, snapshot_age_ms=10**9)


class KeptRoom:
    """A room, and replicas that edit its document."""

    def __init__(self, count: int = 2, limits: Limits = LIMITS, before: Driver | None = None) -> None:
        self.driver = Driver(limits)
        if before is not None:
            hlc = hlc_from_ms(before.now_ms)
            self.driver = Driver(limits, before.now_ms, state=before.state, head=before.head, hlc=hlc)
        self.sessions = [self.driver.join(f"user{i}") for i in range(count)]
        self.log = Server()
        """What the sessions were shown."""
        self.replicas = [Replica(100 + session, self.log) for session in self.sessions]
        self.asked = 0

    def open(self, text: str) -> OpId:
        """Make the document with one block."""
        self.replicas[0].open()
        block = self.replicas[0].do(edits.insert_block, BODY, 0, "paragraph", text)
        self.exchange()
        return block

    def exchange(self) -> None:
        """Everybody sends all, the room shows it, and everybody reads."""
        for session, replica in zip(self.sessions, self.replicas, strict=True):
            sent, replica.outbox = replica.outbox, []
            if sent:
                self.driver.submit(session, *sent)
        self.tick(0)

    def tick(self, ms: int = 1000) -> None:
        """Some time passes."""
        self.driver.now_ms += ms
        self.driver.feed(Ticked())
        for message in self.driver.take(self.sessions[0]):
            self.log.log += message.ops
        for replica in self.replicas:
            replica.receive()

    def is_asking(self) -> bool:
        """Whether it has asked for the right to write since it was last answered."""
        asked = sum(isinstance(effect, AskKeeping) for effect in self.driver.effects)
        return asked > self.asked

    def grant(self, seq: int = 0, counter: int = 1, epoch: int = 3) -> None:
        """The keeper of this room is here, and mends until all is in order."""
        assert self.is_asking()
        self.asked += 1
        keeping = Keeping(1, epoch, counter, seq, self.driver.now_ms + LIMITS.keeper_lease_ms)
        self.driver.feed(KeepingAnswered(keeping))
        for _ in range(10):
            self.tick()

    @property
    def requests(self) -> list[AppendRequest]:
        """What the keeper has stored."""
        appends = [effect for effect in self.driver.effects if isinstance(effect, Append)]
        return [request for append in appends for request in append.requests if request.site == KEEPER_SITE]

    @property
    def kept(self) -> list[Any]:
        """Its operations."""
        return [decode_op(payload) for request in self.requests for _, payload in request.ops]

    @property
    def texts(self) -> list[str]:
        self.tick(0)
        return self.replicas[0].texts


def split_at_once(room: KeptRoom, block: OpId, indices: tuple[int, ...] = (1, 3, 5)) -> None:
    """Each replica splits the block, and none knows of the others; keys have them in another order than the text."""
    for replica, index in zip(room.replicas, indices, strict=False):
        replica.do(edits.split_block, block, index)
    room.exchange()


def test_what_crossed_is_mended_by_the_keepers_own_site() -> None:
    room = KeptRoom(3)
    block = room.open("abcdef")
    room.tick()
    assert not room.is_asking()
    split_at_once(room, block)
    room.tick()
    assert room.texts != ["a", "bc", "de", "f"]
    assert room.kept == []

    room.grant(counter=5)

    assert room.texts == ["a", "bc", "de", "f"]
    (request,) = room.requests
    assert (request.site, request.epoch, request.counter, request.actor) == (KEEPER_SITE, 3, 5, KEEPER_ACTOR)
    assert [type(op) for op in room.kept] == [BlockRekey]
    assert room.driver.unloaded == ""


def test_who_has_seen_the_other_calls_for_nothing() -> None:
    room = KeptRoom(2)
    block = room.open("abcdef")
    for replica, index in ((room.replicas[0], 4), (room.replicas[1], 2)):
        replica.do(edits.split_block, block, index)
        room.exchange()
        room.tick()

    assert room.texts == ["ab", "cd", "ef"]
    assert not room.is_asking()


def test_while_another_server_keeps_the_room_it_asks_no_more_than_now_and_then() -> None:
    room = KeptRoom(3)
    split_at_once(room, room.open("abcdef"))
    room.tick()
    assert room.is_asking()
    room.asked += 1
    room.driver.feed(KeepingAnswered(None))
    room.tick()
    room.tick()
    assert not room.is_asking()

    room.tick(LIMITS.keeper_ask_ms)

    assert room.is_asking()


def test_an_expired_right_is_asked_for_again() -> None:
    room = KeptRoom(3)
    split_at_once(room, room.open("abcdefghijkl"))
    room.tick()
    room.grant()
    room.tick(LIMITS.keeper_lease_ms)
    assert not room.is_asking()

    split_at_once(room, room.replicas[0].blocks[-1], (5, 3, 1))  # sites have the order here
    room.tick()

    room.grant(counter=2, epoch=4)
    assert [request.epoch for request in room.requests] == [3, 4]
    assert room.texts == ["a", "bc", "de", "f", "gh", "ij", "kl"]


def test_it_reads_what_the_keeper_before_it_has_stored_first() -> None:
    room = KeptRoom(3)
    split_at_once(room, room.open("abcdef"))
    room.tick()
    seq = room.driver.head + 1
    room.grant(seq=seq)
    assert room.kept == []
    reads = [effect for effect in room.driver.effects if isinstance(effect, ReadMissing)]
    assert [read.after_seq for read in reads] == [seq - 1]

    mend = stored_by_the_other(room, seq)
    room.driver.head = seq
    room.driver.feed(MissingRead((mend,)))
    room.tick()

    assert room.texts == ["a", "bc", "de", "f"]
    assert room.kept == []


def stored_by_the_other(room: KeptRoom, seq: int) -> OpRow:
    """The rekey that another server's keeper has stored."""
    assert room.driver.state.blocks is not None
    (rekey,) = misordered_splits(room.driver.state.blocks, KEEPER_SITE)
    payload = encode_op(rekey)
    return OpRow(seq, KEEPER_SITE, 1, 1, seq - 1, 1, KEEPER_ACTOR, op_kind(rekey), payload)


def test_merged_blocks_that_are_empty_go_when_they_have_come_of_age() -> None:
    room = KeptRoom(2)
    block = room.open("ab")
    ann, bob = room.replicas
    other = ann.do(edits.insert_block, BODY, 1, "paragraph", "xy")
    ann.do(edits.merge_blocks, block, other)
    room.exchange()
    bob.do(edits.edit_text, block, 2, 2, "")
    room.exchange()
    room.tick(LIMITS.merged_kept_ms - 1)
    assert not room.is_asking()
    room.tick(1000)

    room.grant()

    assert room.kept == [BlockDelete(other)]
    assert room.texts == ["ab"]
    room.tick(LIMITS.merged_kept_ms)
    assert len(room.kept) == 1


def test_what_is_merged_later_comes_of_age_later() -> None:
    room = KeptRoom(1)
    block = room.open("ab")
    (ann,) = room.replicas
    others = [ann.do(edits.insert_block, BODY, 1, "paragraph", "") for _ in range(2)]
    ann.do(edits.merge_blocks, block, others[1])
    room.exchange()
    room.tick(LIMITS.merged_kept_ms // 2)
    ann.do(edits.merge_blocks, block, others[0])
    room.exchange()
    room.tick(LIMITS.merged_kept_ms // 2 + 1)
    room.grant()
    assert room.kept == [BlockDelete(others[1])]

    room.tick(LIMITS.merged_kept_ms // 2)
    room.grant(counter=2)

    assert room.kept == [BlockDelete(others[1]), BlockDelete(others[0])]


def test_text_for_a_block_that_was_taken_for_empty_brings_it_back() -> None:
    room = KeptRoom(3)
    block = room.open("ab")
    ann, bob, eve = room.replicas
    other = ann.do(edits.insert_block, BODY, 1, "paragraph", "xy")
    room.exchange()
    late = room.replicas.pop(), room.sessions.pop()
    eve.do(edits.edit_text, other, 2, 0, " and z")
    ann.do(edits.merge_blocks, block, other)
    ann.do(edits.edit_text, block, 2, 2, "")
    room.exchange()
    room.tick(LIMITS.merged_kept_ms)
    room.grant()
    assert room.kept == [BlockDelete(other)]

    room.replicas.append(late[0])
    room.sessions.append(late[1])
    room.exchange()
    room.tick()

    assert [type(op) for op in room.kept] == [BlockDelete, BlockMove]
    assert room.texts == eve.texts == bob.texts == ["ab and z"]


def test_a_loaded_room_is_looked_at_once() -> None:
    before = KeptRoom(3)
    block = before.open("abcdef")
    split_at_once(before, block)
    before.replicas[0].do(edits.merge_blocks, block, before.replicas[0].do(edits.insert_block, BODY, 4, "paragraph"))
    before.exchange()
    stored: list[StoredEnvelope] = before.log.log

    room = KeptRoom(1, before=before.driver)
    room.log.log += stored
    room.tick(0)
    room.grant()

    assert room.texts == ["a", "bc", "de", "f"]
    room.tick(LIMITS.merged_kept_ms)
    room.grant(counter=2)
    assert [type(op) for op in room.kept] == [BlockRekey, BlockDelete]


def test_texts_that_nobody_edits_are_bytes_again_when_they_were_looked_at() -> None:
    before = KeptRoom(3)
    split_at_once(before, before.open("abcdef"))
    blocks = before.driver.state.blocks
    assert blocks is not None
    blocks.cool(0)

    room = KeptRoom(1, before=before.driver)
    room.log.log += before.log.log
    room.tick(0)
    assert all(rope.is_cold for rope in blocks.ropes.values())
    room.grant()

    assert room.texts == ["a", "bc", "de", "f"]
    assert all(rope.is_cold for rope in blocks.ropes.values())


def test_what_was_merged_long_before_a_room_was_loaded_has_come_of_age() -> None:
    before = KeptRoom(1)
    (ann,) = before.replicas
    block = before.open("ab")
    other = ann.do(edits.insert_block, BODY, 1, "paragraph")
    ann.do(edits.merge_blocks, block, other)
    before.exchange()
    before.driver.now_ms += LIMITS.merged_kept_ms
    driver = Driver(
        LIMITS, before.driver.now_ms, state=before.driver.state, head=before.driver.head, hlc=hlc_from_ms(T0_MS)
    )

    effects = driver.feed(Ticked())

    assert AskKeeping() in effects


def test_looking_is_metered() -> None:
    room = KeptRoom(3, replace(LIMITS, keeper_blocks_per_s=1, keeper_blocks_burst=4))
    split_at_once(room, room.open("abcdef"))
    room.tick(100)
    room.driver.feed(KeepingAnswered(Keeping(1, 1, 1, 0, room.driver.now_ms + 10**6)))
    room.tick(100)
    assert room.kept == []
    waits = [effect.at_ms - room.driver.now_ms for effect in room.driver.effects if isinstance(effect, WakeAt)]
    assert max(waits) > 4000  # the look before, and the new keys that it found, are owed

    room.tick(max(waits))

    assert len(room.kept) == 1


def test_a_text_in_too_many_blocks_is_left_as_it_is() -> None:
    room = KeptRoom(3, replace(LIMITS, keeper_blocks_burst=2))
    split_at_once(room, room.open("abcdef"))
    room.tick()

    assert not room.is_asking()


def test_a_room_that_ends_is_not_mended_any_more() -> None:
    room = KeptRoom(3)
    block = room.open("abcdef")
    room.driver.answers_log = False
    split_at_once(room, block)
    room.driver.feed(StopAsked("server-stopping", "the server stops"))
    room.driver.answer_log()

    assert not room.is_asking()
    assert room.driver.unloaded


def test_what_is_noted_may_be_purged_already() -> None:
    author = Author("one", "two")
    one, two = author.blocks
    state = RoomState(blocks=author.document)
    keeper = Keeper(state, author.world.server.head, 0, LIMITS, T0_MS)
    author.delete(one, two)
    author.purge(one, two)

    for site, op in (
        (9, BlockMove(two, one, Slot.INLINE, "k")),
        (9, BlockDelete(one)),
        (KEEPER_SITE, BlockDelete(two)),
    ):
        keeper.note(StoredEnvelope(author.world.server.head, site, "eve", Envelope(1, 0, 1, (op,))), T0_MS)

    assert keeper.due_ms() is None
