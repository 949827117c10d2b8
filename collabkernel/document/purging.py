"""Purging live values: letting go of what was deleted long ago, at one point of the log, everywhere alike.

A *purge* names slots of a list, or a stamp up to which the deleted keys of a map go. It takes what is still deleted and
what no other part needs, and passes over the rest; containers that were made in what goes, go with it, and all that is
in them. So it does not commute with what names these things. That is never behind it in the log: a server refuses it
(``room/intake.py``), and the append transaction what a server admitted that had not seen the purge
(``storage/append.py``).

A key under which a shared container was made stays deleted for ever: its container has a name that others may derive
again, and would be found full of what was in it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import cast

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.lww import TOMBSTONE
from collabkernel.document.live_tree import (
    CONTAINER_BYTES,
    REGISTER_BYTES,
    TYPED_TEXT_BYTES,
    Home,
    ListNode,
    LiveTree,
    MapNode,
    Node,
    TextNode,
    registers_bytes,
    value_bytes,
)
from collabkernel.document.operations import Purge, StoredValue


def purge_live(tree: LiveTree, op: Purge) -> None:
    """Purge a list or a map; what does not fit is passed over."""
    node = tree.nodes.get(op.target)
    if isinstance(node, ListNode):
        gone = node.items.purge(op.ids)
        tree.size_bytes -= len(gone) * REGISTER_BYTES
        homes = frozenset([Home(node.id, element=element) for element in gone])
    elif isinstance(node, MapNode) and op.floor is not None:
        keys = node.entries.purge(op.floor, keys_of_shared(tree).get(node.id, ()))
        tree.size_bytes -= sum([REGISTER_BYTES + value_bytes(key) for key in keys])
        homes = frozenset([Home(node.id, key=key) for key in keys])
    else:
        return
    if homes and len(tree.nodes) > 1:
        _remove(tree, [each.id for each in tree.nodes.values() if each.home in homes])


def purgeable_keys(node: MapNode, floor: Stamp, kept: Container[str]) -> list[Stamp]:
    """When those deleted keys of a map were deleted that a purge up to a stamp would take.

    Args:
        node: The map.
        floor: The stamp.
        kept: As ``keys_of_shared`` has them.
    """
    registers = node.entries.held()
    return [stamp for key, (stamp, each) in registers if each is TOMBSTONE and stamp <= floor and key not in kept]


def keys_of_shared(tree: LiveTree) -> dict[OpId, set[str]]:
    """The keys under which a shared container was made, by map: all others are named by the operation's site."""
    keys: dict[OpId, set[str]] = {}
    for node in tree.nodes.values():
        if not node.id.site and node.home is not None and node.home.key is not None:
            keys.setdefault(node.home.parent, set()).add(node.home.key)
    return keys


def _remove(tree: LiveTree, ids: Iterable[OpId]) -> None:
    """Take containers out of the tree, with all that was ever made in them."""
    gone = set(ids)
    if not gone:
        return
    for node in tree.nodes.values():  # parents before children
        if node.home is not None and node.home.parent in gone:
            gone.add(node.id)
    for id in gone:
        tree.size_bytes = max(0, tree.size_bytes - _size_bytes(tree.nodes.pop(id)))


def _size_bytes(node: Node) -> int:
    """What a container and its contents are counted as."""
    own = CONTAINER_BYTES[node.kind]
    if isinstance(node, MapNode):
        return own + registers_bytes(node.entries.held())
    if isinstance(node, TextNode):
        return own + (0 if node.rope.is_empty else TYPED_TEXT_BYTES + node.rope.size_bytes)
    size_bytes = sum([REGISTER_BYTES for _ in node.items.slots()])
    for _, value in node.items.items():
        size_bytes += value_bytes(cast(StoredValue, value))
    return own + size_bytes
