"""A document's end of its log: one site, rows of others between its own, and what others are told."""

from __future__ import annotations

import pytest

from collabkernel.errors import MalformedFrameError, RoomResetError
from collabkernel.room.document_log import DocumentLog, StoredUpdate, decode_published, publications, seed_request
from collabkernel.room.effects import Append, GrantSite, Publish
from collabkernel.storage.base import Appended, NotAppended, OpRow, SiteRow

pytestmark = pytest.mark.core


def granted(head: int = 0) -> DocumentLog:
    log = DocumentLog("text:file:1", head)
    assert isinstance(log.ask_site(), GrantSite)
    log.granted(SiteRow("text:file:1", 7, "collabkernel", 2, 3, bytes(32), 0))
    return log


def row(seq: int, site: int, update: bytes = b"u") -> OpRow:
    return OpRow(seq, site, seq, seq, 0, 0, "eve", 64, update)


def test_nothing_is_asked_before_there_is_a_site_and_then_all_in_order():
    log = DocumentLog("text:file:1", 0)
    log.add(b"a", "ann", 1000)
    assert log.take_append() == []
    log.granted(SiteRow("text:file:1", 7, "collabkernel", 2, 3, bytes(32), 0))
    log.add(b"b", "bob", 1001)

    (append,) = log.take_append()

    assert isinstance(append, Append)
    assert [(r.site, r.epoch, r.counter, r.actor, r.ops) for r in append.requests] == [
        (7, 3, 1, "ann", ((64, b"a"),)),
        (7, 3, 2, "bob", ((64, b"b"),)),
    ]
    assert append.requests[0].hlc == 1000 << 16
    assert not log.is_settled
    assert log.stored([Appended(1, 0), Appended(2, 0)]) == [StoredUpdate(1, "ann", b"a"), StoredUpdate(2, "bob", b"b")]
    assert log.is_settled
    assert log.head == 2


def test_what_was_not_stored_ends_the_room():
    log = granted()
    log.add(b"a", "ann", 0)
    log.take_append()

    with pytest.raises(RoomResetError):
        log.stored([NotAppended("fenced", "gone")])


def test_own_rows_above_a_gap_wait_for_those_between():
    log = granted(head=5)
    log.add(b"a", "ann", 0)
    log.take_append()
    log.stored([Appended(8, 0)])
    assert (log.head, log.lag_ops) == (5, 3)

    foreign = log.take_rows([row(6, 9), row(7, 9), row(8, 7)])

    assert [item.seq for item in foreign] == [6, 7]
    assert (log.head, log.lag_ops) == (8, 0)


def test_own_rows_that_are_read_before_they_are_answered_are_not_taken_twice():
    log = granted()
    log.add(b"a", "ann", 0)
    log.take_append()

    assert log.take_rows([row(1, 7)]) == []
    assert log.stored([Appended(1, 0)]) == [StoredUpdate(1, "ann", b"a")]
    assert (log.head, log.lag_ops) == (1, 0)


def test_a_hole_in_what_is_read_ends_the_room():
    with pytest.raises(RoomResetError):
        granted().take_rows([row(3, 9)])


def test_rows_told_of_by_another_server_follow_the_head():
    log = granted(head=4)

    assert not log.is_next(6, 6)
    assert log.lag_ops == 2
    assert log.is_next(5, 6)
    assert log.take_told([StoredUpdate(5, "eve", b"x"), StoredUpdate(6, "eve", b"y")])
    assert (log.head, log.lag_ops) == (6, 0)


def test_others_are_told_of_runs_without_gaps():
    stored = [StoredUpdate(1, "ann", b"a"), StoredUpdate(2, "jürgen", b"b"), StoredUpdate(4, "ann", b"")]

    told = publications(stored)

    assert [(p.first_seq, p.last_seq) for p in told if isinstance(p, Publish)] == [(1, 2), (4, 4)]
    decoded = [item for p in told if isinstance(p, Publish) for item in decode_published(*_fields(p))]
    assert decoded == stored


def _fields(told: Publish) -> tuple[int, int, bytes]:
    return told.first_seq, told.last_seq, told.parts


@pytest.mark.parametrize("parts", [b"", b"\x01a", b"\x01a\x01b\x00", b"\x01\xff\x01b"])
def test_what_others_tell_is_decoded_or_refused(parts):
    with pytest.raises(MalformedFrameError):
        decode_published(1, 1, parts)


def test_a_seed_is_the_same_operation_whoever_asks():
    first, second = seed_request("text:file:1", b"a", "ann", 1), seed_request("text:file:1", b"b", "bob", 2)

    assert (first.site, first.counter) == (second.site, second.counter) == (1, 1)
