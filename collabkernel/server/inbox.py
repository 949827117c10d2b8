"""What waits for a room's task: bounded in events and bytes, and shared by its sessions.

Answers and timers are taken at once: they are as many as what was asked. What sessions send waits for space, and each
has a share: one that sends faster than the room works waits for itself, and keeps nobody else waiting long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from collabkernel.limits import Limits
from collabkernel.room.events import Event, FrameReceived
from collabkernel.server.flag import Flag

TURN_S = 0.01
"""A room's turn on the event loop, but for the event that ends it; then others have theirs."""
SESSION_EVENTS = 16
"""Events of one session that wait: a script that sends one by one does not wait for its answers."""


Worked: TypeAlias = Callable[[float], None]
"""Told how long an event has kept the processor, seconds."""


class _Waiting(NamedTuple):
    event: Event
    session_id: int
    size_bytes: int
    on_worked: Worked | None


class Inbox:
    """Events in the order they came."""

    def __init__(self, limits: Limits, alone_bytes: int | None = None) -> None:
        """Prepare.

        Args:
            limits: The bounds.
            alone_bytes: Frames over this are not part of a turn, but taken by ``take_large``; None: there are none.
        """
        self._limits = limits
        self._alone_bytes = alone_bytes
        self._waiting: list[_Waiting] = []
        self._size_bytes = 0
        self._bytes_by_session: dict[int, int] = {}
        self._events_by_session: dict[int, int] = {}
        self._is_closed = False
        self._has_events = Flag()
        self._has_space = Flag()

    def post(self, event: Event) -> None:
        """Take an event at once."""
        if not self._is_closed:
            self._waiting.append(_Waiting(event, 0, 0, None))
            self._has_events.set()

    async def put(self, event: FrameReceived, size_bytes: int, on_worked: Worked | None = None) -> None:
        """Take an event of a session when there is space for it.

        Args:
            event: What it sent.
            size_bytes: Its size.
            on_worked: Told when it was handled.
        """
        while not self.take(event, size_bytes, on_worked):
            self._has_space.clear()
            await self._has_space.wait()

    def take(self, event: FrameReceived, size_bytes: int, on_worked: Worked | None = None) -> bool:
        """Take an event of a session, as ``put``, or say that there is no space for it."""
        session_id = event.session_id
        if self._is_closed:
            return True
        if self.is_full_for(session_id):
            return False
        self._waiting.append(_Waiting(event, session_id, size_bytes, on_worked))
        self._size_bytes += size_bytes
        self._bytes_by_session[session_id] = self._bytes_by_session.get(session_id, 0) + size_bytes
        self._events_by_session[session_id] = self._events_by_session.get(session_id, 0) + 1
        self._has_events.set()
        return True

    def is_full_for(self, session_id: int) -> bool:
        """Whether an event of this session would have to wait."""
        limits = self._limits
        return (
            len(self._waiting) >= limits.room_inbox_events
            or self._size_bytes >= limits.room_inbox_bytes
            or self._events_by_session.get(session_id, 0) >= SESSION_EVENTS
            or self._bytes_by_session.get(session_id, 0) >= limits.frame_bytes
        )

    @property
    def has_events(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    async def wait(self) -> None:
        """Wait until something is there."""
        while not self._waiting and not self._is_closed:
            self._has_events.clear()
            await self._has_events.wait()

    def turn(self, now_s: Callable[[], float]) -> Iterator[Event]:
        """Events for one turn: at least one, and more while it is not over."""
        until_s = now_s() + TURN_S
        while self._waiting and not self._is_large(self._waiting[0]):
            event, on_worked = self._pop()
            if on_worked is None:
                yield event
            else:
                began_s = time.thread_time()  # a system call
                yield event
                on_worked(time.thread_time() - began_s)
            if now_s() > until_s:
                return

    def take_large(self) -> tuple[Event, Worked | None] | None:
        """The next event if it is a frame to be handled alone; else None."""
        return self._pop() if self._waiting and self._is_large(self._waiting[0]) else None

    def _is_large(self, waiting: _Waiting) -> bool:
        return self._alone_bytes is not None and waiting.size_bytes > self._alone_bytes

    def _pop(self) -> tuple[Event, Worked | None]:
        event, session_id, size_bytes, on_worked = self._waiting.pop(0)
        if session_id:
            self._release(session_id, size_bytes)
        return event, on_worked

    def _release(self, session_id: int, size_bytes: int) -> None:
        self._size_bytes -= size_bytes
        left = self._events_by_session[session_id] - 1
        if left:
            self._events_by_session[session_id] = left
            self._bytes_by_session[session_id] -= size_bytes
        else:
            del self._events_by_session[session_id], self._bytes_by_session[session_id]
        self._has_space.set()

    def close(self) -> None:
        """Drop what is there and take nothing more; nobody waits any longer."""
        self._is_closed = True
        self._waiting.clear()
        self._has_events.set()
        self._has_space.set()
