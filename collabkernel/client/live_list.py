"""A live list: a ``MutableSequence`` whose items keep their identity when they move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from collabkernel.client.edit import Edit
from collabkernel.client.live import Context, Live, on_made
from collabkernel.client.sketch import NO_SOURCE, Sketch, Sketched, put, sketch
from collabkernel.client.typing_rules import accept
from collabkernel.crdt.ids import OpId
from collabkernel.crdt.rga import RgaList
from collabkernel.document.live_tree import ListNode, LiveTree
from collabkernel.document.operations import (
    ContainerKind,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    Op,
    OpValue,
    Side,
)
from collabkernel.errors import InvalidValueError

T = TypeVar("T")

EXTEND_OPS = 1000
"""Items that one envelope of ``extend`` takes outside a batch, so that a long one stays within the limits."""


class LiveList(Live, MutableSequence[T], Generic[T]):
    """A list of scalars and live values.

    ``lst[i] = value`` sets the item in its place, ``move`` shows it elsewhere; both merge with what others do to it.
    A dict that is put in becomes a LiveMap, a list a LiveList. A live value that is in a room already is copied.
    """

    kind: ClassVar[ContainerKind] = ContainerKind.LIST

    def __init__(self, items: Iterable[T] = ()) -> None:
        super().__init__()
        self._draft = list(items)
        self._item_type: object = None

    # -- reading

    def __len__(self) -> int:
        context = self._context
        if context is None:
            return len(self._draft)
        with context.lock:
            return len(self._items(context.replica.tree))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> Any:
        context = self._context
        if context is None:
            return self._draft[index]
        with context.lock:
            items = self._items(context.replica.tree)
            if not isinstance(index, slice):
                return self._present(items.value_at(_at(index, len(items))), self._item_type)
            start, stop, step = index.indices(len(items))
            if step == 1:
                return [self._present(value, self._item_type) for value in items.values(start, max(start, stop))]
            return [self._present(items.value_at(i), self._item_type) for i in range(start, stop, step)]

    def __iter__(self) -> Iterator[T]:
        return iter(self[:])

    def __contains__(self, value: object) -> bool:
        return any(item is value or item == value for item in self[:])

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Index of the first item that is this live value or equals this plain one.

        Raises:
            ValueError: There is none.
        """
        context = self._context
        if context is not None and isinstance(value, Live) and value._context is context:
            with context.lock:
                node = context.replica.tree.nodes.get(value._id)
                home = node.home if node is not None else None
                items = self._items(context.replica.tree)
                found = None
                if home is not None and home.parent == self._id and home.element is not None:
                    # Where it was made; by now something else may be shown there.
                    at = items.index_of(home.element) if home.element in items else None
                    found = at if at is not None and value._is_shown_as(items.value_at(at)) else None
            if found is None:
                raise ValueError(f"{value!r} is not in this list")
            return found
        return self[:].index(value, start, len(self) if stop is None else stop)

    # -- changing

    def insert(self, index: int, value: Any) -> None:
        """Put a value before the item at ``index``; an index beyond the end appends, as in a list."""
        self._insert_all(index, [value])

    def append(self, value: Any) -> None:
        """Put a value at the end."""
        self._insert_all(None, [value])

    def extend(self, values: Iterable[Any]) -> None:
        """Put values at the end; many go in several envelopes unless this is in a batch."""
        listed = list(values)
        for start in range(0, len(listed), EXTEND_OPS):
            self._insert_all(None, listed[start : start + EXTEND_OPS])

    def pop(self, index: int = -1) -> T:
        """Take the item at ``index`` away, and give it."""
        with self._room().lock:
            return super().pop(index)

    def remove(self, value: T) -> None:
        """Take the first item away that is ``value``.

        Raises:
            ValueError: There is none.
        """
        with self._room().lock:
            super().remove(value)

    def __iadd__(self, values: Iterable[Any]) -> Self:
        self.extend(values)
        return self

    def move(self, old_index: int, new_index: int) -> None:
        """Show the item at ``old_index`` at ``new_index``, counted when it is there; it keeps its identity."""
        context = self._room()
        with context.lock:
            self._attached(context.replica.tree)
            items = self._items(context.replica.tree)
            old_index, new_index = _at(old_index, len(items)), _at(new_index, len(items))
            if old_index == new_index:
                return
            element = items.element_at(old_index)
            parent, side = items.move_point(element, new_index)
            with context.editing() as edit:
                edit.perform(ListMove(self._id, element, parent, side))

    @overload
    def __setitem__(self, index: int, value: T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[T]) -> None: ...
    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            self._replace(index, list(value))
            return
        context = self._room()
        with context.lock:
            self._attached(context.replica.tree)
            items = self._items(context.replica.tree)
            at = _at(index, len(items))
            if isinstance(value, Live) and value._is_shown_as(items.value_at(at)):
                return
            sketched = self._checked(value, f"[{index}]")
            with context.editing(is_batch=True) as edit:
                put(edit, _set_of(self._id, items.element_at(at)), sketched, on_made(context))

    def __delitem__(self, index: int | slice) -> None:
        context = self._room()
        with context.lock:
            self._attached(context.replica.tree)
            items = self._items(context.replica.tree)
            at = range(*index.indices(len(items))) if isinstance(index, slice) else (_at(index, len(items)),)
            elements = [items.element_at(i) for i in sorted(at)]
            with context.editing(is_batch=True) as edit:
                for element in elements:
                    edit.perform(ListDelete(self._id, element))

    def clear(self) -> None:
        """Remove every item."""
        del self[:]

    def reverse(self) -> None:
        """Turn the order round by moves, so that the items stay what they are."""
        context = self._room()
        with context.lock, context.editing(is_batch=True):
            for index in range(len(self)):
                self.move(-1, index)

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort by moves, so that the items stay what they are."""
        context = self._room()
        with context.lock, context.editing(is_batch=True):
            items = self._items(context.replica.tree)
            order = sorted(range(len(items)), key=_key_of(self[:], key), reverse=reverse)
            elements = [items.element_at(i) for i in order]
            for index, element in enumerate(elements):
                old_index = items.index_of(element)
                if old_index is not None:
                    self.move(old_index, index)

    # -- inside

    def _insert_all(self, index: int | None, values: list[Any]) -> None:
        context = self._room()
        # Before the lock is taken: a value may come from another room, and lock that.
        first = len(self) if index is None else index
        sketched = [self._checked(value, f"[{first + i}]") for i, value in enumerate(values)]
        with context.lock:
            self._attached(context.replica.tree)
            items = self._items(context.replica.tree)
            at = len(items) if index is None else slice(index, None).indices(len(items))[0]
            with context.editing(is_batch=True) as edit:
                self._insert_sketched(context, edit, at, sketched)

    def _insert_sketched(self, context: Context, edit: Edit, at: int, values: list[Sketched]) -> None:
        parent, side = self._items(context.replica.tree).insertion_point(at)
        for value in values:
            done = put(edit, _insert_at(self._id, parent, side), value, on_made(context))
            # Nothing hangs from a slot that was just made, so the next one goes right of it.
            parent, side = done.op_id, Side.RIGHT

    def _replace(self, index: slice, values: list[Any]) -> None:
        context = self._room()
        with context.lock, context.editing(is_batch=True):
            start, stop, step = index.indices(len(self))
            if step != 1:
                at = range(start, stop, step)
                if len(at) != len(values):
                    raise InvalidValueError(f"{len(values)} values for a slice of {len(at)} items")
                for i, value in zip(at, values, strict=True):
                    self[i] = value
                return
            sketched = [self._checked(value, f"[{start + i}]") for i, value in enumerate(values)]
            del self[start : max(start, stop)]
            with context.editing(is_batch=True) as edit:
                self._insert_sketched(context, edit, start, sketched)

    def _checked(self, value: Any, where: str) -> Sketched:
        return sketch(accept(self._item_type, value, f"this list's item {where}"))

    def _items(self, tree: LiveTree) -> RgaList:
        node = self._node(tree)
        assert isinstance(node, ListNode)
        return node.items

    def _draft_sketch(self, depth: int) -> Sketch:
        made = Sketch(ContainerKind.LIST, origin=self)
        for item in self._draft:
            made.items.append((None, sketch(item, depth + 1), NO_SOURCE))
        return made


def _at(index: int, length: int) -> int:
    if not -length <= index < length:
        raise IndexError(f"index {index} in a list of {length} items")
    return index % length


def _insert_at(target: OpId, parent: OpId | None, side: Side) -> Callable[[OpValue], Op]:
    return lambda value: ListInsert(target, parent, side, value)


def _set_of(target: OpId, element: OpId) -> Callable[[OpValue], Op]:
    return lambda value: ListSet(target, element, value)


def _key_of(values: list[Any], key: Callable[[Any], Any] | None) -> Callable[[int], Any]:
    return lambda i: values[i] if key is None else key(values[i])
