"""What an envelope must be before it may be stored: within the limits, in its author's order, and applicable."""

from __future__ import annotations

from dataclasses import replace

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.crdt.text import TextRope
from collabkernel.document.block import BLOCK_BYTES, BLOCK_TEXT_BYTES
from collabkernel.document.live_tree import CONTAINER_BYTES, REGISTER_BYTES, Undo, value_bytes
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockRekey,
    Envelope,
    ListDelete,
    ListInsert,
    ListSet,
    MapDelete,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    Purge,
    TextEdit,
)
from collabkernel.document.room_state import TREE_OPS, RoomState
from collabkernel.errors import (
    InvalidOperationError,
    PurgedError,
    RemoteProtocolError,
    TooDeepError,
    TooLargeError,
    UnknownReferenceError,
    UnknownTargetError,
)
from collabkernel.limits import HLC_MAX, Limits
from collabkernel.room.text_work import TextSizes, work

REFUSALS = (RemoteProtocolError, TooLargeError, TooDeepError)
"""What refuses an envelope for good."""
LOST = (UnknownTargetError, UnknownReferenceError, PurgedError)
"""What naming something that was purged raises."""
DELETE_SLACK = 8
"""One part in so many that deletes may go over a full room's size: so it can be emptied."""


def op_bytes(op: Op, limits: Limits) -> int:
    """About what an operation adds to a room.

    Raises:
        TooLargeError: Its key or value is over the limits.
    """
    if op.__class__ in TREE_OPS:
        return _tree_op_bytes(op, limits)
    size = REGISTER_BYTES
    if isinstance(op, MapSet | MapDelete):
        key_bytes = value_bytes(op.key)
        if key_bytes > limits.key_bytes:
            raise TooLargeError("key", key_bytes, limits.key_bytes)
        size += key_bytes
    if isinstance(op, MapSet | ListInsert | ListSet):
        if isinstance(op.value, NewContainer):
            return size + CONTAINER_BYTES[op.value.kind]
        content_bytes = value_bytes(op.value)
    elif isinstance(op, TextEdit):
        content_bytes = len(op.update)
    else:
        return size
    if content_bytes > limits.value_bytes:
        raise TooLargeError("value", content_bytes, limits.value_bytes)
    return size + content_bytes


def _tree_op_bytes(op: Op, limits: Limits) -> int:
    if isinstance(op, NewDocument):
        name_bytes = value_bytes(op.name)
        if name_bytes > limits.key_bytes:
            raise TooLargeError("name of a document", name_bytes, limits.key_bytes)
        return BLOCK_BYTES + name_bytes
    if isinstance(op, BlockInsert):
        return BLOCK_BYTES + REGISTER_BYTES + value_bytes(op.type)
    return REGISTER_BYTES


def check_limits(envelope: Envelope, state: RoomState, head: int, limits: Limits, *, is_keeper: bool = False) -> None:
    """Check an envelope against the limits, before anything of it is applied.

    Raises:
        TooLargeError: It, a part of it, or the room with it would be over a limit.
        InvalidOperationError: Its base is a seq that the log has not reached, its stamps pass the end of time, or it
            rekeys or purges, which is the keeper's.
    """
    if len(envelope.ops) > limits.envelope_ops:
        raise TooLargeError("envelope", len(envelope.ops), limits.envelope_ops, "operations")
    if envelope.base > head:
        raise InvalidOperationError(f"base {envelope.base} is above the log's head {head}")
    if not is_keeper and any(isinstance(op, BlockRekey | Purge) for op in envelope.ops):
        raise InvalidOperationError("order keys are made shorter, and what was deleted is purged, by the server alone")
    name_bytes = sum([_shared_name_bytes(op) for op in envelope.ops])
    if name_bytes > limits.shared_name_bytes:
        raise TooLargeError("keys of shared containers", name_bytes, limits.shared_name_bytes)
    text_work = work(state, envelope)
    if text_work > limits.text_work:
        raise TooLargeError("cuts in a text times its size", text_work, limits.text_work, "cut bytes")
    if envelope.hlc + len(envelope.ops) > HLC_MAX:
        raise InvalidOperationError("the stamps of this envelope do not fit 64 bits")
    added_bytes = sum([op_bytes(op, limits) for op in envelope.ops]) + _first_typed_bytes(state, envelope)
    limit = limits.room_bytes + (limits.room_bytes // DELETE_SLACK if all(map(_takes_away, envelope.ops)) else 0)
    if state.size_bytes + added_bytes > limit:
        raise TooLargeError("room", state.size_bytes + added_bytes, limits.room_bytes)


def _shared_name_bytes(op: Op) -> int:
    is_shared = isinstance(op, MapSet) and isinstance(op.value, NewContainer) and op.value.shared
    return value_bytes(op.key) if is_shared and isinstance(op, MapSet) else 0


def _first_typed_bytes(state: RoomState, envelope: Envelope) -> int:
    """What the texts take, beside their contents, in which an envelope is the first to type."""
    op_by_target = {op.target: op for op in envelope.ops if isinstance(op, TextEdit)}
    made = {envelope.counter + i for i, op in enumerate(envelope.ops) if isinstance(op, BlockInsert)}
    size_bytes = 0
    for target, op in op_by_target.items():
        if not state.text_bytes(op):
            is_made_here = target.counter in made and target.site != ROOT.site and target not in state.tree.nodes
            size_bytes += BLOCK_TEXT_BYTES if is_made_here else state.typed_bytes(op)
    return size_bytes


def _takes_away(op: Op) -> bool:
    return isinstance(op, MapDelete | ListDelete | BlockDelete | Purge) or (
        isinstance(op, TextEdit) and op.update[:1] == b"\0"
    )


def lower_stamp(envelope: Envelope, room_hlc: int, now_ms: int, ahead_max_ms: int) -> Envelope:
    """The envelope with stamps that are no further ahead of the server's clock than allowed.

    A stamp that is goes down to just above all that the room has seen: the author's later envelopes, lowered after it,
    stay above this one. It never goes up: where the room's own stamps are ahead of the clock (another server's was),
    those that follow them are none the worse.
    """
    if envelope.hlc + len(envelope.ops) <= hlc_from_ms(now_ms + ahead_max_ms):
        return envelope
    hlc = max(hlc_from_ms(now_ms), room_hlc) + 1
    return replace(envelope, hlc=hlc) if hlc < envelope.hlc else envelope


def apply_envelope(state: RoomState, sizes: TextSizes, site: int, envelope: Envelope) -> None:
    """Apply what commutes in an envelope, all of it or nothing.

    yrs sees texts when all else is judged: to take half an envelope back costs what was in it, not a walk over its
    texts.

    Raises:
        InvalidOperationError, InvalidYjsUpdateError, TooDeepError: As ``RoomState.apply``.
    """
    tree, blocks = state.tree, state.blocks
    tree_bytes, blocks_bytes = tree.size_bytes, 0 if blocks is None else blocks.size_bytes
    staged: dict[OpId, tuple[TextEdit, TextRope]] = {}
    undos: list[Undo] = []
    try:
        for i, op in enumerate(envelope.ops):
            if isinstance(op, TextEdit):
                rope = staged[op.target][1] if op.target in staged else state.rope(op)
                staged[op.target] = op, rope
                rope.stage(op.update, site)
            else:
                op_id, stamp = OpId(site, envelope.counter + i), Stamp(envelope.hlc + i, site)
                undos.append(state.apply_undoable(op_id, stamp, op)[1])
        for op, rope in staged.values():
            undos.append(sizes.apply_staged(op, rope))
    except REFUSALS:
        for _, rope in staged.values():
            rope.drop_staged()
        for undo in reversed(undos):
            undo()
        tree.size_bytes = tree_bytes
        if blocks is not None:
            blocks.size_bytes = blocks_bytes
        raise
    finally:
        sizes.walked += sum([rope.walked for _, rope in staged.values()])
