"""An edit in the making: operations applied to the local tree at once, and taken back together if it fails.

While an edit is open nothing else is applied to the tree, so the last operation can always be taken back first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from collabkernel.crdt.clock import HybridLogicalClock
from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.lww import TOMBSTONE
from collabkernel.crdt.text import Attributes, TextRope, TextStep
from collabkernel.crdt.text import Mark as TextMark
from collabkernel.crdt.text_delta import Delta
from collabkernel.document.live_tree import (
    ABSENT,
    Absent,
    Change,
    ListNode,
    LiveTree,
    MapNode,
    TextNode,
    Undo,
    value_bytes,
)
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


class Mark(NamedTuple):
    """A point in an edit."""

    done_count: int
    undo_count: int
    size_bytes: int


class Edit:
    """Operations of one envelope to be. Made by ``Replica.begin``."""

    def __init__(
        self,
        tree: LiveTree,
        clock: HybridLogicalClock,
        counter: int,
        limits: ClientLimits,
        now_ms: int,
        is_batch: bool,
        hlc: int | None = None,
    ) -> None:
        """Begin with no operations.

        Args:
            tree: What is edited.
            clock: Gives the stamps.
            counter: Of the first operation.
            limits: What an operation and an envelope may be.
            now_ms: Server time.
            is_batch: Whether a text edit may be followed by something that fails.
            hlc: The first stamp's, for an edit that is made again with the stamps it had.
        """
        self._tree = tree
        self._site = tree.client_id
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
        change, undo = self._tree.apply_undoable(op_id, stamp, op)
        self._undos.append(undo)
        return self._note(Done(op, op_id, stamp, change, before), encoded)

    def perform_text(
        self, target: OpId, size_bytes: int, change: Callable[[TextRope], tuple[bytes, Delta]]
    ) -> Done | None:
        """Edit a text by ``change``, which gives the update and its delta; None when nothing changed.

        Args:
            target: The text.
            size_bytes: How large the update may be, about.
            change: Edits the rope.
        """
        node = self._tree.node(target)
        assert isinstance(node, TextNode), "only texts are edited so"
        rope = node.rope
        if self._is_batch or size_bytes >= TEXT_CHECKPOINT_FROM_BYTES:
            mark, tree_bytes = rope.mark(), self._tree.size_bytes
            self._undos.append(lambda: self._rewind_rope(rope, mark, tree_bytes))
        update, delta = change(rope)
        if not update:
            return None
        self._tree.size_bytes += len(update)
        op = TextEdit(target, update)
        encoded = self._encode(op)
        op_id, stamp = self._next()
        shown = Change(target, "text", delta=tuple(delta)) if delta else None
        return self._note(Done(op, op_id, stamp, shown, Before(), rope.take_step()), encoded)

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

    def _rewind_rope(self, rope: TextRope, mark: TextMark, tree_bytes: int) -> None:
        rope.rewind(mark)
        self._tree.size_bytes = tree_bytes

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
        from_depth = self._tree.node(op.target).depth
        if from_depth >= self._limits.depth and not isinstance(op.value, str | int | float | bytes | None):
            raise TooDeepError(self._limits.depth)

    def _before(self, op: Op) -> Before:
        node = self._tree.node(op.target)
        if isinstance(op, MapSet | MapDelete) and isinstance(node, MapNode):
            return map_before(node, op.key)
        if isinstance(op, ListDelete | ListMove | ListSet) and isinstance(node, ListNode):
            return list_before(node, op.element)
        return Before()


ENVELOPE_HEAD_BYTES = 64
"""What stands in a frame around the operations of one envelope, at most."""


def map_before(node: MapNode, key: str) -> Before:
    """What stands at a key."""
    register = node.entries.register(key)
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


def splice_delta(index: int, length: int, text: str, attributes: Attributes | None) -> Delta:
    """What a splice does, in Quill's form."""
    delta: Delta = [{"retain": index}] if index else []
    if text:
        delta.append({"insert": text, "attributes": dict(attributes)} if attributes else {"insert": text})
    if length:
        delta.append({"delete": length})
    return delta


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError(what, size, limit)
