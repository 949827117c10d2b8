"""A room's state cut into containers, and the slots and elements of its lists, read by hand.

A list of 100,000 elements is 200,000 messages; reaching into them through protobuf takes about a second, this half of
that, for an id is built once and found by its bytes wherever else it stands. As in ``fast_reader.py``, what is unusual
is left to the strict decoder (``state.py``) by raising one of ``NOT_READ``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.document.operations import ContainerKind, ContainerRef
from collabkernel.limits import COUNTER_MAX
from collabkernel.wire.fast_reader import UnusualError, read_op_id, read_site, read_value, read_varint

_SIDES: Final = {int(side): side for side in Side}
_new_tuple: Final = tuple.__new__

SlotEntry = tuple[OpId, OpId | None, Side]
"""What ``RgaList.restore`` takes of a slot: its id, its parent's, its side."""
ElementEntry = tuple[OpId, tuple[Stamp, object] | None, tuple[Stamp, OpId] | None, bool]
"""What ``RgaList.restore`` takes of an element: its id, value register, position register, whether it is deleted."""


class RoomParts(NamedTuple):
    """A RoomState whose containers and blocks are not read yet."""

    seq: int
    hlc: int
    containers: list[bytes]
    tree: bytes | None
    """None: the room has no documents."""
    blocks: list[bytes]
    purged_seq: int = 0


def read_room(data: bytes) -> RoomParts:
    """Cut a RoomState; may raise any of ``NOT_READ``."""
    seq = hlc = at = 0
    if data[at] == 0x08:
        seq, at = read_varint(data, at + 1)
        if not 0 < seq <= COUNTER_MAX:
            raise UnusualError
    if data[at] == 0x11:
        hlc = int.from_bytes(data[at + 1 : at + 9], "little")
        at += 9
        if not hlc:
            raise UnusualError
    parts: dict[int, list[bytes]] = {0x1A: [], 0x22: [], 0x2A: []}
    end, last_tag, purged_seq = len(data), 0, 0
    while at < end:
        tag = data[at]
        if tag == 0x30:
            purged_seq, at = read_varint(data, at + 1)
            if at != end or not 0 < purged_seq <= COUNTER_MAX:
                raise UnusualError
            break
        if tag < last_tag:
            raise UnusualError
        last_tag = tag
        size, at = read_varint(data, at + 1)
        parts[tag].append(data[at : at + size])
        at += size
    trees = parts[0x22]
    if at != end or len(trees) > 1:
        raise UnusualError
    return RoomParts(seq, hlc, parts[0x1A], trees[0] if trees else None, parts[0x2A], purged_seq)


def read_text(block: bytes) -> tuple[OpId, bytes]:
    """The id and text of a BlockState that has no more; may raise any of ``NOT_READ``.

    Most blocks have a text and no property beside their type: through protobuf they take three times as long.
    """
    id_end = 2 + block[1]
    if block[0] != 0x0A or block[1] > 127 or block[id_end] != 0x1A:
        raise UnusualError
    id = read_op_id(block, 2, id_end)
    size, at = read_varint(block, id_end + 1)
    if not size or at + size != len(block):
        raise UnusualError
    return id, block[at:]


def contents_at(container: bytes) -> int:
    """The offset of a container's first slot or element, its end when it has none; may raise any of ``NOT_READ``."""
    at, end = 0, len(container)
    while at < end:
        tag = container[at]
        if tag == 0x4A or tag == 0x52:
            return at
        if tag & 7 == 2:
            size, at = read_varint(container, at + 1)
            at += size
        elif tag & 7 == 1:
            at += 9
        else:
            _, at = read_varint(container, at + 1)
    return end


def read_list(
    data: bytes, at: int, kind_by_id: dict[OpId, ContainerKind]
) -> tuple[list[SlotEntry], list[ElementEntry]]:
    """Slots and elements of a list, from ``contents_at`` on; may raise any of ``NOT_READ``."""
    end = len(data)
    id_by_body: dict[bytes, OpId] = {}
    raw_slots: list[tuple[OpId, bytes | None, Side]] = []
    while at < end and data[at] == 0x4A:
        slot_end = at + 2 + data[at + 1]
        if data[at + 2] != 0x0A:
            raise UnusualError
        at += 4
        body_end = at + data[at - 1]
        body = data[at:body_end]
        id_by_body[body] = slot_id = read_op_id(data, at, body_end)
        at = body_end
        parent = None
        if data[at] == 0x12:
            parent_end = at + 2 + data[at + 1]
            parent = data[at + 2 : parent_end]
            at = parent_end
        if data[at] != 0x18 or at + 2 != slot_end:
            raise UnusualError
        raw_slots.append((slot_id, parent, _SIDES[data[at + 1]]))
        at = slot_end
    slots = [(id, None if parent is None else id_by_body[parent], side) for id, parent, side in raw_slots]
    elements = []
    while at < end:
        if data[at] != 0x52:
            raise UnusualError
        size, at = read_varint(data, at + 1)
        element_end = at + size
        elements.append(_read_element(data, at, element_end, id_by_body, kind_by_id))
        at = element_end
    if at != end:
        raise UnusualError
    return slots, elements


def _read_element(
    data: bytes, at: int, end: int, id_by_body: dict[bytes, OpId], kind_by_id: dict[OpId, ContainerKind]
) -> ElementEntry:
    if data[at] != 0x0A:
        raise UnusualError
    body_end = at + 2 + data[at + 1]
    element = id_by_body[data[at + 2 : body_end]]
    at = body_end
    if data[at] == 0x30:
        if data[at + 1] != 1 or at + 2 != end:
            raise UnusualError
        return element, None, None, True
    if data[at] != 0x12:
        raise UnusualError
    size, at = read_varint(data, at + 1)
    register_at, register_end = at, at + size
    stamp, at = _read_stamp(data, at, 0x09, 0x10)
    stamp_bytes = at - register_at
    if data[at] != 0x1A:
        raise UnusualError
    value_size, at = read_varint(data, at + 1)
    if at + value_size != register_end:
        raise UnusualError
    value: object
    if data[at] == 0x3A:
        if at + 2 + data[at + 1] != register_end:
            raise UnusualError
        id = read_op_id(data, at + 2, register_end)
        value = ContainerRef(id, kind_by_id[id])
    else:
        value = read_value(data, at, register_end)
    at = register_end + stamp_bytes
    if (
        data[register_end] == 0x19
        and data[register_end + 9] == 0x20
        and data[register_end + 1 : register_end + 9] == data[register_at + 1 : register_at + 9]
        and data[register_end + 10 : at] == data[register_at + 10 : register_at + stamp_bytes]
    ):
        position = stamp  # Neither set nor moved since it was inserted, as most are.
    else:
        position, at = _read_stamp(data, register_end, 0x19, 0x20)
    if data[at] != 0x2A or at + 2 + data[at + 1] != end:
        raise UnusualError
    slot = id_by_body[data[at + 2 : end]]
    return element, (stamp, value), (position, slot), False


def _read_stamp(data: bytes, at: int, hlc_tag: int, site_tag: int) -> tuple[Stamp, int]:
    """A stamp's two fields, and the offset after them."""
    if data[at] != hlc_tag or data[at + 9] != site_tag:
        raise UnusualError
    hlc = int.from_bytes(data[at + 1 : at + 9], "little")
    if not hlc:
        raise UnusualError
    site, at = read_site(data, at + 10)
    return _new_tuple(Stamp, (hlc, site)), at
