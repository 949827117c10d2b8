"""Showing the log: shared frames, cursors, the adaptive tick."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import MapSet, StoredEnvelope
from collabkernel.document.room_state import RoomState
from collabkernel.limits import Limits
from collabkernel.room.effects import ReadCatchUp, Send
from collabkernel.room.fanout import FanOut
from collabkernel.room.intake import Intake
from collabkernel.room.session import Principal, Session
from collabkernel.room.viewport import Viewports
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.messages import Role
from collabkernel.wire.ops import encode_op
from tests.room.drive import envelope

pytestmark = pytest.mark.core


def session(id: int, cursor: int = 0) -> Session:
    made = Session(id, Principal("ann", "Ann", "", Role.WRITER), Limits(), 0)
    made.site, made.is_live, made.cursor = 100 + id, True, cursor
    return made


def fan_out(flushed: int, limits: Limits) -> FanOut:
    state = RoomState()
    return FanOut(flushed, limits, Intake("board", state, flushed, 0, limits, is_durable=True), Viewports(state))


def stored(seq: int) -> tuple[StoredEnvelope, list[bytes]]:
    made = StoredEnvelope(seq, 7, "ann", envelope(seq))
    return made, [encode_op(op) for op in made.envelope.ops]


def seqs(effect: object) -> tuple[tuple[int, ...], list[int], int]:
    assert isinstance(effect, Send)
    message = decode_server_message(effect.frame, Limits())
    return effect.session_ids, [item.seq for item in message.ops], message.through


def test_a_flush_is_one_frame_for_all_who_are_up_to_date() -> None:
    fanout, sessions = fan_out(0, Limits()), [session(1), session(2)]
    fanout.add(*stored(1))
    fanout.add(*stored(2))

    (effect,) = fanout.send(sessions, 0)

    assert seqs(effect) == ((1, 2), [1, 2], 2)
    assert [item.cursor for item in sessions] == [2, 2]
    assert fanout.send(sessions, 1) == []


def test_who_is_blocked_or_being_read_for_is_passed_by() -> None:
    fanout, slow, reading = fan_out(0, Limits()), session(1), session(2)
    slow.blocked_since_ms, reading.is_reading = 0, True
    fanout.add(*stored(1))

    assert fanout.send([slow, reading], 0) == []
    assert (slow.cursor, reading.cursor) == (0, 0)


def test_who_is_behind_gets_the_ring_in_stretches() -> None:
    fanout, late = fan_out(0, Limits(session_queue_low_bytes=1)), session(1)
    late.blocked_since_ms = 0
    for seq in (1, 2, 3):
        fanout.add(*stored(seq))
        fanout.send([late], seq)
    late.blocked_since_ms = None

    assert [seqs(effect) for effect in fanout.catch_up(late)] == [((1,), [1], 1)]
    assert fanout.due_ms() is not None
    assert [seqs(effect) for effect in fanout.send([late], 9)] == [((1,), [2], 2)]
    assert [seqs(effect) for effect in fanout.send([late], 10)] == [((1,), [3], 3)]
    assert fanout.due_ms() is None


def test_who_is_behind_the_ring_is_read_for_and_far_behind_from_a_snapshot() -> None:
    fanout, late = fan_out(50, Limits(catch_up_ops=10)), session(1, cursor=45)

    assert fanout.catch_up(late) == [ReadCatchUp(1, 45, 50, with_snapshot=False)]
    assert fanout.catch_up(late) == []
    fanout.on_read(late, (), 50)
    late.cursor = 5
    assert fanout.catch_up(late) == [ReadCatchUp(1, 5, 15, with_snapshot=False)], "no snapshot that is known is newer"
    fanout.on_read(late, (), 5)
    fanout.snapshot_seq = 20
    assert fanout.read(late, with_snapshot=True) == ReadCatchUp(1, 5, 50, with_snapshot=True)


def test_a_read_that_falls_short_goes_on() -> None:
    fanout, late = fan_out(50, Limits()), session(1, cursor=1)
    fanout.catch_up(late)

    sent, again = fanout.on_read(late, (), 20)

    assert seqs(sent) == ((1,), [], 20)
    assert again == ReadCatchUp(1, 20, 50, with_snapshot=False)


def test_who_joins_is_read_a_snapshot_and_gets_from_the_ring_what_it_reaches_back_to() -> None:
    fanout, ann, late = fan_out(4, Limits()), session(1, cursor=4), session(2)
    for first in (5, 7):
        for seq in (first, first + 1):
            fanout.add(*stored(seq))
        fanout.send([ann], first)

    fanout.snapshot_seq = 3
    assert fanout.read(late, with_snapshot=True) == ReadCatchUp(2, 0, 8, with_snapshot=True)
    fanout.snapshot_seq = 5
    assert fanout.read(late, with_snapshot=True) == ReadCatchUp(2, 0, 8, with_snapshot=True, enough=5)

    sent, rest = fanout.on_read(late, (), 5)
    assert seqs(sent) == ((2,), [], 5)
    assert rest == ReadCatchUp(2, 5, 6, with_snapshot=False), "the flush that the snapshot ends in"
    assert [seqs(effect) for effect in fanout.on_read(late, (), 6)] == [((2,), [], 6), ((2,), [7, 8], 8)]


def test_who_has_a_snapshot_that_ends_inside_a_flush_is_not_read_it_again_and_again() -> None:
    fanout, ann, late = fan_out(4, Limits(catch_up_ops=1)), session(1, cursor=4), session(2)
    for first in (5, 8):
        for seq in (first, first + 1, first + 2):
            fanout.add(*stored(seq))
        fanout.send([ann], first)
    fanout.snapshot_seq = 5
    fanout.read(late, with_snapshot=True)

    told: list[object] = []
    effects = fanout.on_read(late, (b"snapshot",), 5)
    while effects and isinstance(effects[-1], ReadCatchUp) and len(told) < 5:
        told.append(effects[-1])
        effects = fanout.on_read(late, (), effects[-1].head)

    assert told == [ReadCatchUp(2, 5, 7, with_snapshot=False)]
    assert late.cursor == 10


def test_what_was_read_is_sent_as_it_is() -> None:
    fanout, late = fan_out(5, Limits()), session(1)
    parts = (b"a snapshot", b"and operations")
    fanout.catch_up(late)

    sent = [effect.frame for effect in fanout.on_read(late, parts, 5) if isinstance(effect, Send)]

    assert [id(frame) for frame in sent] == [id(part) for part in parts], "no copy for each session"


@pytest.mark.parametrize(
    ("sessions_count", "shown_to", "tick_ms"),
    [(1, 1, 0), (100, 100, 21), (400, 400, 86), (400, 20, 10), (600, 500, 100)],
)
def test_the_flush_tick_widens_with_who_is_shown_something_up_to_its_limit(
    sessions_count: int, shown_to: int, tick_ms: int
) -> None:
    fanout = fan_out(0, Limits())
    fanout.add(*stored(1))
    fanout.send([session(i) for i in range(shown_to)], 1000)
    fanout.add(*stored(2))

    fanout.plan(fanout.tick_ms(sessions_count), 1000)

    assert fanout.due_ms() == 1000 + tick_ms
    fanout.plan(fanout.tick_ms(sessions_count), 1005)
    assert fanout.due_ms() == 1000 + tick_ms
    assert fanout.tick_ms(400, told=400) == 86


def test_an_idle_room_flushes_at_once() -> None:
    fanout = fan_out(0, Limits())
    fanout.plan(fanout.tick_ms(500), 99_000)
    assert fanout.due_ms() == 99_000


@pytest.mark.heavy
def test_a_flush_is_cut_into_frames_that_clients_take() -> None:
    """100 values of 256 KiB stored in one commit were a frame that every client refused, for ever."""
    fanout, ann = fan_out(0, Limits()), session(1)
    for seq in range(1, 101):
        made = StoredEnvelope(seq, 7, "ann", envelope(seq, MapSet(ROOT, "k", "v" * (256 << 10))))
        fanout.add(made, [encode_op(op) for op in made.envelope.ops])

    effects = fanout.send([ann], 0)

    assert [seq for effect in effects for seq in seqs(effect)[1]] == list(range(1, 101))
    assert max(len(effect.frame) for effect in effects if isinstance(effect, Send)) < 2 << 20
    assert ann.cursor == fanout.flushed == 100


def test_a_resync_during_a_catch_up_is_answered_after_it() -> None:
    """It was dropped, and the client waited for its snapshot for ever."""
    fanout, ann = fan_out(7, Limits()), session(1)
    fanout.read(ann, with_snapshot=False)

    assert fanout.resync(ann) == []
    (again,) = fanout.on_read(ann, (b"",), 7)

    assert again == ReadCatchUp(1, 0, 7, with_snapshot=True)
