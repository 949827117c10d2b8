"""Order keys that change without a move: rebalanced siblings, and keys that stand for a way through deleted blocks.

A *rekey* gives all children of one slot new, short keys. An operation whose author had not seen it carries a key that
was made among the old ones; it is *translated*: put behind the new key of the sibling that it was right of::

    translated = new key of the last old key that is not above it, then the key itself

So translated keys keep their order among each other and stand between the same siblings. What was left of all old keys
goes behind ``FLOOR``, which is below every new key. The last two rekeys of a place are kept: what was made before older
ones is not lost, and may stand elsewhere among its siblings.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.order_key import key_between, validate
from collabkernel.errors import InvalidOperationError
from collabkernel.limits import ORDER_KEY_BYTES_MAX

REKEYS_KEPT = 2
"""Of one parent and slot. Each takes some 60 bytes a child in snapshots, and comes after many edits of that place: what
would need a third was offline for long."""
FLOOR = "2000000a0V"
"""An order key (of site 0, left) below those that ``fresh_keys`` makes."""


class Rekey(NamedTuple):
    """One rebalancing of the children of one slot."""

    seq: int
    site: int
    old: list[str]
    """Ascending."""
    new: list[str]
    """The new key of each."""

    def translate(self, key: str) -> str:
        """The place that a key made among the old ones has among the new ones."""
        at = bisect_right(self.old, key) - 1
        return join_keys([FLOOR if at < 0 else self.new[at], key])


class RekeyHistory:
    """The last rekeys of each parent and slot."""

    __slots__ = ("_rekeys_by_place",)

    def __init__(self) -> None:
        self._rekeys_by_place: dict[tuple[OpId, Slot], list[Rekey]] = {}

    def __bool__(self) -> bool:
        return bool(self._rekeys_by_place)

    def of(self, parent: OpId, slot: Slot) -> Sequence[Rekey]:
        """Those of one parent and slot, in order of seq."""
        return self._rekeys_by_place.get((parent, slot), ())

    def last_seq(self, parent: OpId, slot: Slot) -> int:
        """Seq of the last one of a place; 0 for none. ``translate`` with it as the base is from then to now."""
        rekeys = self._rekeys_by_place.get((parent, slot))
        return rekeys[-1].seq if rekeys else 0

    def items(self) -> list[tuple[OpId, Slot, Rekey]]:
        """All, sorted by parent, slot and seq."""
        by_place = sorted(self._rekeys_by_place.items())
        return [(parent, slot, rekey) for (parent, slot), rekeys in by_place for rekey in rekeys]

    def add(self, parent: OpId, slot: Slot, rekey: Rekey) -> Rekey | None:
        """Note one that comes after all others of its place; the one that is forgotten for it, if any."""
        rekeys = self._rekeys_by_place.setdefault((parent, slot), [])
        rekeys.append(rekey)
        return rekeys.pop(0) if len(rekeys) > REKEYS_KEPT else None

    def remove_last(self, parent: OpId, slot: Slot, forgotten: Rekey | None = None) -> None:
        """Take back the last one of a place, and what was forgotten for it."""
        rekeys = self._rekeys_by_place[parent, slot]
        rekeys.pop()
        if forgotten is not None:
            rekeys.insert(0, forgotten)
        if not rekeys:
            del self._rekeys_by_place[parent, slot]

    def forget(self, parent: OpId) -> None:
        """There is no such parent any more."""
        for slot in Slot:
            self._rekeys_by_place.pop((parent, slot), None)

    def translate(self, parent: OpId, slot: Slot, key: str, site: int, base: int) -> str:
        """A key of ``site``, made when it had seen the log up to ``base``, as it reads now."""
        for rekey in self._rekeys_by_place.get((parent, slot), ()):
            if rekey.seq > base and rekey.site != site:
                key = rekey.translate(key)
        return key


def join_keys(keys: Sequence[str]) -> str:
    """One key that sorts by the first, then by the second, and so on; over 256 bytes without the middle ones.

    When the first and last are too long together, it is the first alone: ids order what is then the same.
    """
    joined = "".join(keys)
    if len(joined) <= ORDER_KEY_BYTES_MAX:
        return joined
    joined = keys[0] + keys[-1]
    return joined if len(joined) <= ORDER_KEY_BYTES_MAX else keys[0]


def shortened(keys: list[str]) -> list[str]:
    """What ``join_keys`` needs to know of the first of its keys, however many there are: it is the same with these."""
    total = sum(map(len, keys))
    return [keys[0], "".join(keys[1:])] if total <= ORDER_KEY_BYTES_MAX else [keys[0], " " * ORDER_KEY_BYTES_MAX]


def fresh_keys(count: int, site: int) -> list[str]:
    """Short ascending keys of a site for all children of a parent: at most 12 bytes for 200,000."""
    keys: list[str] = []
    for _ in range(count):
        keys.append(key_between(keys[-1] if keys else None, None, site))
    return keys


def check_rekey(keys: Iterable[tuple[OpId, str]], site: int) -> None:
    """Check a rekey that a peer says ``site`` has authored.

    Raises:
        InvalidOperationError: If a key is none of that site's, they do not ascend, one begins with another (what is
            translated behind the shorter would stand behind the longer), or a block is named twice.
    """
    last, seen = FLOOR, set()
    for id, key in keys:
        validate(key, site)
        # As they ascend, what begins with any of them begins with the last.
        if key <= last or key.startswith(last):
            raise InvalidOperationError(f"a rekey has {key!r} after {last!r}")
        if id in seen:
            raise InvalidOperationError(f"a rekey names {id.site}.{id.counter} twice")
        seen.add(id)
        last = key
