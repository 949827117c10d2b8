"""Where items are: the container of each item of a nested Yjs document, found as yrs will find it.

A flat document (one text) needs none of this. In a nested one an item without origins names its parent; any other
takes that of its neighbour, and what its author put there must fit the kind of that container.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from collabkernel.crdt.yjs.policy import (
    CONTAINER_NAMES,
    DELETED,
    GC,
    KIND_NAMES,
    MAP,
    Owner,
    Reference,
    YjsPolicy,
)
from collabkernel.crdt.yjs.structs import Struct
from collabkernel.errors import InvalidYjsUpdateError


class Place(NamedTuple):
    """Where an item is."""

    owner: Owner
    key: str | None = None
    """The key of a map entry."""
    is_dead: bool = False
    """A deleted item whose content is gone: it may have been a container."""


NOWHERE = Place(None, None, True)
"""Inside a container that was deleted and collected."""


@dataclass(slots=True)
class PlaceRuns:
    """The places of one client's items, as runs from a first clock on."""

    starts: list[int] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    def add(self, clock: int, place: Place) -> None:
        """Items from ``clock`` on are there."""
        if not self.places or self.places[-1] != place:
            self.starts.append(clock)
            self.places.append(place)

    def at(self, clock: int) -> Place:
        """Where an item that exists is."""
        return self.places[bisect_right(self.starts, clock) - 1]


class PlaceIndex:
    """The places of all items of one document, and its containers."""

    def __init__(self, policy: YjsPolicy) -> None:
        self.policy = policy
        self._places: dict[int, PlaceRuns] = {}
        self._containers: dict[Owner, tuple[int, int]] = {name: (kind, 0) for name, kind in policy.roots.items()}

    def place(self, reference: Reference) -> Place:
        """Where an item that exists is."""
        return self._places[reference[0]].at(reference[1])

    def container(self, owner: Owner) -> tuple[int, int] | None:
        """Kind and depth of a container."""
        return self._containers.get(owner)

    def add(self, runs: Mapping[int, PlaceRuns], containers: Mapping[Owner, tuple[int, int]]) -> None:
        """Remember the places of new items by client, and new containers by kind and depth."""
        for client, new in runs.items():
            known = self._places.get(client)
            if known is None:
                self._places[client] = new
                continue
            for clock, place in zip(new.starts, new.places, strict=True):
                known.add(clock, place)
        self._containers.update(containers)


class Placer:
    """Finds the container of each new item of a document that is not flat, as yrs will, and asks the policy."""

    def __init__(self, index: PlaceIndex, is_deleted: Callable[[int, int], bool]) -> None:
        self.index = index
        self.policy = index.policy
        self.new_places: dict[int, PlaceRuns] = {}
        """The places of what was placed, by client."""
        self.new_containers: dict[Owner, tuple[int, int]] = {}
        self._is_deleted = is_deleted

    def place(self, item: Struct) -> Place:
        """Where an item is; the owner is None where it is nowhere, and yrs collects it.

        Raises:
            InvalidYjsUpdateError: It may not be there.
        """
        if item.kind == GC:
            return self._add(item, NOWHERE)
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
        if item.kind == DELETED and place.owner is not None:
            place = place._replace(is_dead=True)
        return self._add(item, place)

    def _find(self, item: Struct) -> Place:
        if item.origin is None and item.right is None:
            return self._under(item.parent, item.key)
        if item.right is None:
            return self._beside(item.origin)
        right = self._beside(item.right)
        if item.origin is None:
            return right
        left = self._beside(item.origin)
        if (left.owner, left.key) == (right.owner, right.key):
            return left
        if left.owner is not None and right.owner is not None:
            raise InvalidYjsUpdateError("origin and right origin are in different containers")
        # One was collected by its author and the other here remembered: both were in a container that is gone.
        if not self._is_gone(left.owner or right.owner):
            raise InvalidYjsUpdateError("origin and right origin are not both in a collected container")
        return NOWHERE

    def _beside(self, reference: Reference | None) -> Place:
        assert reference is not None, "asked only for what is named"
        place = self._at(reference)
        return place._replace(is_dead=False) if place.is_dead and place.owner is not None else place

    def _is_gone(self, owner: Owner) -> bool:
        while isinstance(owner, tuple):
            if self._is_deleted(*owner):
                return True
            owner = self._at(owner).owner
        return owner is None

    def _under(self, parent: Owner, key: str | None) -> Place:
        if isinstance(parent, tuple) and self._container(parent) is None:
            if not self._at(parent).is_dead:
                raise InvalidYjsUpdateError(f"clock {parent[1]} of client {parent[0]} is no container")
            return NOWHERE
        return Place(parent, key)

    def _check_content(self, item: Struct, place: Place, kind: int) -> None:
        name = CONTAINER_NAMES[kind]
        if item.kind not in self.policy.contents[kind]:
            raise InvalidYjsUpdateError(f"content of kind {KIND_NAMES[item.kind]} may not be in {name}")
        if (place.key is not None) != (kind == MAP):
            raise InvalidYjsUpdateError(f"an item {'without' if kind == MAP else 'with'} a key in {name}")
        if kind == MAP and item.length != 1 and item.kind != DELETED:
            raise InvalidYjsUpdateError(f"{item.length} values under one key of a map")

    def _container(self, owner: Owner) -> tuple[int, int] | None:
        return self.new_containers.get(owner) or self.index.container(owner)

    def _at(self, reference: Reference) -> Place:
        staged = self.new_places.get(reference[0])
        if staged is not None and reference[1] >= staged.starts[0]:
            return staged.at(reference[1])
        return self.index.place(reference)

    def _add(self, item: Struct, place: Place) -> Place:
        runs = self.new_places.get(item.client)
        if runs is None:
            runs = self.new_places[item.client] = PlaceRuns()
        runs.add(item.clock, place)
        return place
