"""Operations on live values and block documents, and the envelopes that carry them.

An operation names its *target* container and what to do there. Its own id, stamp and seq are not in it: they follow
from its envelope. Operation ``i`` of an envelope has the id ``(site, counter + i)``, the stamp ``(hlc + i, site)``
and, once stored, the sequence number ``seq + i``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from collabkernel.crdt.ids import ROOT, OpId, Side, Slot, Stamp

__all__ = [
    "BlockDelete",
    "BlockInsert",
    "BlockMove",
    "BlockRekey",
    "ContainerKind",
    "ContainerRef",
    "Envelope",
    "ListDelete",
    "ListInsert",
    "ListMove",
    "ListSet",
    "LiveOp",
    "MapDelete",
    "MapSet",
    "NewContainer",
    "NewDocument",
    "Op",
    "OpValue",
    "Purge",
    "Scalar",
    "Side",
    "Slot",
    "StoredEnvelope",
    "StoredValue",
    "TextEdit",
    "TreeOp",
    "document_id",
    "shared_container_id",
]


class ContainerKind(IntEnum):
    """What a live container is; the numbers cross the wire."""

    OBJECT = 1
    MAP = 2
    LIST = 3
    TEXT = 4


@dataclass(frozen=True, slots=True)
class NewContainer:
    """As the value of an operation: a new, empty container, named by the operation's id.

    With ``shared`` the name is derived (``shared_container_id``) from the place, the kind and ``after``: the stamp of
    what the author saw at that place (a value or a tombstone; None for nothing yet). So two sites that create the same
    thing at the same place create one thing. Only maps and objects have such places.
    """

    kind: ContainerKind
    shared: bool = False
    after: Stamp | None = None


@dataclass(frozen=True, slots=True)
class ContainerRef:
    """As a stored value: the container ``id``. Never crosses the wire in an operation."""

    id: OpId
    kind: ContainerKind


Scalar = None | bool | int | float | str | bytes
OpValue = Scalar | NewContainer
"""The value in an operation."""
StoredValue = Scalar | ContainerRef
"""The value in a register."""


@dataclass(frozen=True, slots=True)
class MapSet:
    """Write ``key`` of an object or map; the higher stamp wins."""

    target: OpId
    key: str
    value: OpValue


@dataclass(frozen=True, slots=True)
class MapDelete:
    """Remove ``key`` of an object or map; the higher stamp wins."""

    target: OpId
    key: str


@dataclass(frozen=True, slots=True)
class ListInsert:
    """A new element in a new slot; both are named by the operation's id."""

    target: OpId
    parent: OpId | None
    """The slot that the new one hangs on; None is the list's own start."""
    side: Side
    value: OpValue


@dataclass(frozen=True, slots=True)
class ListDelete:
    """Delete an element for ever."""

    target: OpId
    element: OpId


@dataclass(frozen=True, slots=True)
class ListMove:
    """Show an element in a new slot, named by the operation's id; the higher stamp wins."""

    target: OpId
    element: OpId
    parent: OpId | None
    side: Side


@dataclass(frozen=True, slots=True)
class ListSet:
    """Replace an element's value; the higher stamp wins."""

    target: OpId
    element: OpId
    value: OpValue


@dataclass(frozen=True, slots=True)
class TextEdit:
    """A Yjs update (v1) of the site's own edit of a text; its Yjs client id is the site."""

    target: OpId
    update: bytes


@dataclass(frozen=True, slots=True)
class NewDocument:
    """The root of a block document, named by ``document_id(name)``: made twice, it is made once."""

    target: OpId
    """``ROOT``."""
    name: str


@dataclass(frozen=True, slots=True)
class BlockInsert:
    """A new block, named by the operation's id."""

    target: OpId
    """The parent."""
    slot: Slot
    key: str
    """Order key among the parent's blocks of that slot, made by the author's site."""
    type: str
    split: OpId | None = None
    """The rope in which a marker with the block's name begins its text; None: it has a rope of its own."""


@dataclass(frozen=True, slots=True)
class BlockMove:
    """Another place for a block and all below it; among concurrent moves of one block the first in the log wins."""

    target: OpId
    parent: OpId
    slot: Slot
    key: str


@dataclass(frozen=True, slots=True)
class BlockDelete:
    """Take a block away, with what its author saw below it."""

    target: OpId


@dataclass(frozen=True, slots=True)
class BlockRekey:
    """Shorter order keys for the blocks of one parent and slot; moves none. Made by the keeper of the document."""

    target: OpId
    """The parent."""
    slot: Slot
    keys: tuple[tuple[OpId, str], ...]
    """Block and new key, in their order."""


@dataclass(frozen=True, slots=True)
class Purge:
    """Let go of what was deleted long ago (``purging.py``). Made by the keeper of the room."""

    target: OpId
    """A list, with ``ids``; an object or map, with a ``floor``; or the root, with ``ids``, for the room's blocks."""
    ids: tuple[OpId, ...] = ()
    """Slots, or blocks that were deleted themselves; rising."""
    floor: Stamp | None = None
    """The highest stamp of the deletions of keys that go."""

    @property
    def is_of_blocks(self) -> bool:
        """Whether it names blocks."""
        return self.target == ROOT and bool(self.ids)


TreeOp = NewDocument | BlockInsert | BlockMove | BlockDelete | BlockRekey
"""What is judged in the order of the log."""
LiveOp = MapSet | MapDelete | ListInsert | ListDelete | ListMove | ListSet | TextEdit
"""What commutes: operations on live values; on a block's properties and text too."""
Op = LiveOp | TreeOp | Purge


@dataclass(frozen=True, slots=True)
class Envelope:
    """What belongs together: one admission, one range of seqs, one undo step; all or nothing."""

    counter: int
    """Counter of the first operation; the others follow in steps of one."""
    base: int
    """The last seq that the author had applied when he made it (``through``)."""
    hlc: int
    """HLC of the first operation."""
    ops: tuple[Op, ...]

    @property
    def last_counter(self) -> int:
        """Counter of the last operation."""
        return self.counter + len(self.ops) - 1


@dataclass(frozen=True, slots=True)
class StoredEnvelope:
    """An envelope as the log has it."""

    seq: int
    """Sequence number of the first operation."""
    site: int
    actor: str
    """Who made it: the user name at Jupyter, or the agent's."""
    envelope: Envelope

    @property
    def last_seq(self) -> int:
        """Sequence number of the last operation."""
        return self.seq + len(self.envelope.ops) - 1

    def op_id(self, i: int) -> OpId:
        """Id of operation ``i``."""
        return OpId(self.site, self.envelope.counter + i)

    def stamp(self, i: int) -> Stamp:
        """Stamp of operation ``i``."""
        return Stamp(self.envelope.hlc + i, self.site)


def document_id(name: str) -> OpId:
    """Name of the root of the block document ``name``: derived as of a shared container."""
    return _derived_id(f"document/{name}")


_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


def shared_container_id(target: OpId, key: str, kind: ContainerKind, after: Stamp | None) -> OpId:
    """Name of the shared container at a place: site 0, counter = the low 53 bits of an FNV-1a 64 hash, at least 1.

    The hash runs over ``"{target.site}.{target.counter}/{kind}/{after.hlc}.{after.site}/{key}"`` in UTF-8, with
    ``0.0`` for no ``after``. A hostile author can make two places collide; the fold refuses the second.

    Source: Fowler, Noll, Vo, "The FNV Non-Cryptographic Hash Algorithm", IETF draft (2012).
    """
    seen = after or Stamp(0, 0)
    return _derived_id(f"{target.site}.{target.counter}/{int(kind)}/{seen.hlc}.{seen.site}/{key}")


def _derived_id(name: str) -> OpId:
    h = _FNV_OFFSET
    for byte in name.encode():
        h = ((h ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return OpId(0, (h & ((1 << 53) - 1)) or 1)


def made_by(op_id: OpId, op: Op) -> OpId | None:
    """The block or document that an operation makes."""
    if isinstance(op, BlockInsert):
        return op_id
    return document_id(op.name) if isinstance(op, NewDocument) else None
