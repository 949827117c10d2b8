"""Sessions that are to go on at another server: each leaves when all that was admitted until it was asked is stored.

What it sends after that is not taken: it is sent again there, and nothing of it is in flight here, where it would be
fenced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from collabkernel.room.events import LeaveAsked


class Leaving:
    """Those of one room."""

    __slots__ = ("_asked", "_held", "reason")

    def __init__(self) -> None:
        self._asked: deque[tuple[int, Sequence[int]]] = deque()
        """Envelopes or updates that have to be answered for first, and the sessions that wait for that."""
        self._held: set[int] = set()
        self.reason = ""
        """What they are told."""

    def ask(self, event: LeaveAsked, admitted: int) -> None:
        """Let sessions leave once the log has answered for so many."""
        self._asked.append((admitted, event.session_ids))
        self._held.update(event.session_ids)
        self.reason = event.reason

    def holds(self, session_id: int) -> bool:
        """Whether nothing more is taken of a session."""
        return session_id in self._held

    def take(self, answered: int) -> list[int]:
        """Those that leave now, as the log has answered for so many."""
        left: list[int] = []
        while self._asked and self._asked[0][0] <= answered:
            left += self._asked.popleft()[1]
        self._held.difference_update(left)
        return left
