"""The text of blocks: stretches of a rope, from each block's marker to the next.

A rope begins with the text of the block that it is named after. Where a block was split in two, a *marker* stands: an
embed that names the new block, whose text is what follows. So no text is ever copied, and whoever types beside a marker
while it comes in types where he meant to. A marker *counts* once its block is in the tree; until then it is a *hole*:
not shown, and part of the block before it. No edit deletes a marker (``crdt/yjs/markers.py``).

Indices and lengths of a block count its own characters: no markers, no holes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text import TextRope, TextStep
from collabkernel.crdt.text_delta import Delta, splice_delta
from collabkernel.crdt.text_doc import EMPTY_STATE
from collabkernel.crdt.text_values import Attributes
from collabkernel.crdt.yjs.markers import marker, marker_name
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.crdt.yjs.update import YjsState
from collabkernel.limits import COLD_TEXT_BYTES

Counts: TypeAlias = Callable[[OpId], bool]
"""Whether the marker of a block counts."""

MARKER_KEY = ROPE_POLICY.marker_key or ""


class Stretch(NamedTuple):
    """Where the text of a block is in its rope."""

    block: OpId
    start: int
    end: int
    holes: tuple[int, ...] = ()
    """Indices of the markers between that do not count."""

    @property
    def length(self) -> int:
        """Characters of the block's text."""
        return self.end - self.start - len(self.holes)

    def place(self, at: int) -> int:
        """The index in the rope of the block's character ``at``; of its end, where that is followed by a hole, before
        the hole.

        Raises:
            IndexError: The block is shorter.
        """
        if not 0 <= at <= self.length:
            raise IndexError(f"{at} is outside a text of {self.length} characters")
        index = self.start + at
        for hole in self.holes:
            if hole >= index:
                break
            index += 1
        return index

    def ranges(self, start: int, end: int) -> list[tuple[int, int]]:
        """Where the block's characters from ``start`` to before ``end`` are in the rope, around the holes."""
        if not 0 <= start <= end <= self.length:
            raise IndexError(f"{start} to {end} is not within a text of {self.length} characters")
        found: list[tuple[int, int]] = []
        first, left = self.place(start), end - start
        for hole in (*self.holes, self.end):
            if left and first < hole:
                last = min(hole, first + left)
                found.append((first, last))
                left -= last - first
                first = last
            if first == hole:
                first += 1
        return found


class BlockEdit(NamedTuple):
    """One update to be sent, and what it did to the blocks of its rope."""

    update: bytes
    delta_by_block: dict[OpId, Delta]


class BlockRope:
    """A rope and the stretches of the blocks in it.

    Args:
        id: Its first block.
        client_id: The Yjs client id of edits made here: this replica's site; 0 where nothing is edited.
    """

    __slots__ = ("_client_id", "_embeds", "_names", "_rope", "_stored", "id")

    def __init__(self, id: OpId, client_id: int) -> None:
        self.id = id
        self._client_id = client_id
        self._rope: TextRope | None = None
        self._stored = EMPTY_STATE
        self._embeds: list[Any] | None = None
        """What ``_names`` was made out of."""
        self._names: list[OpId | None] = []

    @property
    def rope(self) -> TextRope:
        """The text; made out of what is stored when it is first asked for."""
        if self._rope is None:
            self._rope = TextRope(self._client_id or 1, records_steps=self._client_id != 0, policy=ROPE_POLICY)
            if self._stored != EMPTY_STATE:
                self._rope.restore(self._stored)
            self._stored = EMPTY_STATE
        return self._rope

    @property
    def is_cold(self) -> bool:
        """It has to be made ready before it is edited."""
        return self._rope is None and self._stored != EMPTY_STATE

    @property
    def waking(self) -> int:
        """What it costs to make it ready, in ``COLD_TEXT_BYTES``; 0 of one that is."""
        return 1 + len(self._stored) // COLD_TEXT_BYTES if self.is_cold else 0

    @property
    def size_bytes(self) -> int:
        """About how large ``encode_state`` is; makes nothing ready."""
        return len(self._stored) if self._rope is None else self._rope.size_bytes

    # -- storing

    def encode_state(self) -> bytes:
        """Everything, as one update."""
        return self._stored if self._rope is None else self._rope.encode_state()

    def restore(self, state: bytes, *, is_trusted: bool = False) -> None:
        """Become what ``encode_state`` gave. A text that nobody reads or edits stays these bytes.

        Raises:
            InvalidYjsUpdateError: They are no state of a rope; if they are trusted, whoever asks for the text is told.
        """
        if not is_trusted:  # the check takes ten times what all else does
            YjsState(ROPE_POLICY).check(state, None)
        self._rope, self._stored = None, state

    def cool(self) -> None:
        """Be no more than bytes, if they are few, until somebody asks again; steps for undo, and marks, are lost."""
        rope = self._rope
        if rope is not None and not rope.staged and rope.size_bytes <= COLD_TEXT_BYTES:
            self._stored, self._rope = rope.encode_state(), None

    # -- reading

    def marks(self) -> list[tuple[int, OpId]]:
        """Index and block of each marker, in their order."""
        if not len(self.rope.markers):
            return []
        places, embeds = self.rope.embeds()
        if embeds is not self._embeds:
            self._embeds, self._names = embeds, [marker_name(MARKER_KEY, embed) for embed in embeds]
        return [(at, name) for at, name in zip(places, self._names, strict=True) if name is not None]

    def stretches(self, counts: Counts) -> list[Stretch]:
        """The blocks of this rope with their texts, in the order of the rope."""
        return list(_stretches(self.id, self.marks(), len(self.rope), counts))

    def stretch(self, block: OpId, counts: Counts) -> Stretch | None:
        """Where the text of a block is; None while its marker is not here, or does not count."""
        stretches = _stretches(self.id, self.marks(), len(self.rope), counts)
        return next((each for each in stretches if each.block == block), None)

    def text(self, stretch: Stretch) -> str:
        """What stands in a stretch."""
        text = self.rope.text
        bounds = (stretch.start - 1, *stretch.holes, stretch.end)
        return "".join(text[left + 1 : right] for left, right in pairwise(bounds))

    def delta(self, stretch: Stretch) -> Delta:
        """What stands in a stretch, as runs of one formatting each."""
        found: Delta = []
        at = 0
        for run in self.rope.delta():
            piece = run["insert"]
            if isinstance(piece, str):
                cut = piece[max(stretch.start - at, 0) : max(stretch.end - at, 0)]
                if cut:
                    found.append({**run, "insert": cut})
                at += len(piece)
            else:
                at += 1
        return found

    # -- edits made here

    def splice(
        self, stretch: Stretch, index: int, length: int, text: str, attributes: Attributes | None = None
    ) -> list[BlockEdit]:
        """Replace ``length`` characters of a block from ``index`` on by ``text``: one update, or one for each piece of
        what is deleted between holes.

        Raises:
            IndexError: The block is shorter.
            InvalidValueError: ``text`` or ``attributes`` cannot be stored.
        """
        ranges = stretch.ranges(index, index + length)
        at = stretch.place(index)
        edits: list[BlockEdit] = []
        # From behind, so that the indices before stay what they are.
        while len(ranges) > 1 or (ranges and ranges[0][0] != at):
            first, last = ranges.pop()
            cut = sum(end - start for start, end in ranges)
            update = self.rope.splice(first, last - first, "")
            edits.append(BlockEdit(update, {stretch.block: splice_delta(index + cut, last - first, "", None)}))
        rest = ranges[0][1] - ranges[0][0] if ranges else 0
        update = self.rope.splice(at, rest, text, attributes)
        if update:
            edits.append(BlockEdit(update, {stretch.block: splice_delta(index, rest, text, attributes)}))
        return edits

    def format(self, stretch: Stretch, start: int, end: int, attributes: Attributes) -> list[BlockEdit]:
        """Set attributes of a block's characters from ``start`` to before ``end``; the value None takes one away."""
        ranges = stretch.ranges(start, end)
        if not ranges:
            return []
        # Over the holes too: a marker shows no formatting.
        update = self.rope.format(ranges[0][0], ranges[-1][1], attributes)
        retain: Delta = [{"retain": start}] if start else []
        delta: Delta = [*retain, {"retain": end - start, "attributes": dict(attributes)}]
        return [BlockEdit(update, {stretch.block: delta})] if update else []

    def mark(self, stretch: Stretch, index: int, name: OpId) -> bytes:
        """Put a marker before a block's character ``index``. It is not undone with the text around it.

        Raises:
            IndexError: The block is shorter.
            InvalidValueError: The block ``name`` is not of this site, or begins here already.
        """
        return self.rope.embed(stretch.place(index), marker(MARKER_KEY, name))

    def undo(self, step: TextStep, counts: Counts) -> tuple[BlockEdit, TextStep | None]:
        """Take back what survives of local edits, in whatever block it is now; and what takes that back."""
        before = self.stretches(counts)
        undone = self.rope.undo(step)
        return BlockEdit(undone.update, deltas_by_block(undone.delta, before)), undone.step

    # -- edits of others

    def apply(self, update: bytes, client: int, counts: Counts) -> dict[OpId, Delta]:
        """Take an update of the session that writes as ``client``, and tell what changed in each block.

        Raises:
            InvalidYjsUpdateError: It is refused; nothing changed.
        """
        marks, length = self.marks(), len(self.rope)
        delta = self.rope.apply_with_delta(update, client)
        if any(isinstance(part.get("insert"), dict) for part in delta):
            before, after = list(_stretches(self.id, marks, length, counts)), self.stretches(counts)
            if len(after) > len(before):  # a marker that counts at once: its block came by another way before
                return self._replaced(before, after)
        unchanged = delta[0]["retain"] if delta and delta[0].keys() == {"retain"} else 0
        return deltas_by_block(delta, _stretches(self.id, marks, length, counts, unchanged))

    def _replaced(self, before: Sequence[Stretch], after: Sequence[Stretch]) -> dict[OpId, Delta]:
        old = {each.block: each.length for each in before}
        found: dict[OpId, Delta] = {}
        for each in after:
            gone: Delta = [{"delete": old[each.block]}] if old.get(each.block) else []
            if delta := [*self.delta(each), *gone]:
                found[each.block] = delta
        return found


def _stretches(
    first: OpId, marks: Sequence[tuple[int, OpId]], length: int, counts: Counts, since: int = 0
) -> Iterator[Stretch]:
    """The stretches of a rope of so many characters, from that on in which the character before ``since`` is."""
    skipped = bisect_left(marks, (since,))
    while skipped and not counts(marks[skipped - 1][1]):
        skipped -= 1
    block, start = (marks[skipped - 1][1], marks[skipped - 1][0] + 1) if skipped else (first, 0)
    holes: list[int] = []
    for at, name in marks[skipped:]:
        if counts(name):
            yield Stretch(block, start, at, tuple(holes))
            block, start, holes = name, at + 1, []
        else:
            holes.append(at)
    yield Stretch(block, start, length, tuple(holes))


def deltas_by_block(delta: Delta, stretches: Iterable[Stretch]) -> dict[OpId, Delta]:
    """A change of a rope as changes of its blocks.

    Args:
        delta: What changed.
        stretches: Of the rope as it was before; those before the first change may be left out.
    """
    found: dict[OpId, Delta] = {}
    rest = iter(stretches)
    current = next(rest)
    at, before = current.start, current.start
    for part in delta:
        if "insert" in part:
            if isinstance(part["insert"], str):
                found.setdefault(current.block, []).append(part)
            continue
        kind = "retain" if "retain" in part else "delete"
        left, before = part[kind] - before, 0
        while left:
            if at == current.end:  # the marker of the next, which nobody deletes
                current = next(rest)
                at, left = at + 1, left - 1
                continue
            take = min(left, current.end - at)
            shown = take - sum(at <= hole < at + take for hole in current.holes)
            if shown:
                found.setdefault(current.block, []).append({**part, kind: shown})
            at, left = at + take, left - take
    return {block: short for block, long in found.items() if (short := _without_end(long))}


def _without_end(delta: Delta) -> Delta:
    """Without the retains at its end that change nothing, and with neighbours of one kind joined."""
    joined: Delta = []
    for part in delta:
        last = joined[-1] if joined else {}
        kind = "retain" if "retain" in part else "delete"
        if kind in part and kind in last and part.get("attributes") == last.get("attributes"):
            joined[-1] = {**last, kind: last[kind] + part[kind]}
        else:
            joined.append(part)
    while joined and joined[-1].keys() == {"retain"}:
        joined.pop()
    return joined
