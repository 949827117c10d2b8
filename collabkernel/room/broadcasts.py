"""Broadcasts of a room: gathered for a tick, encoded once, sent in one frame, never stored.

A broadcast costs a frame to everybody. One session that sends 100 a second to 1,000 others would take the whole server;
so they share frames, and what a tick may carry is bounded. What does not fit waits for the next one, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

from collabkernel.room.effects import Effect, Send
from collabkernel.room.session import Session
from collabkernel.wire.frames import events_part
from collabkernel.wire.messages import RoomEvent

EVENTS_PER_TICK = 128
"""Broadcasts in one frame: each author needs a frame of his own, without his."""
TICK_BYTES = 64 << 10
"""About how much one frame carries; at 10 a second and 1,000 sessions that is 640 MB/s already."""
QUEUE_BYTES = 256 << 10
"""What waits; over it a broadcast is refused for now."""


class _Waiting(NamedTuple):
    site: int
    part: bytes


class Broadcasts:
    """What waits to be sent."""

    __slots__ = ("_due_ms", "_sent_at_ms", "_size_bytes", "_tick_ms", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._size_bytes = 0
        self._sent_at_ms = 0
        self._tick_ms = 0
        self._due_ms: int | None = None

    def add(self, event: RoomEvent, tick_ms: int, now_ms: int) -> bool:
        """Take a broadcast, due at once when idle; False when too much waits already."""
        if self._size_bytes >= QUEUE_BYTES:
            return False
        waiting = _Waiting(event.site, events_part([event]))
        self._waiting.append(waiting)
        self._size_bytes += len(waiting.part)
        self._tick_ms = tick_ms
        if self._due_ms is None:
            self._due_ms = max(now_ms, self._sent_at_ms + tick_ms)
        return True

    def due_ms(self) -> int | None:
        """When to ``send``; None when nothing waits."""
        return self._due_ms

    def early_ms(self) -> int | None:
        """From when on to ``send`` beside something else that is sent; None when nothing waits."""
        return None if self._due_ms is None else self._due_ms - self._tick_ms // 2

    def send(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:
        """One frame to everybody but the authors, who get one without their own; the slow are passed by."""
        batch = self._take_batch()
        self._sent_at_ms = now_ms
        self._due_ms = now_ms + self._tick_ms if self._waiting else None
        authors = {waiting.site for waiting in batch}
        listeners: list[int] = []
        effects: list[Effect] = []
        for session in sessions:
            if session.is_blocked:
                continue
            if session.site not in authors:
                listeners.append(session.id)
            elif others := [waiting.part for waiting in batch if waiting.site != session.site]:
                effects.append(Send((session.id,), b"".join(others)))
        if listeners:
            effects.append(Send(tuple(listeners), b"".join([waiting.part for waiting in batch])))
        return effects

    def _take_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size_bytes = 0
        while self._waiting and len(batch) < EVENTS_PER_TICK and size_bytes < TICK_BYTES:
            batch.append(self._waiting.popleft())
            size_bytes += len(batch[-1].part)
        self._size_bytes -= size_bytes
        return batch
