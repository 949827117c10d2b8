"""The live values of a room to bytes and back: what snapshots hold, in the database and on the wire.

``room_state.py`` has the whole of a room, with its block documents.

Two replicas that folded the same operations encode to the same bytes: containers stand in order of depth and id, keys
in order of code points, slots and elements in list order. (Texts are as yrs encodes them, which may depend on the order
of the updates.) The tree's ``size_bytes`` is counted anew when a state is decoded: of texts it then counts the merged
state, not the updates that led there.

Reading is strict as in ``strict.py``. Frozen by ``tests/conformance/vectors.json``.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, cast

from collabkernel.crdt.ids import ROOT, OpId, Side, Stamp
from collabkernel.crdt.lww import TOMBSTONE, LwwMap
from collabkernel.crdt.rga import RgaList
from collabkernel.document.live_tree import (
    REGISTER_BYTES,
    TYPED_TEXT_BYTES,
    Home,
    LiveTree,
    MapNode,
    Node,
    TextNode,
    value_bytes,
)
from collabkernel.document.operations import ContainerKind, ContainerRef, Scalar, StoredValue
from collabkernel.errors import MalformedFrameError
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import fast_reader, fast_state, ops, strict
from collabkernel.wire.writer import field_bytes, field_varint, site_varint, varint

_KINDS: Final = {int(kind): kind for kind in ContainerKind}
_SIDES: Final = {int(side): side for side in Side}

_new_tuple: Final = tuple.__new__
"""``OpId(...)`` and ``Stamp(...)`` at half the price; a state has hundreds of thousands."""


# -- encoding

_FIXED64 = struct.Struct("<Q").pack


def encode_state(tree: LiveTree, seq: int, hlc: int) -> bytes:
    """The bytes of a ``RoomState``.

    Args:
        tree: The room's live values.
        seq: The seq up to which they are folded.
        hlc: The highest HLC among the folded operations, 0 for none.
    """
    nodes = sorted(tree.in_order(), key=lambda node: (node.depth, node.id))
    head = field_varint(1, seq) + (b"\x11" + _FIXED64(hlc) if hlc else b"")
    return head + b"".join([field_bytes(3, _container(node)) for node in nodes])


def _container(node: Node) -> bytes:
    head = field_bytes(1, ops.op_id_bytes(node.id)) + field_varint(2, node.kind) + _home(node.home)
    if isinstance(node, MapNode):
        floor = node.entries.floor
        entries = [field_bytes(8, map_entry(key, stamp, value)) for key, (stamp, value) in node.entries.registers()]
        tail = b"" if floor is None else b"\x61" + _FIXED64(floor.hlc) + field_varint(13, floor.site)
        return b"".join([head, *entries, tail])
    if isinstance(node, TextNode):
        return head + field_bytes(11, node.rope.encode_state())
    return head + _list(node.items)


def _home(home: Home | None) -> bytes:
    if home is None:
        return b""
    parts = field_bytes(3, ops.op_id_bytes(home.parent))
    if home.key:
        parts += field_bytes(4, home.key.encode())
    if home.element is not None:
        parts += field_bytes(5, ops.op_id_bytes(home.element))
    if home.after is not None:
        parts += b"\x31" + _FIXED64(home.after.hlc) + field_varint(7, home.after.site)
    return parts


def map_entry(key: str, stamp: Stamp, value: object) -> bytes:
    """The body of a ``MapEntry``."""
    name = field_bytes(1, key.encode()) if key else b""
    return name + field_bytes(2, _register(stamp, value))


def _register(stamp: Stamp, value: object) -> bytes:
    head = b"\x09" + _FIXED64(stamp[0]) + b"\x10" + site_varint(stamp[1])
    if value is TOMBSTONE:
        return head
    body = _reference(value) if isinstance(value, ContainerRef) else ops.value_bytes(cast(Scalar, value))
    return head + b"\x1a" + varint(len(body)) + body


def _reference(value: ContainerRef) -> bytes:
    """The body of a ``StoredValue`` that is a container."""
    return field_bytes(7, ops.op_id_bytes(value.id))


def _list(items: RgaList) -> bytes:
    sized_by_id = {}
    parts = []
    slots = list(items.slots())
    for slot_id, _, _ in slots:
        body = ops.op_id_bytes(slot_id)
        sized_by_id[slot_id] = varint(len(body)) + body
    for slot_id, parent, side in slots:
        above = b"" if parent is None else b"\x12" + sized_by_id[parent]
        body = b"".join((b"\x0a", sized_by_id[slot_id], above, b"\x18", varint(side)))
        parts.append(b"\x4a" + varint(len(body)) + body)
    for element, value, position, _ in items.elements():
        if value is None or position is None:
            body = b"\x0a" + sized_by_id[element] + b"\x30\x01"
        else:
            (hlc, site), slot = position
            register = _register(*value)
            shown = (b"\x19", _FIXED64(hlc), b"\x20", site_varint(site), b"\x2a", sized_by_id[slot])
            body = b"".join((b"\x0a", sized_by_id[element], b"\x12", varint(len(register)), register, *shown))
        parts.append(b"\x52" + varint(len(body)) + body)
    return b"".join(parts)


# -- decoding


def decode_state(data: bytes, client_id: int | None) -> tuple[LiveTree, int, int]:
    """The tree, seq and highest HLC that ``encode_state`` gave ``data`` for.

    Args:
        data: A ``RoomState``.
        client_id: The site that will edit the tree; None where nothing is edited locally.

    Raises:
        RemoteProtocolError: It is no state of a room (``MalformedFrameError``; ``InvalidYjsUpdateError`` or
            ``UnknownReferenceError`` when that is found in a text or a list).
    """
    parts = cut(data)
    if parts.tree is not None or parts.blocks or parts.purged_seq:
        raise strict.out_of_range("state of live values alone", "a document, or purged")
    return live_tree_of(parts, client_id), parts.seq, parts.hlc


def live_tree_of(parts: fast_state.RoomParts, client_id: int | None) -> LiveTree:
    """The live values of a state that was cut; raises as ``decode_state``."""
    with collector_paused():
        return _decode(parts.containers, client_id or 0)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python from looking for garbage while hundreds of thousands of objects are built that all stay.

    It would walk over all of them again and again: of 2.4 s for 100,000 list elements that was 1.5 s.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _decode(bodies: Sequence[bytes], client_id: int) -> LiveTree:
    containers = [_container_of(body) for body in bodies]
    if not containers or _id_of(containers[0].head.id) != ROOT or containers[0].head.kind != pb.OBJECT:
        raise strict.missing("root container")
    tree = LiveTree(client_id)
    kind_by_id = {_id_of(container.head.id): _kind_of(container.head) for container in containers}
    if len(kind_by_id) != len(containers):
        raise MalformedFrameError("state with a doubled container")
    for container in containers:
        _enter(tree, container, kind_by_id)
    return tree


class _Container(NamedTuple):
    """A container, read up to its slots and elements, which are the many."""

    head: pb.ContainerState
    body: bytes
    contents_at: int


def cut(data: bytes) -> fast_state.RoomParts:
    """A ``RoomState`` in its parts.

    Raises:
        MalformedFrameError: It is none.
    """
    try:
        return fast_state.read_room(data)
    except fast_reader.NOT_READ:
        message = strict.parse(pb.RoomState, data)
        containers = [container.SerializeToString() for container in message.containers]
        blocks = [block.SerializeToString() for block in message.blocks]
        tree = message.tree.SerializeToString() if message.HasField("tree") else None
        seq, purged_seq = strict.check_seq(message.seq, "seq"), strict.check_seq(message.purged_seq, "purged seq")
        return fast_state.RoomParts(seq, message.hlc, containers, tree, blocks, purged_seq)


def _container_of(body: bytes) -> _Container:
    try:
        contents_at = fast_state.contents_at(body)
    except fast_reader.NOT_READ:
        contents_at = 0
    # What is before the slots is canonical if the whole is; what is not is found here or in the rest.
    return _Container(strict.parse(pb.ContainerState, body[:contents_at] if contents_at else body), body, contents_at)


def _id_of(message: pb.OpId) -> OpId:
    return strict.container_id(message.site, message.counter)


def _kind_of(container: pb.ContainerState) -> ContainerKind:
    kind = _KINDS.get(container.kind)
    if kind is None:
        raise strict.out_of_range("container kind", container.kind)
    return kind


def _enter(tree: LiveTree, container: _Container, kind_by_id: dict[OpId, ContainerKind]) -> None:
    """Put a container with its contents into the tree, which has its parent already."""
    head = container.head
    id = _id_of(head.id)
    if id == ROOT:
        node: Node = tree.root
    else:
        home = _home_of(head)
        parent = tree.nodes.get(home.parent)
        if parent is None:
            raise strict.missing(f"parent of container {id.site}.{id.counter}")
        if isinstance(parent, TextNode) or isinstance(parent, MapNode) != (home.element is None):
            raise strict.out_of_range("home of a container", head.home)
        node = tree.enter(id, kind_by_id[id], home, parent.depth + 1)
    _check_contents(node, container)
    if isinstance(node, MapNode):
        registers, size_bytes = registers_of(head.entries, kind_by_id)
        node.entries = LwwMap(registers.items(), _floor_of(head))
        tree.size_bytes += size_bytes
    elif isinstance(node, TextNode):
        node.rope.restore(head.yjs_state)
        tree.size_bytes += 0 if node.rope.is_empty else len(head.yjs_state) + TYPED_TEXT_BYTES
    else:
        node.items = _list_of(tree, container, kind_by_id)


def _home_of(container: pb.ContainerState) -> Home:
    if not container.HasField("home"):
        raise strict.missing("home of a container")
    after = Stamp(container.after_hlc, container.after_site)
    if bool(after.hlc) != bool(after.site):
        raise strict.out_of_range("after", after)
    element = None
    if container.HasField("home_element"):
        element = strict.operation_id(container.home_element, "home element")
        if container.home_key or after.hlc:
            raise strict.out_of_range("home of a container", "both in a map and in a list")
    key = container.home_key if element is None else None
    return Home(_id_of(container.home), key, element, after if after.hlc else None)


def _check_contents(node: Node, container: _Container) -> None:
    """Refuse what belongs to another kind of container."""
    head = container.head
    is_list = node.kind is ContainerKind.LIST
    has_list = container.contents_at < len(container.body)
    if (
        (head.entries and not isinstance(node, MapNode))
        or (has_list and not is_list)
        or bool(head.yjs_state) != isinstance(node, TextNode)
        or (_floor_of(head) is not None and not isinstance(node, MapNode))
    ):
        raise strict.out_of_range("contents of a container", node.kind.name.lower())


def _floor_of(container: pb.ContainerState) -> Stamp | None:
    if not container.floor_hlc and not container.floor_site:
        return None
    return _stamp_of(container.floor_hlc, container.floor_site)


def registers_of(
    entries: Iterable[pb.MapEntry], kind_by_id: Mapping[OpId, ContainerKind]
) -> tuple[dict[str, tuple[Stamp, object]], int]:
    """The registers of a map by key, and about how large they are."""
    registers: dict[str, tuple[Stamp, object]] = {}
    size_bytes = 0
    last_key = None
    for entry in entries:
        key = entry.key
        if last_key is not None and key <= last_key:
            raise strict.out_of_range("order of keys", key)
        last_key = key
        if not entry.HasField("register"):
            raise strict.missing("register")
        registers[key] = register = _register_of(entry.register, kind_by_id)
        size_bytes += REGISTER_BYTES + value_bytes(key)
        if register[1] is not TOMBSTONE:
            size_bytes += value_bytes(cast(StoredValue, register[1]))
    return registers, size_bytes


def _stamp_of(hlc: int, site: int) -> Stamp:
    if not hlc or not site:
        raise strict.out_of_range("stamp", (hlc, site))
    return _new_tuple(Stamp, (hlc, site))


def _register_of(message: pb.Register, kind_by_id: Mapping[OpId, ContainerKind]) -> tuple[Stamp, object]:
    stamp = _stamp_of(message.hlc, message.site)
    if not message.HasField("value"):
        return stamp, TOMBSTONE
    value = message.value
    kind = value.WhichOneof("kind")
    match kind:
        case None:
            raise strict.missing("value")
        case "container":
            id = _id_of(value.container)
            if id not in kind_by_id:
                raise strict.missing(f"container {id.site}.{id.counter}")
            return stamp, ContainerRef(id, kind_by_id[id])
        case "number":
            return stamp, strict.check_finite(value.number)
        case "null":
            if not value.null:
                raise strict.out_of_range("null", False)
            return stamp, None
        case _:
            return stamp, getattr(value, kind)


def _list_of(tree: LiveTree, container: _Container, kind_by_id: dict[OpId, ContainerKind]) -> RgaList:
    try:
        slots, elements = fast_state.read_list(container.body, container.contents_at, kind_by_id)
    except fast_reader.NOT_READ:
        slots, elements = strictly_read_list(container.body, kind_by_id)
    if len({slot[0] for slot in slots}) != len(slots):
        raise MalformedFrameError("list with a doubled slot")
    if len({element[0] for element in elements}) != len(elements):
        raise MalformedFrameError("list with a doubled element")
    tree.size_bytes += len(slots) * REGISTER_BYTES + sum(
        [value_bytes(cast(StoredValue, value[1])) for _, value, _, _ in elements if value is not None]
    )
    return RgaList.restore(slots, elements)


def strictly_read_list(
    body: bytes, kind_by_id: dict[OpId, ContainerKind]
) -> tuple[list[fast_state.SlotEntry], list[fast_state.ElementEntry]]:
    """``fast_state.read_list`` through protobuf, of a whole container: slower, and the judge of everything unusual."""
    container = strict.parse(pb.ContainerState, body)
    slots: list[fast_state.SlotEntry] = []
    id_by_id: dict[OpId, OpId] = {}  # One object an id, however often it is named.
    for slot in container.slots:
        slot_id = strict.operation_id(slot.id, "slot")
        side = _SIDES.get(slot.side)
        if side is None:
            raise strict.out_of_range("side", slot.side)
        parent = strict.operation_id(slot.parent, "parent") if slot.HasField("parent") else None
        slots.append((slot_id, parent, side))
        id_by_id[slot_id] = slot_id
    return slots, [_element_of(element, id_by_id, kind_by_id) for element in container.elements]


def _element_of(
    message: pb.ElementState, id_by_id: dict[OpId, OpId], kind_by_id: dict[OpId, ContainerKind]
) -> fast_state.ElementEntry:
    element = _known(strict.operation_id(message.id, "element"), id_by_id)
    if message.deleted:
        if message.HasField("value") or message.HasField("slot") or message.position_hlc or message.position_site:
            raise strict.out_of_range("deleted element", element)
        return element, None, None, True
    if not message.HasField("value") or not message.HasField("slot"):
        raise strict.missing("value or slot of an element")
    value = _register_of(message.value, kind_by_id)
    if value[1] is TOMBSTONE:
        raise strict.missing("value of an element")
    stamp = value[0]
    position = (message.position_hlc, message.position_site)
    position_stamp = stamp if stamp == position else _stamp_of(*position)
    slot = _known(strict.operation_id(message.slot, "slot"), id_by_id)
    return element, value, (position_stamp, slot), False


def _known(id: OpId, id_by_id: dict[OpId, OpId]) -> OpId:
    known = id_by_id.get(id)
    if known is None:
        raise strict.missing(f"slot {id.site}.{id.counter}")
    return known
