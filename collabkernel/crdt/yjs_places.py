"""Where items are: the container of each item of a nested Yjs document, found as yrs will find it.

A flat document (one text) needs none of this. In a nested one an item without origins names its parent; any other
takes that of its neighbour, and what its author put there must fit the kind of that container.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from collabkernel.crdt.yjs_policy import (
    CONTAINER_NAMES,
    DELETED,
    GC,
    KIND_NAMES,
    MAP,
    Owner,
    Reference,
    YjsPolicy,
)
from collabkernel.errors import InvalidYjsUpdateError


class Place(NamedTuple):
    """Where an item is."""

    owner: Owner
    key: str | None = None
    """The key of a map entry."""
    is_dead: bool = False
    """A deleted item whose content is gone: it may have been a container."""


_NOWHERE = Place(None, None, True)


@dataclass(slots=True)
class _Places:
    """The places of one client's items, as runs from a first clock on."""

    starts: list[int] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    def add(self, clock: int, place: Place) -> None:
        if not self.places or self.places[-1] != place:
            self.starts.append(clock)
            self.places.append(place)

    def at(self, clock: int) -> Place:
        return self.places[bisect_right(self.starts, clock) - 1]


class PlaceIndex:
    """The places of all items of one document, and its containers."""

    def __init__(self, policy: YjsPolicy) -> None:
        self.policy = policy
        self._places: dict[int, _Places] = {}
        self._containers: dict[Owner, tuple[int, int]] = {name: (kind, 0) for name, kind in policy.roots.items()}

    def place(self, reference: Reference) -> Place:
        """Where an item that exists is."""
        return self._places[reference[0]].at(reference[1])

    def container(self, owner: Owner) -> tuple[int, int] | None:
        """Kind and depth of a container."""
        return self._containers.get(owner)

    def add(
        self, places: tuple[tuple[int, int, Place], ...], containers: tuple[tuple[Owner, tuple[int, int]], ...]
    ) -> None:
        for client, clock, place in places:
            self._places.setdefault(client, _Places()).add(clock, place)
        self._containers.update(containers)


class Item(NamedTuple):
    """What decides the place of an item."""

    client: int
    clock: int
    length: int
    kind: int
    origin: Reference | None
    right: Reference | None
    parent: Owner
    key: str | None
    container: int | None
    """The kind of container that it makes."""


def in_causal_order(items: Mapping[int, Sequence[Item]]) -> Iterator[Item]:
    """Items of many clients of one whole document, each after those that it names.

    Raises:
        InvalidYjsUpdateError: Some wait for one another.
    """
    ends: dict[int, int] = {}
    queues = {client: iter(queue) for client, queue in items.items()}
    heads = {client: next(queue) for client, queue in queues.items()}
    while heads:
        has_moved = False
        for client in list(heads):
            item: Item | None = heads[client]
            while item is not None and _is_ready(item, ends):
                yield item
                ends[client] = item.clock + item.length
                has_moved = True
                item = next(queues[client], None)
            if item is None:
                del heads[client]
            else:
                heads[client] = item
        if not has_moved:
            raise InvalidYjsUpdateError("structs wait for one another")


def _is_ready(item: Item, ends: dict[int, int]) -> bool:
    parent = item.parent if isinstance(item.parent, tuple) else None
    names = (item.origin, item.right, parent)
    return all(name is None or name[1] < ends.get(name[0], 0) for name in names)


class Placer:
    """Finds the container of each new item of a document that is not flat, as yrs will, and asks the policy."""

    def __init__(self, index: PlaceIndex) -> None:
        self.index = index
        self.policy = index.policy
        self.new_places: list[tuple[int, int, Place]] = []
        self.new_containers: dict[Owner, tuple[int, int]] = {}
        self._staged: dict[int, _Places] = {}

    def place(self, item: Item) -> None:
        if item.kind == GC:
            self._add(item, _NOWHERE)
            return
        place = self._find(item)
        container = self._container(place.owner)
        if container is not None:
            self._check_content(item, place, container[0])
        if item.container is not None:
            depth = container[1] + 1 if container is not None else 1
            if depth > self.policy.depth_max:
                raise InvalidYjsUpdateError(f"containers are nested over {self.policy.depth_max} levels")
            if place.owner is not None:
                self.new_containers[(item.client, item.clock)] = (item.container, depth)
        is_dead = place.owner is None or item.kind == DELETED
        self._add(item, Place(place.owner, place.key, is_dead))

    def _find(self, item: Item) -> Place:
        if item.origin is None and item.right is None:
            return self._under(item.parent, item.key)
        left = self._at(item.origin) if item.origin else _NOWHERE
        right = self._at(item.right) if item.right else _NOWHERE
        if left.owner is None:
            return right
        if right.owner is not None and (left.owner, left.key) != (right.owner, right.key):
            raise InvalidYjsUpdateError("origin and right origin are in different containers")
        return left

    def _under(self, parent: Owner, key: str | None) -> Place:
        if isinstance(parent, tuple) and self._container(parent) is None:
            if not self._at(parent).is_dead:
                raise InvalidYjsUpdateError(f"clock {parent[1]} of client {parent[0]} is no container")
            return _NOWHERE
        return Place(parent, key)

    def _check_content(self, item: Item, place: Place, kind: int) -> None:
        name = CONTAINER_NAMES[kind]
        if item.kind not in self.policy.allowed(kind):
            raise InvalidYjsUpdateError(f"content of kind {KIND_NAMES[item.kind]} may not be in {name}")
        if (place.key is not None) != (kind == MAP):
            raise InvalidYjsUpdateError(f"an item {'without' if kind == MAP else 'with'} a key in {name}")
        if kind == MAP and item.length != 1 and item.kind != DELETED:
            raise InvalidYjsUpdateError(f"{item.length} values under one key of a map")

    def _container(self, owner: Owner) -> tuple[int, int] | None:
        return self.new_containers.get(owner) or self.index.container(owner)

    def _at(self, reference: Reference) -> Place:
        staged = self._staged.get(reference[0])
        if staged is not None and reference[1] >= staged.starts[0]:
            return staged.at(reference[1])
        return self.index.place(reference)

    def _add(self, item: Item, place: Place) -> None:
        self._staged.setdefault(item.client, _Places()).add(item.clock, place)
        self.new_places.append((item.client, item.clock, place))
