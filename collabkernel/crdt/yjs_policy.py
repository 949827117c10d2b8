"""What a Yjs document may hold: the kinds of structs and containers by their numbers on the wire, and policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

GC, DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, SKIP = range(11)
"""Kinds of structs: the low five bits of ``info``."""
ARRAY, MAP, TEXT = range(3)
"""Kinds of containers, as ``TYPE`` contents number them."""
HAS_ORIGIN, HAS_RIGHT_ORIGIN, HAS_KEY = 0x80, 0x40, 0x20

KIND_NAMES = ("GC", "Deleted", "JSON", "Binary", "String", "Embed", "Format", "Type", "Any", "Doc", "Skip")
CONTAINER_NAMES = ("an array", "a map", "a text")

Reference: TypeAlias = tuple[int, int]
"""Client and clock."""
Owner: TypeAlias = str | Reference | None
"""A container: the name of a root, or the id of the item that made it; None where yrs has collected it."""


@dataclass(frozen=True, slots=True)
class YjsPolicy:
    """What a document may hold. The defaults bound what one update can cost; sizes in UTF-8 bytes."""

    roots: Mapping[str, int]
    """Root names and the kind of each."""
    contents: Mapping[int, frozenset[int]]
    """Kinds of content by the kind of their container; a nested container must be one of the keys."""
    has_gc: bool = False
    """Whether GC structs may come: they stand for what was inside a deleted container, so only nesting makes them."""
    structs_max: int = 10_000
    """Structs, and delete ranges, of one update: as long as 10,000 small operations keep a room busy."""
    depth_max: int = 16
    """Nesting of containers; yrs recurses when it deletes."""
    embed_bytes_max: int = 16 << 10
    """An embed is a small record (a mention, a marker), not a file."""
    format_bytes_max: int = 4 << 10
    """A format's value: true, a colour, a link."""
    key_bytes_max: int = 1024
    """A map key."""
    format_key_bytes_max: int = 64
    format_keys_max: int = 64
    """Different format keys in a document: yrs copies the set of active ones for each run of text."""

    @property
    def is_flat(self) -> bool:
        """Whether all items are in one root, so that none has to be remembered."""
        return len(self.roots) == 1 and len(self.contents) == 1 and not self.has_gc and TYPE not in self.allowed(None)

    def allowed(self, kind: int | None) -> frozenset[int]:
        """Contents that a container of ``kind`` may hold; all that are allowed anywhere for None."""
        if kind is not None:
            return self.contents[kind]
        return frozenset().union(*self.contents.values())


TEXT_POLICY = YjsPolicy(
    roots=MappingProxyType({"text": TEXT}),
    contents=MappingProxyType({TEXT: frozenset({DELETED, STRING, EMBED, FORMAT})}),
)
"""A LiveText: one text, formatted, with embeds."""

_NESTED = frozenset({DELETED, BINARY, ANY, TYPE})
JUPYTER_POLICY = YjsPolicy(
    roots=MappingProxyType({"cells": ARRAY, "meta": MAP, "state": MAP, "source": TEXT}),
    contents=MappingProxyType({ARRAY: _NESTED, MAP: _NESTED, TEXT: frozenset({DELETED, STRING, EMBED, FORMAT})}),
    has_gc=True,
)
"""JupyterLab's notebooks and files."""
