"""Who watches which container, and what they are told: changes in the shape of traitlets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collabkernel.crdt.ids import OpId

ChangeType = str
"""``set``, ``delete`` (maps, records); ``insert``, ``remove``, ``replace``, ``move`` (lists); ``text``; ``reset``."""


class Change(dict[str, Any]):
    """One change of a live value; its members are items and attributes.

    ``name`` (key or index), ``old``, ``new``, ``owner`` (the live value), ``type``; ``actor`` (user name), ``path``
    (from the root to the owner), ``remote``. A missing ``old`` or ``new`` is None. A move also has ``old_index``, a
    text ``delta`` (Quill's form, lengths in characters). ``reset`` says that the server's state has replaced it.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a change has no {name!r}; it has {', '.join(self)}") from None


Callback = Callable[[Change], object]
BatchCallback = Callable[[list[Change]], object]
Names = str | int | tuple[str | int, ...] | None


@dataclass(frozen=True, slots=True)
class _Watch:
    callback: Callback
    names: frozenset[str | int] | None

    def wants(self, change: Change) -> bool:
        return self.names is None or change["name"] in self.names or change["type"] == "reset"


def _name_set(names: Names) -> frozenset[str | int] | None:
    if names is None:
        return None
    return frozenset(names if isinstance(names, tuple | list) else (names,))


class Observers:
    """The callbacks of a room."""

    def __init__(self) -> None:
        self._watches_by_id: dict[OpId, list[_Watch]] = {}
        self._owner_by_id: dict[OpId, object] = {}
        self._on_batch: list[BatchCallback] = []
        self._on_lost: list[tuple[OpId, Callable[[Any], object]]] = []

    @property
    def is_empty(self) -> bool:
        """Whether nobody watches anything, so that changes need not be told."""
        return not self._watches_by_id and not self._on_batch

    def is_watched(self, id: OpId) -> bool:
        """Whether anybody would be told of a change in this container."""
        return bool(self._on_batch) or id in self._watches_by_id

    def add(self, id: OpId, callback: Callback, names: Names, owner: object) -> None:
        """Watch a container; its facade stays alive meanwhile."""
        self._watches_by_id.setdefault(id, []).append(_Watch(callback, _name_set(names)))
        self._owner_by_id[id] = owner

    def remove(self, id: OpId, callback: Callback, names: Names) -> None:
        """Stop watching; nothing happens when it was not watched so."""
        watches = self._watches_by_id.get(id, [])
        watch = _Watch(callback, _name_set(names))
        if watch in watches:
            watches.remove(watch)
        if not watches:
            self._watches_by_id.pop(id, None)
            self._owner_by_id.pop(id, None)

    def add_batch(self, callback: BatchCallback) -> None:
        """Watch the whole room: one call an envelope, with the list of its changes."""
        self._on_batch.append(callback)

    def remove_batch(self, callback: BatchCallback) -> None:
        """Stop watching the whole room."""
        if callback in self._on_batch:
            self._on_batch.remove(callback)

    def add_lost(self, root: OpId, callback: Callable[[Any], object]) -> None:
        """Watch for own edits of a document that were lost."""
        self._on_lost.append((root, callback))

    def remove_lost(self, root: OpId, callback: Callable[[Any], object]) -> None:
        """Stop watching for them."""
        if (root, callback) in self._on_lost:
            self._on_lost.remove((root, callback))

    def lost_calls(self, root: OpId, lost: object) -> list[Callable[[], object]]:
        """What is to be called for an own edit that was lost."""
        return [_call(callback, lost) for each, callback in self._on_lost if each == root]

    def rename(self, old: OpId, new: OpId) -> None:
        """A container was made again under another id."""
        if old in self._watches_by_id:
            self._watches_by_id.setdefault(new, []).extend(self._watches_by_id.pop(old))
            self._owner_by_id[new] = self._owner_by_id.pop(old)

    def calls(
        self, changes: Iterable[tuple[OpId, Change]], outer_by_id: Mapping[OpId, OpId] | None = None
    ) -> list[Callable[[], object]]:
        """What is to be called for the changes of one envelope, in order; also who watches what a container is in."""
        calls: list[Callable[[], object]] = []
        listed = list(changes)
        for id, change in listed:
            for each in (id, outer_by_id.get(id)) if outer_by_id else (id,):
                for watch in self._watches_by_id.get(each, ()) if each is not None else ():
                    if watch.wants(change):
                        calls.append(_call(watch.callback, change))
        if listed:
            calls.extend(_call(callback, [change for _, change in listed]) for callback in self._on_batch)
        return calls


def _call(callback: Callable[[Any], object], argument: Any) -> Callable[[], object]:
    def call() -> object:
        return callback(argument)

    return call
