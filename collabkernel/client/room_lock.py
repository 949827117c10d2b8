"""The lock of a room, whose holder runs the callbacks that were queued under it when he has let it go."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger("collabkernel")


class RoomLock:
    """Reentrant. A callback may wait for the room, as for another thread: nobody has the lock then.

    One thread at a time runs callbacks, and runs those as well that others queue meanwhile: so they keep their order.
    """

    __slots__ = ("_depth", "_due", "_is_telling", "_lock", "_owner", "_room_name", "queued")

    def __init__(self, room_name: str) -> None:
        self._room_name = room_name
        self._lock = threading.RLock()
        self._depth = 0
        self._owner = 0
        self.queued: deque[Callable[[], Any]] = deque()
        """For who has the lock to add to."""
        self._due: deque[Callable[[], Any]] = deque()
        self._is_telling = threading.Lock()

    @property
    def is_mine(self) -> bool:
        """Whether this thread has it: what waits for another thread of the room would wait for ever."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth:
            self._lock.release()
            return
        self._owner = 0
        is_news = bool(self.queued)
        if is_news:
            self._due.extend(self.queued)
            self.queued.clear()
        self._lock.release()
        if is_news:
            self._tell()

    def _tell(self) -> None:
        while self._due and self._is_telling.acquire(blocking=False):
            try:
                while self._due:
                    call = self._due.popleft()
                    try:
                        call()
                    except Exception:  # the edge of somebody else's code
                        log.exception("room %s: a callback failed", self._room_name)
            finally:
                self._is_telling.release()
