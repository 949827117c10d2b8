"""A map of last-writer-wins registers: what live objects and live maps are made of.

A register is a stamp and a value; the higher stamp wins, whatever the order of arrival (Johnson & Thomas, "The
Maintenance of Duplicate Databases", RFC 677, 1975; the LWW-Register of Shapiro et al., "A Comprehensive Study of
Convergent and Commutative Replicated Data Types", 2011). A delete is a write of ``TOMBSTONE``, kept so that an older
set that arrives later does not bring the key back. Stamps are unique to an op, so an equal stamp is the same op and
changes nothing. The state has one register a key, however often keys are overwritten.

Tombstones may be *purged* up to a stamp. The highest that went is the map's *floor*: whether an absent key was deleted
at or before it nobody can tell any more, so a set that is stamped no later does nothing there, as if it had been.

Values are opaque. Dictionary order is the order in which keys first arrived here and differs between replicas.
"""

from __future__ import annotations

from collections.abc import Container, ItemsView, Iterable, Iterator
from enum import Enum
from typing import Final, TypeAlias

from collabkernel.crdt.ids import Stamp


class Tombstone(Enum):
    """The type of ``TOMBSTONE``."""

    TOMBSTONE = "tombstone"


TOMBSTONE: Final = Tombstone.TOMBSTONE
"""The value of a deleted key."""

Register: TypeAlias = tuple[Stamp, object]
"""The stamp of the write that stands, and its value or ``TOMBSTONE``. A plain tuple: it is made on each write."""


class LwwMap:
    """The registers of one object or map on one replica."""

    __slots__ = ("_live_count", "_registers", "floor")

    def __init__(self, registers: Iterable[tuple[str, Register]] = (), floor: Stamp | None = None) -> None:
        """Start from what ``registers()`` of another gave and its floor, or empty."""
        self.floor = floor
        """The highest stamp of a tombstone that was purged."""
        self._registers: dict[str, Register] = dict(registers)
        # A loop, since most are made of one register, for a block of thousands: a generator takes three times as long.
        self._live_count = len(self._registers)
        for _, value in self._registers.values():
            if value is TOMBSTONE:
                self._live_count -= 1

    @classmethod
    def of_one(cls, key: str, register: Register) -> LwwMap:
        """One live register: a third of what making the map of a list takes, for thousands of blocks."""
        made = cls()
        made._registers[key] = register
        made._live_count = 1
        return made

    def apply_set(self, key: str, stamp: Stamp, value: object) -> bool:
        """Write a value; return whether it won."""
        registers = self._registers
        current = registers.get(key)
        if current is None:
            if self.is_below_floor(stamp):
                return False
            self._live_count += 1
        elif stamp <= current[0]:
            return False
        elif current[1] is TOMBSTONE:
            self._live_count += 1
        registers[key] = (stamp, value)
        return True

    def apply_delete(self, key: str, stamp: Stamp) -> bool:
        """Write a tombstone, also where there was nothing; return whether it won."""
        current = self._registers.get(key)
        if current is None:
            if self.is_below_floor(stamp):
                return False
        else:
            if stamp <= current[0]:
                return False
            if current[1] is not TOMBSTONE:
                self._live_count -= 1
        self._registers[key] = (stamp, TOMBSTONE)
        return True

    def is_below_floor(self, stamp: Stamp) -> bool:
        """Whether what is stamped so does nothing to a key that is not there."""
        return self.floor is not None and stamp <= self.floor

    def purge(self, floor: Stamp, kept: Container[str] = ()) -> list[str]:
        """Let go of the tombstones up to a stamp, but for those of ``kept``; the keys of those that went.

        This does not commute with the writes of these keys that are stamped no later.
        """
        gone = [
            key
            for key, (stamp, value) in self._registers.items()
            if value is TOMBSTONE and stamp <= floor and key not in kept
        ]
        for key in gone:
            stamp, _ = self._registers.pop(key)
            self.floor = stamp if self.floor is None else max(self.floor, stamp)
        return gone

    def register(self, key: str) -> Register | None:
        """The register of a key, or None if it was never written."""
        return self._registers.get(key)

    def restore(self, key: str, register: Register | None) -> None:
        """Put a register back as it was before one's own unsent op: the last op first.

        Args:
            register: What ``register(key)`` gave before the op.
        """
        current = self._registers.pop(key, None)
        if current is not None and current[1] is not TOMBSTONE:
            self._live_count -= 1
        if register is not None:
            self._registers[key] = register
            if register[1] is not TOMBSTONE:
                self._live_count += 1

    def __len__(self) -> int:
        """How many keys are live."""
        return self._live_count

    def __contains__(self, key: object) -> bool:
        """Whether a key is live."""
        current = self._registers.get(key)  # type: ignore[call-overload]  # any object may be asked for
        return current is not None and current[1] is not TOMBSTONE

    def get(self, key: str, default: object = None) -> object:
        """The value of a live key."""
        current = self._registers.get(key)
        return default if current is None or current[1] is TOMBSTONE else current[1]

    def items(self) -> Iterator[tuple[str, object]]:
        """(key, value) of the live keys; the map must not change meanwhile."""
        for key, (_, value) in self._registers.items():
            if value is not TOMBSTONE:
                yield key, value

    def held(self) -> ItemsView[str, Register]:
        """``registers`` in no order."""
        return self._registers.items()

    def registers(self) -> list[tuple[str, Register]]:
        """Every key's register, tombstones too, by key: a function of the ops alone."""
        return sorted(self._registers.items(), key=_key)


def _key(item: tuple[str, Register]) -> str:
    return item[0]
