"""What differs between two states of one document: blocks that came, went, moved, or read otherwise.

A block is the same as long as its name is, wherever it stands. So a block that was moved is told as moved, with what is
below it staying where it was to it; and of siblings that changed places as few are told as moved as make the new order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text_delta import Delta
from collabkernel.document.block import TYPE
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import Scalar
from collabkernel.document.text_diff import format_diff, text_diff


@dataclass(frozen=True, slots=True)
class ContentDiff:
    """What a block that is in both states says otherwise."""

    block: OpId
    text: Delta
    """Makes the new text of the old one; empty if that is the same."""
    is_formatted: bool
    """Its text is formatted otherwise."""
    properties: dict[str, tuple[Scalar, Scalar]]
    """Old and new value of those that differ, None for one that is not there; the type among them."""


@dataclass(frozen=True, slots=True)
class DocumentDiff:
    """What makes one state of a document of another; blocks in document order."""

    added: list[OpId]
    removed: list[OpId]
    """In the order of the old state."""
    moved: list[OpId]
    changed: list[ContentDiff]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved or self.changed)


def diff(old: BlockDocument, new: BlockDocument, root: OpId) -> DocumentDiff:
    """What differs below the root of a document. Linear, but for sorting siblings and the words of changed texts."""
    before, after = _shown(old, root), _shown(new, root)
    was, now = frozenset(before), frozenset(after)
    moved = moved_blocks(old, new, root, was & now)
    roots = [root] if root in old and root in new else []
    both = [*roots, *[block for block in after if block in was]]
    return DocumentDiff(
        added=[block for block in after if block not in was],
        removed=[block for block in before if block not in now],
        moved=[block for block in after if block in moved],
        changed=[found for block in both if (found := content_diff(old, new, block)) is not None],
    )


def moved_blocks(old: BlockDocument, new: BlockDocument, root: OpId, both: frozenset[OpId]) -> frozenset[OpId]:
    """Of the blocks shown in both states those that stand elsewhere."""
    found: set[OpId] = set()
    for parent in (root, *both):
        was = [block for block in _children(old, parent) if block in both]
        here = set(_children(new, parent))
        found.update(block for block in was if block not in here)
        index_by_block = {block: i for i, block in enumerate(was)}
        stayed = [block for block in _children(new, parent) if block in index_by_block]
        kept = rising([index_by_block[block] for block in stayed])
        found.update(block for i, block in enumerate(stayed) if i not in kept)
    return frozenset(found)


def content_diff(old: BlockDocument, new: BlockDocument, block: OpId) -> ContentDiff | None:
    """What a block says otherwise; None if nothing."""
    text = text_diff(old.text(block), new.text(block))
    is_formatted = not text and bool(format_diff(old.delta(block), new.delta(block)))
    was, now = properties_of(old, block), properties_of(new, block)
    properties = {
        name: (was.get(name), now.get(name))
        for name in dict.fromkeys([*was, *now])
        if name not in was or name not in now or not _is_same(was[name], now[name])
    }
    return ContentDiff(block, text, is_formatted, properties) if text or is_formatted or properties else None


def properties_of(document: BlockDocument, block: OpId) -> dict[str, Scalar]:
    """A block's properties, the type first."""
    found = dict(document.known_block(block).properties.items())
    return {TYPE: found.pop(TYPE), **found}  # type: ignore[dict-item]  # registers of blocks hold scalars alone


def rising(numbers: Sequence[int]) -> frozenset[int]:
    """Indices of a longest subsequence that rises (Schensted, 1961); the numbers differ. O(n log n)."""
    last_by_length: list[int] = []
    lowest: list[int] = []
    before: list[int] = []
    for i, number in enumerate(numbers):
        length = bisect_left(lowest, number)
        before.append(last_by_length[length - 1] if length else -1)
        lowest[length : length + 1] = [number]
        last_by_length[length : length + 1] = [i]
    found: set[int] = set()
    at = last_by_length[-1] if last_by_length else -1
    while at >= 0:
        found.add(at)
        at = before[at]
    return frozenset(found)


def _shown(document: BlockDocument, root: OpId) -> list[OpId]:
    return list(document.tree.in_order(root)) if root in document.tree else []


def _children(document: BlockDocument, parent: OpId) -> list[OpId]:
    return list(document.tree.shown_children(parent)) if parent in document.tree else []


def _is_same(old: Scalar, new: Scalar) -> bool:
    """Equal and of one type: 1, 1.0 and True are three values."""
    return type(old) is type(new) and old == new
