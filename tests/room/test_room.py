"""The room as a function of its past: nothing is shown or acknowledged before it is stored; nobody harms another."""

from __future__ import annotations

import pytest

from collabkernel.limits import Limits
from collabkernel.room.effects import Append, ReadCatchUp, TellState, Unload, WakeAt, WriteSnapshot
from collabkernel.room.events import (
    CatchUpRead,
    FrameReceived,
    OpsStored,
    SessionBlocked,
    SessionClosed,
    SessionDrained,
    SnapshotSaved,
    StateAsked,
    StopAsked,
    Ticked,
)
from collabkernel.storage.base import Appended
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Event, Presence, Resync, Role, Submit
from tests.room.drive import Driver, envelope

pytestmark = pytest.mark.core


def test_an_envelope_is_acknowledged_and_shown_only_after_it_is_stored() -> None:
    world = Driver(answers_log=False)
    ann, bob = world.join("ann"), world.join("bob")
    world.take(ann), world.take(bob)

    effects = world.submit(ann, envelope(1))
    assert [type(effect) for effect in effects] == [Append]
    assert world.take(ann) == world.take(bob) == []

    world.answer_log()
    assert world.acks(ann) == [(1, 1)]
    world.now_ms += 1
    world.feed(Ticked())
    assert world.shown(ann) == world.shown(bob) == [1]
    assert world.take(bob)[-1].through == 1


def test_everybody_who_is_up_to_date_gets_the_same_bytes() -> None:
    world = Driver()
    for name in ("ann", "bob", "cid"):
        world.join(name)
    world.now_ms += 200
    world.feed(Ticked())
    world.effects.clear()

    world.submit(1, envelope(1))

    shared = [effect for effect in world.effects if getattr(effect, "session_ids", None) == (1, 2, 3)]
    assert len(shared) == 1


def test_a_first_word_other_than_hello_is_refused_and_the_session_goes_on() -> None:
    world = Driver()
    ann = world.open()

    world.submit(ann, envelope(1))
    assert [n.code for m in world.take(ann) for n in m.notices] == ["protocol-error"]

    world.hello(ann)
    assert world.take(ann)[0].welcome is not None


@pytest.mark.parametrize("frame", [b"", b"\xff", b"\x0a\x02", bytes(100)])
def test_bytes_that_are_no_message_get_a_notice_and_harm_nobody(frame: bytes) -> None:
    world = Driver()
    ann, bob = world.join("ann"), world.join("bob")
    world.take(ann), world.take(bob)

    world.feed(FrameReceived(ann, frame))

    assert [n.code for m in world.take(ann) for n in m.notices] == ["malformed-frame"]
    assert world.take(bob) == []
    world.submit(ann, envelope(1))
    assert world.acks(ann) == [(1, 1)]


def test_presence_goes_to_all_once_a_tick_and_the_newest_only() -> None:
    world = Driver()
    ann, bob = world.join("ann"), world.join("bob")
    world.now_ms += 1000
    world.feed(Ticked())
    world.take(bob)

    world.now_ms += 1
    for n in range(3):
        world.send(ann, Presence(f'{{"n":{n}}}'))
    assert [e.state_json for m in world.take(bob) for e in (*m.presence, *m.moves)] == []
    world.now_ms += world.limits.presence_tick_ms
    world.feed(Ticked())
    assert [e.state_json for m in world.take(bob) for e in m.moves] == ['{"n":2}']

    world.feed(SessionClosed(ann))
    world.now_ms += world.limits.presence_tick_ms
    world.feed(Ticked())
    assert [(e.actor, e.left) for m in world.take(bob) for e in m.presence] == [("ann", True)]


def test_a_newcomer_is_told_who_is_here() -> None:
    world = Driver()
    ann = world.join("ann")
    world.send(ann, Presence('{"cursor":1}'))

    bob = world.join("bob")

    welcome = world.take(bob)[0]
    assert [(e.actor, e.name, e.state_json) for e in welcome.presence] == [("ann", "Ann", '{"cursor":1}')]


def test_a_broadcast_reaches_the_others_alone() -> None:
    world = Driver()
    ann, bob = world.join("ann"), world.join("bob")
    world.take(ann), world.take(bob)

    world.send(ann, Event("wave", "[1,2]"))

    assert [(e.actor, e.name, e.payload_json) for m in world.take(bob) for e in m.events] == [("ann", "wave", "[1,2]")]
    assert [e for m in world.take(ann) for e in m.events] == []


def test_presence_over_its_size_and_rate_is_refused() -> None:
    world = Driver(Limits(events_per_s=2, presence_bytes=10))
    ann = world.join()
    world.take(ann)

    world.send(ann, Presence('{"a":"0123456789"}'))
    world.send(ann, Presence("{}"))
    world.send(ann, Presence("{}"))

    notices = [n for m in world.take(ann) for n in m.notices]
    assert [n.code for n in notices] == ["too-large", "rate"]
    assert notices[1].retry_after_ms > 0


def test_a_blocked_session_costs_its_cursor_and_is_caught_up_when_it_drains() -> None:
    world = Driver()
    ann, bob = world.join("ann"), world.join("bob")
    world.take(ann), world.take(bob)
    world.feed(SessionBlocked(bob))

    for n in range(1, 4):
        world.now_ms += 1000
        world.submit(ann, envelope(n))
        world.send(ann, Presence(f'{{"n":{n}}}'))
        world.feed(Ticked())
    world.now_ms += world.limits.presence_tick_ms
    world.feed(Ticked())
    assert world.take(bob) == []

    world.feed(SessionDrained(bob))
    assert world.shown(bob) == [1, 2, 3]
    assert [e.state_json for m in world.received[bob] for e in m.presence if e.actor == "ann"] == ['{"n":3}']


def test_who_is_blocked_for_too_long_is_closed_and_may_resume() -> None:
    world = Driver()
    ann, bob = world.join("ann"), world.join("bob")
    effects = world.feed(SessionBlocked(bob))
    assert any(isinstance(effect, WakeAt) for effect in effects) or world.effects

    world.now_ms += world.limits.lagging_max_ms
    world.feed(Ticked())

    assert world.closed == {bob: "slow-consumer"}
    world.submit(ann, envelope(1))
    assert world.acks(ann) == [(1, 1)]


def test_a_session_behind_the_ring_is_caught_up_from_the_log() -> None:
    world = Driver(Limits(ring_bytes=1))
    ann, bob = world.join("ann"), world.join("bob")
    world.feed(SessionBlocked(bob))
    for n in range(1, 4):
        world.now_ms += 1000
        world.submit(ann, envelope(n))
    world.take(bob)

    effects = world.feed(SessionDrained(bob))
    (read,) = [effect for effect in effects if type(effect).__name__ == "ReadCatchUp"]
    assert (read.after_seq, read.head, read.with_snapshot) == (0, 3, False)
    world.feed(CatchUpRead(bob, (), 3))
    assert world.take(bob)[-1].through == 3

    world.now_ms += 1000
    world.submit(ann, envelope(4))
    assert world.shown(bob) == [4]


def test_resyncs_are_metered() -> None:
    world = Driver(Limits(resyncs_per_minute=1))
    ann = world.join()
    world.take(ann)

    world.catch_up(world.send(ann, Resync()))
    world.send(ann, Resync())

    assert [n.code for m in world.take(ann) for n in m.notices] == ["rate"]


def test_a_log_that_fails_ends_the_room_and_tells_its_sessions_to_come_back() -> None:
    world = Driver(answers_log=False)
    ann, bob = world.join("ann"), world.join("bob")
    world.take(ann), world.take(bob)
    world.submit(ann, envelope(1))

    world.fail_log()

    assert world.unloaded.startswith("storage-error")
    for session in (ann, bob):
        (message,) = world.take(session)
        assert message.bye is not None
        assert message.bye.code == "storage-error"
        assert message.bye.retry_after_ms > 0
        assert not message.acks


def test_the_state_is_told_when_all_that_is_in_it_is_stored() -> None:
    world = Driver(answers_log=False)
    ann = world.join("ann")
    world.submit(ann, envelope(1))

    world.feed(StateAsked(7))
    assert not [effect for effect in world.effects if isinstance(effect, TellState)]

    world.answer_log()
    (told,) = [effect for effect in world.effects if isinstance(effect, TellState)]
    assert told.request_id == 7
    assert told.state["state"] == {"k": 1}
    assert [session["actor"] for session in told.state["sessions"]] == ["ann"]


def test_a_stop_waits_for_the_log_then_shows_all_and_says_bye() -> None:
    world = Driver(answers_log=False)
    ann, bob = world.join("ann"), world.join("bob")
    world.submit(ann, envelope(1))
    world.take(bob)

    world.feed(StopAsked("server-stopping", "going"))
    assert not world.unloaded
    world.answer_log()

    assert world.shown(bob) == [1]
    assert world.take(bob)[-1].bye.code == "server-stopping"
    assert world.closed == {ann: "server-stopping", bob: "server-stopping"}
    assert world.unloaded


def test_a_room_that_ends_in_a_turn_stores_nothing_more_of_it() -> None:
    world = Driver(answers_log=False)
    ann, bob = world.join("ann"), world.join("bob")
    world.submit(ann, envelope(1))
    submitted = FrameReceived(bob, encode_client_message(Submit((envelope(1),))))
    otherwise = OpsStored((Appended(1, 1),))

    effects = world.room.handle_all([submitted, otherwise], world.now_ms, shows=False)
    effects += world.room.handle_all((), world.now_ms)

    assert [effect.reason for effect in effects if isinstance(effect, Unload)]
    assert not [effect for effect in effects if isinstance(effect, Append)]


def test_an_idle_room_is_unloaded_and_a_long_log_is_snapshotted_first() -> None:
    world = Driver(Limits(snapshot_ops=2))
    ann = world.join()
    world.submit(ann, envelope(1), envelope(2), envelope(3))
    world.feed(SessionClosed(ann))

    world.now_ms += world.limits.room_idle_ms
    effects = world.feed(Ticked())
    assert WriteSnapshot(3) in effects
    effects = world.feed(SnapshotSaved(3))
    assert any(isinstance(effect, Unload) for effect in effects)


def test_a_snapshot_is_written_when_due_and_not_too_often() -> None:
    world = Driver(Limits(snapshot_ops=1))
    ann = world.join()
    world.submit(ann, envelope(1))
    assert not [effect for effect in world.effects if isinstance(effect, WriteSnapshot)]

    world.now_ms += world.limits.snapshot_min_interval_ms
    world.submit(ann, envelope(2))

    assert [effect for effect in world.effects if isinstance(effect, WriteSnapshot)] == [WriteSnapshot(1)]


def test_a_reader_sees_but_cannot_write() -> None:
    world = Driver()
    ann, eve = world.join("ann"), world.join("eve", Role.READER)
    world.now_ms += 1000

    world.submit(eve, envelope(1))
    assert world.rejects(eve) == [(1, "read-only", True)]
    world.submit(ann, envelope(1))
    assert world.shown(eve) == [1]


def test_the_name_of_a_broadcast_counts_as_its_contents() -> None:
    """A name of a megabyte would have gone to everybody, 100 times a second."""
    world = Driver()
    ann, bob = world.join("ann"), world.join("bob")
    world.take(bob)

    world.send(ann, Event("n" * 5000, "1"))

    assert [notice.code for message in world.take(ann) for notice in message.notices] == ["too-large"]
    assert not [message for message in world.take(bob) if message.events]


def test_resyncs_fill_up_at_the_rate_that_is_promised() -> None:
    world = Driver(Limits(resyncs_per_minute=30))
    ann = world.join()
    reads = 0
    for _ in range(300):
        world.now_ms += 1000
        effects = world.send(ann, Resync())
        reads += len([effect for effect in effects if isinstance(effect, ReadCatchUp)])
        world.catch_up(effects)

    assert 30 + 149 <= reads <= 30 + 151


def test_a_busy_server_shows_in_larger_steps_and_acknowledges_at_once() -> None:
    world = Driver(flush_ms=50)
    ann, bob = world.join("ann"), world.join("bob")
    world.now_ms += 1000
    world.submit(ann, envelope(1))
    world.take(bob)

    world.now_ms += 5
    world.submit(ann, envelope(2), envelope(3))

    assert [counter for counter, _ in world.acks(ann)] == [1, 2, 3]
    assert world.shown(bob) == []
    world.now_ms += 45
    world.feed(Ticked())
    assert world.shown(bob) == [2, 3]
    assert len(world.take(bob)) == 1
