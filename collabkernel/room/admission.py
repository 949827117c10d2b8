"""What an envelope must be before it may be stored: within the limits, in its author's order, and applicable."""

from __future__ import annotations

from dataclasses import replace

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.document.live_tree import REGISTER_BYTES, LiveTree, TextNode, Undo, value_bytes
from collabkernel.document.operations import Envelope, ListDelete, ListInsert, ListSet, MapDelete, MapSet, Op, TextEdit
from collabkernel.errors import (
    InvalidOperationError,
    InvalidYjsUpdateError,
    RemoteProtocolError,
    TooDeepError,
    TooLargeError,
)
from collabkernel.limits import HLC_MAX, Limits
from collabkernel.room.text_work import RoomSizes, work

REFUSALS = (RemoteProtocolError, TooLargeError, TooDeepError)
"""What refuses an envelope for good."""
DELETE_SLACK = 8
"""One part in so many that deletes may go over a full room's size: so it can be emptied."""


def op_bytes(op: Op, limits: Limits) -> int:
    """About what an operation adds to a room.

    Raises:
        TooLargeError: Its key or value is over the limits.
    """
    size = REGISTER_BYTES
    if isinstance(op, MapSet | MapDelete):
        key_bytes = value_bytes(op.key)
        if key_bytes > limits.key_bytes:
            raise TooLargeError("key", key_bytes, limits.key_bytes)
        size += key_bytes
    if isinstance(op, MapSet | ListInsert | ListSet):
        content_bytes = value_bytes(op.value)
    elif isinstance(op, TextEdit):
        content_bytes = len(op.update)
    else:
        return size
    if content_bytes > limits.value_bytes:
        raise TooLargeError("value", content_bytes, limits.value_bytes)
    return size + content_bytes


def check_limits(envelope: Envelope, tree: LiveTree, head: int, limits: Limits) -> None:
    """Check an envelope against the limits, before anything of it is applied.

    Raises:
        TooLargeError: It, a part of it, or the room with it would be over a limit.
        InvalidOperationError: Its base is a seq that the log has not reached, or its stamps pass the end of time.
    """
    if len(envelope.ops) > limits.envelope_ops:
        raise TooLargeError("envelope", len(envelope.ops), limits.envelope_ops, "operations")
    if envelope.base > head:
        raise InvalidOperationError(f"base {envelope.base} is above the log's head {head}")
    text_work = work(tree, envelope)
    if text_work > limits.text_work:
        raise TooLargeError("cuts in a text times its size", text_work, limits.text_work, "cut bytes")
    if envelope.hlc + len(envelope.ops) > HLC_MAX:
        raise InvalidOperationError("the stamps of this envelope do not fit 64 bits")
    added_bytes = sum([op_bytes(op, limits) for op in envelope.ops])
    limit = limits.room_bytes + (limits.room_bytes // DELETE_SLACK if all(map(_takes_away, envelope.ops)) else 0)
    if tree.size_bytes + added_bytes > limit:
        raise TooLargeError("room", tree.size_bytes + added_bytes, limits.room_bytes)


def _takes_away(op: Op) -> bool:
    return isinstance(op, MapDelete | ListDelete) or (isinstance(op, TextEdit) and op.update[:1] == b"\0")


def lower_stamp(envelope: Envelope, room_hlc: int, now_ms: int, ahead_max_ms: int) -> Envelope:
    """The envelope with stamps that are no further ahead of the server's clock than allowed.

    A stamp that is goes down to just above all that the room has seen: the author's later envelopes, lowered after it,
    stay above this one.
    """
    if envelope.hlc + len(envelope.ops) <= hlc_from_ms(now_ms + ahead_max_ms):
        return envelope
    return replace(envelope, hlc=max(hlc_from_ms(now_ms), room_hlc) + 1)


def apply_envelope(tree: LiveTree, sizes: RoomSizes, site: int, envelope: Envelope) -> None:
    """Apply all of an envelope, or none of it.

    Raises:
        InvalidOperationError, InvalidYjsUpdateError, TooDeepError: As ``LiveTree.apply``.
    """
    counter, hlc = envelope.counter, envelope.hlc
    size_bytes = tree.size_bytes
    undos: list[Undo] = []
    undo_by_text: dict[OpId, Undo] = {}  # one for all edits of a text: going back costs a walk over it
    # Texts last: one that is refused changes nothing, so that a lone one never has to be gone back over.
    in_order = sorted(enumerate(envelope.ops), key=lambda item: isinstance(item[1], TextEdit))
    last = len(in_order) - 1
    try:
        for place, (i, op) in enumerate(in_order):
            op_id, stamp = OpId(site, counter + i), Stamp(hlc + i, site)
            if isinstance(op, TextEdit):
                refuse_known_text(tree, site, op)
            if place == last or op.target in undo_by_text:
                sizes.apply(op_id, stamp, op)
            elif isinstance(op, TextEdit):
                undo_by_text[op.target] = sizes.apply_undoable(op_id, stamp, op)
            else:
                undos.append(sizes.apply_undoable(op_id, stamp, op))
    except REFUSALS:
        for undo in [*undo_by_text.values(), *reversed(undos)]:
            undo()
        sizes.undo()
        tree.size_bytes = size_bytes
        raise
    sizes.settle()


def refuse_known_text(tree: LiveTree, site: int, op: TextEdit) -> None:
    """Refuse an update that a text has by its first clock: a tree passes over it, so nobody would look at the rest.

    It would be stored all the same, and reach yrs unread where a log is folded.

    Raises:
        InvalidYjsUpdateError: So it is.
    """
    node = tree.nodes.get(op.target)
    if isinstance(node, TextNode) and node.rope.covers(op.update, site):
        raise InvalidYjsUpdateError(f"the text has the first clock of this update of {site} already")
