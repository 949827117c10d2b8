"""An edit in the making: operations applied to the local tree at once, and taken back together if it fails.

While an edit is open nothing else is applied to the tree, so the last operation can always be taken back first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from collabkernel.client.own_blocks import OwnBlocks, Places
from collabkernel.crdt.clock import HybridLogicalClock
from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.lww import TOMBSTONE, LwwMap
from collabkernel.crdt.move_tree import Place
from collabkernel.crdt.text import TextRope, TextStep
from collabkernel.crdt.text_delta import Delta, splice_delta
from collabkernel.crdt.text_values import Attributes
from collabkernel.crdt.yjs.markers import marker
from collabkernel.document import block_edits
from collabkernel.document.block import TYPE
from collabkernel.document.block_document import BlockDocument, TextMade
from collabkernel.document.block_edits import Inverse, Plan, TextFormat, TextMark, TextSplice
from collabkernel.document.block_text import MARKER_KEY
from collabkernel.document.live_tree import ABSENT, Absent, Change, ListNode, MapNode, Undo, value_bytes
from collabkernel.document.operations import (
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    Op,
    StoredValue,
    TextEdit,
)
from collabkernel.document.room_state import TREE_OPS, RoomState
from collabkernel.errors import TooDeepError, TooLargeError
from collabkernel.wire.messages import ClientLimits
from collabkernel.wire.ops import encode_op

TEXT_CHECKPOINT_FROM_BYTES = 64 << 10
"""A single text edit smaller than this cannot be refused after it was made, so no checkpoint is taken for it."""
TEXT_PIECE_CHARS = 32 << 10
"""A longer text goes in as several operations: each stays under the limit of a value, four bytes a character."""


@dataclass(frozen=True, slots=True)
class Before:
    """What a history needs to know of the place of an operation, as it was before."""

    value: StoredValue | Absent = ABSENT
    stamp: Stamp | None = None
    """Of the value."""
    position_stamp: Stamp | None = None
    """Of the place in a list."""
    index: int | None = None
    neighbour: OpId | None = None
    """The list element that stood before the operation's element."""


@dataclass(frozen=True, slots=True)
class Done:
    """One operation of an edit, applied."""

    op: Op
    op_id: OpId
    stamp: Stamp
    change: Change | None
    before: Before
    step: TextStep | None = None
    """Takes back a text edit."""
    more: tuple[Change, ...] = ()
    """What else changed: text of a block that others were merged into may change in several stretches."""
    inverse: Inverse | None = None
    """Makes the plan that takes the places of blocks back; of the last operation of their edit."""


class EditTarget(NamedTuple):
    """What an edit changes."""

    state: RoomState
    own_blocks: OwnBlocks
    base: int
    """The last seq of the log that is in it."""


class Mark(NamedTuple):
    """A point in an edit."""

    done_count: int
    undo_count: int
    size_bytes: int


class Edit:
    """Operations of one envelope to be. Made by ``Replica.begin``."""

    def __init__(
        self,
        target: EditTarget,
        clock: HybridLogicalClock,
        counter: int,
        limits: ClientLimits,
        now_ms: int,
        is_batch: bool,
        hlc: int | None = None,
    ) -> None:
        """Begin with no operations.

        Args:
            target: What is edited.
            clock: Gives the stamps.
            counter: Of the first operation.
            limits: What an operation and an envelope may be.
            now_ms: Server time.
            is_batch: Whether a text edit may be followed by something that fails.
            hlc: The first stamp's, for an edit that is made again with the stamps it had.
        """
        self._state, self._own_blocks, self._base = target
        self._tree = self._state.tree
        self._site = self._tree.client_id
        self._clock = clock
        self._limits = limits
        self._now_ms = now_ms
        self._is_batch = is_batch
        self.counter = counter
        self.hlc = hlc or 0
        self._is_stamped = hlc is not None
        self.done: list[Done] = []
        self.encoded: list[bytes] = []
        self.size_bytes = 0
        self._was_at: dict[OpId, Place | None] = {}
        """Where blocks stood before this edit changed it."""
        self._undos: list[Undo] = []

    def perform(self, op: Op) -> Done:
        """Apply an operation.

        Raises:
            InvalidValueError, LimitError: It cannot be stored.
            UnknownTargetError: Its container is not there.
        """
        encoded = self._encode(op)
        before = self._before(op)
        op_id, stamp = self._next()
        changes, undo = self._state.apply_undoable(op_id, stamp, op)
        self._undos.append(undo)
        if op.__class__ in TREE_OPS:
            self._place(op_id, op)
        return self._note(Done(op, op_id, stamp, changes[0] if changes else None, before), encoded)

    def _take_off(self, op_id: OpId) -> None:
        self._own_blocks.drop((op_id,))

    def _place(self, op_id: OpId, op: Op) -> None:
        places = self._own_blocks.add(op_id, op, self._base)
        self._undos.append(partial(self._take_off, op_id))
        for block, (was, _) in places.items():
            self._was_at.setdefault(block, was)

    def perform_text(
        self, target: OpId, size_bytes: int, change: Callable[[TextRope], tuple[bytes, Delta]]
    ) -> Done | None:
        """Edit a text by ``change``, which gives the update and its delta; None when nothing changed.

        Args:
            target: The text.
            size_bytes: How large the update may be, about.
            change: Edits the rope.
        """
        op = TextEdit(target, b"")
        rope = self._state.rope(op)
        self._mark_text(op, rope, size_bytes)
        update, delta = change(rope)
        if not update:
            return None
        self._state.holder(op).size_bytes += len(update)
        op = TextEdit(target, update)
        encoded = self._encode(op)
        op_id, stamp = self._next()
        shown = Change(target, "text", delta=tuple(delta)) if delta else None
        return self._note(Done(op, op_id, stamp, shown, Before(), rope.take_step()), encoded)

    def _mark_text(self, op: TextEdit, rope: TextRope, size_bytes: int) -> None:
        """Make sure that an edit of a text can be taken back, if something may fail after it."""
        if not self._is_batch and size_bytes < TEXT_CHECKPOINT_FROM_BYTES:
            return
        holder, mark = self._state.holder(op), rope.mark()
        holder_bytes = holder.size_bytes

        def undo() -> None:
            rope.rewind(mark)
            holder.size_bytes = holder_bytes

        self._undos.append(undo)

    def splice_text(
        self, target: OpId, index: int, length: int, text: str, attributes: Attributes | None = None
    ) -> list[Done]:
        """Replace ``length`` characters from ``index`` on by ``text``, in operations that each fit the limits."""
        pieces = [text[at : at + TEXT_PIECE_CHARS] for at in range(0, len(text), TEXT_PIECE_CHARS)] or [""]
        done: list[Done] = []
        for piece in pieces:
            one = self.perform_text(
                target,
                TEXT_CHECKPOINT_FROM_BYTES if len(pieces) > 1 else 4 * len(piece),
                lambda rope, at=index, cut=length, piece=piece: (  # type: ignore[misc]  # mypy cannot type its defaults
                    rope.splice(at, cut, piece, attributes),
                    splice_delta(at, cut, piece, attributes),
                ),
            )
            if one is not None:
                done.append(one)
            index, length = index + len(piece), 0
        return done

    def format_text(self, target: OpId, start: int, end: int, attributes: Attributes) -> Done | None:
        """Set attributes of the characters from ``start`` to before ``end``."""
        retain: Delta = [{"retain": start}] if start else []
        delta: Delta = [*retain, {"retain": end - start, "attributes": dict(attributes)}]
        return self.perform_text(target, 0, lambda rope: (rope.format(start, end, attributes), delta))

    def undo_text(self, target: OpId, step: TextStep) -> Done | None:
        """Take back what survives of an earlier text edit; the new operation's step takes that back."""
        redo: list[TextStep | None] = []

        def undo(rope: TextRope) -> tuple[bytes, Delta]:
            undone = rope.undo(step)
            redo.append(undone.step)
            return undone.update, undone.delta

        done = self.perform_text(target, TEXT_CHECKPOINT_FROM_BYTES, undo)
        if done is None:
            return None
        done = replace(done, step=redo[0])
        self.done[-1] = done
        return done

    # -- blocks

    @property
    def blocks(self) -> BlockDocument:
        """The block documents of the room, of which there is one."""
        assert self._state.blocks is not None, "documents are made first"
        return self._state.blocks

    @property
    def blocks_if_any(self) -> BlockDocument | None:
        """The block documents of the room, if there is one."""
        return self._state.blocks

    @property
    def next_id(self) -> OpId:
        """The id of the next operation."""
        return OpId(self._site, self.counter + len(self.done))

    def run(self, plan: Plan) -> list[Done]:
        """Do a plan that was made for ``next_id``; the edit is a batch, if the plan has several steps.

        Raises:
            CollabKernelError: It cannot be done; what was done of it is taken back with the edit.
        """
        first = len(self.done)
        for step in plan.steps:
            if isinstance(step, TextSplice):
                for piece in _pieces(step):
                    self._edit_block(piece)
            elif isinstance(step, TextFormat | TextMark):
                self._edit_block(step)
            else:
                self.perform(step)
        if plan.inverse is not None and len(self.done) > first:
            self.done[-1] = replace(self.done[-1], inverse=plan.inverse)
        return self.done[first:]

    def _edit_block(self, step: TextSplice | TextFormat | TextMark) -> None:
        rope_id = self.blocks.block(step.part).rope_id
        rope = self.blocks.rope(rope_id)
        size_bytes = 4 * len(step.text) if isinstance(step, TextSplice) else 0
        self._mark_text(TextEdit(rope_id, b""), rope, size_bytes)
        made = block_edits.perform(self.blocks, step)
        self._note_texts(made, None if isinstance(step, TextMark) else rope.take_step())

    def mark_split(self, rope_id: OpId, index: int) -> int:
        """Put the marker of a split that is made again, whose insert is the next operation; how long it is.

        In a text that is no block's, there is nothing to put: 0.
        """
        if not isinstance(self._state.holder(TextEdit(rope_id, b"")), BlockDocument):
            return 0
        name = OpId(self._site, self.next_id.counter + 1)
        self.perform_text(rope_id, 0, lambda rope: (rope.embed(index, marker(MARKER_KEY, name)), []))
        return 1

    def undo_block_text(self, rope_id: OpId, step: TextStep) -> None:
        """``undo_text`` in a rope of blocks."""
        self._mark_text(TextEdit(rope_id, b""), self.blocks.rope(rope_id), TEXT_CHECKPOINT_FROM_BYTES)
        made, redo = self.blocks.undo_text(rope_id, step)
        self._note_texts(made, redo)

    def _note_texts(self, made: list[TextMade], step: TextStep | None) -> None:
        for i, (op, changes) in enumerate(made):
            encoded = self._encode(op)
            op_id, stamp = self._next()
            is_last = i == len(made) - 1
            shown = changes[0] if changes else None
            done = Done(op, op_id, stamp, shown, Before(), step if is_last else None, tuple(changes[1:]))
            self._note(done, encoded)

    def mark(self) -> Mark:
        """Where the edit is now, for ``roll_back``."""
        return Mark(len(self.done), len(self._undos), self.size_bytes)

    def roll_back(self, mark: Mark | None = None) -> None:
        """Take everything back that was done since ``mark``, or since the beginning."""
        to = mark or Mark(0, 0, 0)
        while len(self._undos) > to.undo_count:
            self._undos.pop()()
        del self.done[to.done_count :], self.encoded[to.done_count :]
        self.size_bytes = to.size_bytes

    def written(self) -> set[OpId]:
        """The blocks whose texts or properties this edit changed."""
        blocks = self._state.blocks
        if blocks is None:
            return set()
        changes = [change for done in self.done if done.change is not None for change in (done.change, *done.more)]
        return {change.target for change in changes if change.target in blocks}

    def moved(self) -> Places:
        """Blocks that stand elsewhere by this edit than before."""
        blocks = self._state.blocks
        if blocks is None:
            return {}
        now_by_id = {block: blocks.tree.place_of(block) for block in self._was_at}
        return {block: (was, now_by_id[block]) for block, was in self._was_at.items() if was != now_by_id[block]}

    def _next(self) -> tuple[OpId, Stamp]:
        count = len(self.done)
        if self._is_stamped:
            return OpId(self._site, self.counter + count), Stamp(self.hlc + count, self._site)
        # The operations of an envelope have consecutive stamps, so only the first reads the clock.
        if not self.hlc:
            self.hlc = self._clock.tick(self._now_ms)
        hlc = self.hlc + count
        self._clock.observe(hlc, 0)
        return OpId(self._site, self.counter + count), Stamp(hlc, self._site)

    def _note(self, done: Done, encoded: bytes) -> Done:
        self.done.append(done)
        self.encoded.append(encoded)
        self.size_bytes += len(encoded) + 5
        return done

    # -- checks

    def _encode(self, op: Op) -> bytes:
        limits = self._limits
        match op:
            case MapSet() | MapDelete():
                _check_size("key", value_bytes(op.key), limits.key_bytes)
            case TextEdit():
                _check_size("text edit", len(op.update), limits.value_bytes)
            case _:
                pass
        if isinstance(op, MapSet | ListInsert | ListSet):
            _check_size("value", value_bytes(op.value), limits.value_bytes)
            self._check_depth(op)
        if len(self.done) >= limits.envelope_ops:
            raise TooLargeError("batch", len(self.done) + 1, limits.envelope_ops, "operations; make several batches")
        encoded = encode_op(op)
        if self.size_bytes + len(encoded) + ENVELOPE_HEAD_BYTES > limits.frame_bytes:
            raise TooLargeError(
                "batch", self.size_bytes + len(encoded), limits.frame_bytes, "bytes; make several batches"
            )
        return encoded

    def _check_depth(self, op: MapSet | ListInsert | ListSet) -> None:
        if isinstance(self._state.holder(op), BlockDocument):
            return
        from_depth = self._tree.node(op.target).depth
        if from_depth >= self._limits.depth and not isinstance(op.value, str | int | float | bytes | None):
            raise TooDeepError(self._limits.depth)

    def _before(self, op: Op) -> Before:
        holder = self._state.holder(op)
        if isinstance(holder, BlockDocument):
            if isinstance(op, MapSet | MapDelete):
                block = holder.block(op.target) if op.key == TYPE else holder.known_block(op.target)
                return map_before(block.properties, op.key)
            return Before()
        node = holder.node(op.target)
        if isinstance(op, MapSet | MapDelete) and isinstance(node, MapNode):
            return map_before(node.entries, op.key)
        if isinstance(op, ListDelete | ListMove | ListSet) and isinstance(node, ListNode):
            return list_before(node, op.element)
        return Before()


ENVELOPE_HEAD_BYTES = 64
"""What stands in a frame around the operations of one envelope, at most."""


def map_before(entries: LwwMap, key: str) -> Before:
    """What stands at a key."""
    register = entries.register(key)
    if register is None:
        return Before()
    value = ABSENT if register[1] is TOMBSTONE else register[1]
    return Before(value, register[0])  # type: ignore[arg-type]  # the tree holds stored values alone


def list_before(node: ListNode, element: OpId) -> Before:
    """What an element is and where it stands; nothing when it is deleted."""
    items = node.items
    if element not in items:
        return Before()
    state = items.revert_token(element).before
    assert state is not None
    assert state.value is not None
    assert state.position is not None
    index = items.index_of(element)
    neighbour = items.element_at(index - 1) if index else None
    value: StoredValue = state.value[1]  # type: ignore[assignment]  # the tree holds stored values alone
    return Before(value, state.value[0], state.position[0], index, neighbour)


def _pieces(step: TextSplice) -> Iterator[TextSplice]:
    """A splice as several that each fit the limits."""
    text, index = step.text, step.index
    yield replace(step, text=text[:TEXT_PIECE_CHARS])
    for at in range(TEXT_PIECE_CHARS, len(text), TEXT_PIECE_CHARS):
        yield replace(step, index=index + at, length=0, text=text[at : at + TEXT_PIECE_CHARS])


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError(what, size, limit)
