"""A room of awareness alone."""

from __future__ import annotations

import pytest

from collabkernel.limits import Limits
from collabkernel.room.awareness_room import NOTHING, AwarenessRoom
from collabkernel.room.effects import Close, CountReject, Effect, Send, TellState, Unload, WakeAt
from collabkernel.room.events import (
    BusLost,
    Event,
    FrameReceived,
    SessionClosed,
    SessionOpened,
    StateAsked,
    StopAsked,
    Ticked,
)
from collabkernel.room.session import Principal
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Role

pytestmark = pytest.mark.core
ANN = SessionOpened(1, Principal("ann", "Ann", "", Role.WRITER))
BOB = SessionOpened(2, Principal("bob", "Bob", "", Role.READER))
SHOWN = y_protocol.encode_awareness([(11, 1, b'{"x":1}')])


class Driver:
    def __init__(self) -> None:
        self.room = AwarenessRoom("JupyterLab:globalAwareness", Limits(), 0)

    def feed(self, *events: Event, now_ms: int = 0) -> list[Effect]:
        return [effect for effect in self.room.handle_all(events, now_ms) if not isinstance(effect, WakeAt)]


def test_everybody_sees_everybody_also_a_newcomer():
    driver = Driver()
    driver.feed(ANN)
    driver.feed(FrameReceived(1, SHOWN))

    assert driver.feed(Ticked(), now_ms=100) == [Send((1,), SHOWN)]
    assert driver.feed(BOB, now_ms=200) == [Send((2,), SHOWN)]
    assert driver.feed(SessionClosed(1), now_ms=300) == [Send((2,), y_protocol.encode_awareness([(11, 1, b"null")]))]


def test_the_sync_protocol_is_answered_with_nothing_and_edits_are_dropped():
    driver = Driver()
    driver.feed(ANN)

    assert driver.feed(FrameReceived(1, y_protocol.encode_step_1(b"\0"))) == [Send((1,), NOTHING)]
    assert driver.feed(FrameReceived(1, y_protocol.encode_update(b"\0\0"))) == []
    assert driver.feed(FrameReceived(1, y_protocol.encode_update(b"\1\1"))) == [CountReject("read-only")]
    assert driver.feed(FrameReceived(1, y_protocol.QUERY)) == [Send((1,), y_protocol.KEEP_ALIVE)]


def test_garbage_closes_its_socket():
    driver = Driver()
    driver.feed(ANN)

    effects = driver.feed(FrameReceived(1, b""))

    assert [effect.code for effect in effects if isinstance(effect, Close)] == ["malformed-frame"]
    assert driver.feed(FrameReceived(1, b"")) == []


def test_an_empty_room_ends():
    driver = Driver()
    driver.feed(ANN)
    driver.feed(SessionClosed(1), BusLost(), now_ms=10)

    assert driver.feed(Ticked(), now_ms=60_009) == []
    assert driver.feed(Ticked(), now_ms=60_010) == [Unload("idle: nobody is here")]


def test_it_tells_its_state_and_stops():
    driver = Driver()
    driver.feed(ANN)

    (told,) = driver.feed(StateAsked(5))
    assert isinstance(told, TellState)
    assert told.state["sessions"][0]["actor"] == "ann"
    assert driver.feed(StopAsked("server-stopping", "bye")) == [
        Close(1, "server-stopping", "bye"),
        Unload("server-stopping: bye"),
    ]
