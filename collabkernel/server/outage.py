"""Whether the database answers this server: one judgement for all its rooms, one line of log when it changes.

Whoever asks the database and is not answered tells it here (``suspect``), and waits here (``answered``). The committer
asks again (``committer.py``) and says what came of it: ``begin`` when it was not answered either, ``end`` when it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from collabkernel import metrics
from collabkernel.errors import DegradedError
from collabkernel.limits import Limits
from collabkernel.room.events import DatabaseBack, DatabaseLost, Event
from collabkernel.server.flag import Flag

log = logging.getLogger(__name__)

AWAY = "the database does not answer, so nobody new can be let in; come back in a moment"
"""What somebody is told for whom it is not even asked."""

Post = Callable[[Event], None]


class Outage:
    """Of one server's database."""

    def __init__(self, limits: Limits, now_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self.since_ms: int | None = None
        """When it began; None while the database answers."""
        self.is_suspected = False
        """Somebody was not answered, and nobody has asked again since."""
        self.on_suspected: Callable[[], None] = lambda: None
        """Wakes who asks again."""
        self._retry_ms = limits.storage_retry_min_ms
        self._ended_ms: int | None = None
        self._rooms: dict[Post, None] = {}
        self._answers = Flag()
        self._answers.set()

    @property
    def is_on(self) -> bool:
        """The database does not answer."""
        return self.since_ms is not None

    # -- rooms

    def watch(self, post: Post) -> None:
        """Tell a room when it begins and ends."""
        self._rooms[post] = None
        if self.is_on:
            post(DatabaseLost())

    def unwatch(self, post: Post) -> None:
        """The room is no longer loaded."""
        self._rooms.pop(post, None)

    def _tell(self, event: Event) -> None:
        for post in tuple(self._rooms):
            post(event)

    # -- who was not answered

    def check(self) -> None:
        """Do not even ask a database that does not answer.

        Raises:
            DegradedError: It does not.
        """
        if self.is_on:
            raise DegradedError(AWAY)

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Ask the database for somebody who is told when it does not answer."""
        try:
            yield
        except DegradedError:
            self.suspect()
            raise

    def suspect(self) -> None:
        """Somebody was not answered: the committer asks at once."""
        self.is_suspected = True
        self._answers.clear()
        self.on_suspected()

    async def answered(self) -> None:
        """Wait until the database was asked since, and has answered."""
        await self._answers.wait()

    # -- who asks again

    def next_retry_ms(self) -> int:
        """How long to wait before the database is asked again."""
        retry_ms = self._retry_ms
        self._retry_ms = min(max(1, 2 * retry_ms), self._limits.storage_retry_max_ms)
        return retry_ms

    def begin(self, reason: str) -> None:
        """It was not answered."""
        self.is_suspected = False
        self._answers.clear()
        if self.is_on:
            return
        self.since_ms = now_ms = self._now_ms()
        # A database that answers one thing and not the next is asked no more often than one that answers nothing.
        if self._ended_ms is None or now_ms - self._ended_ms > self._limits.storage_retry_max_ms:
            self._retry_ms = self._limits.storage_retry_min_ms
        metrics.degraded.set(1)
        log.error("Rooms are degraded: edits wait at their authors until the database answers again. %s", reason)
        self._tell(DatabaseLost())

    def end(self) -> None:
        """It was answered."""
        self.is_suspected = False
        self._answers.set()
        if self.since_ms is None:
            return
        seconds = (self._now_ms() - self.since_ms) / 1000
        self.since_ms, self._ended_ms = None, self._now_ms()
        metrics.degraded.set(0)
        log.warning("The database answers again after %.1f s; rooms take edits", seconds)
        self._tell(DatabaseBack())
