"""What a session may not do with Submit: cost others more than it sends. Counted in effects, not in time."""

from __future__ import annotations

import pytest

from collabkernel.document.operations import Envelope
from collabkernel.limits import Limits
from collabkernel.room.effects import Append, FindEnvelope, Send
from collabkernel.wire.messages import Role
from tests.room.drive import Driver, envelope

pytestmark = pytest.mark.core

LIMITS = Limits(ops_per_s=100, ops_burst=1000, refused_ops=20, resent_ops=5)


def envelopes(*counters: int) -> list[Envelope]:
    return [envelope(counter) for counter in counters]


def test_a_reader_who_writes_much_is_answered_in_one_frame_and_metered() -> None:
    world = Driver(LIMITS)
    eve = world.join(role=Role.READER)
    world.take(eve)

    effects = world.submit(eve, *envelopes(*range(1, 501)))

    assert len([effect for effect in effects if isinstance(effect, Send)]) == 1
    rejects = world.rejects(eve)
    assert rejects[:50] == [(n, "read-only", True) for n in range(1, 51)]
    assert rejects[50:] == [(51, "rate", False)]


def test_resends_are_metered_since_the_log_is_asked_for_each() -> None:
    world = Driver(LIMITS)
    ann = world.join()
    world.submit(ann, *envelopes(*range(1, 501)))
    world.take(ann)

    effects = world.submit(ann, *envelopes(*range(1, 501)))

    assert len([effect for effect in effects if isinstance(effect, FindEnvelope)]) == 100
    assert world.rejects(ann) == [(101, "rate", False)]


@pytest.mark.heavy
def test_after_a_metered_resend_everything_is_answered() -> None:
    world = Driver(LIMITS)
    ann = world.join()
    world.submit(ann, *envelopes(*range(1, 901)))
    asked: set[int] = set()
    first = 1
    for _ in range(100):
        effects = world.submit(ann, *envelopes(*range(first, 921)))
        asked |= {effect.counter for effect in effects if isinstance(effect, FindEnvelope)}
        rejects = world.rejects(ann)
        if not rejects:
            break
        ((first, code, final),) = rejects
        assert (code, final) == ("rate", False)
        world.take(ann)
        world.now_ms += 2000

    assert asked == set(range(1, 901))
    assert max(counter for counter, _ in world.acks(ann)) == 920


def test_while_the_log_is_behind_sessions_are_told_to_come_again() -> None:
    world = Driver(Limits(in_flight_bytes=2000), answers_log=False)
    ann, bob = world.join("ann"), world.join("bob")

    world.submit(ann, *envelopes(*range(1, 11)))
    world.submit(bob, *envelopes(1, 2))
    stored = len([r for effect in world.effects if isinstance(effect, Append) for r in effect.requests])
    assert stored < 6
    assert world.rejects(ann) == [(stored + 1, "rate", False)]
    assert world.rejects(bob) == [(1, "rate", False)]

    world.answers_log = True
    world.answer_log()
    world.submit(bob, *envelopes(1, 2))
    assert [counter for counter, _ in world.acks(bob)] == [1, 2]
