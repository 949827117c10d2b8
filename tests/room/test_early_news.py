"""A room waits a moment for what others are about to tell, and reads the log when it does not come."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapSet, StoredEnvelope
from collabkernel.room.early_news import EARLY_MESSAGES_MAX, GRACE_MS, EarlyNews
from collabkernel.room.effects import Publish, ReadMissing
from collabkernel.room.events import BusLost, MissingRead, OpsPublished, OpsStored, Ticked
from collabkernel.storage.base import Appended, OpRow
from collabkernel.wire.frames import ops_part
from collabkernel.wire.ops import encode_op, op_kind
from tests.room.drive import HLC0, Driver, envelope

pytestmark = pytest.mark.core


def told(seq: int) -> OpsPublished:
    stored = StoredEnvelope(seq, 77, "zoe", Envelope(seq, 0, HLC0 + seq, (MapSet(ROOT, f"z{seq}", seq),)))
    return OpsPublished(seq, seq, ops_part([stored]))


def row(seq: int) -> OpRow:
    op = MapSet(ROOT, f"z{seq}", seq)
    return OpRow(seq, 77, seq, seq, 0, HLC0 + seq, "zoe", op_kind(op), encode_op(op))


def reads(world: Driver) -> list[int]:
    found = [effect.after_seq for effect in world.effects if isinstance(effect, ReadMissing)]
    world.effects.clear()
    return found


@pytest.fixture
def heard() -> tuple[Driver, int]:
    """A room that others tell what they store, as they have done once."""
    world = Driver(answers_log=False)
    ann = world.join()
    world.feed(told(1))
    world.effects.clear()
    return world, ann


def test_an_answer_ahead_of_what_others_tell_waits_for_them_and_reads_nothing(heard: tuple[Driver, int]) -> None:
    world, ann = heard
    world.submit(ann, envelope(1))
    world.feed(OpsStored((Appended(4, HLC0 + 1),)))
    world.feed(told(3))
    assert world.acks(ann) == []

    world.feed(told(2))
    world.now_ms += 1000
    world.feed(Ticked())

    assert world.acks(ann) == [(1, 4)]
    assert world.shown(ann) == [1, 2, 3, 4]
    assert reads(world) == []
    assert world.room.lag_ops == 0


def test_what_is_stored_is_told_at_once_also_when_it_cannot_be_shown_yet() -> None:
    """Or two servers that store by turns would both read each other's work from the log, and tell of none."""
    world = Driver(answers_log=False, has_peers=True)
    ann = world.join()
    world.submit(ann, envelope(1), envelope(2), envelope(3))
    world.feed(OpsStored((Appended(4, HLC0 + 1), Appended(5, HLC0 + 2), Appended(2, HLC0 + 3, duplicate=True))))
    assert world.acks(ann) == []
    assert [(p.first_seq, p.last_seq) for p in world.effects if isinstance(p, Publish)] == [(4, 5)]

    world.feed(MissingRead(tuple([row(seq) for seq in (1, 2, 3)])))

    assert world.acks(ann) == [(1, 4), (2, 5), (3, 2)]
    assert len([effect for effect in world.effects if isinstance(effect, Publish)]) == 1


def test_what_does_not_come_is_read(heard: tuple[Driver, int]) -> None:
    world, ann = heard
    world.feed(told(3))
    world.now_ms += GRACE_MS - 1
    world.feed(Ticked())
    assert reads(world) == []

    world.now_ms += 1
    world.feed(Ticked())
    assert reads(world) == [1]
    world.feed(told(4))
    world.feed(MissingRead((row(2), row(3))))
    world.now_ms += 1000
    world.feed(Ticked())

    assert world.shown(ann) == [1, 2, 3, 4]
    assert reads(world) == []


def test_what_is_told_while_the_log_is_read_is_taken_after_that(heard: tuple[Driver, int]) -> None:
    world, ann = heard
    world.feed(BusLost())
    assert reads(world) == [1]
    world.feed(told(2))
    world.feed(told(3))
    assert world.room.head == 1

    world.feed(MissingRead((row(2),)))
    world.now_ms += 1000
    world.feed(Ticked())

    assert world.shown(ann) == [1, 2, 3]
    assert reads(world) == []


def test_after_a_loss_nothing_is_waited_for(heard: tuple[Driver, int]) -> None:
    world, _ = heard
    world.feed(told(3))
    world.feed(BusLost())
    assert reads(world) == [1]

    world.feed(MissingRead((row(2), row(3))))
    world.feed(told(5))
    world.feed(BusLost())
    assert reads(world) == [3]


def test_no_more_is_kept_than_its_bound() -> None:
    news = EarlyNews()
    assert not news.hold(told(3), 0)
    news.hear()
    assert all(news.hold(told(3 + n), 0) for n in range(EARLY_MESSAGES_MAX))
    assert not news.hold(told(999), 0)
    assert news.next(1) is None
    assert news.next(2) == told(3)
    assert news.next(4 + EARLY_MESSAGES_MAX) is None, "all of it is here already"
