"""A server's clock: the machine's, but that it never goes back.

What a room does next is due at a time. A clock that somebody sets back by 30 s would hold all of that up for as long:
edits would be stored, and shown to nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SLOWER = 0.9
"""Of its pace, while it waits for a clock that was set back: 30 s are made up for in five minutes."""


def elapsed_ms() -> float:
    """Milliseconds since some moment, whatever becomes of the machine's clock."""
    return time.monotonic() * 1000


class SteadyClock:
    """Milliseconds since the Unix epoch, rising. It goes forward with the machine's clock, and never back with it."""

    def __init__(self, wall_ms: Callable[[], int], elapsed_ms: Callable[[], float] = elapsed_ms) -> None:
        """Begin.

        Args:
            wall_ms: The machine's clock, milliseconds since the Unix epoch.
            elapsed_ms: Milliseconds since some moment.
        """
        self._wall_ms = wall_ms
        self._elapsed_ms = elapsed_ms
        self._now_ms = float(wall_ms())
        self._asked_ms = elapsed_ms()

    def __call__(self) -> int:
        """What it is now."""
        asked_ms = self._elapsed_ms()
        slowly_ms = self._now_ms + SLOWER * (asked_ms - self._asked_ms)
        self._asked_ms = asked_ms
        self._now_ms = max(float(self._wall_ms()), slowly_ms)
        return int(self._now_ms)
