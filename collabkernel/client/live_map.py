"""A live map: a ``MutableMapping`` with str keys in which the later write of a key wins."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any, ClassVar, Generic, TypeVar, cast

from collabkernel.client.live import Live, get_or_create, on_made
from collabkernel.client.sketch import NO_SOURCE, Sketch, check_key, put, sketch
from collabkernel.client.typing_rules import accept
from collabkernel.crdt.ids import OpId
from collabkernel.crdt.lww import TOMBSTONE, LwwMap
from collabkernel.document.live_tree import LiveTree, MapNode
from collabkernel.document.operations import ContainerKind, MapDelete, MapSet, Op, OpValue

V = TypeVar("V")


class Keyed(Live):
    """What maps and records share: values at keys."""

    def _value_type_of(self, key: str) -> object:
        raise NotImplementedError

    def _entries(self, tree: LiveTree) -> LwwMap:
        node = self._node(tree)
        assert isinstance(node, MapNode)
        return node.entries

    def _get(self, key: str) -> Any:
        """The value at a key; ``TOMBSTONE`` when there is none."""
        context = self._room()
        with context.lock:
            value = self._entries(context.replica.tree).get(key, TOMBSTONE)
            return self._present(value, self._value_type_of(key))

    def _set(self, key: str, value: Any, where: str) -> None:
        context = self._room()
        if isinstance(value, Live) and self._holds(key, value):
            return
        # Before the lock is taken: the value may come from another room, and lock that.
        sketched = sketch(accept(self._value_type_of(key), value, where))
        with context.lock:
            self._attached(context.replica.tree)
            with context.editing(is_batch=True) as edit:
                put(edit, _set_of(self._id, key), sketched, on_made(context))

    def _holds(self, key: str, value: Live) -> bool:
        context = self._room()
        with context.lock:
            return value._is_shown_as(self._entries(context.replica.tree).get(key))

    def _delete(self, key: str) -> bool:
        context = self._room()
        with context.lock:
            tree = context.replica.tree
            self._attached(tree)
            if key not in self._entries(tree):
                return False
            with context.editing() as edit:
                edit.perform(MapDelete(self._id, key))
            return True

    def _pairs(self) -> list[tuple[str, Any]]:
        context = self._room()
        with context.lock:
            entries = list(self._entries(context.replica.tree).items())
            return [(key, self._present(value, self._value_type_of(key))) for key, value in entries]

    # -- containers that are made when they are first asked for

    def list(self, key: str, item_type: object = None) -> Any:
        """The LiveList at a key, made there if there is nothing yet."""
        as_type = None if item_type is None else list[item_type]  # type: ignore[valid-type]  # a type at run time
        return get_or_create(self, check_key(key), ContainerKind.LIST, as_type)

    def map(self, key: str, value_type: object = None) -> Any:
        """The LiveMap at a key, made there if there is nothing yet."""
        as_type = None if value_type is None else dict[str, value_type]  # type: ignore[valid-type]  # a type at run time
        return get_or_create(self, check_key(key), ContainerKind.MAP, as_type)

    def text(self, key: str) -> Any:
        """The LiveText at a key, made there if there is nothing yet."""
        return get_or_create(self, check_key(key), ContainerKind.TEXT, None)

    def object(self, key: str, record_type: object = None) -> Any:
        """The LiveObject at a key, made there if there is nothing yet."""
        return get_or_create(self, check_key(key), ContainerKind.OBJECT, record_type)


def _set_of(target: OpId, key: str) -> Callable[[OpValue], Op]:
    return lambda value: MapSet(target, key, value)


class LiveMap(Keyed, MutableMapping[str, V], Generic[V]):
    """A map of str keys to scalars and live values.

    A dict that is put in becomes a LiveMap, a list a LiveList. A live value that is in a room already is copied.
    ``map.list(key)``, ``.map``, ``.text`` and ``.object`` make a container that two clients may make at once.
    """

    kind: ClassVar[ContainerKind] = ContainerKind.MAP

    def __init__(self, entries: Mapping[str, V] | None = None) -> None:
        super().__init__()
        self._draft = {check_key(key): value for key, value in (entries or {}).items()}
        self._item_type: object = None

    def _value_type_of(self, key: str) -> object:  # noqa: ARG002  # all keys of a map hold one type
        return self._item_type

    # -- reading

    def __getitem__(self, key: str) -> V:
        if self._context is None:
            return self._draft[key]
        value = self._get(key) if isinstance(key, str) else TOMBSTONE
        if value is TOMBSTONE:
            raise KeyError(key)
        return cast(V, value)

    def __contains__(self, key: object) -> bool:
        context = self._context
        if context is None:
            return key in self._draft
        with context.lock:
            return isinstance(key, str) and key in self._entries(context.replica.tree)

    def __len__(self) -> int:
        context = self._context
        if context is None:
            return len(self._draft)
        with context.lock:
            return len(self._entries(context.replica.tree))

    def __iter__(self) -> Iterator[str]:
        context = self._context
        if context is None:
            return iter(list(self._draft))
        with context.lock:
            return iter([key for key, _ in self._entries(context.replica.tree).items()])

    def keys(self) -> KeysView[str]:
        """The keys as they are now."""
        return dict.fromkeys(self).keys()

    def values(self) -> ValuesView[V]:
        """The values as they are now."""
        return self._now().values()

    def items(self) -> ItemsView[str, V]:
        """Keys and values as they are now."""
        return self._now().items()

    def _now(self) -> dict[str, V]:
        return dict(self._draft) if self._context is None else dict(self._pairs())

    # -- changing

    def __setitem__(self, key: str, value: Any) -> None:
        self._set(check_key(key), value, f"[{key!r}]")

    def __delitem__(self, key: str) -> None:
        if not isinstance(key, str) or not self._delete(key):
            raise KeyError(key)

    def update(self, *others: Any, **entries: Any) -> None:
        """Write many keys in one envelope, or none if one of them is refused."""
        context = self._room()
        merged: dict[str, Any] = {}
        merged.update(*others, **entries)
        with context.lock, context.editing(is_batch=True):
            for key, value in merged.items():
                self[key] = value

    def clear(self) -> None:
        """Remove every key, in one envelope."""
        context = self._room()
        with context.lock, context.editing(is_batch=True):
            for key in self:
                del self[key]

    def _draft_sketch(self, depth: int) -> Sketch:
        made = Sketch(ContainerKind.MAP, origin=self)
        for key, value in self._draft.items():
            made.items.append((key, sketch(value, depth + 1), NO_SOURCE))
        return made
