"""How the C library keeps what a server has freed: glibc's malloc is told to give it back; others are left alone.

A document that is opened, saved or compacted takes some tens of megabytes for a moment, in one thread or another. glibc
keeps an arena for each of those threads, and once it has seen a buffer of a few megabytes freed it takes the next one
from an arena as well, between what lives long; so a server would keep several times what its documents take.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

ARENAS = 2
"""Python's threads work one at a time, so they rarely wait for each other here."""
MMAP_BYTES = 128 << 10
"""Buffers from here on are pages of their own, which go back to the system with them."""
TRIM_BYTES = 1 << 20
"""What may stay free at the end of the heap."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h."""
LARGE_BYTES = 1 << 20
"""Work on so much leaves enough behind to be looked for, in some milliseconds."""


def keep_little() -> None:
    """Have this process keep little of what it frees."""
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return
    for parameter, value in ((_M_ARENA_MAX, ARENAS), (_M_MMAP_THRESHOLD, MMAP_BYTES), (_M_TRIM_THRESHOLD, TRIM_BYTES)):
        if not mallopt(parameter, value):
            log.debug("malloc does not take %d for its parameter %d", value, parameter)


async def give_back_after(work_bytes: int) -> None:
    """Give back what is free between what is not, too, when so much was worked on."""
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None and work_bytes >= LARGE_BYTES:
        await asyncio.to_thread(malloc_trim, 0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
    return function
