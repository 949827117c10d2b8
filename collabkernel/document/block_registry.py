"""The blocks of a room by id, those of a snapshot made when somebody first asks for one.

A long document is opened for some fifty blocks of it. What the tree of a snapshot tells of a block is its type; that
stays in columns, as it was read, and a block is an object from the first look at it on.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping, Sequence

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.lww import LwwMap
from collabkernel.document.block import BLOCK_BYTES, TYPE, Block, Placed
from collabkernel.document.live_tree import REGISTER_BYTES, value_bytes


class StoredTypes:
    """The registers of the property ``type`` of many blocks, in columns. Rows without one have no stamp.

    Args:
        names: The types that there are.
        indices: For each row the type's place among them, from 1; 0 for none.
        hlcs: Of the rows that have a type.
        sites: Of the same.
    """

    __slots__ = ("_hlcs", "_indices", "_names", "_sites", "_stamp_by_row")

    def __init__(self, names: Sequence[str], indices: Sequence[int], hlcs: Sequence[int], sites: Sequence[int]) -> None:
        self._names = names
        self._indices = indices
        self._hlcs = hlcs
        self._sites = sites
        self._stamp_by_row = None if _begins_with_the_only_0(indices) else _numbered(indices)
        """Where the stamp of a row is; None: one before, since the first row alone, a document, has no type."""

    def at(self, row: int) -> tuple[Stamp, str] | None:
        """The register of a row."""
        index = self._indices[row]
        if not index:
            return None
        at = row - 1 if self._stamp_by_row is None else self._stamp_by_row[row]
        return Stamp(self._hlcs[at], self._sites[at]), self._names[index - 1]

    def name_at(self, row: int) -> str:
        """The type of a row that has one."""
        return self._names[self._indices[row] - 1]

    def rows_without(self) -> list[int]:
        """The rows that have no type."""
        return [0] if self._stamp_by_row is None else [row for row, index in enumerate(self._indices) if not index]

    def size_bytes(self) -> int:
        """What the blocks that have a type are counted as."""
        of_all = (BLOCK_BYTES + REGISTER_BYTES + value_bytes(TYPE)) * len(self._hlcs)
        return of_all + sum([self._indices.count(i) * value_bytes(name) for i, name in enumerate(self._names, 1)])


def _begins_with_the_only_0(indices: Sequence[int]) -> bool:
    return indices.count(0) == 1 and indices[0] == 0


def _numbered(indices: Sequence[int]) -> dict[int, int]:
    return {row: i for i, row in enumerate([row for row, index in enumerate(indices) if index])}


class StoredBlocks:
    """What the tree of a snapshot tells of its blocks, by row."""

    __slots__ = ("_placed_by_row", "split_by_row", "types")

    def __init__(
        self, types: StoredTypes, split_by_row: Mapping[int, OpId], placed_by_row: Mapping[int, Placed]
    ) -> None:
        self.types = types
        self.split_by_row = split_by_row
        """The ropes of those that were split off."""
        self._placed_by_row = placed_by_row

    def make(self, id: OpId, row: int) -> Block:
        """The block of a row."""
        type_ = self.types.at(row)
        assert type_ is not None, "a row without a type is a document's, and is made at once"
        block = Block(id, self.split_by_row.get(row, id), LwwMap.of_one(TYPE, type_))
        block.placed = self._placed_by_row.get(row)
        return block


class BlockRegistry:
    """Blocks by id, as a dict has them."""

    __slots__ = ("_held", "_rope_by_split", "_stored")

    def __init__(self) -> None:
        self._held: dict[OpId, Block | int] = {}
        """A number is the row of one that nobody has asked for."""
        self._rope_by_split: dict[OpId, OpId] = {}
        self._stored: StoredBlocks | None = None

    def store(self, ids: Sequence[OpId], stored: StoredBlocks) -> None:
        """Begin with the blocks of a snapshot, in the order of its rows."""
        assert not self._held, "a snapshot comes first"
        self._held = dict(zip(ids, range(len(ids)), strict=True))
        self._rope_by_split = {ids[row]: rope for row, rope in stored.split_by_row.items()}
        self._stored = stored

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, id: object) -> bool:
        return id in self._held

    def __iter__(self) -> Iterator[OpId]:
        return iter(self._held)

    def keys(self) -> KeysView[OpId]:
        """The ids."""
        return self._held.keys()

    def get(self, id: OpId) -> Block | None:
        """The block of an id, or None."""
        found = self._held.get(id)
        return self._made(id, found) if isinstance(found, int) else found

    def __getitem__(self, id: OpId) -> Block:
        found = self._held[id]
        return self._made(id, found) if isinstance(found, int) else found

    def __setitem__(self, id: OpId, block: Block) -> None:
        self._held[id] = block
        if block.is_split:
            self._rope_by_split[id] = block.rope_id

    def pop(self, id: OpId) -> None:
        """Forget a block, if it is there."""
        self._held.pop(id, None)
        self._rope_by_split.pop(id, None)

    def values(self) -> Iterator[Block]:
        """All blocks, made where they are not yet; none may come or go meanwhile."""
        return (self[id] for id in self._held)

    def items(self) -> Iterator[tuple[OpId, Block]]:
        """All ids and blocks, as ``values``."""
        return ((id, self[id]) for id in self._held)

    def made(self) -> list[Block]:
        """Those that somebody has asked for or put here: of all others the tree alone tells."""
        return [block for block in self._held.values() if not isinstance(block, int)]

    # -- what is told without making a block: whoever looks at all of them asks here

    def type_of(self, id: OpId) -> str:
        """What a block is. KeyError: there is none."""
        found = self._held[id]
        return self._of().types.name_at(found) if isinstance(found, int) else found.type

    def rope_of(self, id: OpId) -> OpId:
        """The rope that a block's text is in. KeyError: there is no such block."""
        found = self._held[id]
        return self._of().split_by_row.get(found, id) if isinstance(found, int) else found.rope_id

    def splits(self) -> Mapping[OpId, OpId]:
        """The blocks that were split off, and the rope of each."""
        return self._rope_by_split

    def split_ropes(self) -> list[OpId]:
        """The rope of each block that was split off."""
        return list(self._rope_by_split.values())

    def _made(self, id: OpId, row: int) -> Block:
        made = self._held[id] = self._of().make(id, row)
        return made

    def _of(self) -> StoredBlocks:
        assert self._stored is not None, "a row is of a snapshot"
        return self._stored
