"""What a file was a moment ago: the base of somebody who read it then, and wrote it now. Pure.

A program that reads a file, takes a while and writes it back knows nothing of what was saved meanwhile. With the last
save as the base, its file would say that all of that was deleted. So the base is the recent content that the file is
nearest to. A file that is exactly one of them is somebody's return to it, and deletes on purpose.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from collabkernel_server.lab.content import Content, distance

RECENT_MS = 120_000
"""A program that reads, thinks and writes takes this long at most."""
RECENT_SAVES = 32
RECENT_BYTES = 4 << 20
"""Of all of them together, a document."""


class _Saved(NamedTuple):
    at_ms: int
    hash: str
    base: bytes


@dataclass(slots=True)
class RecentSaves:
    """The last contents of one file that this server saw there, oldest first."""

    _saves: deque[_Saved] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._saves)

    def add(self, file_hash: str, base: bytes, now_ms: int) -> None:
        """The file has this content now."""
        self._saves.append(_Saved(now_ms, file_hash, base))
        while self._saves and (
            len(self._saves) > RECENT_SAVES
            or self._saves[0].at_ms < now_ms - RECENT_MS
            or sum([len(saved.base) for saved in self._saves]) > RECENT_BYTES
        ):
            self._saves.popleft()

    def base_of(self, last: bytes | None, file_hash: str, content: Content, now_ms: int) -> bytes | None:
        """The base to merge a file with that somebody wrote: the last save, or a recent one that it is nearer to."""
        recent = [saved for saved in self._saves if saved.at_ms >= now_ms - RECENT_MS]
        if last is None or not recent or any(saved.hash == file_hash for saved in recent):
            return last
        return min([last, *[saved.base for saved in reversed(recent)]], key=lambda base: distance(base, content))
