"""The sessions of a document: who gets a frame is known without looking at each."""

from __future__ import annotations

import pytest

from collabkernel.room.document_session import KEEP_ALIVE_MS, DocumentSessions
from collabkernel.room.effects import Close, Send
from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import KEEP_ALIVE

pytestmark = pytest.mark.core
ANN = Principal("ann", "Ann", "", Role.WRITER)


def opened(count: int) -> DocumentSessions:
    sessions = DocumentSessions(lagging_max_ms=60_000, now_ms=0)
    for session_id in range(1, count + 1):
        sessions.open(session_id, ANN)
    return sessions


def test_edits_go_to_who_has_synced_and_is_not_behind():
    sessions = opened(3)
    for session in sessions:
        session.is_synced = session.id != 3
        sessions.set_behind(session, is_behind=session.id == 2)

    assert sessions.up_to_date == (1,)
    assert sessions.up_to_date is sessions.up_to_date
    assert [session.id for session in sessions.behind] == [2]


def test_a_blocked_socket_is_passed_by_until_it_drains():
    sessions = opened(2)
    for session in sessions:
        session.is_synced = True

    sessions.block(1, cursor=7, now_ms=5)

    assert sessions.everybody == sessions.up_to_date == (2,)
    assert sessions.behind == []
    (blocked,) = [session for session in sessions if session.id == 1]
    sessions.unblock(blocked)
    assert sessions.behind == [blocked]
    assert blocked.cursor == 7
    assert sessions.everybody == (1, 2)


def test_who_is_blocked_for_too_long_is_a_laggard():
    sessions = opened(2)
    sessions.block(1, 0, now_ms=5)

    assert sessions.laggards(60_004) == []
    assert [session.id for session in sessions.laggards(60_005)] == [1]


def test_silence_is_broken_in_time_and_only_then():
    sessions = opened(2)
    sessions.said(1000)

    assert sessions.due_ms() == 1000 + KEEP_ALIVE_MS
    assert sessions.keep_alive(KEEP_ALIVE_MS) == []
    assert sessions.keep_alive(1000 + KEEP_ALIVE_MS) == [Send((1, 2), KEEP_ALIVE)]


def test_nobody_is_here_when_the_last_has_left():
    sessions = opened(1)
    assert sessions.idle_since_ms is None

    sessions.drop(1, now_ms=9)

    assert sessions.idle_since_ms == 9
    assert sessions.due_ms() is None


def test_the_end_closes_all():
    assert opened(2).close_all("idle", "bye") == [Close(1, "idle", "bye"), Close(2, "idle", "bye")]
