"""Who is in a Yjs room and what they show, without a document."""

from __future__ import annotations

import pytest

from collabkernel.limits import Limits
from collabkernel.room.audience import Audience
from collabkernel.room.effects import Close, CountReject, Send
from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import KEEP_ALIVE, Awareness, AwarenessEntry, encode_awareness

pytestmark = pytest.mark.core
ANN = Principal("ann", "Ann", "", Role.WRITER)
STATE = b'{"x":1}'
SHOWN = encode_awareness([(11, 1, STATE)])


def audience_of(count: int) -> Audience:
    audience = Audience(Limits(), 0)
    for session_id in range(1, count + 1):
        audience.open(session_id, ANN)
    return audience


def show(audience: Audience) -> None:
    session = audience.sessions.get(1)
    assert session is not None
    assert audience.hear(session, Awareness((AwarenessEntry(11, 1, STATE),)), 0) == []


def test_what_one_shows_goes_to_all_and_to_himself():
    audience = audience_of(2)
    show(audience)

    assert audience.due_ms() == 100
    assert audience.run_due(100) == [Send((1, 2), SHOWN)]


def test_who_asks_is_answered_also_when_nobody_shows_anything():
    audience = audience_of(1)
    session = audience.sessions.get(1)
    assert session is not None

    assert audience.tell_all(session, 0) == []
    assert audience.tell_all(session, 0, is_asked=True) == [Send((1,), KEEP_ALIVE)]


def test_who_comes_back_to_life_is_told_all_again():
    audience = audience_of(2)
    show(audience)
    audience.sessions.block(2, 0, 0)

    assert audience.run_due(100) == [Send((1,), SHOWN)]
    assert audience.unblock(2, 200) == [Send((2,), SHOWN)]
    assert audience.unblock(2, 200) == []


def test_who_takes_nothing_is_sent_away_with_what_he_showed():
    audience = audience_of(2)
    show(audience)
    audience.run_due(100)
    audience.sessions.block(1, 0, 0)

    effects = audience.run_due(60_000)

    assert [type(effect) for effect in effects] == [CountReject, Close, Send]
    assert audience.run_due(60_100) == [Send((2,), encode_awareness([(11, 1, b"null")]))]
