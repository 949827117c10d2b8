"""How a busy server spares itself: it stores and shows in larger steps, the later the event loop gets to its timers.

A loop that is late has more to do than the processor gives it, whoever else takes that: then what comes together is
stored together and shown in one frame, which costs less than one by one. A server that has time shows at once. A loop
is late too while it gives one frame to a thousand sockets, and has time all the same: so that is looked at as well.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from collabkernel.limits import Limits

SCHEDSTAT = Path("/proc/thread-self/schedstat")
SAMPLE_S = 0.02
"""A timer of so long is looked at, one at a time, and only while something is done."""
SHARE = 0.1
"""Of each sample in what the loop is taken to be late: the last fifth of a second counts most."""
CALM_MS = 2.0
"""Who is no later has time: timers are this late on a machine that does something else now and then."""
STEP_PER_LATE = 4
"""A loop that is 5 ms late shows every 20 ms."""
BUSY = 0.75
"""Of a core, what this process takes and its loop waits for, from which on it has no time: a little short of all, since
sockets and timers wait for a loop long before that."""
REST_S = 1.0
"""After a rest of this length nothing is known of how late the loop is."""


class Pace:
    """Of one server."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._late_ms = self._wanted = self._wanted_s = 0.0
        self._due_s: float | None = None
        """When the timer that is looked at should come."""
        self._sampled_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether this server has had no time of late; what can be done later waits then."""
        return self._step_ms > 0 and asyncio.get_running_loop().time() - self._sampled_s <= REST_S

    @property
    def flush_ms(self) -> int:
        """How far apart rooms show what is stored, at least."""
        return min(self._step_ms, self._limits.flush_tick_max_ms)

    @property
    def commit_ms(self) -> int:
        """How far apart commits begin, at least."""
        return min(self._step_ms, self._limits.commit_tick_ms)

    @property
    def _step_ms(self) -> int:
        return int(self._late_ms * STEP_PER_LATE) if self._late_ms > CALM_MS and self._wanted > BUSY else 0

    def work(self) -> None:
        """Something is done: look how late the loop is."""
        if self._due_s is not None:
            return
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if now_s - self._sampled_s > REST_S:
            self._late_ms = self._wanted = 0.0
            self._wanted_s, self._sampled_s = wanted_s(), now_s
        self._due_s = now_s + SAMPLE_S
        loop.call_at(self._due_s, self._sample, loop)

    def _sample(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._due_s is not None
        now_s, wanted = loop.time(), wanted_s()
        self._late_ms += SHARE * ((now_s - self._due_s) * 1000 - self._late_ms)
        self._wanted += SHARE * ((wanted - self._wanted_s) / (now_s - self._sampled_s) - self._wanted)
        self._sampled_s, self._wanted_s = now_s, wanted
        self._due_s = None


def wanted_s() -> float:
    """Seconds of a core: what this process has taken, and what this thread was ready for and others took.

    The second is told by Linux alone (``/proc/PID/schedstat``).
    """
    try:
        waited_ns = int(SCHEDSTAT.read_bytes().split()[1])
    except OSError:
        waited_ns = 0
    return time.process_time() + waited_ns * 1e-9
