"""A node of the move tree, its place, and what can become of an operation on it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.tree.rekeys import join_keys, shortened
from collabkernel.crdt.tree.siblings import Siblings
from collabkernel.limits import BLOCK_DEPTH_MAX

CHILD, INLINE = Slot.CHILD, Slot.INLINE


class Verdict(StrEnum):
    """What became of an operation; every fold of the log finds the same one. The strings are stable."""

    APPLIED = "applied"
    LIFTED = "lifted"
    """An insert whose parent was deleted: it stands where the parent stood."""
    NOOP = "noop"
    """It was so already."""
    CONCURRENT = "concurrent"
    """Discarded: somebody moved or deleted the block before, and the author had not seen it."""
    CYCLE = "cycle"
    """Discarded: the block would come below itself."""
    DEAD_PARENT = "dead-parent"
    """Discarded: the place that it was moved to was deleted."""
    TOO_DEEP = "too-deep"
    """Discarded: the place is over ``BLOCK_DEPTH_MAX`` levels down."""
    UNKNOWN = "unknown"
    """Discarded: there is no such block, or it is the root of a document, which stays where it is."""

    @property
    def is_discarded(self) -> bool:
        """Whether the author wanted something that did not happen."""
        return self not in _DONE


_DONE = frozenset((Verdict.APPLIED, Verdict.LIFTED, Verdict.NOOP))


class Place(NamedTuple):
    """Where a node stands, or stood when it was deleted."""

    parent: OpId
    slot: Slot
    key: str


class Node:
    """A block in the tree; only ``MoveTree`` changes it."""

    __slots__ = ("children", "id", "inline", "is_dead", "is_trashed", "key", "parent", "seq", "site", "slot")

    def __init__(self, id: OpId, parent: Node | None, slot: Slot, key: str, seq: int, site: int) -> None:
        self.id = id
        self.parent = parent
        """None for the root of a document alone. A deleted node keeps it: where it stood."""
        self.slot = slot
        self.key = key
        self.seq = seq
        self.site = site
        """Seq and site of its position operation: the last one that decided where it stands."""
        self.is_trashed = False
        """It was deleted itself, and stands in no list of siblings."""
        self.is_dead = False
        """It was deleted, or something above it was."""
        self.children: Siblings[Node] | None = None
        """None rather than empty."""
        self.inline: Siblings[Node] | None = None

    def siblings_in(self, slot: Slot) -> Siblings[Node] | None:
        """Its children of one slot, if it has any."""
        return self.inline if slot is INLINE else self.children

    def set_siblings(self, slot: Slot, siblings: Siblings[Node] | None) -> None:
        """Replace its children of one slot."""
        if slot is INLINE:
            self.inline = siblings
        else:
            self.children = siblings

    def add(self, node: Node) -> None:
        """Put a node that names this one as its parent among its children."""
        if node.slot is INLINE:
            siblings = self.inline
            if siblings is None:
                siblings = self.inline = Siblings()
        else:
            siblings = self.children
            if siblings is None:
                siblings = self.children = Siblings()
        siblings.add(node)

    def remove(self, node: Node) -> None:
        """Take a node from among its children."""
        siblings = self.inline if node.slot is INLINE else self.children
        assert siblings is not None, "a node stands among its siblings"
        if not siblings.remove(node):
            self.set_siblings(node.slot, None)

    def nodes_below(self) -> list[Node]:
        """Its children, then its inline nodes; not those that were deleted themselves."""
        below = list(self.children) if self.children is not None else []
        if self.inline is not None:
            below += self.inline
        return below


def deleted_out_of(nodes: Iterable[Node], parents: Container[OpId]) -> list[tuple[OpId, OpId]]:
    """Those of some nodes that were deleted themselves while they stood below some others, and these."""
    found = []
    for node in nodes:
        if node.is_trashed and node.parent is not None and node.parent.id in parents:
            found.append((node.id, node.parent.id))
    return found


def ids_died_with(top: Node | None) -> list[OpId]:
    """A node that was deleted itself, and all below it that died of that; nothing if it was not."""
    found: list[OpId] = []
    stack = [top] if top is not None and top.is_trashed else []
    while stack:
        node = stack.pop()
        found.append(node.id)
        if node.children is not None or node.inline is not None:
            stack += reversed(node.nodes_below())
    return found


def trash_root(node: Node) -> Node | None:
    """The deleted node that a dead one died with: itself or the nearest above; None when it is too far."""
    for _ in range(BLOCK_DEPTH_MAX):
        if node.is_trashed:
            return node
        assert node.parent is not None, "a root does not die"
        node = node.parent
    return None


def way_up(dead: Node) -> list[Node]:
    """A dead node, and the dead ones above it up to where something lives; of a deleted one, from where it stood."""
    way = [dead]
    while (above := way[-1].parent) is not None and above.is_dead:
        way.append(above)
    return way


def is_too_deep(node: Node) -> bool:
    """Whether too much is above a node, on the way through deleted ones too."""
    for _ in range(BLOCK_DEPTH_MAX):
        if node.parent is None:
            return False
        node = node.parent
    return True


def obstacle_above(node: Node, moved: Node) -> Verdict | None:
    """Why another node cannot come below one: it is above, or too much is; None if it can.

    Above a deleted node is the trash.
    """
    above = node
    for _ in range(BLOCK_DEPTH_MAX):
        if above is moved:
            return Verdict.CYCLE
        if above.parent is None or above.is_trashed:
            return None
        above = above.parent
    return Verdict.TOO_DEEP


def unseen_below(deleted: Node, site: int, base: int) -> tuple[list[tuple[Node, Slot, str]], int]:
    """The topmost nodes below one whose position a site had not seen when it had the log up to ``base``.

    Returns:
        Each with the slot and key that it is lifted with, and how many nodes were visited.
    """
    unseen: list[tuple[Node, Slot, str]] = []
    visited = 0
    stack = [(deleted, deleted.slot, [deleted.key])]
    while stack:
        node, slot, keys = stack.pop()
        below = node.nodes_below()
        visited += len(below)
        for each in below:
            is_unseen = each.seq > base and each.site != site
            if not is_unseen and each.children is None and each.inline is None:
                continue
            slot_below = INLINE if slot is INLINE and each.slot is INLINE else CHILD
            if is_unseen:
                unseen.append((each, slot_below, join_keys([*keys, each.key])))
            else:
                stack.append((each, slot_below, shortened([*keys, each.key])))
    return unseen, visited


def mark_dead(top: Node, is_dead: bool) -> int:
    """Note for a node and all below it whether they are dead; how many they are."""
    stack, marked = [top], 0
    while stack:
        node = stack.pop()
        node.is_dead = is_dead
        marked += 1
        stack += node.nodes_below()
    return marked


def inline_below(node: Node) -> list[Node]:
    """The inline nodes below a node, each followed by those below it."""
    parts: list[Node] = []
    stack = list(node.inline)[::-1] if node.inline is not None else []
    while stack:
        part = stack.pop()
        parts.append(part)
        if part.inline is not None:
            stack += list(part.inline)[::-1]
    return parts


def ids_shown_below(node: Node) -> Iterator[OpId]:
    """The nodes below one in document order, without those that are inline."""
    ways = [iter(node.nodes_below())]
    while ways:
        for each in ways[-1]:
            if each.slot is not INLINE:
                yield each.id
            if each.children is not None or each.inline is not None:
                ways.append(iter(each.nodes_below()))
                break
        else:
            ways.pop()


def depths_shown_below(node: Node) -> Iterator[tuple[OpId, int]]:
    """The same, with the depth of each: 0 for those shown right below the node."""
    stack = [(each, 0) for each in reversed(node.nodes_below())]
    while stack:
        each, depth = stack.pop()
        if each.slot is not INLINE:
            yield each.id, depth
        if each.children is not None or each.inline is not None:
            below = depth + (each.slot is not INLINE)
            stack += [(one, below) for one in reversed(each.nodes_below())]
