"""Operations and envelopes read by hand: the hot path of the strict decoder.

Going through protobuf's messages costs 4 to 5.5 us an operation, most of it in reaching into them from Python. This
reader knows the canonical bytes of everyday operations and takes about half as long. It answers only what the strict
decoder (``ops.py``) would answer; whatever it does not know, or finds odd, it leaves to that one by raising
``UnusualError``, so refusals and rarities stay in one place. ``tests/fuzz/test_wire_fuzz.py`` holds the two to the same
answers.

Functions take the whole frame, an offset and where the part must end; an index past the frame's end is an IndexError,
which ``NOT_READ`` has too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    ContainerKind,
    Envelope,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    NewContainer,
    Op,
    OpValue,
    Side,
    Slot,
    StoredEnvelope,
    TextEdit,
)
from collabkernel.limits import COUNTER_MAX, HLC_MAX, SITE_MAX


class UnusualError(Exception):
    """Not for this reader; ask the strict decoder. Never leaves ``collabkernel.wire``."""


NOT_READ: Final = (UnusualError, IndexError, KeyError, ValueError, struct.error)
"""What the readers raise when they do not answer. ValueError: no UTF-8; or, compiled, an offset over 63 bits."""

_new_tuple: Final = tuple.__new__
"""``OpId(site, counter)`` without the named tuple's own, twice as slow, ``__new__``."""
_SHIFTS: Final = tuple(range(7, 64, 7))
_DOUBLE_AT: Final = struct.Struct("<d").unpack_from
_SIDES: Final = {int(side): side for side in Side}
_SLOTS: Final = {int(slot): slot for slot in Slot}
_CONTAINERS: Final = {
    bytes((0x3A, len(body), *body)): NewContainer(kind, is_shared)
    for kind in ContainerKind
    for is_shared, body in ((False, bytes((8, kind))), (True, bytes((8, kind, 16, 1))))
}
"""New containers by their bytes in a Value, without ``after``."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A canonical varint below 2**64, and the offset after it."""
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    number = byte & 127
    for shift in _SHIFTS:
        at += 1
        byte = data[at]
        number |= (byte & 127) << shift
        if byte < 128:
            break
    if not byte or byte > 127 or number > HLC_MAX:
        raise UnusualError
    return number, at + 1


@lru_cache(maxsize=4096)
def site_of(five_bytes: bytes) -> int:
    """The site in a varint of just these bytes; 0 when it is none.

    Sites are random numbers of 32 bits, nearly all of five bytes, and a room has few: 0.1 us instead of 0.6.
    """
    try:
        site, end = read_varint(five_bytes, 0)
    except NOT_READ:
        return 0
    return site if end == 5 and site <= SITE_MAX else 0


@lru_cache(maxsize=4096)
def _counter_of(eight_bytes: bytes) -> int:
    """The counter in a varint of just these bytes; 0 when it is none.

    Names of shared containers are hashes of 53 bits, nearly all of eight bytes, and a room has few.
    """
    try:
        counter, end = read_varint(eight_bytes, 0)
    except NOT_READ:
        return 0
    return counter if end == 8 and counter <= COUNTER_MAX else 0


def read_site(data: bytes, at: int) -> tuple[int, int]:
    """A site, which is not 0, and the offset after it."""
    if data[at + 3] > 127:  # else it is shorter, and what follows it would fill the cache
        site = site_of(data[at : at + 5])
        if site:
            return site, at + 5
    site, at = read_varint(data, at)
    if not 0 < site <= SITE_MAX:
        raise UnusualError
    return site, at


def read_op_id(data: bytes, at: int, end: int) -> OpId:
    """The body of an OpId of an operation."""
    if at + 9 == end and data[at + 8] < 128 <= data[at + 7]:  # Most are of this size.
        site = site_of(data[at + 1 : at + 6])
        counter = data[at + 7] & 127 | data[at + 8] << 7
        if site and data[at + 8] and data[at] == 0x08 and data[at + 6] == 0x10:
            return _new_tuple(OpId, (site, counter))
    if data[at] != 0x08:
        raise UnusualError
    site, at = read_site(data, at + 1)
    if data[at] != 0x10:
        raise UnusualError
    counter, at = read_varint(data, at + 1)
    if at != end or not 0 < counter <= COUNTER_MAX:
        raise UnusualError
    return _new_tuple(OpId, (site, counter))


def read_value(data: bytes, at: int, end: int) -> OpValue:
    """The body of a Value."""
    tag = data[at]
    if tag == 0x18:
        number, at = read_varint(data, at + 1)
        if at == end:
            return number >> 1 ^ -(number & 1)
    elif tag == 0x2A or tag == 0x32:
        size, at = read_varint(data, at + 1)
        if at + size == end:
            return data[at:end].decode() if tag == 0x2A else data[at:end]
    elif tag == 0x21:
        value: float = _DOUBLE_AT(data, at + 1)[0] if at + 9 == end else float("nan")
        if value - value == 0.0:
            return value
    elif tag == 0x3A:
        return _CONTAINERS[data[at:end]]
    elif at + 2 == end and (tag == 0x08 or tag == 0x10):
        byte = data[at + 1]
        if tag == 0x10 and byte < 2:
            return byte == 1
        if tag == 0x08 and byte == 1:
            return None
    raise UnusualError


def read_sized(data: bytes, at: int, end: int, tag: int) -> int:
    """The offset of a length-prefixed field's body, which must have this tag and end at ``end``."""
    if data[at] != tag:
        raise UnusualError
    size = data[at + 1]
    at += 2
    if size > 127:
        size, at = read_varint(data, at - 1)
    if at + size != end:
        raise UnusualError
    return at


def _key(data: bytes, at: int) -> tuple[str, int]:
    """Field 1, a string that proto3 leaves out when it is empty, and the offset after it."""
    if data[at] != 0x0A:
        return "", at
    size, at = read_varint(data, at + 1)
    if not size:
        raise UnusualError
    end = at + size
    return data[at:end].decode(), end


def _map_set(data: bytes, at: int, end: int, target: OpId) -> MapSet:
    key, at = _key(data, at)
    return MapSet(target, key, read_value(data, read_sized(data, at, end, 0x12), end))


def _map_delete(data: bytes, at: int, end: int, target: OpId) -> MapDelete:
    if at == end:
        return MapDelete(target, "")
    at = read_sized(data, at, end, 0x0A)
    if at == end:
        raise UnusualError
    return MapDelete(target, data[at:end].decode())


def _list_insert(data: bytes, at: int, end: int, target: OpId) -> ListInsert:
    parent = None
    if data[at] == 0x0A:
        parent_at = at + 2
        at = parent_at + data[at + 1]
        parent = read_op_id(data, parent_at, at)
    if data[at] != 0x10:
        raise UnusualError
    side = _SIDES[data[at + 1]]
    return ListInsert(target, parent, side, read_value(data, read_sized(data, at + 2, end, 0x1A), end))


def _list_delete(data: bytes, at: int, end: int, target: OpId) -> ListDelete:
    return ListDelete(target, read_op_id(data, read_sized(data, at, end, 0x0A), end))


def _element(data: bytes, at: int) -> tuple[OpId, int]:
    """Field 1, an element's id, and the offset after it."""
    if data[at] != 0x0A:
        raise UnusualError
    end = at + 2 + data[at + 1]
    return read_op_id(data, at + 2, end), end


def _list_move(data: bytes, at: int, end: int, target: OpId) -> ListMove:
    element, at = _element(data, at)
    parent = None
    if data[at] == 0x12:
        parent_at = at + 2
        at = parent_at + data[at + 1]
        parent = read_op_id(data, parent_at, at)
    if data[at] != 0x18 or at + 2 != end:
        raise UnusualError
    return ListMove(target, element, parent, _SIDES[data[at + 1]])


def _list_set(data: bytes, at: int, end: int, target: OpId) -> ListSet:
    element, at = _element(data, at)
    return ListSet(target, element, read_value(data, read_sized(data, at, end, 0x12), end))


def _text_edit(data: bytes, at: int, end: int, target: OpId) -> TextEdit:
    at = read_sized(data, at, end, 0x0A)
    if at == end:
        raise UnusualError
    return TextEdit(target, data[at:end])


def read_name(data: bytes, at: int, tag: int) -> tuple[str, int]:
    """A string field that must be there, and the offset after it."""
    if data[at] != tag:
        raise UnusualError
    size, at = read_varint(data, at + 1)
    if not size:
        raise UnusualError
    end = at + size
    return data[at:end].decode(), end


def _block_insert(data: bytes, at: int, end: int, target: OpId) -> BlockInsert:
    if data[at] != 0x08:
        raise UnusualError
    slot = _SLOTS[data[at + 1]]
    key, at = read_name(data, at + 2, 0x12)
    type_, at = read_name(data, at, 0x1A)
    split = None
    if at < end:
        at = read_sized(data, at, end, 0x22)
        split = read_op_id(data, at, end)
    elif at > end:
        raise UnusualError
    return BlockInsert(target, slot, key, type_, split)


def _block_move(data: bytes, at: int, end: int, target: OpId) -> BlockMove:
    parent, at = _element(data, at)
    if data[at] != 0x10:
        raise UnusualError
    slot = _SLOTS[data[at + 1]]
    key, at = read_name(data, at + 2, 0x1A)
    if at != end:
        raise UnusualError
    return BlockMove(target, parent, slot, key)


def _block_delete(data: bytes, at: int, end: int, target: OpId) -> BlockDelete:  # noqa: ARG001  # read as the others
    if at != end:
        raise UnusualError
    return BlockDelete(target)


_READER_BY_TAG: Final[dict[int, Callable[[bytes, int, int, OpId], Op]]] = {
    0x1A: _map_set,
    0x22: _map_delete,
    0x2A: _list_insert,
    0x32: _list_delete,
    0x3A: _list_move,
    0x42: _list_set,
    0x4A: _text_edit,
    0x5A: _block_insert,
    0x62: _block_move,
    0x6A: _block_delete,
}


def read_op(data: bytes, at: int, end: int) -> Op:
    """The operation whose ``Op`` stands in ``data[at:end]``; may raise any of ``NOT_READ``."""
    site = counter = 0
    tag = data[at]
    if tag < 0x11:
        if tag == 0x08:
            site, at = read_site(data, at + 1)
            tag = data[at]
            if tag != 0x10:
                raise UnusualError
        if tag == 0x10:
            counter = 0 if site or data[at + 7] < 128 else _counter_of(data[at + 1 : at + 9])
            if counter:
                at += 9
            else:
                counter, at = read_varint(data, at + 1)
                if not 0 < counter <= COUNTER_MAX:
                    raise UnusualError
            tag = data[at]
        target = _new_tuple(OpId, (site, counter))
    else:
        target = ROOT
    return _READER_BY_TAG[tag](data, read_sized(data, at, end, tag), end, target)


def read_envelope(data: bytes, at: int, end: int) -> Envelope:
    """The envelope whose body stands in ``data[at:end]``; may raise any of ``NOT_READ``."""
    base = 0
    if data[at] != 0x08:
        raise UnusualError
    counter, at = read_varint(data, at + 1)
    if data[at] == 0x10:
        base, at = read_varint(data, at + 1)
        if not base:
            raise UnusualError
    if data[at] != 0x19:
        raise UnusualError
    hlc = int.from_bytes(data[at + 1 : at + 9], "little")
    at += 9
    ops = []
    while at < end:
        if data[at] != 0x22:
            raise UnusualError
        size, at = read_varint(data, at + 1)
        op_end = at + size
        ops.append(read_op(data, at, op_end))
        at = op_end
    last = len(ops) - 1
    if (
        at != end
        or last < 0
        or not 0 < counter <= COUNTER_MAX - last
        or base > COUNTER_MAX
        or not 0 < hlc <= HLC_MAX - last
    ):
        raise UnusualError
    return Envelope(counter, base, hlc, tuple(ops))


def read_submit(frame: bytes) -> tuple[Envelope, ...]:
    """The envelopes of a frame that is a Submit; may raise any of ``NOT_READ``."""
    end = len(frame)
    at = read_sized(frame, 0, end, 0x12)
    envelopes = []
    while at < end:
        if frame[at] != 0x0A:
            raise UnusualError
        size, at = read_varint(frame, at + 1)
        envelope_end = at + size
        if envelope_end > end:
            raise UnusualError
        envelopes.append(read_envelope(frame, at, envelope_end))
        at = envelope_end
    if not envelopes:
        raise UnusualError
    return tuple(envelopes)


def read_ops_frame(frame: bytes) -> tuple[tuple[StoredEnvelope, ...], int]:
    """Stored envelopes and ``through`` of a frame that holds one Ops and nothing else but ``through``.

    May raise any of ``NOT_READ``.
    """
    if frame[0] != 0x1A:
        raise UnusualError
    size, at = read_varint(frame, 1)
    end = at + size
    through = 0
    if end < len(frame):
        if frame[end] != 0x58:
            raise UnusualError
        through, frame_end = read_varint(frame, end + 1)
        if frame_end != len(frame) or not 0 < through <= COUNTER_MAX:
            raise UnusualError
    elif end > len(frame):
        raise UnusualError
    actors = []
    while frame[at] == 0x0A:
        actor_size, at = read_varint(frame, at + 1)
        actors.append(frame[at : at + actor_size].decode())
        at += actor_size
    return _read_stored(frame, at, end, actors), through


def _read_stored(frame: bytes, at: int, end: int, actors: list[str]) -> tuple[StoredEnvelope, ...]:
    envelopes = []
    actors_named = 0
    expected_seq = 0
    while at < end:
        if frame[at] != 0x12:
            raise UnusualError
        size, at = read_varint(frame, at + 1)
        envelope_end = at + size
        seq, site, actor, at = _stored_head(frame, at)
        envelope = read_envelope(frame, read_sized(frame, at, envelope_end, 0x22), envelope_end)
        ops_count = len(envelope.ops)
        if actor > actors_named or (expected_seq and seq != expected_seq) or seq > COUNTER_MAX + 1 - ops_count:
            raise UnusualError
        actors_named = max(actors_named, actor + 1)
        expected_seq = seq + ops_count
        envelopes.append(StoredEnvelope(seq, site, actors[actor], envelope))
        at = envelope_end
    if at != end or not envelopes or actors_named != len(actors) or len(set(actors)) != actors_named:
        raise UnusualError
    return tuple(envelopes)


def _stored_head(frame: bytes, at: int) -> tuple[int, int, int, int]:
    """seq, site and actor index of a StoredEnvelope, and the offset after them."""
    if frame[at] != 0x08:
        raise UnusualError
    seq, at = read_varint(frame, at + 1)
    if frame[at] != 0x10:
        raise UnusualError
    site, at = read_site(frame, at + 1)
    actor = 0
    if frame[at] == 0x18:
        actor, at = read_varint(frame, at + 1)
        if not actor:
            raise UnusualError
    if not seq:
        raise UnusualError
    return seq, site, actor, at
