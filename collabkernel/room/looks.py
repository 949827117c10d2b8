"""Who looks elsewhere is given what is there and he lacks: after a flush, some at a time.

With a thousand who scroll, that took more than half of a flush, which keeps acknowledgements and commits waiting until
it is over. Whoever is up to date can be given contents at any time between two flushes (``viewport.py``): most soon
after the first, so that what is held until the log has answered does not wait into the second.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from collabkernel.room.effects import Effect
from collabkernel.room.intake import Intake
from collabkernel.room.session import Session
from collabkernel.room.viewport import Viewports

LOOKS_AT_ONCE = 16
"""Sessions of one turn, at some 20 us each where all that they look at is encoded ..."""
ENCODES_AT_ONCE = 4
"""... and partitions that are encoded for them, at half a millisecond each: about as long as sockets are written to at
a time. What one session looks at is given whole."""


class Looks:
    """Those who wait, in the order in which they came to."""

    __slots__ = ("_flushed", "_intake", "_viewports", "_waiting")

    def __init__(self, intake: Intake, viewports: Viewports) -> None:
        self._intake = intake
        self._viewports = viewports
        self._waiting: dict[int, Session] = {}
        """By id."""
        self._flushed = 0

    def plan(self, sessions: Collection[Session], flushed: int) -> None:
        """A flush is over, up to this seq: note those who lack something, and were not waiting already."""
        self._flushed = flushed
        waiting = self._waiting
        for session in sessions:
            if session.view is not None and session.view.is_due:
                waiting.setdefault(session.id, session)

    def due_ms(self) -> int | None:
        """At once while anybody waits."""
        return 0 if self._waiting else None

    def send(self, now_ms: int) -> list[Effect]:
        """Give the next few what they lack. Who is not up to date is noted again after the flush that he is with."""
        effects: list[Effect] = []
        intake, viewports, waiting = self._intake, self._viewports, self._waiting
        encodes_max = viewports.encodes + ENCODES_AT_ONCE
        for session_id in [*islice(waiting, LOOKS_AT_ONCE)]:
            session = waiting.pop(session_id)
            if session.view is not None and session.cursor == self._flushed and not session.is_passed_by:
                effects += viewports.look(session, intake.admitted, intake.is_settled, now_ms)
            if viewports.encodes >= encodes_max:
                break
        return effects
