"""What a Yjs document may hold: the kinds of structs and containers by their numbers on the wire, and policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from collabkernel.errors import InvalidValueError

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
    value_depth_max: int = 16
    """Nesting of an ``Any`` value: yrs recurses while it decodes and dies on one of some ten thousand levels."""
    format_key_bytes_max: int = 64
    format_keys_max: int = 64
    """Different format keys in a document: yrs copies the set of active ones for each run of text."""
    marker_key: str | None = None
    """If set, every embed is a marker (``yjs.markers``): ``{marker_key: "site.counter"}``, by that very site."""

    kinds: frozenset[int] = field(init=False)
    """Kinds of content that may occur at all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", frozenset().union(*self.contents.values()))


TEXT_POLICY = YjsPolicy(
    roots=MappingProxyType({"text": TEXT}),
    contents=MappingProxyType({TEXT: frozenset({DELETED, STRING, EMBED, FORMAT})}),
)
"""A LiveText: one text, formatted, with embeds."""
ROPE_POLICY = replace(TEXT_POLICY, marker_key="block")
"""The rope of a block, and of those that were split off from it."""

_NESTED = frozenset({DELETED, BINARY, ANY, TYPE})
_CONTENTS = MappingProxyType({ARRAY: _NESTED, MAP: _NESTED, TEXT: frozenset({DELETED, STRING, EMBED, FORMAT})})


def policy_of_roots(roots: Mapping[str, int]) -> YjsPolicy:
    """The policy of a JupyterLab document with these roots and kinds of roots, whatever is nested below them.

    XML types are not among the kinds: no document of JupyterLab has them, and their items may have keys and order both.
    The bounds let through what honest clients send at once: a notebook of thousands of cells pasted or restored, an
    output of deep JSON. How much may be sent at all is for the socket to say.

    Raises:
        InvalidValueError: A root is none of an array, a map and a text, or there is none.
    """
    if not roots or not set(roots.values()) <= {ARRAY, MAP, TEXT}:
        raise InvalidValueError(f"a shared document has arrays, maps and texts for roots, not {dict(roots)}")
    return YjsPolicy(
        roots=MappingProxyType(dict(roots)),
        contents=_CONTENTS,
        has_gc=True,
        structs_max=200_000,
        embed_bytes_max=1 << 20,
        format_bytes_max=64 << 10,
        depth_max=64,
        value_depth_max=256,
    )


NOTEBOOK_POLICY = policy_of_roots({"cells": ARRAY, "meta": MAP, "state": MAP})
FILE_POLICY = policy_of_roots({"source": TEXT, "state": MAP})
BLOB_POLICY = policy_of_roots({"source": MAP, "state": MAP})
CHAT_POLICY = policy_of_roots({"attachments": MAP, "messages": ARRAY, "metadata": MAP, "state": MAP, "users": MAP})
POLICY_BY_TYPE: Mapping[str, YjsPolicy] = MappingProxyType(
    {
        "notebook": NOTEBOOK_POLICY,
        "file": FILE_POLICY,
        "unicode": FILE_POLICY,
        "blob": BLOB_POLICY,
        "chat": CHAT_POLICY,
    }
)
"""Policies of the document types that jupyter_ydoc 4 and jupyterlab-chat register, by their names there."""
