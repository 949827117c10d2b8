"""What a document does not take: who is told of it, how often, and who is kept out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collabkernel.limits import Limits
from collabkernel.room.document_intake import NOTICE_KEY
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Role
from tests.room.document_drive import DocumentDriver, Page

pytestmark = pytest.mark.core


def test_a_hostile_update_makes_its_session_receive_only_and_tells_its_user_why():
    driver = DocumentDriver()
    ann, eve = driver.join("ann"), driver.join("eve")

    driver.say(eve, y_protocol.encode_update(b"\x01\x01\x05\x00\xff\xff"))
    driver.pass_ms(100)
    driver.type(eve, "more")
    driver.type(ann, "fine")
    driver.pass_ms(100)

    assert driver.bans() == ["eve"]
    assert eve not in driver.closed
    assert driver.page(ann).state[NOTICE_KEY]["user"] == "eve"
    assert driver.page(ann).text == "fine"


def test_nobody_writes_under_the_client_id_of_another():
    driver = DocumentDriver()
    ann, eve = driver.join("ann"), driver.join("eve")
    driver.type(ann, "mine")
    driver.pass_ms(100)
    forged = Page(driver.page(ann).doc.client_id)
    forged.doc.apply_update(driver.page(ann).doc.get_update())

    driver.say(eve, y_protocol.encode_update(forged.type(" forged")))
    driver.pass_ms(100)

    assert "foreign-client" in driver.rejects()
    assert driver.page(ann).text == "mine"


def test_a_full_document_takes_no_more_but_bans_nobody():
    driver = DocumentDriver(limits=replace(Limits(), document_bytes=10))
    ann = driver.join("ann")

    driver.type(ann, "far too much for this one")

    assert "too-large" in driver.rejects()
    assert driver.bans() == []


def say_typed(driver: DocumentDriver, session_id: int, page: Page, text: str) -> None:
    """What a page sends when it is loaded, and then that edit."""
    driver.show(session_id, page.doc.client_id, 1, {"user": {}})
    driver.say(session_id, y_protocol.encode_update(page.type(text)))


def test_a_page_under_another_login_is_told_once_and_listens_when_it_comes_back():
    driver = DocumentDriver()
    page = driver.page(driver.join("ann"))
    driver.say(1, y_protocol.encode_update(page.type("by Ann")))
    driver.leave(1)

    bob = driver.join("bob")
    say_typed(driver, bob, page, " by Bob")
    assert driver.closed == {bob: "stale-page"}
    assert driver.bans() == []

    again = driver.join("bob")
    say_typed(driver, again, page, " and more")
    driver.say(again, y_protocol.encode_step_2(page.doc.get_update()))
    cy = driver.join("cy")
    driver.type(cy, " by Cy")
    driver.pass_ms(100)
    assert list(driver.closed) == [bob], "another dialog would stand on the first"
    assert driver.page(again).text == driver.page(cy).text

    loaded_anew = driver.join("bob")
    say_typed(driver, loaded_anew, driver.page(loaded_anew), "!")
    driver.pass_ms(100)
    assert "!" in driver.page(cy).text


def test_an_edit_that_cuts_a_character_in_two_is_told_and_bans_nobody():
    driver = DocumentDriver()
    ann = driver.join("ann")
    driver.type(ann, "a\N{GRINNING FACE}b")
    driver.show(ann, 101, 1, {"user": {}})
    half = bytes([0, 1, 101, 1, 2, 1])  # a delete of clock 2, the second half of the face

    driver.say(ann, y_protocol.encode_update(half))
    driver.pass_ms(100)

    assert driver.closed == {ann: "stale-page"}
    assert driver.bans() == []
    assert "split-pair" in driver.rejects()
    assert driver.page(driver.join("bob")).text == "a\N{GRINNING FACE}b"


def test_who_may_only_read_is_told_once_when_he_types_and_not_of_what_his_page_notes():
    driver = DocumentDriver()
    driver.type(driver.join("ann"), "text")
    rob = driver.join("rob", Role.READER)
    page = driver.page(rob)
    driver.show(rob, page.doc.client_id, 1, {"user": {}})

    for key in ("document_id", "dirty", "dirty"):
        before = page.doc.get_state()
        page.state[key] = True
        driver.say(rob, y_protocol.encode_update(page.doc.get_update(before)))
    assert driver.closed == {}
    driver.say(rob, y_protocol.encode_update(page.type("graffiti")))
    assert driver.closed == {rob: "stale-page"}

    again = driver.join("rob", Role.READER)
    say_typed(driver, again, page, "more")
    assert list(driver.closed) == [rob]
    assert driver.bans() == []


def test_a_script_without_awareness_keeps_its_socket_and_finds_the_notice():
    driver = DocumentDriver()
    ann, bob = driver.join("ann"), driver.join("bob")
    driver.type(ann, "mine")
    driver.pass_ms(100)

    driver.say(bob, y_protocol.encode_update(driver.page(ann).type(" forged")))
    driver.pass_ms(100)

    assert driver.closed == {}
    assert driver.page(bob).state[NOTICE_KEY]["code"] == "foreign-client"


def test_nobody_writes_for_another_also_among_servers():
    driver = DocumentDriver(has_peers=True)
    bob = Page(500)
    driver.store_elsewhere(bob.type("bob "), "bob")
    eve = driver.join("eve")

    driver.say(eve, y_protocol.encode_update(bob.type("forged")))

    assert driver.bans() == []
    assert "foreign-client" in driver.rejects()
    assert driver.page(eve).text == "bob "
