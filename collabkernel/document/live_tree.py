"""The tree of live values of a room: what the operations of its log fold into.

Objects and maps are LWW maps, lists are Fugue trees with movable elements, texts are Yjs ropes (``crdt/``). All of them
commute: operations may come in any causal order and any number of times, the state is the same. So a client applies its
own and remote operations to one tree, and nothing is ever taken off it (docs/decisions/0001).

A container has one home, the place that it was made in, for ever. It is *attached* while every place on the way up to
the root still shows it. What is detached stays in the tree, since a concurrent edit may refer to it, until compaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.crdt.lww import TOMBSTONE, LwwMap, Register
from collabkernel.crdt.rga import RgaList
from collabkernel.crdt.text import TextRope
from collabkernel.document.operations import (
    ContainerKind,
    ContainerRef,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    LiveOp,
    MapDelete,
    MapSet,
    NewContainer,
    OpValue,
    StoredValue,
    TextEdit,
    shared_container_id,
)
from collabkernel.errors import (
    InvalidOperationError,
    PurgedError,
    TooDeepError,
    UnknownTargetError,
    WrongTargetKindError,
)

REGISTER_BYTES = 48
"""What a register, slot or element is counted as, beside its key and value: about what its snapshot takes."""
CONTAINER_BYTES = {
    ContainerKind.OBJECT: 500,
    ContainerKind.MAP: 500,
    ContainerKind.LIST: 1200,
    ContainerKind.TEXT: 1900,
}
"""What an empty container is counted as, beside its register: what it takes in memory, for its snapshot is small."""
TYPED_TEXT_BYTES = 7000
"""What a text takes beside its contents once there are any: a document of yrs."""

Action = Literal["set", "delete", "insert", "remove", "replace", "move", "text"]
Undo = Callable[[], None]
"""Takes back one applied operation; only the last one that is still applied may be taken back."""


class Absent:
    """The type of ``ABSENT``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
"""No value: a key that is not there. (None is a value.)"""


@dataclass(frozen=True, slots=True)
class Change:
    """What one operation did to what a user sees."""

    target: OpId
    action: Action
    key: str | int | None = None
    """The key in a map or object; the index in a list (after the change, for a move)."""
    old: StoredValue | Absent = ABSENT
    new: StoredValue | Absent = ABSENT
    old_index: int | None = None
    """Of a move."""
    delta: tuple[dict[str, Any], ...] = ()
    """Of a text: retain, insert and delete steps, lengths in code points."""


@dataclass(frozen=True, slots=True)
class Home:
    """The place that a container was made in."""

    parent: OpId
    key: str | None = None
    """In a map or object."""
    element: OpId | None = None
    """In a list."""
    after: Stamp | None = None
    """Of a shared container."""


class MapNode:
    """An object or a map."""

    __slots__ = ("depth", "entries", "home", "id", "kind")

    def __init__(self, id: OpId, kind: ContainerKind, home: Home | None, depth: int) -> None:
        self.id = id
        self.kind = kind
        self.home = home
        self.depth = depth
        self.entries = LwwMap()


class ListNode:
    """A list."""

    __slots__ = ("depth", "home", "id", "items", "kind")

    def __init__(self, id: OpId, home: Home | None, depth: int) -> None:
        self.id = id
        self.kind = ContainerKind.LIST
        self.home = home
        self.depth = depth
        self.items = RgaList()


class TextNode:
    """A text."""

    __slots__ = ("depth", "home", "id", "kind", "rope")

    def __init__(self, id: OpId, home: Home | None, depth: int, client_id: int) -> None:
        self.id = id
        self.kind = ContainerKind.TEXT
        self.home = home
        self.depth = depth
        self.rope = TextRope(client_id or 1, records_steps=client_id != 0)


Node = MapNode | ListNode | TextNode


def _wrong_kind(node: Node, op: LiveOp) -> WrongTargetKindError:
    id, kind = node.id, node.kind.name.lower()
    return WrongTargetKindError(f"{type(op).__name__} does not fit {id.site}.{id.counter}, which is a {kind}")


def value_bytes(value: OpValue | StoredValue) -> int:
    """About what a value takes in a snapshot."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return len(value)
    return 8


def registers_bytes(registers: Iterable[tuple[str, Register]]) -> int:
    """What registers of plain values are counted as, by key."""
    size_bytes = 0
    for key, (_, value) in registers:
        size_bytes += REGISTER_BYTES + value_bytes(key)
        size_bytes += 0 if value is TOMBSTONE else value_bytes(cast(StoredValue, value))
    return size_bytes


class LiveTree:
    """The live values of one room."""

    def __init__(self, client_id: int = 0, depth_max: int | None = None) -> None:
        """Make an empty tree.

        Args:
            client_id: Yjs client id of local text edits, the replica's site; 0 where nothing is edited locally.
            depth_max: Levels of nesting above which operations are refused; None where the log was judged already.
        """
        self.client_id = client_id
        self.tells_changes = True
        """Whether ``apply`` tells what changed, which for a text takes two to three times the time."""
        self.depth_max = depth_max
        self.size_bytes = 0
        self._is_loose = False
        self.nodes: dict[OpId, Node] = {ROOT: MapNode(ROOT, ContainerKind.OBJECT, None, 0)}

    # -- reading

    @property
    def root(self) -> MapNode:
        """The root object."""
        node = self.nodes[ROOT]
        assert isinstance(node, MapNode)
        return node

    def node(self, id: OpId) -> Node:
        """The container with this id.

        Raises:
            UnknownTargetError: There is none.
        """
        node = self.nodes.get(id)
        if node is None:
            raise UnknownTargetError(f"there is no container {id.site}.{id.counter} in this room")
        return node

    def text(self, op: TextEdit) -> TextRope:
        """The text that an operation edits.

        Raises:
            UnknownTargetError, WrongTargetKindError: There is none.
        """
        node = self.node(op.target)
        if not isinstance(node, TextNode):
            raise _wrong_kind(node, op)
        return node.rope

    def place(self, node: Node) -> str | int | None:
        """Where its parent shows the container: a key or an index; None when it is not shown there, or is the root."""
        home = node.home
        if home is None:
            return None
        parent = self.nodes[home.parent]
        if isinstance(parent, MapNode) and home.key is not None:
            value = parent.entries.get(home.key, None)
            shown = isinstance(value, ContainerRef) and value.id == node.id
            return home.key if shown else None
        assert isinstance(parent, ListNode)
        assert home.element is not None
        index = parent.items.index_of(home.element)
        if index is None:
            return None
        value = self._value_of(parent, home.element)
        return index if isinstance(value, ContainerRef) and value.id == node.id else None

    def path(self, id: OpId) -> tuple[str | int, ...] | None:
        """Keys and indexes from the root to the container; None when it is detached."""
        steps: list[str | int] = []
        node = self.nodes.get(id)
        while node is not None and node.home is not None:
            step = self.place(node)
            if step is None:
                return None
            steps.append(step)
            node = self.nodes[node.home.parent]
        return None if node is None else tuple(reversed(steps))

    def to_plain(self, value: StoredValue | Absent) -> Any:
        """The value as plain Python: dicts, lists, strings and scalars. Bytes stay bytes.

        Nesting is bounded by ``Limits.depth`` at admission, so the recursion is too.
        """
        if not isinstance(value, ContainerRef):
            return value
        node = self.nodes[value.id]
        if isinstance(node, MapNode):
            return {key: self.to_plain(cast(StoredValue, item)) for key, item in node.entries.items()}
        if isinstance(node, ListNode):
            return [self.to_plain(cast(StoredValue, item)) for item in node.items.values()]
        return node.rope.text

    def to_json(self) -> dict[str, Any]:
        """The whole room, from the root, as ``to_plain`` gives it."""
        plain = self.to_plain(ContainerRef(ROOT, ContainerKind.OBJECT))
        assert isinstance(plain, dict)
        return plain

    def in_order(self) -> Iterator[Node]:
        """Every container, parents before children (they were made in that order)."""
        return iter(self.nodes.values())

    # -- applying

    def loosen(self) -> None:
        """Keep no order in the lists that are made from here to ``order``; meanwhile nothing may ask by index."""
        self._is_loose = True

    def order(self) -> None:
        """Make out the order of the lists that were made since ``loosen``."""
        self._is_loose = False
        for node in self.nodes.values():
            if isinstance(node, ListNode) and node.items.is_loose:
                node.items.order()

    def apply_undoable(self, op_id: OpId, stamp: Stamp, op: LiveOp) -> tuple[Change | None, Undo]:
        """``apply`` that can be taken back, as long as nothing later is applied."""
        nodes_count, size_bytes = len(self.nodes), self.size_bytes
        undo_node = self._undo_in_node(op_id, op)
        change = self.apply(op_id, stamp, op)

        def undo() -> None:
            undo_node()
            if len(self.nodes) > nodes_count:
                self.nodes.popitem()
            self.size_bytes = size_bytes

        return change, undo

    def _undo_in_node(self, op_id: OpId, op: LiveOp) -> Undo:
        """What takes ``op`` back out of its target; asked before it is applied."""
        node = self.node(op.target)
        if isinstance(node, MapNode) and isinstance(op, MapSet | MapDelete):
            return partial(node.entries.restore, op.key, node.entries.register(op.key))
        if isinstance(node, ListNode) and isinstance(op, ListInsert):
            return partial(node.items.revert, node.items.revert_token(op_id, op_id))
        if isinstance(node, ListNode) and isinstance(op, ListDelete | ListMove | ListSet):
            made = op_id if isinstance(op, ListMove) else None
            return partial(node.items.revert, node.items.revert_token(op.element, made))
        if isinstance(node, TextNode) and isinstance(op, TextEdit):
            return partial(node.rope.rewind, node.rope.mark())
        raise _wrong_kind(node, op)

    def apply(self, op_id: OpId, stamp: Stamp, op: LiveOp) -> Change | None:
        """Apply one operation of the log, or of this site, at once and whole, or not at all.

        Returns:
            What changed for a user, or None when nothing did.

        Raises:
            InvalidOperationError: Its target, references or kind do not fit this tree.
            InvalidYjsUpdateError: Its text update is refused.
            TooDeepError: It nests deeper than ``depth_max``.
        """
        node = self.nodes.get(op.target)
        if node is None:
            raise UnknownTargetError(f"there is no container {op.target.site}.{op.target.counter} in this room")
        node_class, apply = _APPLY[type(op)]
        if node.__class__ is not node_class:
            raise _wrong_kind(node, op)
        return apply(self, node, op_id, stamp, op)

    def _set_key(self, node: MapNode, op_id: OpId, stamp: Stamp, op: MapSet) -> Change | None:
        entries, key, value = node.entries, op.key, op.value
        register = entries.register(key)
        if register is None and entries.is_below_floor(stamp):
            raise PurgedError(f"nobody can tell any more whether {key!r} was deleted since this edit was made")
        stored: StoredValue = (
            self._enter(value, node, op_id, Home(node.id, key=key, after=value.after))
            if isinstance(value, NewContainer)
            else value
        )
        if not entries.apply_set(key, stamp, stored):
            return None
        old: StoredValue | Absent = ABSENT
        if register is None:
            self.size_bytes += REGISTER_BYTES + value_bytes(key)
        elif register[1] is not TOMBSTONE:
            old = cast(StoredValue, register[1])
            self.size_bytes -= value_bytes(old)
        self.size_bytes += value_bytes(stored)
        return Change(node.id, "set", key, old, stored) if self.tells_changes else None

    def _delete_key(self, node: MapNode, _op_id: OpId, stamp: Stamp, op: MapDelete) -> Change | None:
        register = node.entries.register(op.key)
        if not node.entries.apply_delete(op.key, stamp):
            return None
        if register is None:
            self.size_bytes += REGISTER_BYTES + value_bytes(op.key)
        if register is None or register[1] is TOMBSTONE:
            return None
        old = cast(StoredValue, register[1])
        self.size_bytes -= value_bytes(old)
        return Change(node.id, "delete", op.key, old) if self.tells_changes else None

    def _insert(self, node: ListNode, op_id: OpId, stamp: Stamp, op: ListInsert) -> Change | None:
        items, value = node.items, op.value
        if isinstance(value, NewContainer):
            if items.knows(op_id):
                return None
            items.check_slot(op.parent, op.side)
            stored = self._element_value(value, node, op_id, op_id)
        else:
            stored = value
        index = items.insert(op_id, stamp, op.parent, op.side, stored)
        if index is None:
            return None
        self.size_bytes += REGISTER_BYTES + value_bytes(stored)
        return Change(node.id, "insert", index, ABSENT, stored) if self.tells_changes else None

    def _delete_element(self, node: ListNode, _op_id: OpId, _stamp: Stamp, op: ListDelete) -> Change | None:
        old = self._value_of(node, op.element)
        index = node.items.delete(op.element)
        if index is None or isinstance(old, Absent):
            return None
        self.size_bytes -= value_bytes(old)
        return Change(node.id, "remove", index, old) if self.tells_changes else None

    def _move(self, node: ListNode, op_id: OpId, stamp: Stamp, op: ListMove) -> Change | None:
        moved = node.items.move(op_id, stamp, op.element, op.parent, op.side)
        self.size_bytes += REGISTER_BYTES
        if moved is None or moved[0] == moved[1] or not self.tells_changes:
            return None
        value = self._value_of(node, op.element)
        return Change(node.id, "move", moved[1], value, value, old_index=moved[0])

    def _set_element(self, node: ListNode, op_id: OpId, stamp: Stamp, op: ListSet) -> Change | None:
        old = self._value_of(node, op.element)
        stored = self._element_value(op.value, node, op_id, op.element)
        index = node.items.set(op.element, stamp, stored)
        if index is None or isinstance(old, Absent):
            return None
        self.size_bytes += value_bytes(stored) - value_bytes(old)
        return Change(node.id, "replace", index, old, stored) if self.tells_changes else None

    def _value_of(self, node: ListNode, element: OpId) -> StoredValue | Absent:
        """An element's value, ABSENT when it is deleted.

        Raises:
            UnknownReferenceError: There never was such an element.
        """
        return cast(StoredValue | Absent, node.items.get(element, ABSENT))

    def _edit_text(self, node: TextNode, op_id: OpId, _stamp: Stamp, op: TextEdit) -> Change | None:
        rope = node.rope
        if rope.covers(op.update, op_id.site):
            return None
        was_empty = rope.is_empty
        if self.tells_changes:
            delta = rope.apply_with_delta(op.update, op_id.site)
        else:
            rope.apply(op.update, op_id.site)
            delta = []
        self.size_bytes += len(op.update) + (TYPED_TEXT_BYTES if was_empty else 0)
        return Change(node.id, "text", delta=tuple(delta)) if delta else None

    # -- containers

    def _element_value(self, value: OpValue, node: ListNode, op_id: OpId, element: OpId) -> StoredValue:
        if not isinstance(value, NewContainer):
            return value
        if value.shared:
            raise InvalidOperationError("only maps and objects hold shared containers")
        return self._enter(value, node, op_id, Home(node.id, element=element))

    def _enter(self, new: NewContainer, parent: Node, op_id: OpId, home: Home) -> ContainerRef:
        """The container that an operation makes, entered into the tree when it is not there yet."""
        id = op_id
        if new.shared:
            assert home.key is not None
            id = shared_container_id(home.parent, home.key, new.kind, new.after)
        elif new.after is not None:
            raise InvalidOperationError("only a shared container has an `after`")
        known = self.nodes.get(id)
        if known is None:
            self.enter(id, new.kind, home, parent.depth + 1)
        elif known.home != home or known.kind != new.kind:
            raise InvalidOperationError(f"{id.site}.{id.counter} names another container already")
        return ContainerRef(id, new.kind)

    def enter(self, id: OpId, kind: ContainerKind, home: Home, depth: int) -> Node:
        """Put a new, empty container into the tree; for operations and for snapshots.

        Raises:
            TooDeepError: ``depth`` is over ``depth_max``.
        """
        if self.depth_max is not None and depth > self.depth_max:
            raise TooDeepError(self.depth_max)
        node: Node
        if kind is ContainerKind.LIST:
            node = ListNode(id, home, depth)
            if self._is_loose:
                node.items.loosen()
        elif kind is ContainerKind.TEXT:
            node = TextNode(id, home, depth, self.client_id)
        else:
            node = MapNode(id, kind, home, depth)
        self.nodes[id] = node
        self.size_bytes += CONTAINER_BYTES[kind]
        return node


_APPLY: dict[type, tuple[type, Callable[..., Change | None]]] = {
    MapSet: (MapNode, LiveTree._set_key),
    MapDelete: (MapNode, LiveTree._delete_key),
    ListInsert: (ListNode, LiveTree._insert),
    ListDelete: (ListNode, LiveTree._delete_element),
    ListMove: (ListNode, LiveTree._move),
    ListSet: (ListNode, LiveTree._set_element),
    TextEdit: (TextNode, LiveTree._edit_text),
}
"""Which kind of node each operation fits, and how it is applied there."""
