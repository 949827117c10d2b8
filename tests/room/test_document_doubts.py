"""Judgement waits for a reading of the log that began after the update came."""

from __future__ import annotations

import pytest

from collabkernel.room.document_doubts import DOUBTS_BYTES_MAX, DOUBTS_MAX, Doubts
from collabkernel.room.document_session import DocumentSession
from collabkernel.room.session import Principal
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import SyncStep1, SyncUpdate
from tests.room.document_drive import DocumentDriver, Page

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


def test_a_row_that_is_asked_to_be_stored_later_settles_what_came_before():
    doubts = Doubts()
    doubts.append_begins(1)
    doubts.add(ANN, edit(b"a"))
    assert doubts.need_reading
    doubts.append_begins(2)
    assert not doubts.need_reading
    doubts.add(BOB, edit(b"b"))
    assert doubts.need_reading

    assert doubts.append_ended(1, is_whole=True) == []
    assert doubts.append_ended(1, is_whole=False) == []
    assert [doubt.message for doubt in doubts.append_ended(1, is_whole=True)] == [edit(b"a")]
    assert doubts.append_ended(0, is_whole=True) == []
    assert not doubts.holds(ANN, edit(b"c"))
    doubts.reading_begins()
    assert not doubts.need_reading
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


def test_who_comes_from_another_server_may_bring_what_is_stored_there():
    driver = DocumentDriver(has_peers=True)
    bob, zoe = Page(500), Page(600)
    driver.store_elsewhere(bob.type("bob was here. "), "bob")
    zoe.doc.apply_update(bob.doc.get_update())
    ann = driver.join("ann")

    driver.say(ann, y_protocol.encode_update(zoe.doc.get_update()))
    zoe_typed = zoe.type("and then")
    driver.say(ann, y_protocol.encode_update(zoe_typed))
    driver.pass_ms(100)

    assert driver.bans() == []
    assert driver.page(ann).text == "bob was here. and then"
    assert [row.actor for row in driver.rows] == ["bob", "ann"]


def test_a_step_1_behind_an_edit_that_waits_to_be_judged_is_answered_with_it():
    driver = DocumentDriver(has_peers=True, answers_reads=False)
    ann = driver.join("ann")
    driver.type(ann, "mine")

    driver.say(ann, y_protocol.encode_step_1(driver.page(ann).doc.get_state()))
    assert driver.page(ann).step_2s == 1, "another would say that the edit before it is stored"

    driver.answer_reads()
    driver.pass_ms(100)
    assert driver.page(ann).step_2s == 2
    assert driver.room.head == 1


def test_who_saves_for_all_is_answered_with_what_anybodys_edit_says_that_waits_to_be_judged():
    driver = DocumentDriver(has_peers=True, answers_reads=False)
    ann, bob = driver.join("ann"), driver.join("bob")
    server = driver.enter("server", is_service=True)
    driver.type(ann, "typed before the save")

    driver.step_1(bob)
    driver.step_1(server)
    assert (driver.page(bob).step_2s, driver.page(server).step_2s) == (2, 0)

    driver.answer_reads()
    driver.pass_ms(100)
    assert driver.page(server).step_2s == 1
    assert driver.page(server).text == "typed before the save"


def test_an_edit_that_waits_to_be_judged_is_taken_also_when_its_author_has_left():
    driver = DocumentDriver(has_peers=True, answers_reads=False)
    ann = driver.join("ann")
    driver.type(ann, "last words")

    driver.leave(ann)
    driver.answer_reads()

    assert [row.actor for row in driver.rows] == ["ann"]


def test_harm_that_waits_to_be_judged_bans_its_author_also_when_he_has_left():
    driver = DocumentDriver(has_peers=True, answers_reads=False)
    eve = driver.join("eve")
    driver.say(eve, y_protocol.encode_update(b"\x01\x01\x05\x00\xff\xff"))

    driver.leave(eve)
    driver.answer_reads()

    assert driver.bans() == ["eve"]
    assert "forged" not in str(driver.rows)


def test_who_makes_too_much_wait_for_the_log_comes_back_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("collabkernel.room.document_doubts.DOUBTS_MAX", 2)
    driver = DocumentDriver(has_peers=True, answers_reads=False)
    eve, elsewhere = driver.join("eve"), Page(5)
    elsewhere.type("first")

    for n in range(3):
        driver.say(eve, y_protocol.encode_update(elsewhere.type(f"{n}")))

    assert driver.closed == {eve: "quota-exceeded"}


def waiting_behind_a_row(driver: DocumentDriver) -> None:
    """Ann's first edit waits, and one of somebody who has edited before is asked to be stored behind it."""
    cyd = driver.join("cyd")
    driver.type(cyd, "one ")
    driver.answers_reads = driver.answers_log = False
    driver.type(driver.join("ann"), "two ")
    driver.type(cyd, "three ")


def test_a_busy_document_reads_nothing_for_a_first_edit():
    driver = DocumentDriver(has_peers=True)
    waiting_behind_a_row(driver)
    reads = len(driver.reads)

    driver.answer_log()

    assert [row.actor for row in driver.rows] == ["cyd", "cyd", "ann"]
    driver.type(driver.join("bob"), "four ")
    driver.type(1, "five ")
    driver.answer_log()
    assert [row.actor for row in driver.rows][3:] == ["cyd", "bob"]
    assert len(driver.reads) == reads


def test_a_row_behind_those_of_others_settles_nothing():
    driver = DocumentDriver(has_peers=True)
    waiting_behind_a_row(driver)
    driver.store_elsewhere(Page(500).type("between "))

    driver.answer_log()
    assert [row.actor for row in driver.rows if row.actor == "ann"] == []

    driver.answer_reads()
    driver.answer_log()
    assert [row.actor for row in driver.rows][-1] == "ann"
