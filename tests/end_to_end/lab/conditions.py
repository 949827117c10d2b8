"""Waiting for what cannot tell when it changes: files, processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.bounds import HANG_S

POLL_S = 0.02


async def until(
    condition: Callable[[], bool], timeout_s: float = HANG_S, what: Callable[[], object] = lambda: "it never came about"
) -> None:
    """Wait until a condition holds; on failure ``what`` tells how things are."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what()
        await asyncio.sleep(POLL_S)
