"""What a room's keeper lets go of next, of what was found to be deleted long ago.

That is looked for beside the room, in a state of long ago (``server/purging.py``); here it is held against what the
room is now. One envelope takes ``PURGED_IDS`` slots, keys and blocks, unless its first operation takes more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from collabkernel.document.operations import Purge
from collabkernel.document.purge_plan import still_purged
from collabkernel.document.room_state import RoomState
from collabkernel.limits import PURGED_IDS, PURGES_AT_ONCE


class Purger:
    """Of one loaded room."""

    __slots__ = ("_asked", "_seq", "_state", "count")

    def __init__(self, state: RoomState) -> None:
        self._state = state
        self._asked: deque[Purge] = deque()
        self._seq = 0
        self.count = 0
        """How many slots, keys and blocks those are that ``next`` gave."""

    def ask(self, ops: Iterable[Purge], seq: int) -> None:
        """Purge these, in place of what is left of those that were asked for before.

        Args:
            ops: What was found.
            seq: Blocks go that were deleted by the operations up to there.
        """
        self._asked, self._seq = deque(ops), seq

    @property
    def is_waiting(self) -> bool:
        """Whether anything is left."""
        return bool(self._asked)

    def next(self) -> list[Purge]:
        """What the next envelope may purge; empty when nothing is left. Until ``written`` it is the same again."""
        found: list[Purge] = []
        self.count = 0
        while self._asked:
            if found and self._asked[0].is_of_blocks:
                break  # what it may take depends on what those before it have taken
            left = still_purged(self._state, self._asked.popleft(), self._seq)
            if left is None:
                continue
            op, count = left
            if found and (self.count + count > PURGED_IDS or len(found) == PURGES_AT_ONCE):
                self._asked.appendleft(op)
                break
            found.append(op)
            self.count += count
        self._asked.extendleft(reversed(found))
        return found

    def written(self, count: int) -> None:
        """So many of what ``next`` gave are on their way to the log."""
        for _ in range(count):
            self._asked.popleft()
