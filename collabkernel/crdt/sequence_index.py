"""An ordered sequence of entries, some shown and some hidden, with sub-linear access by shown index and by entry.

A blocked list with a counted directory: entries stand in blocks of at most ``BLOCK_ENTRIES_MAX``; each block has a
byte an entry that says whether it is shown; a Fenwick tree (Fenwick, "A New Data Structure for Cumulative Frequency
Tables", 1994) counts the shown entries of the blocks. An entry knows its block and about where it is in it.

With n entries in blocks of b, an access costs O(log(n/b) + b) where the b part runs in C (``list.index`` from where the
entry was last seen, ``bytearray.count``), and a split, every b/4 inserts or more, renumbers the n/b blocks. Hidden
entries cost no more than shown ones, however many they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, compress, islice
from typing import Any, Generic, Protocol, TypeVar

BLOCK_ENTRIES_MAX = 256
"""Longer blocks make finding an entry slower, shorter ones make splits dearer; flat between 128 and 512."""
BLOCK_ENTRIES_FILLED = 192
"""How full bulk loads and appends make blocks, so that the inserts after them do not split every block at once."""


class Entry(Protocol):
    """What may stand in the sequence: it carries its place, which only the index reads and writes."""

    block: Block[Any]
    offset: int
    """Where in its block it was last seen; inserts since then have moved it up."""


E = TypeVar("E", bound=Entry)


class Block(Generic[E]):
    """A stretch of the sequence; never empty."""

    __slots__ = ("entries", "number", "shown", "shown_count")

    def __init__(self, entries: list[E], shown: bytearray) -> None:
        self.entries = entries
        self.shown = shown
        """One byte an entry: 1 shown, 0 hidden."""
        self.shown_count = shown.count(1)
        self.number = 0
        """Where it stands among the blocks."""
        for offset, entry in enumerate(entries):
            entry.block = self
            entry.offset = offset


class SequenceIndex(Generic[E]):
    """Entries in order; made with a hidden first entry, so that there is always one to insert after."""

    __slots__ = ("_blocks", "_shown_count", "_tree")

    def __init__(self, first: E) -> None:
        self._blocks: list[Block[E]] = [Block([first], bytearray(1))]
        self._renumber()

    def load(self, entries: Sequence[E], shown: bytearray) -> None:
        """Replace all entries; the first is again hidden (its byte is 0)."""
        step = BLOCK_ENTRIES_FILLED
        starts = range(0, len(entries), step)
        self._blocks = [Block(list(entries[i : i + step]), shown[i : i + step]) for i in starts]
        self._renumber()

    def __len__(self) -> int:
        """How many entries are shown."""
        return self._shown_count

    def __iter__(self) -> Iterator[E]:
        """Every entry, hidden ones too."""
        for block in self._blocks:
            yield from block.entries

    def shown(self, start: int = 0) -> Iterator[E]:
        """The shown entries from the shown index ``start`` on."""
        if start >= self._shown_count:
            return
        number, rest = self._find(start)
        for block in islice(self._blocks, number, None):
            if block.shown_count == len(block.entries):
                yield from islice(block.entries, rest, None)
            elif block.shown_count:
                yield from islice(compress(block.entries, block.shown), rest, None)
            rest = 0

    def at(self, index: int) -> E:
        """The entry at a shown index, which the caller has checked to be in range."""
        number, rest = self._find(index)
        block = self._blocks[number]
        if block.shown_count != len(block.entries):
            rest = _select(block.shown, rest)
        entry = block.entries[rest]
        entry.offset = rest
        return entry

    def rank(self, entry: E) -> int:
        """How many shown entries stand before this one."""
        block = entry.block
        return self._shown_before(block.number) + block.shown.count(1, 0, _offset(entry))

    def next_after(self, entry: E) -> E | None:
        """The entry after this one, shown or hidden."""
        block = entry.block
        offset = _offset(entry) + 1
        if offset < len(block.entries):
            following: E = block.entries[offset]
            return following
        number = block.number + 1
        return self._blocks[number].entries[0] if number < len(self._blocks) else None

    def insert(self, anchor: E, is_after: bool, entry: E, is_shown: bool) -> int:
        """Put a new entry right after or before another; return its rank."""
        block = anchor.block
        entries, shown = block.entries, block.shown
        offset = _offset(anchor) + is_after
        rank = shown.count(1, 0, offset)
        entries.insert(offset, entry)
        shown.insert(offset, is_shown)
        entry.block = block
        entry.offset = offset
        tree, number = self._tree, block.number
        while number:  # As in _shown_before; a call would cost a tenth of the insert.
            rank += tree[number]
            number &= number - 1
        if is_shown:
            self._count(block, 1)
        size = len(entries)
        if size > BLOCK_ENTRIES_FILLED and (
            size > BLOCK_ENTRIES_MAX or (offset == size - 1 and block is self._blocks[-1])
        ):
            # An append splits off itself alone, so that a list that grows at its end has well-filled blocks.
            self._split(block, offset if offset == size - 1 else size // 2)
        return rank

    def set_shown(self, entry: E, is_shown: bool) -> int:
        """Show a hidden entry or hide a shown one; return its rank."""
        block = entry.block
        offset = _offset(entry)
        assert block.shown[offset] != is_shown, "shown twice or hidden twice"
        block.shown[offset] = is_shown
        self._count(block, 1 if is_shown else -1)
        return self._shown_before(block.number) + block.shown.count(1, 0, offset)

    def remove(self, entry: E) -> None:
        """Take out an entry that is not the first."""
        block = entry.block
        offset = _offset(entry)
        if block.shown[offset]:
            self._count(block, -1)
        del block.entries[offset], block.shown[offset]
        if not block.entries:
            del self._blocks[block.number]
            self._renumber()

    def last_in_run(self, entry: E, is_in_run: Callable[[E], bool]) -> E:
        """The last entry of the run around ``entry`` of those for which the test holds, in O(log n) tests."""
        blocks = self._blocks
        low, high = entry.block.number, len(blocks)
        while high - low > 1:
            middle = (low + high) // 2
            if is_in_run(blocks[middle].entries[0]):
                low = middle
            else:
                high = middle
        entries = blocks[low].entries
        low, high = (_offset(entry) if blocks[low] is entry.block else 0), len(entries)
        while high - low > 1:
            middle = (low + high) // 2
            if is_in_run(entries[middle]):
                low = middle
            else:
                high = middle
        return entries[low]

    def first_in_run(self, entry: E, is_in_run: Callable[[E], bool]) -> E:
        """The first entry of the run around ``entry`` of those for which the test holds, in O(log n) tests."""
        blocks = self._blocks
        low, high = -1, entry.block.number
        while high - low > 1:
            middle = (low + high) // 2
            if is_in_run(blocks[middle].entries[-1]):
                high = middle
            else:
                low = middle
        entries = blocks[high].entries
        low, high = -1, (_offset(entry) if blocks[high] is entry.block else len(entries) - 1)
        while high - low > 1:
            middle = (low + high) // 2
            if is_in_run(entries[middle]):
                high = middle
            else:
                low = middle
        return entries[high]

    def _split(self, block: Block[E], cut: int) -> None:
        upper = Block(block.entries[cut:], block.shown[cut:])
        del block.entries[cut:], block.shown[cut:]
        block.shown_count -= upper.shown_count
        self._blocks.insert(block.number + 1, upper)
        self._renumber()

    def _renumber(self) -> None:
        """Number the blocks and count them anew: 0.1 us a block."""
        for number, block in enumerate(self._blocks):
            block.number = number
        before = [0, *accumulate([block.shown_count for block in self._blocks])]
        self._shown_count = before[-1]
        # Fenwick's tree: node i holds the sum of the blocks from i without its lowest bit up to i.
        self._tree = [total - before[i & (i - 1)] for i, total in enumerate(before)]

    def _count(self, block: Block[E], change: int) -> None:
        block.shown_count += change
        self._shown_count += change
        tree = self._tree
        i, size = block.number + 1, len(tree)
        while i < size:
            tree[i] += change
            i += i & -i

    def _shown_before(self, number: int) -> int:
        """How many shown entries stand in the blocks before this number."""
        tree, total = self._tree, 0
        while number:
            total += tree[number]
            number &= number - 1
        return total

    def _find(self, index: int) -> tuple[int, int]:
        """The number of the block that holds a shown index, and the shown index within it."""
        tree = self._tree
        size, number = len(tree), 0
        step = 1 << (size - 1).bit_length() - 1
        while step:
            upper = number + step
            if upper < size and tree[upper] <= index:
                number = upper
                index -= tree[upper]
            step >>= 1
        return number, index


def _offset(entry: Entry) -> int:
    """Where an entry is in its block."""
    entries = entry.block.entries
    try:
        offset: int = entries.index(entry, entry.offset)
    except ValueError:  # It has moved down: one before it was removed.
        offset = entries.index(entry)
    entry.offset = offset
    return offset


def _select(shown: bytearray, index: int) -> int:
    """The offset of the shown entry with this index in a block."""
    low, high = 0, len(shown)
    while high - low > 1:
        middle = (low + high) // 2
        count = shown.count(1, low, middle)
        if index < count:
            high = middle
        else:
            index -= count
            low = middle
    return low
