"""Envelopes on their way in: order, resends, refusals, allowances."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.crdt.text import TextRope
from collabkernel.document.operations import (
    ContainerKind,
    Envelope,
    MapSet,
    NewContainer,
    TextEdit,
    shared_container_id,
)
from collabkernel.limits import Limits
from collabkernel.room.effects import Append, FindEnvelope, ReadMissing, Refuse, TellState
from collabkernel.room.events import BusLost, MissingRead, OpsStored, SiteGranted, StateAsked
from collabkernel.storage.base import Appended, NotAppended, OpRow, SiteRow
from collabkernel.wire.messages import Hello, Resume, SessionKind
from collabkernel.wire.ops import encode_op, op_kind
from tests.room.drive import HLC0, Driver, envelope

pytestmark = pytest.mark.core


def test_envelopes_of_one_frame_become_one_append() -> None:
    world = Driver()
    ann = world.join()

    world.submit(ann, envelope(1), envelope(2), envelope(3))

    (append,) = [effect for effect in world.effects if isinstance(effect, Append)]
    assert [request.counter for request in append.requests] == [1, 2, 3]
    assert world.acks(ann) == [(1, 1), (2, 2), (3, 3)]


def test_a_resent_envelope_is_answered_from_the_log() -> None:
    world = Driver()
    ann = world.join()
    world.submit(ann, envelope(1))
    world.take(ann)

    effects = world.submit(ann, envelope(1))
    assert effects == [FindEnvelope(ann, 101, 1)]
    world.found(ann, 1, Appended(1, HLC0 + 1, duplicate=True))

    assert world.acks(ann) == [(1, 1)]


def test_an_envelope_that_is_in_flight_is_acknowledged_once() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1))
    assert world.submit(ann, envelope(1)) == []

    world.answer_log()

    assert world.acks(ann) == [(1, 1)]


def test_a_resend_that_begins_inside_an_envelope_is_refused() -> None:
    world = Driver()
    ann = world.join()
    world.submit(ann, envelope(1, MapSet(ROOT, "a", 1), MapSet(ROOT, "b", 2)))
    world.take(ann)

    world.submit(ann, envelope(2))
    world.found(ann, 2, None)

    assert world.rejects(ann) == [(2, "invalid-operation", True)]


def test_a_gap_is_refused_once_and_what_follows_waits() -> None:
    world = Driver()
    ann = world.join()

    world.submit(ann, envelope(3), envelope(4))
    assert world.rejects(ann) == [(1, "counter-gap", False)]
    world.submit(ann, envelope(1), envelope(2), envelope(3), envelope(4))

    assert world.acks(ann) == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_over_its_rate_a_session_goes_back_and_loses_nothing() -> None:
    world = Driver(Limits(ops_per_s=10, ops_burst=2))
    ann = world.join()

    world.submit(ann, envelope(1), envelope(2), envelope(3), envelope(4))
    assert world.acks(ann) == [(1, 1), (2, 2)]
    ((counter, code, final),) = world.rejects(ann)
    assert (counter, code, final) == (3, "rate", False)
    retry_ms = next(r.retry_after_ms for m in world.take(ann) for r in m.rejects)

    world.now_ms += retry_ms + 200
    world.submit(ann, envelope(3), envelope(4))
    assert world.acks(ann) == [(3, 3), (4, 4)]


def test_a_final_refusal_uses_up_its_counters_and_comes_in_order() -> None:
    world = Driver()
    ann = world.join()

    world.submit(ann, envelope(1), envelope(2, MapSet(OpId(9, 9), "a", 1)), envelope(3))

    jobs = [effect for effect in world.effects if isinstance(effect, Append | Refuse)]
    assert [type(job).__name__ for job in jobs] == ["Append", "Refuse", "Append"]
    assert world.acks(ann) == [(1, 1), (3, 2)]
    assert world.rejects(ann) == [(2, "unknown-target", True)]


def test_an_envelope_is_all_or_nothing() -> None:
    world = Driver()
    ann = world.join()

    world.submit(ann, envelope(1, MapSet(ROOT, "a", 1), MapSet(OpId(9, 9), "b", 2)))
    world.feed(StateAsked(1))

    assert world.effects[-1].state["state"] == {}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (Envelope(1, 0, HLC0, (MapSet(ROOT, "k" * 2000, 1),)), "too-large"),
        (Envelope(1, 0, HLC0, (MapSet(ROOT, "k", "v" * 300_000),)), "too-large"),
        (Envelope(1, 5, HLC0, (MapSet(ROOT, "k", 1),)), "invalid-operation"),
        (Envelope(1, 0, 2**64 - 1, (MapSet(ROOT, "k", 1),)), "invalid-operation"),
        (Envelope(1, 0, HLC0, tuple([MapSet(ROOT, "k", 1)] * 11)), "too-large"),
    ],
)
def test_limits_refuse_with_their_code(sent: Envelope, code: str) -> None:
    world = Driver(Limits(envelope_ops=10))
    ann = world.join()

    world.submit(ann, sent)

    assert world.rejects(ann) == [(1, code, True)]
    world.submit(ann, envelope(sent.last_counter + 1))
    assert world.acks(ann) == [(sent.last_counter + 1, 1)]


def test_a_full_room_refuses_what_would_grow_it() -> None:
    world = Driver(Limits(room_bytes=1000))
    ann = world.join()

    world.submit(ann, envelope(1, MapSet(ROOT, "k", "v" * 500)), envelope(2, MapSet(ROOT, "l", "v" * 500)))

    assert world.acks(ann) == [(1, 1)]
    assert world.rejects(ann) == [(2, "too-large", True)]


def test_a_stamp_from_the_future_is_lowered_and_the_ack_says_so() -> None:
    world = Driver()
    ann = world.join()
    future = HLC0 + (3_600_000 << 16)

    world.submit(
        ann, Envelope(1, 0, future, (MapSet(ROOT, "k", 1),)), Envelope(2, 0, future + 1, (MapSet(ROOT, "k", 2),))
    )

    acks = [ack for m in world.take(ann) for ack in m.acks]
    assert acks[0].hlc is not None
    assert acks[1].hlc is not None
    assert HLC0 <= acks[0].hlc < acks[1].hlc < HLC0 + (2000 << 16)


@pytest.mark.parametrize("outcome", [NotAppended("fenced", "resumed elsewhere"), Appended(1, HLC0 + 77)])
def test_a_log_that_differs_from_the_tree_ends_the_room(outcome: Appended | NotAppended) -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1))

    world.feed(OpsStored((outcome,)))

    assert world.unloaded
    assert world.acks(ann) == []


def stored_elsewhere(seq: int) -> OpRow:
    op = MapSet(ROOT, f"other-{seq}", seq)
    return OpRow(seq, 77, seq, seq, 0, HLC0 + seq, "zoe", op_kind(op), encode_op(op))


def test_an_answer_behind_another_servers_operations_waits_for_them() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1))
    world.take(ann)

    effects = world.feed(OpsStored((Appended(3, HLC0 + 1),)))
    assert ReadMissing(0) in effects
    assert (world.acks(ann), world.room.lag_ops) == ([], 3)

    world.now_ms += 1000
    world.feed(MissingRead((stored_elsewhere(1), stored_elsewhere(2))))
    assert world.acks(ann) == [(1, 3)]
    assert world.shown(ann) == [1, 2, 3]
    assert world.room.lag_ops == 0


def test_an_own_envelope_that_comes_back_from_the_log_is_shown_once() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1))
    own = world.pending[-1].requests[0]
    row = OpRow(1, own.site, 1, 1, 0, own.hlc, own.actor, *own.ops[0])

    world.feed(BusLost())
    world.feed(MissingRead((row,)))
    world.feed(OpsStored((Appended(1, own.hlc),)))

    assert world.acks(ann) == [(1, 1)]
    assert world.shown(ann) == [1]


def typing(*texts: str) -> tuple[Driver, int, list[OpRow]]:
    """A room where each of some letters that ann typed is in flight, and the rows that the log will have of them."""
    world, rope = Driver(answers_log=False), TextRope(101)
    ann = world.join()
    made = MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT))
    world.submit(ann, envelope(1, made, *[TextEdit(OpId(101, 1), rope.insert(0, text)) for text in texts]))
    (own,) = world.pending[-1].requests
    rows = [OpRow(1 + n, own.site, 1 + n, 1, 0, own.hlc + n, own.actor, *op) for n, op in enumerate(own.ops)]
    return world, ann, rows


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_own_typing_that_comes_back_from_the_log_is_typed_once(cut: int) -> None:
    world, ann, rows = typing("a", "b")
    world.feed(BusLost())
    world.feed(MissingRead(tuple(rows[:cut]), is_cut=True))
    world.feed(MissingRead(tuple(rows[cut:])))
    world.feed(OpsStored((Appended(1, rows[0].hlc),)))
    world.now_ms += 1000
    effects = world.feed(StateAsked(1))

    assert world.unloaded == ""
    assert world.acks(ann) == [(1, 1)]
    assert world.shown(ann) == ([1] if cut == 3 else [1, 1 + cut])
    assert [effect.state["state"] for effect in effects if isinstance(effect, TellState)] == [{"t": "ba"}]


@pytest.mark.parametrize("cut", [1, 2])
def test_own_typing_whose_answer_comes_between_two_reads_of_the_log_is_typed_once(cut: int) -> None:
    world, ann, rows = typing("a", "b")
    world.feed(BusLost())
    effects = world.feed(MissingRead(tuple(rows[:cut]), is_cut=True))
    world.feed(OpsStored((Appended(1, rows[0].hlc),)))
    assert ReadMissing(cut) in effects
    assert world.acks(ann) == []

    world.feed(MissingRead(tuple(rows[cut:])))
    world.now_ms += 1000
    effects = world.feed(StateAsked(1))

    assert world.unloaded == ""
    assert world.acks(ann) == [(1, 1)]
    assert [effect.state["state"] for effect in effects if isinstance(effect, TellState)] == [{"t": "ba"}]


def test_what_its_author_has_sent_again_elsewhere_is_typed_once_and_the_room_starts_again() -> None:
    """He went on at another server while the database was slow for this one."""
    world, ann, rows = typing("a")
    world.feed(BusLost())
    world.feed(MissingRead(tuple(rows)))
    assert world.shown(ann) == [1]
    assert world.unloaded == ""

    world.feed(OpsStored((NotAppended("fenced", "resumed elsewhere"),)))
    assert world.unloaded.startswith("fenced")


def test_a_log_that_has_gone_back_starts_the_room_again() -> None:
    """A standby that had not all of it took over: what is stored now has seqs that were shown already."""
    world = Driver(answers_log=False)
    ann = world.join("ann")
    world.submit(ann, envelope(1))
    world.answer_log()
    assert world.unloaded == ""

    world.submit(ann, envelope(2))
    world.feed(OpsStored((Appended(1, envelope(2).hlc),)))

    assert world.unloaded.startswith("room-reset")
    assert world.acks(ann) == [(1, 1)]


def test_what_was_stored_long_ago_already_starts_nothing_again() -> None:
    world = Driver(answers_log=False)
    ann = world.join("ann")
    world.submit(ann, envelope(1))
    world.answer_log()
    world.submit(ann, envelope(2))
    world.feed(OpsStored((Appended(1, envelope(2).hlc, duplicate=True),)))

    assert world.unloaded == ""


def test_what_another_server_has_stamped_otherwise_starts_the_room_again() -> None:
    world, _, rows = typing("a")
    world.feed(BusLost())
    world.feed(MissingRead(tuple([row._replace(hlc=row.hlc + 5) for row in rows])))

    assert world.unloaded.startswith("room-reset")


@pytest.mark.parametrize("cut", [0, 1])
def test_own_text_that_comes_back_from_the_log_is_typed_once(cut: int) -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    site, text = 101, shared_container_id(ROOT, "notes", ContainerKind.TEXT, None)
    rope = TextRope(site)
    typed = [TextEdit(text, rope.insert(0, "word")), TextEdit(text, rope.insert(4, "s"))]
    world.submit(ann, envelope(1, MapSet(ROOT, "notes", NewContainer(ContainerKind.TEXT, shared=True)), *typed))
    world.submit(ann, envelope(4, TextEdit(text, rope.insert(0, "The "))))
    requests = [request for append in world.pending for request in append.requests]
    rows = [
        OpRow(0, own.site, own.counter + i, own.counter, 0, own.hlc + i, own.actor, *op)
        for own in requests
        for i, op in enumerate(own.ops)
    ]
    rows = [row._replace(seq=seq) for seq, row in enumerate(rows, 1)]

    world.feed(BusLost())
    world.feed(MissingRead(tuple(rows[: 1 + cut])))
    world.feed(BusLost())
    world.feed(MissingRead(tuple(rows[1 + cut :])))
    world.feed(OpsStored(tuple([Appended(own.counter, own.hlc) for own in requests])))

    assert world.acks(ann) == [(1, 1), (4, 4)]
    assert world.shown(ann) == [1, 2 + cut, 4]
    assert world.state.tree.to_json() == {"notes": "The words"}


def test_what_a_site_stored_elsewhere_is_applied_though_more_of_it_is_in_flight_here() -> None:
    world = Driver(answers_log=False)
    ann = world.open("ann")
    row = SiteRow("board", 101, "ann", 1, 2, b"h" * 32, last_counter=1)
    world.send(ann, Hello(SessionKind.SCRIPT, "test 1", Resume(101, b"s" * 16, 0, None)))
    world.catch_up(world.feed(SiteGranted(ann, row, b"", log_agrees=True)))
    world.submit(ann, envelope(2))
    own = world.pending[-1].requests[0]
    rows = (
        stored_elsewhere(1)._replace(site=own.site, counter=1, first_counter=1),
        OpRow(2, own.site, 2, 2, 0, own.hlc, own.actor, *own.ops[0]),
        stored_elsewhere(3)._replace(site=own.site, counter=3, first_counter=3),
    )

    world.feed(BusLost())
    world.feed(MissingRead(rows))

    assert world.shown(ann) == [1, 2, 3]
    assert world.state.tree.to_json() == {"k": 2, "other-1": 1, "other-3": 3}


def test_what_is_told_while_the_log_is_read_is_read_after_that() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.feed(BusLost())
    world.feed(BusLost())

    first = world.feed(MissingRead((stored_elsewhere(1),)))
    second = world.feed(MissingRead((stored_elsewhere(2),)))
    world.now_ms += 1000
    third = world.feed(MissingRead(()))

    assert [[e for e in effects if isinstance(e, ReadMissing)] for effects in (first, second, third)] == [
        [ReadMissing(1)],
        [],
        [],
    ]
    assert world.shown(ann) == [1, 2]


def test_what_was_read_before_an_append_says_nothing_of_what_it_is_behind() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1))
    world.feed(BusLost())  # the log had nothing then
    world.feed(OpsStored((Appended(2, HLC0 + 1),)))

    effects = world.feed(MissingRead(()))
    world.feed(MissingRead((stored_elsewhere(1),)))

    assert ReadMissing(0) in effects
    assert world.acks(ann) == [(1, 2)]


def test_a_stretch_of_the_log_that_was_cut_is_read_on() -> None:
    world = Driver(answers_log=False)
    world.join()
    world.feed(BusLost())

    assert ReadMissing(1) in world.feed(MissingRead((stored_elsewhere(1),), is_cut=True))
    assert not any(isinstance(effect, ReadMissing) for effect in world.feed(MissingRead((stored_elsewhere(2),))))


def test_a_log_that_was_dropped_ends_the_room_though_answers_wait_for_it() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1))
    world.submit(ann, envelope(2))
    world.feed(OpsStored((Appended(3, HLC0 + 1),)))
    world.feed(BusLost())  # there is reason to read again

    world.feed(MissingRead((), is_dropped=True))

    assert world.unloaded
    assert world.acks(ann) == []


def test_a_log_with_a_hole_ends_the_room() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1))
    world.feed(OpsStored((Appended(3, HLC0 + 1),)))

    world.feed(MissingRead(()))

    assert world.unloaded
