"""What an accepted Yjs update brings to the validator's state of a text, and how it is taken back again."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.yjs.markers import Markers
from collabkernel.crdt.yjs.policy import Reference


class YjsUpdate(NamedTuple):
    """What an accepted update brings; ``YjsState.commit`` takes it once pycrdt has applied the bytes."""

    clocks: dict[int, int]
    """The next clock by client, for clients with new structs."""
    deleted: tuple[tuple[int, int, int], ...] = ()
    """Ranges as (client, clock, length)."""
    inserted_chars: int = 0
    """Code points of text."""
    is_ascii: bool = True
    """Whether all of that text is ASCII."""
    embeds: int = 0
    low_surrogates: tuple[Reference, ...] = ()
    """Clocks at which the second half of a surrogate pair stands."""
    format_keys: frozenset[str] = frozenset()
    """Format keys that the document has not seen before."""
    markers: tuple[tuple[OpId, int], ...] = ()
    """Name and clock of each."""
    state: bytes = b""
    """The bytes themselves if they are a stored state, whose order is made out later."""


class _Replaced(NamedTuple):
    clocks: dict[int, int | None]
    format_keys: frozenset[str]
    low_surrogates: tuple[Reference, ...]
    markers: tuple[tuple[OpId, int], ...]


class HeldChanges:
    """What commits replaced since a state was held: to be taken back at the cost of what came."""

    __slots__ = ("_replaced",)

    def __init__(self) -> None:
        self._replaced: list[_Replaced] = []

    def note(self, clocks: dict[int, int], update: YjsUpdate) -> None:
        """An update is about to be committed."""
        before = {client: clocks.get(client) for client in update.clocks}
        self._replaced.append(_Replaced(before, update.format_keys, update.low_surrogates, update.markers))

    def take_back(
        self, clocks: dict[int, int], format_keys: set[str], lows: dict[int, array[int]], markers: Markers
    ) -> None:
        """Bring clocks, format keys, halves of surrogate pairs and markers back to what they were."""
        for replaced in reversed(self._replaced):
            for client, clock in replaced.clocks.items():
                if clock is None:
                    del clocks[client]
                else:
                    clocks[client] = clock
            format_keys -= replaced.format_keys
            for client, _ in replaced.low_surrogates:
                lows[client].pop()
                if not lows[client]:
                    del lows[client]
            for name, _ in reversed(replaced.markers):
                markers.take_back(name)
        self._replaced.clear()
