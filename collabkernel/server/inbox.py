"""What waits for a room's task: bounded in events and bytes, and shared by its sessions.

Answers and timers are taken at once: they are as many as what was asked. What sessions send waits for space, and each
has a share: one that sends faster than the room works waits for itself, and keeps nobody else waiting long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from collabkernel.limits import Limits
from collabkernel.room.events import Event, FrameReceived

TURN_S = 0.01
"""A room's turn on the event loop, but for the event that ends it; then others have theirs."""
SESSION_EVENTS = 16
"""Events of one session that wait: a script that sends one by one does not wait for its answers."""


class _Waiting(NamedTuple):
    event: Event
    session_id: int
    size_bytes: int


class Inbox:
    """Events in the order they came."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._size_bytes = 0
        self._bytes_by_session: dict[int, int] = {}
        self._events_by_session: dict[int, int] = {}
        self._is_closed = False
        self._has_events = asyncio.Event()
        self._has_space = asyncio.Event()

    def post(self, event: Event) -> None:
        """Take an event at once."""
        if not self._is_closed:
            self._waiting.append(_Waiting(event, 0, 0))
            self._has_events.set()

    async def put(self, event: FrameReceived, size_bytes: int) -> None:
        """Take an event of a session when there is space for it."""
        session_id = event.session_id
        while not self._is_closed and self._is_full_for(session_id):
            self._has_space.clear()
            await self._has_space.wait()
        if self._is_closed:
            return
        self._waiting.append(_Waiting(event, session_id, size_bytes))
        self._size_bytes += size_bytes
        self._bytes_by_session[session_id] = self._bytes_by_session.get(session_id, 0) + size_bytes
        self._events_by_session[session_id] = self._events_by_session.get(session_id, 0) + 1
        self._has_events.set()

    def _is_full_for(self, session_id: int) -> bool:
        limits = self._limits
        return (
            len(self._waiting) >= limits.room_inbox_events
            or self._size_bytes >= limits.room_inbox_bytes
            or self._events_by_session.get(session_id, 0) >= SESSION_EVENTS
            or self._bytes_by_session.get(session_id, 0) >= limits.frame_bytes
        )

    async def wait(self) -> None:
        """Wait until something is there."""
        while not self._waiting and not self._is_closed:
            self._has_events.clear()
            await self._has_events.wait()

    def turn(self, now_s: Callable[[], float]) -> Iterator[Event]:
        """Events for one turn: at least one, and more while it is not over."""
        until_s = now_s() + TURN_S
        while self._waiting:
            event, session_id, size_bytes = self._waiting.popleft()
            if session_id:
                self._release(session_id, size_bytes)
            yield event
            if now_s() > until_s:
                return

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
