"""The tree of live values of a room: what the operations of its log fold into.

Objects and maps are LWW maps, lists are Fugue trees with movable elements, texts are Yjs ropes (``crdt/``). All of them
commute: operations may come in any causal order and any number of times, the state is the same. So a client applies its
own and remote operations to one tree, and nothing is ever taken off it (docs/decisions/0001).

A container has one home, the place that it was made in, for ever. It is *attached* while every place on the way up to
the root still shows it. What is detached stays in the tree, since a concurrent edit may refer to it, until compaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.crdt.lww import TOMBSTONE, LwwMap
from collabkernel.crdt.rga import RgaList
from collabkernel.crdt.text import TextRope
from collabkernel.document.operations import (
    ContainerKind,
    ContainerRef,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    NewContainer,
    Op,
    OpValue,
    StoredValue,
    TextEdit,
    shared_container_id,
)
from collabkernel.errors import InvalidOperationError, TooDeepError, UnknownTargetError, WrongTargetKindError

REGISTER_BYTES = 48
"""What a register, slot or element is counted as, beside its key and value: about what its snapshot takes."""

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
        self.rope = TextRope(client_id)


Node = MapNode | ListNode | TextNode


def value_bytes(value: OpValue | StoredValue) -> int:
    """About what a value takes in a snapshot."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return len(value)
    return 8


class LiveTree:
    """The live values of one room."""

    def __init__(self, client_id: int = 0, depth_max: int | None = None) -> None:
        """Make an empty tree.

        Args:
            client_id: Yjs client id of local text edits, the replica's site; 0 where nothing is edited locally.
            depth_max: Levels of nesting above which operations are refused; None where the log was judged already.
        """
        self.client_id = client_id
        self.depth_max = depth_max
        self.size_bytes = 0
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
        value = parent.items.value_of(home.element)
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
            return {key: self.to_plain(item) for key, item in node.entries.items()}
        if isinstance(node, ListNode):
            return [self.to_plain(item) for item in node.items.values()]
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

    def apply(self, op_id: OpId, stamp: Stamp, op: Op) -> Change | None:
        """Apply one operation of the log, or of this site, at once and whole, or not at all.

        Returns:
            What changed for a user, or None when nothing did.

        Raises:
            InvalidOperationError: Its target, references or kind do not fit this tree.
            InvalidYjsUpdateError: Its text update is refused.
            TooDeepError: It nests deeper than ``depth_max``.
        """
        return self._apply(op_id, stamp, op)[0]

    def apply_undoable(self, op_id: OpId, stamp: Stamp, op: Op) -> tuple[Change | None, Undo]:
        """``apply`` that can be taken back, as long as nothing later is applied."""
        created = self._created_by(op_id, op)
        is_new = created is not None and created not in self.nodes
        size_bytes = self.size_bytes
        undo_register = self._register_undo(op)
        change, token = self._apply(op_id, stamp, op, undoable=True)

        def undo() -> None:
            if undo_register is not None:
                undo_register()
            elif token is not None:
                token()
            if is_new and created is not None:
                self.nodes.pop(created, None)
            self.size_bytes = size_bytes

        return change, undo

    def _register_undo(self, op: Op) -> Undo | None:
        if not isinstance(op, MapSet | MapDelete):
            return None
        node = self.nodes.get(op.target)
        if not isinstance(node, MapNode):
            return None
        entries, key, register = node.entries, op.key, node.entries.register(op.key)
        return lambda: entries.restore(key, register)

    def _apply(self, op_id: OpId, stamp: Stamp, op: Op, undoable: bool = False) -> tuple[Change | None, Undo | None]:
        node = self.nodes.get(op.target)
        if node is None:
            raise UnknownTargetError(f"there is no container {op.target.site}.{op.target.counter} in this room")
        match op:
            case MapSet() | MapDelete() if isinstance(node, MapNode):
                return self._apply_to_map(node, op_id, stamp, op), None
            case ListInsert() | ListDelete() | ListMove() | ListSet() if isinstance(node, ListNode):
                return self._apply_to_list(node, op_id, stamp, op, undoable)
            case TextEdit() if isinstance(node, TextNode):
                return self._apply_to_text(node, op_id, op, undoable)
            case _:
                raise WrongTargetKindError(
                    f"{type(op).__name__} does not fit {op.target.site}.{op.target.counter}, which is a "
                    f"{node.kind.name.lower()}"
                )

    def _apply_to_map(self, node: MapNode, op_id: OpId, stamp: Stamp, op: MapSet | MapDelete) -> Change | None:
        entries, key = node.entries, op.key
        register = entries.register(key)
        if register is None:
            old: StoredValue | Absent = ABSENT
            self.size_bytes += REGISTER_BYTES + len(key)
        else:
            old = ABSENT if register[1] is TOMBSTONE else register[1]
        if isinstance(op, MapDelete):
            if not entries.apply_delete(key, stamp):
                return None
            self.size_bytes -= 0 if old is ABSENT else value_bytes(old)
            return None if old is ABSENT else Change(node.id, "delete", key, old)
        value = op.value
        stored: StoredValue = (
            self._enter(value, node, op_id, Home(node.id, key=key, after=value.after))
            if isinstance(value, NewContainer)
            else value
        )
        if not entries.apply_set(key, stamp, stored):
            return None
        self.size_bytes += value_bytes(stored) - (0 if old is ABSENT else value_bytes(old))
        return Change(node.id, "set", key, old, stored)

    def _apply_to_list(
        self,
        node: ListNode,
        op_id: OpId,
        stamp: Stamp,
        op: ListInsert | ListDelete | ListMove | ListSet,
        undoable: bool,
    ) -> tuple[Change | None, Undo | None]:
        items = node.items
        match op:
            case ListInsert():
                items.check_slot(op.parent)
                stored = self._element_value(op.value, node, op_id, op_id)
                index = items.insert(op_id, stamp, op.parent, op.side, stored)
                self.size_bytes += REGISTER_BYTES + value_bytes(stored)
                change = None if index is None else Change(node.id, "insert", index, ABSENT, stored)
            case ListDelete():
                old = items.value_of(op.element)
                index = items.delete(op.element)
                change = None if index is None else Change(node.id, "remove", index, old)
            case ListMove():
                moved = items.move(op_id, stamp, op.element, op.parent, op.side)
                self.size_bytes += REGISTER_BYTES
                if moved is None or moved[0] == moved[1]:
                    change = None
                else:
                    value = items.value_of(op.element)
                    change = Change(node.id, "move", moved[1], value, value, old_index=moved[0])
            case ListSet():
                old = items.value_of(op.element)
                stored = self._element_value(op.value, node, op_id, op.element)
                index = items.set(op.element, stamp, stored)
                self.size_bytes += value_bytes(stored) - value_bytes(old) if index is not None else 0
                change = None if index is None else Change(node.id, "replace", index, old, stored)
        return change, (items.last_undo() if undoable else None)

    def _apply_to_text(
        self, node: TextNode, op_id: OpId, op: TextEdit, undoable: bool
    ) -> tuple[Change | None, Undo | None]:
        rope = node.rope
        token: Undo | None = None
        if undoable:
            before = rope.checkpoint()
            token = lambda: rope.restore(before)  # noqa: E731  # a closure over this branch's names
        delta = rope.apply(op.update, op_id.site)
        self.size_bytes += len(op.update)
        return (Change(node.id, "text", delta=tuple(delta)) if delta else None), token

    # -- containers

    def _created_by(self, op_id: OpId, op: Op) -> OpId | None:
        value = op.value if isinstance(op, MapSet | ListInsert | ListSet) else None
        if not isinstance(value, NewContainer):
            return None
        if value.shared and isinstance(op, MapSet):
            return shared_container_id(op.target, op.key, value.kind, value.after)
        return op_id

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
        elif kind is ContainerKind.TEXT:
            node = TextNode(id, home, depth, self.client_id)
        else:
            node = MapNode(id, kind, home, depth)
        self.nodes[id] = node
        self.size_bytes += REGISTER_BYTES
        return node
