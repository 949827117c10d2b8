"""What a simulated world has in place of a real one's.

Secrets are none, work takes what is drawn, and hubs tell who keeps a room.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from unittest import mock

from collabkernel.room.events import Keeping
from collabkernel.server import hub as hub_module
from collabkernel.server import pace
from collabkernel.server.keeper_leases import KeeperLeases

WORK_S = 50e-6
"""What is worked between two looks at a clock, on average."""


class _Processor:
    """What clocks of the processor tell: work takes what is drawn, however busy the machine is that simulates it."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._worked_s = 0.0

    def worked_s(self) -> float:
        """Seconds of work until now: some more at each look."""
        self._worked_s += self._rng.expovariate(1 / WORK_S)
        return self._worked_s


class _WatchedLeases(KeeperLeases):
    """Tells who believes to be the keeper, and for how long."""

    async def take(self, room_id: str) -> Keeping | None:
        keeping = await super().take(room_id)
        if keeping is not None:
            self._storage.believes(keeping.until_ms - self._now_ms())
        return keeping


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@contextmanager
def watched(rng: Random) -> Iterator[None]:
    """Secrets and clocks that are none: the same for the same seed. And hubs tell who believes to be the keeper."""
    processor = _Processor(Random(rng.random()))
    with (
        mock.patch.object(time, "perf_counter", processor.worked_s),
        mock.patch.object(time, "thread_time", processor.worked_s),
        mock.patch.object(time, "process_time", processor.worked_s),
        mock.patch.object(time, "monotonic", _now_s),
        mock.patch.object(pace, "SCHEDSTAT", Path(os.devnull, "no such file")),
        mock.patch.object(secrets, "token_bytes", rng.randbytes),
        mock.patch.object(secrets, "token_hex", lambda size: rng.randbytes(size).hex()),
        mock.patch.object(secrets, "randbelow", rng.randrange),
        mock.patch.object(hub_module, "KeeperLeases", _WatchedLeases),
    ):
        yield
