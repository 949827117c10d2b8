"""The children of one node, in the order of their keys, then of their ids.

Most operations are judged where nobody looks at the order, so a change is only noted, in a dict; one that is taken back
leaves nothing. Whoever reads the order has the noted changes sorted in first. What is sorted is a list of chunks, so
that a change costs a bisection and a shift within one chunk, the same among a hundred thousand siblings as among a
hundred; the scheme is that of sortedcontainers (Jenks, 2014). Keys stand in lists of their own, so that a bisection
touches one string a step and no node.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from operator import attrgetter, lt
from typing import Generic, Protocol, TypeVar

from collabkernel.crdt.ids import OpId

CHUNK_NODES_MAX = 256
"""A chunk over this is cut in two; a shift within it takes less time than the bisection."""
REBUILT_SHARE = 8
"""With more changes than one in so many siblings, all are sorted anew: that is about ten times less for each."""


class Sibling(Protocol):
    """What stands there; its key does not change while it does."""

    key: str
    id: OpId


N = TypeVar("N", bound=Sibling)
_id = attrgetter("id")
_place = attrgetter("key", "id")


class Siblings(Generic[N]):
    """Nodes sorted by key and id."""

    __slots__ = ("_added", "_count", "_firsts", "_keys", "_nodes", "_removed")

    def __init__(self, nodes: Iterable[N] = ()) -> None:
        """Take nodes in any order; those of a snapshot come in theirs, and are not sorted."""
        self._added: dict[OpId, N] = {}
        """Noted: what is not sorted in yet."""
        self._removed: dict[OpId, tuple[str, N]] = {}
        """Noted: what is still sorted in, and under which key."""
        self._nodes: list[list[N]] = [[]]
        """Chunks; none is empty but a lone one."""
        self._keys: list[list[str]] = [[]]
        """The keys of each chunk, as they were when they were sorted in."""
        self._firsts: list[tuple[str, OpId]] = []
        """Key and id of the first of each chunk; not kept while there is one chunk alone."""
        listed = list(nodes)
        self._count = len(listed)
        keys = [node.key for node in listed]
        if all(map(lt, keys, islice(keys, 1, None))):
            self._take_sorted(listed)
        else:
            self._added = {node.id: node for node in listed}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[N]:
        self._sort_in()
        return chain.from_iterable(self._nodes)

    def add(self, node: N) -> None:
        """Put a node among its siblings."""
        self._count += 1
        removed = self._removed.get(node.id)
        if removed is not None and removed[0] == node.key and removed[1] is node:
            del self._removed[node.id]
        else:
            self._added[node.id] = node

    def remove(self, node: N) -> bool:
        """Take out a node that stands there; whether any is left."""
        self._count -= 1
        if self._added.pop(node.id, None) is None:
            self._removed[node.id] = node.key, node
        return self._count > 0

    def at(self, index: int) -> N:
        """The node at an index from 0 to the length, without."""
        self._sort_in()
        for chunk in self._nodes:
            if index < len(chunk):
                return chunk[index]
            index -= len(chunk)
        raise IndexError("no sibling at this index")

    def index(self, node: N) -> int:
        """How many stand before a node that stands there."""
        number, at = self._find(node)
        return sum(len(chunk) for chunk in self._nodes[:number]) + at

    def keys_around(self, index: int, own: N | None) -> tuple[str | None, str | None]:
        """The keys between which a node comes before the sibling at an index, or last.

        Args:
            index: Counted without ``own``.
            own: The sibling that is to come there, if it is one.
        """
        if own is not None:
            index += index >= self.index(own)
        left = self.at(index - 1) if index else None
        if left is not None and left is own:
            left = self.at(index - 2) if index > 1 else None
        right = self.at(index) if index < len(self) else None
        # Nothing fits between two equal keys: behind them is the nearest place.
        while right is not None and (right is own or (left is not None and right.key == left.key)):
            left = left if right is own else right
            right = self.after(right)
        return None if left is None else left.key, None if right is None else right.key

    def after(self, node: N) -> N | None:
        """The one behind a node that stands there."""
        number, at = self._find(node)
        if at + 1 < len(self._nodes[number]):
            return self._nodes[number][at + 1]
        return self._nodes[number + 1][0] if number + 1 < len(self._nodes) else None

    def before(self, node: N) -> N | None:
        """The one before a node that stands there."""
        number, at = self._find(node)
        if at:
            return self._nodes[number][at - 1]
        return self._nodes[number - 1][-1] if number else None

    def _find(self, node: N) -> tuple[int, int]:
        """The number of a node's chunk, and where in it the node is."""
        self._sort_in()
        return self._locate(node.key, node.id)

    def _sort_in(self) -> None:
        """Bring what was noted into the order."""
        added, removed = self._added, self._removed
        if not added and not removed:
            return
        if (len(added) + len(removed)) * REBUILT_SHARE > self._count:
            self._rebuild()
        else:
            for id, (key, _) in removed.items():
                self._take_out(key, id)
            for node in added.values():
                self._put_in(node)
        self._added, self._removed = {}, {}

    def _rebuild(self) -> None:
        removed = self._removed
        ordered = [node for nodes in self._nodes for node in nodes if node.id not in removed]
        ordered += self._added.values()
        ordered.sort(key=_place)
        self._take_sorted(ordered)

    def _take_sorted(self, ordered: list[N]) -> None:
        step = CHUNK_NODES_MAX // 2
        self._nodes = [ordered[i : i + step] for i in range(0, len(ordered), step)] or [[]]
        self._keys = [[node.key for node in chunk] for chunk in self._nodes]
        self._firsts = [_place(chunk[0]) for chunk in self._nodes if chunk]

    def _put_in(self, node: N) -> None:
        number, at = self._locate(node.key, node.id)
        keys, nodes = self._keys[number], self._nodes[number]
        keys.insert(at, node.key)
        nodes.insert(at, node)
        if at == 0 and len(self._nodes) > 1:
            self._firsts[number] = _place(node)
        if len(keys) > CHUNK_NODES_MAX:
            self._split(number)

    def _take_out(self, key: str, id: OpId) -> None:
        number, at = self._locate(key, id)
        keys, nodes = self._keys[number], self._nodes[number]
        assert nodes[at].id == id, "a node stands among its siblings"
        del keys[at], nodes[at]
        if len(self._nodes) == 1:
            return
        if not nodes:
            del self._nodes[number], self._keys[number], self._firsts[number]
        elif at == 0:
            self._firsts[number] = keys[0], nodes[0].id

    def _locate(self, key: str, id: OpId) -> tuple[int, int]:
        """The number of the chunk, and where in it, a key and id stand or would."""
        number = 0 if len(self._nodes) == 1 else self._chunk_of(key, id)
        keys, nodes = self._keys[number], self._nodes[number]
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            at = bisect_left(nodes, id, at, bisect_right(keys, key, at), key=_id)
        return number, at

    def _chunk_of(self, key: str, id: OpId) -> int:
        """The number of the chunk in which a node stands, or would."""
        return max(bisect_right(self._firsts, (key, id)) - 1, 0)

    def _split(self, number: int) -> None:
        keys, nodes = self._keys[number], self._nodes[number]
        half = len(keys) // 2
        self._keys.insert(number + 1, keys[half:])
        self._nodes.insert(number + 1, nodes[half:])
        del keys[half:], nodes[half:]
        if len(self._nodes) == 2:
            self._firsts = [(keys[0], nodes[0].id)]
        self._firsts.insert(number + 1, (self._keys[number + 1][0], self._nodes[number + 1][0].id))
