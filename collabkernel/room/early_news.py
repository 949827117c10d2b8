"""What other servers have told ahead of its turn, and how long a room waits for what comes before it.

Two servers that store into one room by turns hear of each other's work a round trip after it is done: by then the next
append has often been answered, and what was told has a seq ahead of what is here. To read the log each time would cost
both more than the edits themselves.
"""

from __future__ import annotations

from collabkernel.room.events import OpsPublished

GRACE_MS = 500
"""What is missing is read from the log when it was not told in this. A bus that loses something says so; what is never
told is what a server stored as it died. To read costs more than to be told, and a busy server must not get busier."""
EARLY_MESSAGES_MAX = 256
"""Messages kept until what comes before them is here: ``GRACE_MS`` of a busy server. Over it the log is read."""


class EarlyNews:
    """Of one room. Before anything was told, or after some was lost, nothing is waited for."""

    __slots__ = ("_due_ms", "_early", "_is_heard")

    def __init__(self) -> None:
        self._early: dict[int, OpsPublished] = {}
        """By first seq."""
        self._is_heard = False
        """Others tell what they store; a bus that has no messages never does."""
        self._due_ms: int | None = None

    def hear(self) -> None:
        """Something was told."""
        self._is_heard = True

    def lose(self) -> None:
        """What was told may have been lost."""
        self._early = {}
        self._is_heard = False
        self._due_ms = None

    def wait(self, now_ms: int) -> bool:
        """Wait for what is missing; False when there is nothing to wait for, and the log is to be read."""
        if not self._is_heard:
            return False
        if self._due_ms is None:
            self._due_ms = now_ms + GRACE_MS
        return True

    def hold(self, event: OpsPublished, now_ms: int) -> bool:
        """Keep what has come ahead of its turn; False as for ``wait``, and when too much is kept."""
        if len(self._early) >= EARLY_MESSAGES_MAX or not self.wait(now_ms):
            return False
        self._early[event.first_seq] = event
        return True

    def next(self, head: int) -> OpsPublished | None:
        """What was kept and may be taken now that ``head`` is here."""
        for first_seq in sorted(self._early):
            if first_seq > head + 1:
                return None
            event = self._early.pop(first_seq)
            if event.last_seq > head:
                return event
        return None

    def settled(self) -> None:
        """Nothing is missing."""
        self._due_ms = None

    def due_ms(self) -> int | None:
        """Until when is waited."""
        return self._due_ms

    def give_up(self) -> None:
        """It has not come: what is kept is read from the log as well."""
        self._early = {}
        self._due_ms = None
