"""The common update, one string typed beside an item, read at a third of what reading any update costs."""

from __future__ import annotations

from typing import NamedTuple

from collabkernel.crdt.yjs.parse import low_surrogates, read_uint
from collabkernel.crdt.yjs.policy import HAS_ORIGIN, HAS_RIGHT_ORIGIN, STRING, Reference
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.limits import YJS_CLOCK_MAX

ONE_STRUCT = b"\x01\x01"
"""One client, one struct."""


class Typed(NamedTuple):
    """An update that is one string behind an origin, and nothing else."""

    client: int
    clock: int
    end: int
    """The clock behind it."""
    origin: Reference
    right: Reference | None
    lows: tuple[Reference, ...]


def read_typed(data: bytes) -> Typed | None:
    """Read it; None means only that it is something else, or wrong: the full reader has to look."""
    if not data.startswith(ONE_STRUCT):
        return None
    try:
        client, at = read_uint(data, 2)
        own = data[2:at]
        clock, at = read_uint(data, at)
        info = data[at]
        at += 1
        if info == STRING | HAS_ORIGIN | HAS_RIGHT_ORIGIN or info == STRING | HAS_ORIGIN:
            origin, at = _reference(data, at, client, own)
        else:
            return None
        right = None
        if info & HAS_RIGHT_ORIGIN:
            right, at = _reference(data, at, client, own)
        size, at = read_uint(data, at)
        if size == 0 or at + size + 1 != len(data) or data[-1] != 0:
            return None
        raw = data[at : at + size]
        if raw.isascii():
            return Typed(client, clock, clock + size, origin, right, ()) if clock + size <= YJS_CLOCK_MAX else None
        text = raw.decode()
    except (IndexError, InvalidYjsUpdateError, UnicodeDecodeError):
        return None
    lows = tuple([(client, low) for low in low_surrogates(text, clock)])
    end = clock + len(text) + len(lows)
    return Typed(client, clock, end, origin, right, lows) if end <= YJS_CLOCK_MAX else None


def _reference(data: bytes, at: int, client: int, own: bytes) -> tuple[Reference, int]:
    if data.startswith(own, at):  # most type behind or before what they typed
        clock, at = read_uint(data, at + len(own))
        return (client, clock), at
    other, at = read_uint(data, at)
    clock, at = read_uint(data, at)
    return (other, clock), at
