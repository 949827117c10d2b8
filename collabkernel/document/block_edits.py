"""What people do to blocks, as plans: the operations of one envelope, and how to take them back.

A plan is made from a document and changes nothing. Its steps are done one after the other: operations as they are, and
edits of text by ``perform``. The id of the plan's first operation has to be known before (``next_id``), since a marker
names the block that is inserted behind it. Each plan comes with its ``inverse``, which makes the plan that takes back
what survives of it, from the document as it is by then; registers and text are undone one by one, as in live values.

Text is never copied. Enter at the start or end of a block makes a block with a rope of its own; a split inside puts a
marker into the rope, and what was merged in behind it moves along. A merge moves a block into its host's inline slot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.move_tree import Place
from collabkernel.crdt.order_key import key_again, key_between
from collabkernel.crdt.text_values import Attributes
from collabkernel.crdt.tree.rekeys import join_keys
from collabkernel.document.block_document import BlockDocument, TextMade
from collabkernel.document.operations import BlockDelete, BlockInsert, BlockMove, MapDelete, MapSet, Scalar
from collabkernel.errors import InvalidValueError

CHILD, INLINE = Slot.CHILD, Slot.INLINE


@dataclass(frozen=True, slots=True)
class TextSplice:
    """Replace characters of a block's own text."""

    part: OpId
    index: int
    length: int
    text: str
    attributes: Attributes | None = None


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Set attributes of characters of a block's own text."""

    part: OpId
    start: int
    end: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class TextMark:
    """Put the marker of a new block into a block's own text."""

    part: OpId
    index: int
    name: OpId


TextStep: TypeAlias = TextSplice | TextFormat | TextMark
Step: TypeAlias = BlockInsert | BlockMove | BlockDelete | MapSet | MapDelete | TextStep
Inverse: TypeAlias = "Callable[[BlockDocument, OpId], Plan]"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one edit does."""

    steps: tuple[Step, ...] = ()
    inverse: Inverse | None = None
    """Makes the plan that takes back the places; None if the plan changes none."""


NO_PLAN = Plan()


def perform(document: BlockDocument, step: TextStep) -> list[TextMade]:
    """Make an edit of text, and give the operations to be sent.

    Raises:
        IndexError, InvalidValueError, DetachedError: It cannot be made.
    """
    match step:
        case TextSplice():
            return document.splice(step.part, step.index, step.length, step.text, step.attributes)
        case TextFormat():
            return document.format(step.part, step.start, step.end, step.attributes)
        case TextMark():
            return document.mark(step.part, step.index, step.name)


# -- blocks


def insert_block(
    document: BlockDocument,
    next_id: OpId,
    parent: OpId,
    index: int,
    type: str,
    text: str = "",
    properties: Mapping[str, Scalar] | None = None,
) -> Plan:
    """A new block before the child of ``parent`` at an index, or last."""
    key = document.tree.key_at(parent, CHILD, index, next_id.site)
    steps: list[Step] = [BlockInsert(parent, CHILD, key, type)]
    steps += [MapSet(next_id, name, value) for name, value in (properties or {}).items()]
    if text:
        steps.append(TextSplice(next_id, 0, 0, text))
    return Plan(tuple(steps), partial(_delete_again, block=next_id))


def delete_block(document: BlockDocument, next_id: OpId, block: OpId) -> Plan:  # noqa: ARG001  # as all inverses
    """Take a block away with what is below it. Its text stays in its rope, and comes back with it."""
    return Plan((BlockDelete(block),), partial(restore_block, block=block))


def restore_block(document: BlockDocument, next_id: OpId, block: OpId) -> Plan:
    """Bring a deleted block back with its text as it is now: edits that lost against the delete too."""
    tree = document.tree
    if block not in tree or tree.is_alive(block):
        return NO_PLAN
    place = tree.last_place_of(block)
    while place is not None and not tree.is_alive(place.parent):
        above = tree.last_place_of(place.parent)
        # A block that was merged into a deleted one comes back as a block, one below a deleted one beside it.
        place = None if above is None else Place(above.parent, CHILD, join_keys([above.key, place.key]))
    if place is None:
        return NO_PLAN
    move = BlockMove(block, place.parent, place.slot, key_near(document, place, next_id.site))
    return Plan((move,), partial(_delete_again, block=block))


def move_block(document: BlockDocument, next_id: OpId, block: OpId, parent: OpId, index: int) -> Plan:
    """A block, with all below it, before the child of ``parent`` at an index (counted without it), or last.

    Raises:
        InvalidValueError: ``parent`` is the block, or below it.
    """
    tree = document.tree
    _refuse_cycle(document, block, parent)
    key = tree.key_at(parent, CHILD, index, next_id.site, leaving_out=block)
    return Plan((BlockMove(block, parent, CHILD, key),), _way_back(document, block))


def merge_blocks(document: BlockDocument, next_id: OpId, host: OpId, block: OpId) -> Plan:
    """Show the text of a block behind that of ``host``, and what is below it behind what is below ``host``.

    Raises:
        InvalidValueError: ``host`` is the block, or below it.
    """
    tree = document.tree
    host = tree.host_of(host)
    _refuse_cycle(document, block, host)
    key = tree.key_at(host, INLINE, len(tree.children(host, INLINE)), next_id.site, leaving_out=block)
    return Plan((BlockMove(block, host, INLINE, key),), _way_back(document, block))


def set_property(document: BlockDocument, next_id: OpId, block: OpId, key: str, value: Scalar) -> Plan:  # noqa: ARG001
    """Write a property of a block, or the type."""
    return Plan((MapSet(block, key, value),))


def delete_property(document: BlockDocument, next_id: OpId, block: OpId, key: str) -> Plan:  # noqa: ARG001  # as all
    """Remove a property of a block."""
    return Plan((MapDelete(block, key),))


# -- text


def edit_text(
    document: BlockDocument,
    next_id: OpId,  # noqa: ARG001  # as all plans
    block: OpId,
    index: int,
    length: int,
    text: str,
    attributes: Attributes | None = None,
) -> Plan:
    """Replace ``length`` characters of the text that a block shows, from ``index`` on, by ``text``.

    Raises:
        IndexError: The block shows less.
    """
    ranges = list(part_ranges(document, block, index, index + length))
    steps: list[Step] = []
    if text:
        part, at = part_at(document, block, index)
        rest = next((end - start for each, start, end in ranges if (each, start) == (part, at)), 0)
        ranges = [each for each in ranges if each[:2] != (part, at)]
        steps.append(TextSplice(part, at, rest, text, attributes))
    steps += [TextSplice(part, start, end - start, "") for part, start, end in ranges]
    return Plan(tuple(steps))


def format_text(
    document: BlockDocument,
    next_id: OpId,  # noqa: ARG001  # as all plans
    block: OpId,
    start: int,
    end: int,
    attributes: Attributes,
) -> Plan:
    """Set attributes of the text that a block shows, from ``start`` to before ``end``; None takes one away."""
    ranges = part_ranges(document, block, start, end)
    return Plan(tuple([TextFormat(part, first, last, attributes) for part, first, last in ranges]))


def part_at(document: BlockDocument, block: OpId, index: int) -> tuple[OpId, int]:
    """The part of a block, and the index in it, where one types before the character ``index`` of what it shows.

    Between two parts it is the end of the first.

    Raises:
        IndexError: The block shows less.
    """
    if index >= 0:
        at = index
        for part in document.parts(block):
            length = document.own_length(part)
            if at <= length:
                return part, at
            at -= length
    raise IndexError(f"{index} is outside what block {block.site}.{block.counter} shows")


def part_ranges(document: BlockDocument, block: OpId, start: int, end: int) -> Iterator[tuple[OpId, int, int]]:
    """Characters that a block shows, as ranges of the own texts of its parts.

    Raises:
        IndexError: The block shows less.
    """
    parts = [(part, document.own_length(part)) for part in document.parts(block)]
    if not 0 <= start <= end <= sum(length for _, length in parts):
        raise IndexError(f"{start} to {end} is not within what block {block.site}.{block.counter} shows")
    at = 0
    for part, length in parts:
        first, last = max(start - at, 0), min(end - at, length)
        if first < last:
            yield part, first, last
        at += length


# -- splits


def split_block(document: BlockDocument, next_id: OpId, block: OpId, index: int, type: str | None = None) -> Plan:
    """Enter: what a block shows from ``index`` on becomes a new block right behind it in reading order.

    At the start, the new block is an empty one before it; so a block keeps its name with its text.

    Args:
        document: Where.
        next_id: Id of the plan's first operation.
        block: What is split; of what was merged into another, that one is.
        index: Where, in the text of ``block``.
        type: Of the new block; that of the old one if None.

    Raises:
        IndexError: The block shows less.
    """
    tree = document.tree
    index += _chars_before(document, block)
    block = tree.host_of(block)
    type = type or document.block(block).type
    part, at = part_at(document, block, index)
    if index == 0 and document.length(block):
        place = tree.place_of(block)
        if place is None:
            raise InvalidValueError("the root of a document, and what was deleted, cannot be split")
        key = tree.key_at(place.parent, CHILD, tree.index_of(block), next_id.site)
        return Plan((BlockInsert(place.parent, CHILD, key, type),), partial(_delete_if_empty, block=next_id))
    if index < document.length(block):
        made = OpId(next_id.site, next_id.counter + 1)
        steps: list[Step] = [TextMark(part, at, made)]
        rope_id = document.block(part).rope_id
    else:
        made, steps, rope_id = next_id, [], None
    steps.append(_insert_behind(document, block, next_id.site, type, rope_id))
    steps += _moved_along(document, block, part, made)
    return Plan(tuple(steps), partial(_merge_again, host=block, block=made))


def _chars_before(document: BlockDocument, block: OpId) -> int:
    """What the block that shows the text of ``block`` shows before it."""
    parts = document.parts(document.tree.host_of(block))
    return sum([document.own_length(part) for part in parts[: parts.index(block)]])


def _insert_behind(document: BlockDocument, block: OpId, site: int, type: str, split: OpId | None) -> BlockInsert:
    """Right behind a block in reading order: as its first child if it shows any, else as its next sibling."""
    tree = document.tree
    place = tree.place_of(block)
    if tree.shown_children(block) or place is None:
        return BlockInsert(block, CHILD, tree.key_at(block, CHILD, 0, site), type, split)
    key = tree.key_at(place.parent, CHILD, tree.index_of(block) + 1, site)
    return BlockInsert(place.parent, CHILD, key, type, split)


def _moved_along(document: BlockDocument, block: OpId, part: OpId, made: OpId) -> list[Step]:
    """What was merged into a block behind ``part`` moves into the block that is split off."""
    parts = document.parts(block)
    later = parts[parts.index(part) + 1 :]
    tops = [each for each in later if document.tree.parent_of(each) not in later]
    return _moves(tops, made, None)


def _moves(blocks: Sequence[OpId], host: OpId, last_key: str | None) -> list[Step]:
    steps: list[Step] = []
    for block in blocks:
        last_key = key_between(last_key, None, host.site)
        steps.append(BlockMove(block, host, INLINE, last_key))
    return steps


# -- inverses


def _delete_again(document: BlockDocument, next_id: OpId, block: OpId) -> Plan:
    return delete_block(document, next_id, block) if document.tree.is_alive(block) else NO_PLAN


def _delete_if_empty(document: BlockDocument, next_id: OpId, block: OpId) -> Plan:
    tree = document.tree
    if not tree.is_alive(block) or document.length(block) or tree.shown_children(block):
        return NO_PLAN
    return delete_block(document, next_id, block)


def _merge_again(document: BlockDocument, next_id: OpId, host: OpId, block: OpId) -> Plan:
    """A split is taken back by a merge, if both halves are there."""
    tree = document.tree
    if not tree.is_alive(block) or not tree.is_alive(host) or tree.host_of(block) != block:
        return NO_PLAN
    if not document.length(block):
        return _delete_if_empty(document, next_id, block)
    host = tree.host_of(host)
    return NO_PLAN if _is_below(document, host, block) else merge_blocks(document, next_id, host, block)


def _way_back(document: BlockDocument, block: OpId) -> Inverse | None:
    """Back to where a block stands now."""
    tree = document.tree
    place = tree.place_of(block)
    if place is None:
        return None
    seen = tree.rekey_history.last_seq(place.parent, place.slot)
    return partial(_move_back, block=block, place=place, seen=seen)


def _move_back(document: BlockDocument, next_id: OpId, block: OpId, place: Place, seen: int) -> Plan:
    """To the place where it was, if that is there, and the block is; ``seen``: the last rekey that was known then."""
    tree = document.tree
    last = tree.last_place_of(block)
    # What was merged is deleted by the keeper alone, when it is empty: it may come back.
    is_taken_away = last is not None and last.slot is INLINE and tree.place_of(block) is None
    if not (tree.is_alive(block) or is_taken_away) or not tree.is_alive(place.parent):
        return NO_PLAN
    if _is_below(document, place.parent, block):
        return NO_PLAN
    key = tree.rekey_history.translate(place.parent, place.slot, place.key, -1, seen)  # no site is left out
    key = key_near(document, place._replace(key=key), next_id.site, leaving_out=block)
    inverse = partial(_delete_again, block=block) if is_taken_away else _way_back(document, block)
    return Plan((BlockMove(block, place.parent, place.slot, key),), inverse)


def key_near(document: BlockDocument, place: Place, site: int, leaving_out: OpId | None = None) -> str:
    """A key of ``site`` where an older one stood; several of one slot keep their order, whichever comes first."""
    tree = document.tree
    siblings = [each for each in tree.children(place.parent, place.slot) if each != leaving_out]
    index = bisect_left(siblings, place.key, key=lambda each: _key_of(document, each))
    return key_again(place.key, *tree.keys_around(place.parent, place.slot, index, leaving_out), site)


def _key_of(document: BlockDocument, block: OpId) -> str:
    place = document.tree.place_of(block)
    return "" if place is None else place.key


def _is_below(document: BlockDocument, block: OpId, top: OpId) -> bool:
    return block == top or any(above == top for above in document.tree.ancestors(block))


def _refuse_cycle(document: BlockDocument, block: OpId, parent: OpId) -> None:
    if _is_below(document, parent, block):
        raise InvalidValueError("a block cannot go below itself")
