"""Judgement waits for a reading of the log that began after the update came."""

from __future__ import annotations

import pytest

from collabkernel.room.document_doubts import DOUBTS_BYTES_MAX, DOUBTS_MAX, Doubts
from collabkernel.room.document_session import DocumentSession
from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import SyncStep1, SyncUpdate

pytestmark = pytest.mark.core

ANN = DocumentSession(1, Principal("ann", "Ann", "", Role.WRITER))
SERVER = DocumentSession(3, Principal("server", "Server", "", Role.WRITER, is_service=True))
BOB = DocumentSession(2, Principal("bob", "Bob", "", Role.WRITER))


def edit(update: bytes) -> SyncUpdate:
    return SyncUpdate(update, is_step_2=False)


def test_a_message_waits_for_the_next_reading_to_end():
    doubts = Doubts()
    doubts.add(ANN, edit(b"a"))
    doubts.add(ANN, SyncStep1(b"\0"))
    doubts.reading_begins()

    assert doubts.holds(ANN, edit(b"b"))
    assert not doubts.holds(BOB, edit(b"b"))
    assert not doubts.holds(BOB, SyncStep1(b"\0"))
    assert doubts.holds(SERVER, SyncStep1(b"\0"))
    assert not doubts.holds(SERVER, edit(b"b"))
    assert [doubt.message for doubt in doubts.reading_ended()] == [edit(b"a"), SyncStep1(b"\0")]
    assert not doubts.holds(ANN, edit(b"b"))
    assert not doubts.holds(SERVER, SyncStep1(b"\0"))


def test_what_comes_during_a_reading_waits_for_another():
    doubts = Doubts()
    doubts.add(ANN, edit(b"a"))
    doubts.reading_begins()
    doubts.add(ANN, edit(b"b"))
    doubts.reading_begins()

    assert [doubt.message for doubt in doubts.reading_ended()] == [edit(b"a")]
    assert len(doubts) == 1
    doubts.reading_begins()
    assert [doubt.message for doubt in doubts.reading_ended()] == [edit(b"b")]


def test_what_waits_is_bounded_in_messages_and_bytes():
    """3,000 frames of 100 KB waited for one reading of the log."""
    doubts = Doubts()
    doubts.add(ANN, edit(bytes(DOUBTS_BYTES_MAX)))
    assert doubts.is_full
    doubts.reading_begins()
    doubts.reading_ended()
    assert not doubts.is_full

    for _ in range(DOUBTS_MAX):
        doubts.add(BOB, SyncStep1(b""))
    assert doubts.is_full
