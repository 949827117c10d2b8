"""A document's fan-out: what is given to whom; tests/room/test_document_room.py tests it in its room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.limits import Limits
from collabkernel.room.document_fanout import DocumentFanOut, flush_tick_ms
from collabkernel.room.document_session import DocumentSession, DocumentSessions
from collabkernel.room.effects import Effect, Send
from collabkernel.room.session import Principal
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Role
from tests.room.document_drive import Page

pytestmark = pytest.mark.core
ANN = Principal("ann", "Ann", "", Role.WRITER)


class World:
    def __init__(self, limits: Limits | None = None) -> None:
        self.fanout = DocumentFanOut(limits or Limits())
        self.sessions = DocumentSessions(60_000, 0)
        self.document = YDocument(FILE_POLICY, 999)
        self.page = Page(5)

    def enter(self, session_id: int, vector: bytes = b"\0") -> tuple[DocumentSession, list[Effect]]:
        session = self.sessions.open(session_id, ANN)
        return session, self.fanout.answer(session, self.sessions, vector, self.document)

    def admit(self, text: str) -> bytes:
        update = self.page.type(text)
        self.document.apply(self.document.check(update))
        self.fanout.admit()
        return update

    def store(self, *updates: bytes) -> list[Effect]:
        return self.fanout.stored(updates, 0, 0)


def test_what_is_asked_for_waits_until_all_of_it_is_stored():
    world = World()
    first, second = world.admit("a"), world.admit("b")
    _, effects = world.enter(1)

    assert effects == []
    assert world.store(first) == []
    (send,) = world.store(second)
    assert isinstance(send, Send)
    assert send.frame == y_protocol.encode_step_2(world.document.encode_state())


def test_who_comes_back_together_gets_the_same_bytes():
    world = World()
    world.store(world.admit("hello"))
    vector = Page(6).doc.get_state() + b""
    page = Page(7)
    page.type("own")
    vector = page.doc.get_state()

    frames = {id(effect.frame) for n in (1, 2, 3) for effect in world.enter(n, vector)[1] if isinstance(effect, Send)}

    assert len(frames) == 1


def test_a_state_is_old_only_by_what_the_ring_still_has():
    world = World(replace(Limits(), ring_bytes=1))
    world.store(world.admit("x" * 1000))
    world.fanout.send(world.sessions, 0)
    world.enter(1)
    for n in range(3):
        world.store(world.admit(f"{n}"))
        world.fanout.send(world.sessions, n)

    _, (send,) = world.enter(2)

    assert isinstance(send, Send)
    assert send.frame == y_protocol.encode_step_2(world.document.encode_state())


def test_the_flush_is_planned_by_the_tick_and_only_when_there_is_something():
    world = World()
    world.fanout.send(world.sessions, 1000)
    assert world.fanout.due_ms() is None

    world.fanout.stored([world.admit("a")], 50, 1010)

    assert world.fanout.due_ms() == 1050


@pytest.mark.parametrize(("sessions", "tick_ms"), [(1, 0), (100, 14), (1000, 40), (10_000, 40)])
def test_the_flush_tick_widens_with_sessions_up_to_what_a_keystroke_may_be_late(sessions: int, tick_ms: int):
    assert flush_tick_ms(sessions, Limits()) == tick_ms
    assert flush_tick_ms(sessions, replace(Limits(), flush_tick_max_ms=3, flush_tick_min_ms=2)) in (2, 3)
