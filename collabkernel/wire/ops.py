"""Operations, values and envelopes to bytes and back.

Frozen by ``tests/fixtures/wire/messages.json``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    ContainerKind,
    Envelope,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    OpValue,
    Purge,
    Side,
    Slot,
    TextEdit,
)
from collabkernel.errors import InvalidValueError
from collabkernel.limits import INT_MAX, INT_MIN, PURGED_IDS
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import fast_reader, strict
from collabkernel.wire.writer import field_varint, site_varint, varint, zigzag

KIND_BY_CLASS: Final[dict[type, int]] = {
    MapSet: 3,
    MapDelete: 4,
    ListInsert: 5,
    ListDelete: 6,
    ListMove: 7,
    ListSet: 8,
    TextEdit: 9,
    NewDocument: 10,
    BlockInsert: 11,
    BlockMove: 12,
    BlockDelete: 13,
    BlockRekey: 14,
    Purge: 15,
}
"""Field number of each operation's kind in ``Op``."""


def op_kind(op: Op) -> int:
    """Field number of the operation's kind in ``Op``."""
    return KIND_BY_CLASS[type(op)]


# -- encoding

_DOUBLE = struct.Struct("<d")


def op_id_bytes(op_id: OpId) -> bytes:
    """The body of an ``OpId``."""
    site, counter = op_id
    if site:
        return b"\x08" + site_varint(site) + b"\x10" + varint(counter)
    return b"\x10" + varint(counter) if counter else b""


def _integer(value: int) -> bytes:
    if not INT_MIN <= value <= INT_MAX:
        raise InvalidValueError(f"integer {value} needs more than 64 bits")
    return b"\x18" + zigzag(value)


def _number(value: float) -> bytes:
    if value - value != 0.0:
        raise InvalidValueError(f"{value} is no finite number")
    return b"\x21" + _DOUBLE.pack(value)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"text with a lone surrogate: {text[:80]!r}") from error


def _new_container(value: NewContainer) -> bytes:
    body = field_varint(1, value.kind) + field_varint(2, value.shared)
    if value.after is not None:
        body += b"\x19" + value.after.hlc.to_bytes(8, "little") + field_varint(4, value.after.site)
    return _sized(b"\x3a", body)


_VALUE_WRITER: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: b"\x08\x01",
    bool: lambda value: b"\x10\x01" if value else b"\x10\x00",
    int: _integer,
    float: _number,
    str: lambda value: _sized(b"\x2a", _utf8(value)),
    bytes: lambda value: _sized(b"\x32", value),
    NewContainer: _new_container,
}


def value_bytes(value: OpValue) -> bytes:
    """The body of a ``Value``.

    Raises:
        InvalidValueError: If it is of no type that rooms hold, is out of range, or holds a lone surrogate.
    """
    writer = _VALUE_WRITER.get(type(value))
    if writer is None:
        raise InvalidValueError(f"{type(value).__name__} is no live value")
    return writer(value)


def _sized(tag: bytes, body: bytes) -> bytes:
    """A length-prefixed field; ``field_bytes`` for tags of one byte."""
    return tag + varint(len(body)) + body


def _named(tag: bytes, text: str) -> bytes:
    """A string field, which proto3 leaves out when it is empty."""
    return _sized(tag, _utf8(text)) if text else b""


def _key(key: str) -> bytes:
    return _named(b"\x0a", key)


def _map_set_body(op: MapSet) -> bytes:
    return _key(op.key) + _sized(b"\x12", value_bytes(op.value))


def _list_insert_body(op: ListInsert) -> bytes:
    parent = b"" if op.parent is None else _sized(b"\x0a", op_id_bytes(op.parent))
    return parent + b"\x10" + varint(op.side) + _sized(b"\x1a", value_bytes(op.value))


def _list_move_body(op: ListMove) -> bytes:
    parent = b"" if op.parent is None else _sized(b"\x12", op_id_bytes(op.parent))
    return _sized(b"\x0a", op_id_bytes(op.element)) + parent + b"\x18" + varint(op.side)


def _list_set_body(op: ListSet) -> bytes:
    return _sized(b"\x0a", op_id_bytes(op.element)) + _sized(b"\x12", value_bytes(op.value))


def _block_insert_body(op: BlockInsert) -> bytes:
    split = b"" if op.split is None else _sized(b"\x22", op_id_bytes(op.split))
    return b"".join((b"\x08", varint(op.slot), _named(b"\x12", op.key), _named(b"\x1a", op.type), split))


def _block_move_body(op: BlockMove) -> bytes:
    return _sized(b"\x0a", op_id_bytes(op.parent)) + b"\x10" + varint(op.slot) + _named(b"\x1a", op.key)


def _block_rekey_body(op: BlockRekey) -> bytes:
    keys = [_sized(b"\x0a", op_id_bytes(block)) + _named(b"\x12", key) for block, key in op.keys]
    return b"\x08" + varint(op.slot) + b"".join([_sized(b"\x12", body) for body in keys])


def _purge_body(op: Purge) -> bytes:
    runs = [op_id_bytes(first) + field_varint(3, more) for first, more in id_runs(op.ids)]
    body = b"".join([_sized(b"\x0a", run) for run in runs])
    if op.floor is not None:
        body += b"\x11" + op.floor.hlc.to_bytes(8, "little") + field_varint(3, op.floor.site)
    return body


def id_runs(ids: Iterable[OpId]) -> list[tuple[OpId, int]]:
    """Rising ids as runs that follow each other at one site: the first of each, and how many follow it."""
    runs: list[tuple[OpId, int]] = []
    for id in ids:
        if runs and runs[-1][0].site == id.site and runs[-1][0].counter + runs[-1][1] + 1 == id.counter:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((id, 0))
    return runs


_BODY_WRITER: Final[dict[type, tuple[bytes, Callable[[Any], bytes]]]] = {
    MapSet: (b"\x1a", _map_set_body),
    MapDelete: (b"\x22", lambda op: _key(op.key)),
    ListInsert: (b"\x2a", _list_insert_body),
    ListDelete: (b"\x32", lambda op: _sized(b"\x0a", op_id_bytes(op.element))),
    ListMove: (b"\x3a", _list_move_body),
    ListSet: (b"\x42", _list_set_body),
    TextEdit: (b"\x4a", lambda op: _sized(b"\x0a", op.update)),
    NewDocument: (b"\x52", lambda op: _key(op.name)),
    BlockInsert: (b"\x5a", _block_insert_body),
    BlockMove: (b"\x62", _block_move_body),
    BlockDelete: (b"\x6a", lambda _: b""),
    BlockRekey: (b"\x72", _block_rekey_body),
    Purge: (b"\x7a", _purge_body),
}
"""Tag in ``Op`` and body of each operation."""


def encode_op(op: Op) -> bytes:
    """The bytes of an ``Op``, as the log stores it and frames carry it.

    Raises:
        InvalidValueError: If its key or value cannot be sent.
    """
    tag, writer = _BODY_WRITER[type(op)]
    body = writer(op)
    return op_id_bytes(op.target) + tag + varint(len(body)) + body


def envelope_bytes(envelope: Envelope, encoded_ops: Sequence[bytes] | None = None) -> bytes:
    """The body of an ``Envelope``; ``encoded_ops`` are its operations' bytes where the caller has them already."""
    head = b"\x08" + varint(envelope.counter)
    if envelope.base:
        head += b"\x10" + varint(envelope.base)
    ops = map(encode_op, envelope.ops) if encoded_ops is None else encoded_ops
    return b"".join([head, b"\x19", envelope.hlc.to_bytes(8, "little"), *[_sized(b"\x22", op) for op in ops]])


# -- decoding

_CONTAINER_KINDS: Final = {int(kind): kind for kind in ContainerKind}
_SIDES: Final = {int(side): side for side in Side}
_SLOTS: Final = {int(slot): slot for slot in Slot}


def decode_op(payload: bytes) -> Op:
    """The operation that ``encode_op`` gives ``payload`` for.

    Raises:
        MalformedFrameError: If there is none.
    """
    try:
        return fast_reader.read_op(payload, 0, len(payload))
    except fast_reader.NOT_READ:
        return strictly_decode_op(payload)


def strictly_decode_op(payload: bytes) -> Op:
    """``decode_op`` through protobuf: slower, and the judge of everything unusual."""
    return op_of(strict.parse(pb.Op, payload))


def op_of(message: pb.Op) -> Op:
    """The operation in a message that ``strict.parse`` let through."""
    kind = message.WhichOneof("kind")
    if kind is None:
        raise strict.missing("operation")
    target = strict.container_id(message.target_site, message.target_counter)
    return _OP_READER[kind](target, getattr(message, kind))


def value_of(message: pb.Value) -> OpValue:
    """The value in a message that ``strict.parse`` let through."""
    kind = message.WhichOneof("kind")
    match kind:
        case None:
            raise strict.missing("value")
        case "null":
            if not message.null:
                raise strict.out_of_range("null", False)
            return None
        case "number":
            return strict.check_finite(message.number)
        case "container":
            return _container_of(message.container)
        case _:
            value: OpValue = getattr(message, kind)
            return value


def _container_of(message: pb.NewContainer) -> NewContainer:
    kind = _CONTAINER_KINDS.get(message.kind)
    if kind is None:
        raise strict.out_of_range("container kind", message.kind)
    after = Stamp(message.after_hlc, message.after_site)
    if bool(after.hlc) != bool(after.site) or (after.hlc and not message.shared):
        raise strict.out_of_range("after", after)
    return NewContainer(kind, message.shared, after if after.hlc else None)


def _required_value(message: pb.MapSet | pb.ListInsert | pb.ListSet) -> OpValue:
    if not message.HasField("value"):
        raise strict.missing("value")
    return value_of(message.value)


def _element(message: pb.ListDelete | pb.ListMove | pb.ListSet) -> OpId:
    if not message.HasField("element"):
        raise strict.missing("element")
    return strict.operation_id(message.element, "element")


def _place(message: pb.ListInsert | pb.ListMove) -> tuple[OpId | None, Side]:
    side = _SIDES.get(message.side)
    if side is None:
        raise strict.out_of_range("side", message.side)
    parent = strict.operation_id(message.parent, "parent") if message.HasField("parent") else None
    return parent, side


def _map_set(target: OpId, message: pb.MapSet) -> MapSet:
    return MapSet(target, message.key, _required_value(message))


def _map_delete(target: OpId, message: pb.MapDelete) -> MapDelete:
    return MapDelete(target, message.key)


def _list_insert(target: OpId, message: pb.ListInsert) -> ListInsert:
    parent, side = _place(message)
    return ListInsert(target, parent, side, _required_value(message))


def _list_delete(target: OpId, message: pb.ListDelete) -> ListDelete:
    return ListDelete(target, _element(message))


def _list_move(target: OpId, message: pb.ListMove) -> ListMove:
    parent, side = _place(message)
    return ListMove(target, _element(message), parent, side)


def _list_set(target: OpId, message: pb.ListSet) -> ListSet:
    return ListSet(target, _element(message), _required_value(message))


def _text_edit(target: OpId, message: pb.TextEdit) -> TextEdit:
    if not message.update:
        raise strict.missing("update")
    return TextEdit(target, message.update)


def _slot(message: pb.BlockInsert | pb.BlockMove | pb.BlockRekey) -> Slot:
    slot = _SLOTS.get(message.slot)
    if slot is None:
        raise strict.out_of_range("slot", message.slot)
    return slot


def _required(text: str, what: str) -> str:
    if not text:
        raise strict.missing(what)
    return text


def _new_document(target: OpId, message: pb.NewDocument) -> NewDocument:
    return NewDocument(target, _required(message.name, "name of a document"))


def _block_insert(target: OpId, message: pb.BlockInsert) -> BlockInsert:
    key, type_ = _required(message.key, "order key"), _required(message.type, "type of a block")
    split = strict.operation_id(message.split, "split") if message.HasField("split") else None
    return BlockInsert(target, _slot(message), key, type_, split)


def _block_move(target: OpId, message: pb.BlockMove) -> BlockMove:
    if not message.HasField("parent"):
        raise strict.missing("parent")
    parent = strict.container_id(message.parent.site, message.parent.counter)
    if parent == ROOT:
        raise strict.out_of_range("parent", parent)
    return BlockMove(target, parent, _slot(message), _required(message.key, "order key"))


def _block_delete(target: OpId, message: pb.BlockDelete) -> BlockDelete:  # noqa: ARG001  # it has no members
    return BlockDelete(target)


def _block_rekey(target: OpId, message: pb.BlockRekey) -> BlockRekey:
    keys = tuple(
        [(strict.operation_id(each.block, "block"), _required(each.key, "order key")) for each in message.keys]
    )
    if not keys:
        raise strict.missing("keys")
    return BlockRekey(target, _slot(message), keys)


def _purge(target: OpId, message: pb.Purge) -> Purge:
    floor = Stamp(message.floor_hlc, message.floor_site)
    if bool(floor.hlc) != bool(floor.site) or bool(floor.hlc) == bool(message.runs):
        raise strict.out_of_range("floor of a purge", floor)
    if sum([run.more + 1 for run in message.runs]) > PURGED_IDS:
        raise strict.out_of_range("ids of a purge, which are more than", PURGED_IDS)
    ids: list[OpId] = []
    for run in message.runs:
        first = strict.run_id(run.site, run.counter, run.more)
        if ids and (first.site < ids[-1].site or (first.site == ids[-1].site and first.counter <= ids[-1].counter + 1)):
            raise strict.out_of_range("order of the ids of a purge", first)
        ids += [OpId(first.site, first.counter + i) for i in range(run.more + 1)]
    return Purge(target, tuple(ids), floor if floor.hlc else None)


_OP_READER: Final[dict[str, Callable[[OpId, Any], Op]]] = {
    "map_set": _map_set,
    "map_delete": _map_delete,
    "list_insert": _list_insert,
    "list_delete": _list_delete,
    "list_move": _list_move,
    "list_set": _list_set,
    "text_edit": _text_edit,
    "new_document": _new_document,
    "block_insert": _block_insert,
    "block_move": _block_move,
    "block_delete": _block_delete,
    "block_rekey": _block_rekey,
    "purge": _purge,
}


def envelope_of(message: pb.Envelope, seq: int = 1) -> Envelope:
    """The envelope in a message that ``strict.parse`` let through; ``seq`` is its first operation's when stored."""
    ops = tuple(map(op_of, message.ops))
    if not ops:
        raise strict.missing("ops of an envelope")
    strict.check_run(message.counter, seq, message.hlc, len(ops))
    return Envelope(message.counter, strict.check_seq(message.base, "base"), message.hlc, ops)
