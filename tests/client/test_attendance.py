"""Who is here: entries, what they show since, crowds; and how often this session tells what it shows."""

from __future__ import annotations

import pytest

from collabkernel.client.attendance import Attendance, Showing
from collabkernel.crdt.ids import OpId
from collabkernel.limits import CLUSTER, PRESENCE_INTERVAL_MS
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import (
    Presence,
    PresenceCluster,
    PresenceEntry,
    PresenceMove,
    ServerMessage,
    SessionKind,
)

pytestmark = pytest.mark.core
THEIRS, OURS, BLOCK = 6, 7, OpId(5, 3)


def entry(site: int, *, left: bool = False) -> PresenceEntry:
    return PresenceEntry(site, "ann", "Ann", "", SessionKind.PERSON, left=left)


def test_who_is_here_is_noted_but_for_oneself() -> None:
    here = Attendance()

    told = here.take(ServerMessage(presence=(*map(entry, (THEIRS, OURS, 8)), entry(8, left=True))), OURS)

    assert list(here.by_site) == [THEIRS]
    assert told == {THEIRS, OURS, 8}


def test_a_move_changes_what_is_shown_and_where_and_nothing_else() -> None:
    here = Attendance()
    here.take(ServerMessage(presence=(entry(THEIRS),)), OURS)

    told = here.take(ServerMessage(moves=(PresenceMove(THEIRS, "{}", BLOCK), PresenceMove(99, "{}"))), OURS)

    assert told == {THEIRS, 99}
    (known,) = here.by_site.values()
    assert (known.actor, known.state_json, known.block) == ("ann", "{}", BLOCK)
    here.take(ServerMessage(moves=(PresenceMove(THEIRS, "{}"),)), OURS)
    assert here.by_site[THEIRS].block is None


def test_a_crowd_is_counted_while_there_are_more_than_are_known() -> None:
    here = Attendance()
    here.take(ServerMessage(presence=(entry(THEIRS),), moves=(PresenceMove(THEIRS, "{}", BLOCK),)), OURS)

    here.take(ServerMessage(clusters=(PresenceCluster(BLOCK, 12),)), OURS)
    assert here.crowds == {BLOCK: 12}
    here.take(ServerMessage(clusters=(PresenceCluster(BLOCK, CLUSTER),)), OURS)
    assert here.crowds == {}

    here.take(ServerMessage(clusters=(PresenceCluster(BLOCK, 12),)), OURS)
    here.clear()
    assert (here.by_site, here.crowds) == ({}, {})


def test_who_is_in_sight_and_is_not_told_of_is_not_there_any_more() -> None:
    here, elsewhere = Attendance(), OpId(5, 9)
    here.take(ServerMessage(presence=tuple(map(entry, (1, 2, 3)))), OURS)
    here.take(ServerMessage(moves=tuple([PresenceMove(n, "{}", BLOCK) for n in (1, 2)])), OURS)
    here.take(ServerMessage(moves=(PresenceMove(3, "{}", elsewhere),), clusters=(PresenceCluster(BLOCK, 12),)), OURS)

    told = here.take(ServerMessage(moves=(PresenceMove(1, "{}", BLOCK),), is_presence_whole=True), OURS, [BLOCK])

    assert told == {1, 2}
    assert {site: known.block for site, known in here.by_site.items()} == {1: BLOCK, 2: None, 3: elsewhere}
    assert here.crowds == {}


def test_the_last_of_what_is_shown_is_sent_and_no_more_than_four_times_a_second() -> None:
    showing = Showing()
    assert (showing.wake_ms(0), showing.take_due(0)) == (None, [])
    frames = [encode_client_message(Presence(f'{{"n":{n}}}')) for n in range(4)]

    showing.show(Presence('{"n":0}'))
    assert showing.take_due(1000) == frames[:1]
    for n in (1, 2, 3):
        showing.show(Presence(f'{{"n":{n}}}'))
    assert showing.wake_ms(1001) == 1000 + PRESENCE_INTERVAL_MS
    assert showing.take_due(1000 + PRESENCE_INTERVAL_MS - 1) == []
    assert showing.take_due(1000 + PRESENCE_INTERVAL_MS) == frames[3:]
    assert showing.wake_ms(0) is None


def test_a_new_connection_is_told_again() -> None:
    showing = Showing()
    showing.connected()
    assert showing.take_due(0) == []
    showing.show(Presence("{}"))
    (frame,) = showing.take_due(0)

    showing.connected()

    assert showing.take_due(PRESENCE_INTERVAL_MS) == [frame]
