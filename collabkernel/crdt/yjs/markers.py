"""Markers: embeds of a rope that say where the text of a block begins; none comes twice, and none goes again."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from collabkernel.crdt.ids import OpId
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.limits import COUNTER_MAX

NAME_CHARS_MAX = 28
"""``site.counter`` in decimals: 10 digits, a dot, 16 digits; and a little."""


def marker(key: str, name: OpId) -> dict[str, str]:
    """The embed that is the marker of ``name``."""
    return {key: f"{name.site}.{name.counter}"}


def marker_name(key: str, embed: Any) -> OpId | None:
    """Whose marker an embed is, None if it is none at all."""
    if not isinstance(embed, dict) or embed.keys() != {key}:
        return None
    text = embed[key]
    if not isinstance(text, str) or len(text) > NAME_CHARS_MAX:
        return None
    site, _, counter = text.partition(".")
    if not (text.isascii() and site.isdigit() and counter.isdigit()):
        return None
    name = OpId(int(site), int(counter))
    return name if f"{name.site}.{name.counter}" == text and name.counter <= COUNTER_MAX else None


class Markers:
    """The markers of one rope, or of one update, by name; a few words each."""

    __slots__ = ("_clocks", "_names")

    def __init__(self) -> None:
        self._names: dict[OpId, None] = {}  # an empty dict is a quarter of an empty set
        self._clocks: dict[int, array[int]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[OpId]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: OpId, clock: int) -> None:
        """Take one more: its site wrote it, at a clock above those of its others.

        Raises:
            InvalidYjsUpdateError: It is there already.
        """
        if name in self._names:
            raise InvalidYjsUpdateError(f"the marker of block {name.site}.{name.counter} is there already")
        self._names[name] = None
        self._clocks.setdefault(name.site, array("L")).append(clock)

    def take_back(self, name: OpId) -> None:
        """Forget the one of its site that was added last."""
        del self._names[name]
        self._clocks[name.site].pop()
        if not self._clocks[name.site]:
            del self._clocks[name.site]

    def refuse_delete(self, client: int, start: int, end: int) -> None:
        """Raises:
        InvalidYjsUpdateError: A marker is among these clocks of ``client``.
        """
        clocks = self._clocks.get(client)
        if clocks is None:
            return
        index = bisect_left(clocks, start)
        if index < len(clocks) and clocks[index] < end:
            raise InvalidYjsUpdateError(f"deletes the marker at clock {clocks[index]} of client {client}")
