"""What the keeper of a document mends when splits and merges crossed: operations for the log, as anybody's.

Every replica shows the same whatever crossed, and no text is lost or doubled; but it may stand in the wrong order. Two
people split one block at once, and each puts the new block right behind the old one: who comes first is up to their
keys, and the text of the rope says otherwise (``misordered_splits``). Or one splits a block while another merges the
next one into it, which then stands before the half that was split off (``stranded_parts``).

Both are seen from the operations that placed the blocks. What somebody has moved since, or put there knowing of the
other, is left alone.

What was merged and has no text any more goes to the trash (``empty_parts``), and comes back when text comes to it all
the same, from somebody who had not seen the merge or takes a deletion back (``revived_parts``).

``room/keeper.py`` says when to look, and at which ropes; here the time does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeAlias

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.tree.rekeys import fresh_keys
from collabkernel.document.block import Placed
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_edits import key_near
from collabkernel.document.block_text import BlockRope
from collabkernel.document.operations import BlockDelete, BlockMove, BlockRekey
from collabkernel.errors import InvalidValueError
from collabkernel.limits import BLOCK_DEPTH_MAX

CHILD, INLINE = Slot.CHILD, Slot.INLINE

Ropes: TypeAlias = Iterable[OpId] | None
"""The ropes to look at, by their first blocks; None for all."""


def misordered_splits(document: BlockDocument, site: int, ropes: Ropes = None) -> list[BlockRekey]:
    """New keys for siblings that were split off or merged at once, and stand in another order than in the rope.

    The one whose text comes first moves up to the other, so what was put behind it stays behind both.

    Args:
        document: Of the fold, with all texts.
        site: The author.
        ropes: Where to look.
    """
    order_by_place: dict[tuple[OpId, Slot], list[OpId]] = {}
    for rope in _split_ropes(document, ropes):
        for at, followers in _followers(document, rope).items():
            if not any(behind for _, behind in followers):
                continue
            siblings = order_by_place.get(at) or document.tree.children(*at)
            ordered = _ordered(siblings, followers)
            if ordered != siblings:
                order_by_place[at] = ordered
    return [
        BlockRekey(parent, slot, tuple(zip(siblings, fresh_keys(len(siblings), site), strict=True)))
        for (parent, slot), siblings in sorted(order_by_place.items())
    ]


def _ordered(siblings: list[OpId], followers: list[tuple[OpId, set[OpId]]]) -> list[OpId]:
    """Siblings in an order in which some are before others.

    Args:
        siblings: As they stand.
        followers: Some of them, in the order of a rope, and which of those that stand before each it has to be before.
    """
    at = {block: index for index, block in enumerate(siblings)}
    ordered = siblings.copy()
    for i in range(len(followers) - 2, -1, -1):
        block, wanted = followers[i]
        if not wanted and ordered == siblings:
            continue
        # Those that it is before already stay behind it, whatever has moved up.
        behind = wanted | {later for later, _ in followers[i + 1 :] if at[block] < at[later]}
        now = ordered.index(block)
        to = next((index for index in range(now) if ordered[index] in behind), now)
        if to < now:
            ordered.insert(to, ordered.pop(now))
    return ordered


def stranded_parts(document: BlockDocument, site: int, ropes: Ropes = None) -> list[BlockMove]:
    """Moves of what was merged into a block while its end was split off: it follows that end.

    What there is no room for stays where it is: keys that are too long are made anew first (``rebalances_due``).
    """
    order_by_host: dict[OpId, list[OpId]] = {}
    key_by_part: dict[OpId, str | None] = {}
    moves: list[BlockMove] = []
    for part, to, behind in _stranded(document, ropes):
        order = order_by_host.setdefault(to, document.tree.children(to, INLINE))
        index = next((index for index, each in enumerate(order) if each in behind), len(order))
        around = [_key(document, key_by_part, order[at]) if 0 <= at < len(order) else None for at in (index - 1, index)]
        try:
            key = key_by_part[part] = key_between(around[0], around[1], site)
        except InvalidValueError:
            continue  # somebody's keys there are as long as they may be, or the same
        order.insert(index, part)
        moves.append(BlockMove(part, to, INLINE, key))
    return moves


def _key(document: BlockDocument, key_by_part: dict[OpId, str | None], part: OpId) -> str | None:
    place = document.tree.place_of(part)
    return key_by_part.get(part) or (place and place.key)


# -- what was merged and is empty


def merged_blocks(document: BlockDocument, ropes: Ropes = None) -> list[OpId]:
    """The live blocks that are shown as parts of others."""
    tree = document.tree
    return [block for block in _blocks_of(document, ropes) if tree.is_alive(block) and tree.host_of(block) != block]


def empty_parts(document: BlockDocument, seq_max: int, ropes: Ropes = None) -> list[BlockDelete]:
    """Deletes of what was merged into other blocks, up to a seq, and has no text any more: nobody misses it.

    Args:
        document: Of the fold, with all texts.
        seq_max: What everybody who may still type has seen; else a letter typed there meanwhile would go with it.
        ropes: Where to look.
    """
    tree = document.tree
    lengths = _Lengths(document)
    return [
        BlockDelete(block)
        for block in merged_blocks(document, ropes)
        if tree.position_op_of(block)[0] <= seq_max
        and not (tree.children(block) or tree.children(block, INLINE) or lengths.of(block))
    ]


def revived_parts(document: BlockDocument, site: int, ropes: Ropes = None) -> list[BlockMove]:
    """Moves that bring back what the keeper took for empty and has text all the same, to where it stood.

    What it was merged into comes back with it, if the keeper took that away too. Where somebody else has deleted it
    since, nothing comes back: the block went with that.
    """
    lengths = _Lengths(document)
    moves: dict[OpId, BlockMove] = {}
    for block in _blocks_of(document, ropes):
        if _is_taken_away(document, block, site) and lengths.of(block):
            moves.update(_way_back(document, block, site))
    return list(moves.values())


def _way_back(document: BlockDocument, block: OpId, site: int) -> dict[OpId, BlockMove]:
    tree = document.tree
    found: dict[OpId, BlockMove] = {}
    for _ in range(BLOCK_DEPTH_MAX):
        place = tree.last_place_of(block)
        assert place is not None, "a root is not taken away"
        try:
            found[block] = BlockMove(block, place.parent, place.slot, key_near(document, place, site))
        except InvalidValueError:
            break  # as in stranded_parts
        if tree.is_alive(place.parent):
            return dict(reversed(found.items()))
        if not _is_taken_away(document, place.parent, site):
            break
        block = place.parent
    return {}


def taken_away(document: BlockDocument, site: int) -> list[OpId]:
    """What the keeper has put into the trash."""
    return [block for block in document.blocks if _is_taken_away(document, block, site)]


def _is_taken_away(document: BlockDocument, block: OpId, site: int) -> bool:
    tree = document.tree
    # Asked of all blocks when a room is loaded, of which most are alive.
    if tree.is_alive(block) or block not in tree or tree.place_of(block) is not None:
        return False
    return tree.position_op_of(block)[1] == site


class _Lengths:
    """Characters of blocks' own texts: each rope is walked through once."""

    def __init__(self, document: BlockDocument) -> None:
        self._document = document
        self._length_by_block: dict[OpId, int] = {}

    def of(self, block: OpId) -> int:
        """0 for one that was never typed in."""
        document = self._document
        rope = document.ropes.get(document.blocks[block].rope_id)
        if rope is not None and rope.id not in self._length_by_block:
            stretches = rope.stretches(document.counts(rope))
            self._length_by_block.update({each.block: each.length for each in stretches})
        return self._length_by_block.get(block, 0)


def _blocks_of(document: BlockDocument, ropes: Ropes) -> list[OpId]:
    """The blocks whose texts are in some ropes, of those that have a place."""
    if ropes is None:
        return [block for block in document.blocks if block in document.tree]
    found: dict[OpId, None] = {}
    for id in ropes:
        rope = document.ropes.get(id)
        names = [] if rope is None else [name for _, name in rope.marks() if document.counts(rope)(name)]
        found.update(dict.fromkeys([each for each in (id, *names) if each in document.tree]))
    return list(found)


# -- what crossed


Followers: TypeAlias = dict[tuple[OpId, Slot], list[tuple[OpId, set[OpId]]]]
"""By parent and slot: blocks in the order of a rope, and those before each that it has to be before."""


def _followers(document: BlockDocument, rope: BlockRope) -> Followers:
    tree = document.tree
    blocks = [each.block for each in rope.stretches(document.counts(rope)) if tree.is_alive(each.block)]
    shown = list(dict.fromkeys([each for block in blocks for each in (block, tree.host_of(block))]))
    found: Followers = {}
    anchor: OpId | None = None
    run: list[OpId] = []
    for block in shown:
        if tree.place_of(block) is None or _placing(document, block) is None:
            _note_run(document, anchor, run, found)
            anchor, run = block, []
        else:
            run.append(block)
    _note_run(document, anchor, run, found)
    return found


def _note_run(document: BlockDocument, anchor: OpId | None, run: list[OpId], found: Followers) -> None:
    """Enter blocks that were split off or merged, all behind the same one that was not.

    Where they stand in the order of the rope, which is nearly always, that is a walk over them and no more.
    """
    tree = document.tree
    places = [tree.place_of(block) for block in run]
    at_by_block = {block: (place.parent, place.slot) for block, place in zip(run, places, strict=True) if place}
    index_by_block = {block: tree.index_of(block) for block in run}
    first_index: dict[tuple[OpId, Slot], int] = {}
    wanted_by_block: dict[OpId, set[OpId]] = {}
    for i in range(len(run) - 1, -1, -1):
        block = run[i]
        at, index = at_by_block[block], index_by_block[block]
        if first_index.get(at, index) < index:
            later = [other for other in islice(run, i + 1, None) if at_by_block[other] == at]
            before = [other for other in later if index_by_block[other] < index]
            wanted_by_block[block] = {other for other in before if _is_before(document, anchor, block, other)}
        first_index[at] = min(first_index.get(at, index), index)
    for block in run:
        found.setdefault(at_by_block[block], []).append((block, wanted_by_block.get(block, set())))


def _split_ropes(document: BlockDocument, ropes: Ropes) -> list[BlockRope]:
    """Those with more than one block, without waking the others."""
    if ropes is None:
        ropes = dict.fromkeys(document.blocks.split_ropes())
    return [document.ropes[id] for id in ropes if id in document.ropes]


def _is_before(document: BlockDocument, anchor: OpId | None, block: OpId, other: OpId) -> bool:
    """Whether a block has to stand before another that comes later in their rope.

    Two splits of what one block was do, wherever their keys were put, if that block was not moved in between. Two
    merges, and what is shown by blocks of other ropes, do where they crossed.
    """
    placed, later = _placing(document, block), _placing(document, other)
    assert placed is not None
    assert later is not None
    if _crossed(placed, later):
        return True
    slots = [place.slot for each in (block, other) if (place := document.tree.place_of(each))]
    if anchor is None or INLINE in slots:
        return False
    seq, site = document.tree.position_op_of(anchor)
    return all(site == each.site or seq <= each.base for each in (placed, later))


def _placing(document: BlockDocument, block: OpId) -> Placed | None:
    """The split or merge that put a block where it stands; None if anything else did."""
    placed = document.blocks[block].placed
    return placed if placed and document.tree.position_op_of(block) == (placed.seq, placed.site) else None


def _crossed(one: Placed, other: Placed) -> bool:
    """Neither author knew of the other's operation."""
    return one.site != other.site and one.seq > other.base and other.seq > one.base


def _stranded(document: BlockDocument, ropes: Ropes) -> Iterator[tuple[OpId, OpId, set[OpId]]]:
    """What was merged into a block whose end was split off meanwhile, the block that has that end, and what of the same
    rope comes later."""
    tree = document.tree
    for rope in _split_ropes(document, ropes):
        blocks = [each.block for each in rope.stretches(document.counts(rope))]
        for at, block in enumerate(blocks[:-1]):
            if not tree.is_alive(block) or not _is_end(document, blocks[at + 1]):
                continue
            parts = document.parts(tree.host_of(block))
            for part in parts[parts.index(block) + 1 :]:
                to = _end_split_off(document, islice(blocks, at + 1, None), part)
                if to is not None:
                    later = blocks[blocks.index(part) + 1 :] if part in blocks else []
                    yield part, to, set(later)


def _is_end(document: BlockDocument, block: OpId) -> bool:
    """Whether it was split off, and stands for itself."""
    return _placing(document, block) is not None and document.tree.host_of(block) == block


def _end_split_off(document: BlockDocument, after: Iterable[OpId], part: OpId) -> OpId | None:
    merge = _placing(document, part)
    found: OpId | None = None
    for block in after:
        split = _placing(document, block)
        if merge is None or split is None or document.tree.host_of(block) != block or not _crossed(merge, split):
            break
        found = block
    return found
