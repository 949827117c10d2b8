"""Presence at other servers: what they tell, what they are told, and who of them is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collabkernel.limits import Limits
from collabkernel.room.effects import PublishEphemeral
from collabkernel.room.elsewhere import GONE_MS, MESSAGE_BYTES, RENEW_MS, Elsewhere
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.messages import PresenceEntry, SessionKind

pytestmark = pytest.mark.core
ANN = PresenceEntry(1, "ann", "Ann", "", SessionKind.PERSON, '{"x":1}', False)
BOB = replace(ANN, site=2, actor="bob", name="Bob")
ONE, TWO = b"1" * 16, b"2" * 16


def left(entry: PresenceEntry) -> PresenceEntry:
    return replace(entry, state_json="", left=True)


def told(effects: list[PublishEphemeral]) -> tuple[list[PresenceEntry], bool]:
    """What one message tells, and whether it asks."""
    (effect,) = effects
    return list(decode_server_message(effect.parts, Limits()).presence), effect.is_asking


def guests(here: Elsewhere) -> list[PresenceEntry]:
    """Who is at other servers."""
    return [entry for entry, _, _ in here._guests.values()]


def test_a_room_asks_once_and_tells_what_its_sessions_show() -> None:
    here = Elsewhere()
    here.show(ANN)
    assert here.has_news()
    assert told(here.tell(0)) == ([ANN], True)
    here.show(left(ANN))
    assert told(here.tell(1)) == ([left(ANN)], False)
    assert here.tell(2) == []
    assert here.due_ms() is None


def test_own_sessions_are_told_again_and_to_who_asks() -> None:
    here = Elsewhere()
    here.show(ANN)
    here.tell(1000)
    assert here.due_ms() == 1000 + RENEW_MS
    assert here.tell(999 + RENEW_MS) == []
    assert told(here.tell(1000 + RENEW_MS)) == ([ANN], False)

    assert here.hear(ONE, [BOB], True, 0) == [BOB]
    assert told(here.tell(1001 + RENEW_MS)) == ([ANN], False), "of its own alone"


def test_news_of_others_are_told_once_and_kept_for_who_comes() -> None:
    here = Elsewhere()
    assert here.hear(ONE, [BOB], False, 0) == [BOB]
    assert here.hear(ONE, [BOB], False, RENEW_MS) == []
    assert guests(here) == [BOB]
    moved = replace(BOB, state_json='{"x":2}')
    assert here.hear(ONE, [moved], False, RENEW_MS) == [moved]
    assert here.hear(ONE, [left(BOB)], False, RENEW_MS) == [left(BOB)]
    assert here.hear(ONE, [left(BOB)], False, RENEW_MS) == []
    assert guests(here) == []


def test_who_went_from_one_server_to_another_stays() -> None:
    here = Elsewhere()
    here.hear(ONE, [BOB], False, 0)
    here.hear(TWO, [BOB], False, 1)
    assert here.hear(ONE, [left(BOB)], False, 2) == []
    assert guests(here) == [BOB]

    here.show(BOB)  # he comes here, and others have not heard of it
    assert here.hear(TWO, [replace(BOB, state_json='{"old":1}'), left(BOB)], False, 3) == []
    assert guests(here) == []


def test_those_of_a_server_that_died_are_gone_after_a_while() -> None:
    here = Elsewhere()
    here.hear(ONE, [ANN], False, 0)
    here.hear(TWO, [BOB], False, 1)
    assert here.forget(GONE_MS - 1) == []
    assert here.forget(GONE_MS) == [left(ANN)]
    assert guests(here) == [BOB]


def test_a_message_is_bounded() -> None:
    here = Elsewhere()
    shown = [replace(ANN, site=site, state_json='{"x":"%s"}' % ("y" * 4000)) for site in range(1, 50)]
    for entry in shown:
        here.show(entry)
    found: list[PresenceEntry] = []
    while here.has_news():
        effects = here.tell(0)
        assert len(effects[0].parts) < 2 * MESSAGE_BYTES
        found += told(effects)[0]
    assert found == shown
