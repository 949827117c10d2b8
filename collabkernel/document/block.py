"""What is known of one block beside its place and text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.crdt.lww import LwwMap, Register

BLOCK_BYTES = 700
"""What a block is counted as, beside its properties and text: about what it takes in memory."""
BLOCK_TEXT_BYTES = 200
"""What its text takes beside its contents, once there are any; 7 kB while it is ready to be edited."""
TYPE = "type"
"""The property that says what a block is."""
NAME = "name"
"""The property of a root that says which document it is."""
DOCUMENT = "document"
"""The type of a root."""
FOUNDED = Stamp(0, 0)
"""The stamp of what a root begins with: whoever makes it, and how often, it is the same."""


@dataclass(slots=True)
class Placed:
    """The operation that split a block off or merged it: what is needed to see that two of them crossed."""

    seq: int
    site: int
    base: int


class Block:
    """What is known of a block beside its place and text."""

    __slots__ = ("id", "placed", "properties", "rope_id")

    def __init__(self, id: OpId, rope_id: OpId, properties: Iterable[tuple[str, Register]] | LwwMap) -> None:
        self.id = id
        self.rope_id = rope_id
        """The rope that its text is in: one of its own, named as itself, or the one that it was split off from."""
        self.properties = properties if isinstance(properties, LwwMap) else LwwMap(properties)
        self.placed: Placed | None = None
        """Of the last such operation on it that was judged."""

    @property
    def type(self) -> str:
        """What it is; see the registry of types."""
        return cast(str, self.properties.get(TYPE))

    @property
    def is_root(self) -> bool:
        """It is a document."""
        return self.id.site == ROOT.site

    @property
    def is_split(self) -> bool:
        """Its text begins at a marker in another block's rope."""
        return self.rope_id != self.id
