"""Sessions leave when what was admitted before they were asked is stored, and not before."""

from __future__ import annotations

import pytest

from collabkernel.errors import ServerDrainingError
from collabkernel.limits import Limits
from collabkernel.room.awareness_room import AwarenessRoom
from collabkernel.room.effects import Close
from collabkernel.room.events import LeaveAsked, SessionClosed, SessionOpened
from collabkernel.room.leaving import Leaving
from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from tests.room.document_drive import DocumentDriver
from tests.room.drive import Driver, envelope

pytestmark = pytest.mark.core
CODE = ServerDrainingError.code


def test_they_wait_for_the_log_and_for_no_more() -> None:
    leaving = Leaving()
    leaving.ask(LeaveAsked((1, 2), "go"), admitted=3)
    leaving.ask(LeaveAsked((3,), "go"), admitted=5)

    assert [leaving.holds(session) for session in (1, 2, 3, 4)] == [True, True, True, False]
    assert leaving.take(2) == []
    assert leaving.take(3) == [1, 2]
    assert [leaving.holds(session) for session in (1, 2, 3)] == [False, False, True]
    assert leaving.take(9) == [3]
    assert leaving.take(9) == []


def test_who_is_asked_has_his_ack_before_he_goes_and_the_others_stay() -> None:
    world = Driver(answers_log=False)
    ann, bob = world.join("ann"), world.join("bob")
    world.submit(ann, envelope(1))
    world.feed(LeaveAsked((ann,), "go elsewhere"))
    world.submit(ann, envelope(2))
    world.submit(bob, envelope(1))
    assert world.closed == {}

    world.answer_log()

    assert world.acks(ann) == [(1, 1)]
    assert world.closed == {ann: CODE}
    byes = [message.bye for message in world.take(ann) if message.bye]
    assert [(bye.code, bye.reason, bye.retry_after_ms) for bye in byes] == [(CODE, "go elsewhere", 0)]
    world.submit(bob, envelope(2))
    world.answer_log()
    assert world.acks(bob) == [(1, 2), (2, 3)]
    assert world.room.head == 3


def test_who_has_nothing_in_flight_goes_at_once_and_who_is_gone_is_gone() -> None:
    world = Driver()
    ann, bob = world.join("ann"), world.open("bob")
    world.feed(SessionClosed(ann))
    world.feed(LeaveAsked((ann, bob), "go"))

    assert world.closed == {bob: CODE}
    assert world.unloaded == ""


def test_a_page_of_a_document_goes_when_its_edit_is_stored() -> None:
    driver = DocumentDriver(answers_log=False)
    ann, bob = driver.join("ann"), driver.join("bob")
    typed = driver.type(ann, "a")
    driver.feed(LeaveAsked((ann,), "go"))
    driver.type(ann, "b")
    assert driver.closed == {}

    driver.answer_log()

    assert driver.closed == {ann: CODE}
    assert typed in driver.updates(bob)
    assert driver.page(bob).text == "a"


def test_who_is_in_a_room_of_awareness_goes_at_once() -> None:
    room = AwarenessRoom("JupyterLab:globalAwareness", Limits(), 0)
    room.handle_all([SessionOpened(n, Principal("ann", "Ann", "", Role.WRITER)) for n in (1, 2)], 0)

    effects = room.handle_all([LeaveAsked((1, 7), "go")], 0)

    assert [effect for effect in effects if isinstance(effect, Close)] == [Close(1, CODE, "go")]
