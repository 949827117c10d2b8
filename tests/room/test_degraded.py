"""A room whose database does not answer: nothing unstored is shown, sessions stay, and nothing is lost or doubled."""

from __future__ import annotations

import pytest

from collabkernel.errors import DegradedError
from collabkernel.room.effects import Append, AskKeeping, WriteSnapshot
from collabkernel.room.events import AskFailed, DatabaseBack, DatabaseLost, StopAsked, Ticked
from collabkernel.wire.messages import Event, Presence, Resync
from tests.room.drive import Driver, envelope
from tests.room.test_joins import ask_to_resume

pytestmark = pytest.mark.core


def degraded_signs(world: Driver, session_id: int) -> list[bool]:
    """What a session was told of it since the last ``take``."""
    return [m.degraded for m in world.received.get(session_id, []) if m.degraded is not None]


def lost_with_one_in_flight() -> tuple[Driver, int, int]:
    """Ann has sent an envelope that the log has not answered for, when the database is lost; Bob looks on."""
    world = Driver(answers_log=False)
    ann, bob = world.join("ann"), world.join("bob")
    world.submit(ann, envelope(1))
    world.feed(DatabaseLost())
    return world, ann, bob


def test_everybody_is_told_once_and_stays() -> None:
    world, ann, bob = lost_with_one_in_flight()
    world.feed(DatabaseLost())

    assert degraded_signs(world, ann) == degraded_signs(world, bob) == [True]
    assert world.closed == {}
    assert not world.unloaded


def test_what_waits_for_the_log_is_acknowledged_and_shown_only_when_it_is_stored_and_then_it_is_over() -> None:
    world, ann, bob = lost_with_one_in_flight()
    world.now_ms += 60_000
    world.feed(Ticked())
    assert (world.acks(ann), world.shown(bob)) == ([], [])

    world.feed(DatabaseBack())
    assert degraded_signs(world, ann) == [True], "it is over when the log has answered for all"
    world.answer_log()

    assert (world.acks(ann), world.shown(bob)) == ([(1, 1)], [1])
    assert degraded_signs(world, ann) == degraded_signs(world, bob) == [True, False]
    first_ack, over = (
        next(i for i, m in enumerate(world.received[ann]) if is_there(m))
        for is_there in (lambda m: m.acks, lambda m: m.degraded is False)
    )
    assert first_ack < over, "who hears that it is over knows what is stored"


def test_a_submit_is_not_read_and_what_is_sent_again_afterwards_is_stored_once() -> None:
    world, ann, bob = lost_with_one_in_flight()
    world.take(ann)
    world.submit(ann, envelope(2))
    world.submit(ann, envelope(1), envelope(2), envelope(3))

    assert world.rejects(ann) == [(2, "degraded", False)], "it is told so once"
    assert len(world.pending) == 1
    world.feed(DatabaseBack())
    world.answer_log()
    world.submit(ann, envelope(2), envelope(3))
    world.answer_log()
    world.now_ms += 100
    world.feed(Ticked())

    assert world.acks(ann) == [(1, 1), (2, 2), (3, 3)]
    assert world.shown(bob) == [1, 2, 3]


def test_a_refusal_for_now_names_the_first_envelope_that_was_dropped_also_a_resent_one() -> None:
    world, ann, _ = lost_with_one_in_flight()
    world.submit(ann, envelope(1), envelope(2))

    assert world.rejects(ann) == [(1, "degraded", False)]


def test_presence_and_broadcasts_go_on() -> None:
    world, ann, bob = lost_with_one_in_flight()
    world.send(ann, Presence('{"cursor": 3}'))
    world.send(ann, Event("wave", "1"))
    world.now_ms += 100
    world.feed(Ticked())

    heard = world.take(bob)
    assert '{"cursor": 3}' in [entry.state_json for m in heard for entry in (*m.presence, *m.moves)]
    assert [event.name for m in heard for event in m.events] == ["wave"]


def test_one_who_was_let_in_just_before_is_told_behind_his_welcome() -> None:
    world, _, _ = lost_with_one_in_flight()
    eve = world.join("eve")

    told = world.received[eve]
    assert told[0].welcome is not None
    assert degraded_signs(world, eve) == [True]


def test_a_resume_that_the_log_was_not_asked_for_leaves_the_older_connection_alone() -> None:
    world = Driver()
    ann = world.join("ann")
    world.feed(DatabaseLost())
    again = ask_to_resume(world, 101)
    refused = AskFailed(again, "away", DegradedError.code, 2000, was_tried=False)
    world.feed(refused)

    assert world.closed == {again: "degraded"}
    (bye,) = [m.bye for m in world.take(again) if m.bye is not None]
    assert (bye.code, bye.retry_after_ms) == ("degraded", 2000)
    world.feed(DatabaseBack())
    world.submit(ann, envelope(1))
    assert world.acks(ann) == [(1, 1)]


def test_nothing_that_the_room_does_by_itself_asks_the_log() -> None:
    world = Driver(limits=Driver().limits)
    ann = world.join("ann")
    for counter in range(1, world.limits.snapshot_ops + 1):
        world.submit(ann, envelope(counter))
    world.feed(DatabaseLost())
    world.effects.clear()
    world.now_ms += world.limits.snapshot_age_ms
    world.feed(Ticked())
    world.send(ann, Resync())

    assert not [each for each in world.effects if isinstance(each, WriteSnapshot | AskKeeping | Append)]
    world.feed(DatabaseBack())
    assert [each for each in world.effects if isinstance(each, WriteSnapshot)]


def test_a_second_loss_before_all_is_stored_is_the_same_one() -> None:
    world, ann, _ = lost_with_one_in_flight()
    world.feed(DatabaseBack())
    world.feed(DatabaseLost())
    world.answer_log()
    assert degraded_signs(world, ann) == [True], "the database is away, though this was stored"

    world.feed(DatabaseBack())
    assert degraded_signs(world, ann) == [True, False]


def test_a_stop_does_not_wait_for_the_database() -> None:
    world, ann, bob = lost_with_one_in_flight()
    world.feed(StopAsked("server-stopping", "bye", 1000))

    assert world.closed == {ann: "server-stopping", bob: "server-stopping"}
    assert world.acks(ann) == []
