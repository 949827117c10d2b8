"""What may be in a document; tests/room/test_document_room.py tests what follows."""

from __future__ import annotations

import pytest

from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.errors import ForeignClientError, RoomResetError, YjsGapError
from collabkernel.limits import Limits
from collabkernel.room.document_intake import NOTICE_INTERVAL_MS, NOTICE_KEY, DocumentIntake
from collabkernel.room.document_log import DocumentLog, StoredUpdate
from collabkernel.room.document_session import DocumentSession
from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from tests.room.document_drive import Page

pytestmark = pytest.mark.core
ANN = DocumentSession(1, Principal("ann", "Ann", "", Role.WRITER))
EVE = DocumentSession(2, Principal("eve", "Eve", "", Role.WRITER))


def intake() -> DocumentIntake:
    return DocumentIntake(YDocument(FILE_POLICY, 999), {}, DocumentLog("text:file:1", 0), Limits())


def test_a_client_id_belongs_to_who_first_wrote_with_it():
    taken, page = intake(), Page(5)

    assert taken.admit(ANN, page.type("a"), 0)
    with pytest.raises(ForeignClientError):
        taken.admit(EVE, page.type("b"), 0)
    assert taken.actor_by_client == {5: "ann"}


def test_deletions_are_anybodys():
    taken, page = intake(), Page(5)
    taken.admit(ANN, page.type("abc"), 0)
    other = Page(6)
    other.doc.apply_update(page.doc.get_update())
    before = other.doc.get_state()
    del other.source[0:2]

    assert taken.admit(EVE, other.doc.get_update(before), 0)


def test_what_is_known_is_not_stored_again():
    taken, update = intake(), Page(5).type("a")
    taken.admit(ANN, update, 0)

    assert not taken.admit(EVE, update, 0)
    assert not taken.admit(ANN, b"\0\0", 0)


def test_what_others_stored_is_applied_and_bound_or_the_room_starts_again():
    taken, page = intake(), Page(5)
    lost = page.type("a")

    taken.take_foreign([StoredUpdate(1, "bob", Page(6).type("x"))])
    assert taken.actor_by_client == {6: "bob"}
    with pytest.raises(YjsGapError):
        taken.admit(ANN, page.type("b"), 0)
    with pytest.raises(RoomResetError):
        taken.take_foreign([StoredUpdate(2, "bob", b"\x01\xff")])
    assert taken.admit(ANN, lost, 0)


def test_notices_are_edits_and_come_seldom():
    taken = intake()
    error = ForeignClientError("not yours")

    assert taken.notice(EVE, error, 0)
    assert not taken.notice(EVE, error, 1)
    assert taken.notice(EVE, error, NOTICE_INTERVAL_MS)
    assert taken.document.map_json("state")[NOTICE_KEY]["code"] == "foreign-client"
