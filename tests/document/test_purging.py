"""What a purge takes out of live values, and what it passes over."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Side, Stamp
from collabkernel.document.live_tree import ListNode, LiveTree, MapNode
from collabkernel.document.operations import (
    ContainerKind,
    ListDelete,
    ListInsert,
    LiveOp,
    MapDelete,
    MapSet,
    NewContainer,
    Purge,
    TextEdit,
    shared_container_id,
)
from collabkernel.document.purging import keys_of_shared, purge_live, purgeable_keys
from collabkernel.errors import PurgedError
from collabkernel.wire.state import decode_state, encode_state

pytestmark = pytest.mark.core

LIST = OpId(1, 1)
MAP = OpId(1, 2)


class Site:
    """Site 1 of a tree: operation n has the id (1, n) and the stamp (n, 1)."""

    def __init__(self) -> None:
        self.tree = LiveTree(1)
        self.count = 0

    def do(self, *ops: LiveOp) -> OpId:
        """Apply operations; the id of the last."""
        for op in ops:
            self.count += 1
            self.tree.apply(OpId(1, self.count), Stamp(self.count, 1), op)
        return OpId(1, self.count)

    def reread(self) -> LiveTree:
        """The tree as a snapshot has it."""
        return decode_state(encode_state(self.tree, 0, 0), 1)[0]


def site() -> Site:
    """A list and a map."""
    made = Site()
    made.do(MapSet(ROOT, "l", NewContainer(ContainerKind.LIST)), MapSet(ROOT, "m", NewContainer(ContainerKind.MAP)))
    return made


def test_elements_go_with_the_containers_that_were_made_in_them():
    one = site()
    element = one.do(ListInsert(LIST, None, Side.RIGHT, NewContainer(ContainerKind.MAP)))
    inner = one.do(MapSet(element, "t", NewContainer(ContainerKind.TEXT)))
    empty = one.tree.size_bytes
    one.do(MapSet(element, "k", "v" * 100), ListDelete(LIST, element))
    assert inner in one.tree.nodes

    purge_live(one.tree, Purge(LIST, (element,)))

    assert set(one.tree.nodes) == {ROOT, LIST, MAP}
    assert one.tree.size_bytes < empty
    assert encode_state(one.reread(), 0, 0) == encode_state(one.tree, 0, 0)


def test_deleted_keys_go_up_to_the_floor_and_no_older_write_brings_them_back():
    one = site()
    one.do(MapSet(MAP, "a", 1), MapSet(MAP, "b", 2), MapSet(MAP, "c", 3))
    first = one.do(MapDelete(MAP, "a")).counter
    one.do(MapDelete(MAP, "b"))
    assert purgeable_keys(one.tree.nodes[MAP], Stamp(first, 1), ()) == [Stamp(first, 1)]  # type: ignore[arg-type]  # a map

    purge_live(one.tree, Purge(MAP, floor=Stamp(first, 9)))

    node = one.tree.nodes[MAP]
    assert isinstance(node, MapNode)
    assert [key for key, _ in node.entries.registers()] == ["b", "c"]
    assert node.entries.floor == Stamp(first, 1), "the highest that went, not what was asked for"
    for tree in (one.tree, one.reread()):
        with pytest.raises(PurgedError):
            tree.apply(OpId(2, 1), Stamp(first - 1, 2), MapSet(MAP, "a", "old"))
        with pytest.raises(PurgedError):
            tree.apply(OpId(2, 1), Stamp(first - 1, 2), MapSet(MAP, "d", NewContainer(ContainerKind.LIST)))
        assert tree.apply(OpId(2, 2), Stamp(first - 1, 2), MapDelete(MAP, "a")) is None
        assert tree.apply(OpId(2, 3), Stamp(first + 1, 1), MapSet(MAP, "a", "new")) is not None
        assert OpId(2, 1) not in tree.nodes
        assert tree.to_json()["m"] == {"c": 3, "a": "new"}


def test_a_key_of_a_shared_container_stays_deleted():
    one = site()
    one.do(MapSet(MAP, "s", NewContainer(ContainerKind.LIST, shared=True)))
    stamp = Stamp(one.do(MapDelete(MAP, "s")).counter, 1)
    shared = shared_container_id(MAP, "s", ContainerKind.LIST, None)
    assert keys_of_shared(one.tree) == {MAP: {"s"}}

    purge_live(one.tree, Purge(MAP, floor=stamp))

    node = one.tree.nodes[MAP]
    assert isinstance(node, MapNode)
    assert [key for key, _ in node.entries.registers()] == ["s"]
    assert shared in one.tree.nodes


def test_what_does_not_fit_is_passed_over():
    one = site()
    text = one.do(MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)))
    before = encode_state(one.tree, 0, 0)

    for op in (
        Purge(OpId(9, 9), (OpId(1, 3),)),
        Purge(MAP, (OpId(1, 3),)),
        Purge(LIST, floor=Stamp(99, 1)),
        Purge(text, (OpId(1, 3),)),
        Purge(LIST, (OpId(1, 99),)),
    ):
        purge_live(one.tree, op)

    assert encode_state(one.tree, 0, 0) == before


def test_a_text_that_was_typed_in_is_counted_out():
    one = site()
    before = one.tree.size_bytes
    element = one.do(ListInsert(LIST, None, Side.RIGHT, NewContainer(ContainerKind.TEXT)))
    rope = one.tree.nodes[element].rope  # type: ignore[union-attr]  # it is a text
    one.tree.apply(OpId(1, 99), Stamp(99, 1), TextEdit(element, rope.insert(0, "x" * 1000)))
    one.do(ListDelete(LIST, element))

    purge_live(one.tree, Purge(LIST, (element,)))

    assert one.tree.size_bytes <= before + 100
    assert isinstance(one.tree.nodes[LIST], ListNode)
