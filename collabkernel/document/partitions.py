"""Partitions of the blocks of a room: what is sent together to those who look at some of it.

A partition is some 50 to 200 blocks that stood next to one another, cut where a section begins when that is near. It is
a *view* that one server has of its state, made when somebody first looks at a part of the room, and dropped with the
last one who does: no other server and no client knows it (docs/decisions/0012), and nothing of it is stored. Every
block of the tree, dead or alive, is in one partition, its *home*:

- an inserted block joins its neighbour's; one that was split off joins that of the rope that it was split off from;
- a block that is moved, deleted or restored stays where it is: only what is sent together changes by that;
- a partition over 200 blocks is divided, and who sees it sees all that it becomes (``divide``);
- when enough blocks were moved or deleted, all that nobody sees is cut anew (``recut``): strays come home, and what has
  become small is joined.

So a session that once has all of a partition goes on having it by being sent the operations on it. Places are no matter
of partitions: everybody is sent all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from collabkernel.crdt.ids import OpId
from collabkernel.document.block import TYPE
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_types import HEADING
from collabkernel.document.operations import (
    BlockDelete,
    BlockMove,
    MapDelete,
    MapSet,
    Op,
    Purge,
    TextEdit,
    made_by,
)
from collabkernel.limits import PARTITION_BLOCKS_MAX, PARTITION_BLOCKS_MIN

RECUT_SHARE = 8
"""When one in so many blocks was moved, deleted or restored, what nobody sees is cut anew: a millisecond for each
thousand blocks."""


class Sizes(NamedTuple):
    """The fewest and the most blocks of a partition that is cut; the most are at least twice the fewest."""

    blocks_min: int = PARTITION_BLOCKS_MIN
    blocks_max: int = PARTITION_BLOCKS_MAX


def cut(is_section: Sequence[bool], sizes: Sizes) -> list[int]:
    """Where to cut blocks in document order: indices from 0 to their count, both included.

    No run has more blocks than a partition may have, and only a lone one fewer than it should.

    Args:
        is_section: For each block whether a section begins with it.
        sizes: Of the runs.
    """
    cuts = [0]
    while len(is_section) - cuts[-1] > sizes.blocks_max:
        first = cuts[-1] + sizes.blocks_min
        last = min(cuts[-1] + sizes.blocks_max, len(is_section) - sizes.blocks_min)
        wanted = min((first + cuts[-1] + sizes.blocks_max) // 2, last)
        sections = [at for at in range(first, last + 1) if is_section[at]]
        cuts.append(min(sections, key=lambda at: abs(at - wanted), default=wanted))
    return [*cuts, len(is_section)] if is_section else [0]


class Partitions:
    """The homes of all blocks of a document. Its tree is read, never changed."""

    __slots__ = (
        "_displaced",
        "_home_by_block",
        "_members",
        "_next",
        "_over_full",
        "_sizes",
        "_splits_by_rope",
        "document",
    )

    def __init__(self, document: BlockDocument, sizes: Sizes = Sizes()) -> None:  # noqa: B008 - an immutable value
        self.document = document
        self._sizes = sizes
        self._home_by_block: dict[OpId, int] = {}
        self._members: dict[int, set[OpId]] = {}
        self._splits_by_rope: dict[OpId, list[OpId]] = {}
        """The blocks, but for the first, whose texts are in a rope."""
        self._next = 1
        self._displaced = 0
        """Operations since the last cut that may have taken blocks away from their neighbours."""
        self._over_full: set[int] = set()
        blocks = [row.id for row in document.tree.rows()]
        for block in blocks:
            self._note_rope(block)
        self._cut_into_homes(blocks)

    # -- reading

    def __len__(self) -> int:
        return len(self._members)

    def numbers(self) -> list[int]:
        """The names of all partitions; one that is divided or cut anew leaves its name to no other."""
        return list(self._members)

    def home(self, block: OpId) -> int | None:
        """The partition of a block; None for one that has no place, such as one inserted below an unknown block."""
        return self._home_by_block.get(block)

    def count(self, number: int) -> int:
        """How many blocks a partition has."""
        return len(self._members[number])

    def members(self, number: int) -> list[OpId]:
        """The blocks of a partition, by id."""
        return sorted(self._members[number])

    def contents(self, numbers: Iterable[int]) -> list[OpId]:
        """The blocks whose contents are those of some partitions: their members, and the first blocks of their ropes.

        Sorted by id. Without those that are purged already, of which ``take`` is told when that is shown.
        """
        blocks = self.document.blocks
        members = [block for number in numbers for block in self._members[number] if block in blocks]
        ropes = [blocks.rope_of(block) for block in members]
        return sorted({*members, *ropes})

    def of(self, op: Op) -> tuple[int, ...] | None:
        """Who needs an operation that was judged: those who see one of these partitions; None: everybody.

        Live values and what the tree tells of blocks (places, types) are everybody's. The first block of a rope is in
        every partition that has a block whose text is in it, for whoever is given the one is given the other.
        """
        document = self.document
        if not isinstance(op, MapSet | MapDelete | TextEdit) or op.target not in document:
            return None
        if not isinstance(op, TextEdit) and op.key == TYPE:
            return None
        sharing = (op.target, *self._splits_by_rope.get(op.target, ()))
        return tuple(sorted({home for block in sharing if (home := self.home(block)) is not None}))

    # -- the log

    def take(self, op_id: OpId, op: Op) -> int | None:
        """Note an operation of the log that was judged; in its order. The partition that a new block has joined."""
        if isinstance(op, BlockMove | BlockDelete):
            self._displaced += 1
            return None
        if isinstance(op, Purge):
            self._forget_purged()
            return None
        made = made_by(op_id, op)
        if made is None or made in self._home_by_block or made not in self.document.tree:
            return None
        self._note_rope(made)
        return self._put(made, self._home_of_neighbour(made))

    def _forget_purged(self) -> None:
        """Those are gone that have no place any more; a partition stays, though nothing is left of it."""
        gone = [block for block in self._home_by_block if block not in self.document.tree]
        for block in gone:
            number = self._home_by_block.pop(block)
            members = self._members.get(number, set())  # it may have been cut anew since
            members.discard(block)
            if len(members) <= self._sizes.blocks_max:
                self._over_full.discard(number)
            self._splits_by_rope.pop(block, None)

    def divide(self) -> dict[int, tuple[int, ...]]:
        """Divide the partitions that have too many blocks: by the old name, all that it is now, itself included."""
        divided: dict[int, tuple[int, ...]] = {}
        for number in sorted(self._over_full):
            left = [block for block in self._members[number] if block in self.document.tree]
            first, *others = self._runs(self._in_order(left)) or [()]
            self._members[number] = set(first)
            made = [self._new_home(run) for run in others]
            divided[number] = (number, *made)
        self._over_full.clear()
        return divided

    @property
    def is_recut_due(self) -> bool:
        """So many blocks were moved or deleted that partitions may be far apart, or have few left."""
        return self._displaced >= max(self._sizes.blocks_max, len(self._home_by_block) // RECUT_SHARE)

    def recut(self, seen: Collection[int]) -> None:
        """Cut anew what nobody sees.

        Args:
            seen: The partitions that somebody sees: they stay as they are.
        """
        self._displaced = 0
        unseen = [number for number in self._members if number not in seen]
        blocks = {block for number in unseen for block in self._members.pop(number)}
        self._over_full.difference_update(unseen)
        self._cut_into_homes([row.id for row in self.document.tree.rows() if row.id in blocks])

    # -- homes

    def _home_of_neighbour(self, block: OpId) -> int | None:
        """The home that a new block joins; None where there is nothing to join."""
        rope = self.document.blocks.rope_of(block)
        if rope != block and rope in self._home_by_block:
            return self._home_by_block[rope]
        tree = self.document.tree
        neighbours = (tree.sibling_before(block), tree.parent_of(block))
        return next((self._home_by_block[each] for each in neighbours if each in self._home_by_block), None)

    def _put(self, block: OpId, number: int | None) -> int:
        if number is None:
            return self._new_home([block])
        members = self._members[number]
        members.add(block)
        self._home_by_block[block] = number
        if len(members) > self._sizes.blocks_max:
            self._over_full.add(number)
        return number

    def _new_home(self, blocks: Sequence[OpId]) -> int:
        number, self._next = self._next, self._next + 1
        self._members[number] = set(blocks)
        self._home_by_block.update(dict.fromkeys(blocks, number))
        return number

    def _note_rope(self, block: OpId) -> None:
        rope = self.document.blocks.rope_of(block)
        if rope != block:
            self._splits_by_rope.setdefault(rope, []).append(block)

    # -- cutting

    def _cut_into_homes(self, blocks: Sequence[OpId]) -> None:
        for run in self._runs(blocks):
            self._new_home(run)

    def _runs(self, blocks: Sequence[OpId]) -> list[Sequence[OpId]]:
        cuts = cut([self.document.blocks.type_of(block) == HEADING for block in blocks], self._sizes)
        return [blocks[start:end] for start, end in pairwise(cuts)]

    def _in_order(self, blocks: Iterable[OpId]) -> list[OpId]:
        """Some blocks in document order; a deleted one stands where it stood."""
        tree = self.document.tree
        paths: dict[OpId, tuple[tuple[int, str, OpId], ...]] = {}

        def path(block: OpId) -> tuple[tuple[int, str, OpId], ...]:
            below: list[tuple[OpId, tuple[int, str, OpId]]] = []
            at: OpId | None = block
            while at is not None and at not in paths:
                place = tree.last_place_of(at)
                below.append((at, (0, "", at) if place is None else (place.slot, place.key, at)))
                at = None if place is None else place.parent
            found = () if at is None else paths[at]
            for each, step in reversed(below):
                found = paths[each] = (*found, step)
            return found

        return sorted(blocks, key=path)
