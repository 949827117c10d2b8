"""A hybrid logical clock in 64 bits: close to wall time, and above all that it has seen.

Kulkarni, Demirbas, Madappa, Avva & Leone, "Logical Physical Clocks and Consistent Snapshots in Globally Distributed
Databases" (2014). An HLC is 48 bits of milliseconds since the Unix epoch and a counter of 16 bits below them.

Where we differ: the counter carries over into the milliseconds instead of standing still when it is full, so an HLC is
one integer, and "one more" is ``+ 1``. A receipt is no event of its own and gets no stamp; it only lifts what follows.
How far a peer may be ahead is judged where its ops are admitted, not here.
"""

from __future__ import annotations

from collabkernel.crdt.ids import HLC_COUNTER_BITS
from collabkernel.errors import InvalidValueError
from collabkernel.limits import HLC_MAX

MS_MAX = HLC_MAX >> HLC_COUNTER_BITS
"""The last millisecond of an HLC: in the year 10889."""


def hlc_from_ms(ms: int) -> int:
    """The first HLC of a millisecond.

    Raises:
        InvalidValueError: If ``ms`` is negative or over 48 bits.
    """
    if not 0 <= ms <= MS_MAX:
        raise InvalidValueError(f"{ms} ms is outside a clock of 0 to {MS_MAX} ms")
    return ms << HLC_COUNTER_BITS


def ms_from_hlc(hlc: int) -> int:
    """The milliseconds since the Unix epoch of an HLC, its counter dropped.

    Raises:
        InvalidValueError: If ``hlc`` is negative or over 64 bits.
    """
    return _checked(hlc) >> HLC_COUNTER_BITS


class HybridLogicalClock:
    """The clock of one replica; each HLC it issues is above all that it has issued or observed."""

    __slots__ = ("_highest",)

    def __init__(self, highest: int = 0) -> None:
        """Go on above ``highest``, the highest HLC known so far."""
        self._highest = _checked(highest)

    @property
    def highest(self) -> int:
        """The highest HLC issued or observed."""
        return self._highest

    def tick(self, now_ms: int, count: int = 1) -> int:
        """Reserve ``count`` consecutive HLCs, one for each op of an envelope, and return the first.

        Args:
            now_ms: Wall clock, milliseconds since the Unix epoch; it may stand still or go back.
            count: At least 1.

        Raises:
            InvalidValueError: If an argument is out of range, or the HLCs would pass 64 bits; nothing is reserved then.
        """
        if count < 1:
            raise InvalidValueError(f"a clock cannot reserve {count} stamps")
        first = max(hlc_from_ms(now_ms), self._highest + 1)
        self._highest = _checked(first + count - 1)
        return first

    def observe(self, hlc: int, now_ms: int) -> None:
        """Rise to an HLC received at ``now_ms``, so that what is issued from now on is above it and not before now.

        Raises:
            InvalidValueError: If an argument is out of range; the clock is unchanged then.
        """
        self._highest = max(self._highest, _checked(hlc), hlc_from_ms(now_ms))


def _checked(hlc: int) -> int:
    if not 0 <= hlc <= HLC_MAX:
        raise InvalidValueError(f"HLC {hlc} is outside 0 to {HLC_MAX}")
    return hlc
