"""Identities and stamps: who made an operation, and when.

An *op id* names an operation for ever: the site that made it and that site's counter. Containers, list slots and list
elements are named by the op that made them. A *stamp* orders last-writer-wins registers: HLC first, then site.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

HLC_COUNTER_BITS = 16
"""Low bits of an HLC: a counter; the 48 above are milliseconds since the Unix epoch."""


class OpId(NamedTuple):
    """The name of an operation, and of what it made."""

    site: int
    """32 bits, unique in the room; 0 for the root and for shared containers."""
    counter: int
    """Counts from 1 in steps of one a site; below 2**53."""


class Stamp(NamedTuple):
    """Total order of writes to a register; compares as a tuple."""

    hlc: int
    site: int


class Side(IntEnum):
    """On which side of its parent slot a list slot hangs; the numbers cross the wire."""

    LEFT = 1
    RIGHT = 2


class Slot(IntEnum):
    """Where a block stands at its parent; the numbers cross the wire."""

    CHILD = 1
    """Nested below it."""
    INLINE = 2
    """Merged into it: its text follows its host's."""


ROOT = OpId(0, 0)
"""The root container of a room's live objects."""
KEEPER_SITE = 1
"""The site of every room's keeper; no session is given it."""
