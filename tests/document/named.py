"""Blocks with ids, as a room has them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from collabkernel.crdt.ids import OpId
from collabkernel.document.block_spec import BlockSpec


def named(block: BlockSpec) -> BlockSpec:
    """The block and all below it with ids 1.1, 1.2, ... in document order."""
    counters = count(1)

    def name(block: BlockSpec) -> BlockSpec:
        id = OpId(1, next(counters))
        return replace(block, id=id, children=tuple(map(name, block.children)))

    return name(block)
