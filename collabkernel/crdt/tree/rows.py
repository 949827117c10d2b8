"""The move tree as rows of plain tuples: what a snapshot holds, out and in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.tree.node import Node, mark_dead
from collabkernel.crdt.tree.siblings import Siblings
from collabkernel.errors import UnknownReferenceError


class NodeRow(NamedTuple):
    """A node as state: what a snapshot holds of it."""

    id: OpId
    parent: OpId | None
    """None for the root of a document; of a deleted node its last one."""
    slot: Slot
    key: str
    seq: int
    """Seq and site of its position operation."""
    site: int
    is_trashed: bool
    """It was deleted itself."""


def rows_below(top: Node) -> Iterator[NodeRow]:
    """A node and all below it, in document order."""
    stack = [top]
    while stack:
        node = stack.pop()
        parent = None if node.parent is None else node.parent.id
        yield NodeRow(node.id, parent, node.slot, node.key, node.seq, node.site, node.is_trashed)
        if node.children is not None or node.inline is not None:
            stack += reversed(node.nodes_below())


def linked(rows: Iterable[NodeRow]) -> dict[OpId, Node]:
    """The nodes that rows tell of, by id; in any order.

    Raises:
        UnknownReferenceError: A row names a parent that has no row.
    """
    nodes: dict[OpId, Node] = {}
    trashed: list[tuple[Node, OpId]] = []
    nodes_by_place: dict[tuple[OpId, Slot], list[Node]] = {}
    last_parent, last_slot, siblings = None, None, []
    for id, parent, slot, key, seq, site, is_trashed in rows:
        node = nodes[id] = Node(id, None, slot, key, seq, site)
        if parent is None:
            continue
        if is_trashed:
            trashed.append((node, parent))
            continue
        if parent is not last_parent or slot is not last_slot:  # most stand beside the last one
            last_parent, last_slot = parent, slot
            siblings = nodes_by_place.setdefault((parent, slot), [])
        siblings.append(node)
    for (parent, slot), siblings in nodes_by_place.items():
        above = _parent_of(siblings[0], parent, nodes)
        for node in siblings:
            node.parent = above
        above.set_siblings(slot, Siblings(siblings))
    for node, parent in trashed:
        node.parent, node.is_trashed = _parent_of(node, parent, nodes), True
    for node, _ in trashed:
        mark_dead(node, True)
    return nodes


def _parent_of(node: Node, parent: OpId, nodes: dict[OpId, Node]) -> Node:
    above = nodes.get(parent)
    if above is None:
        raise UnknownReferenceError(f"the row of block {node.id.site}.{node.id.counter} names a parent without a row")
    return above
