"""What a room needs of a database: the op log, sites, refusals and snapshots. Bytes only; no operation is read here.

Numbers fit SQL's signed 64-bit integers: sites are 32-bit, counters and seqs 53-bit, an HLC is below 2**63 (the year
6429). Texts are valid UTF-8 without NUL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class OpRow(NamedTuple):
    """One operation as the log has it. A tuple: a cold start reads 100,000 of them."""

    seq: int
    site: int
    counter: int
    first_counter: int
    """Counter of its envelope's first operation; rows with the same site and first_counter belong together."""
    base: int
    hlc: int
    """Of this operation (its envelope's plus its index)."""
    actor: str
    kind: int
    """Field number of the operation's kind in ``Op`` (collab.proto)."""
    payload: bytes
    """An encoded ``Op``."""


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """An envelope to be stored, all or nothing."""

    room_id: str
    site: int
    epoch: int
    """The site's epoch at this connection; older than the stored one is refused as ``fenced``."""
    counter: int
    """Of the first operation; must be the site's last stored or refused counter + 1."""
    base: int
    hlc: int
    actor: str
    ops: tuple[tuple[int, bytes], ...]
    """(kind, payload) of each operation."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Stored: durable, and in its room's order."""

    seq: int
    """Of the first operation."""
    hlc: int
    duplicate: bool = False
    """It was in the log already; nothing was written."""


@dataclass(frozen=True, slots=True)
class NotAppended:
    """This envelope alone was not stored; the others of its batch were."""

    code: str
    """``fenced`` (site resumed elsewhere, closed or unknown), ``counter-gap``, ``room-not-found`` (deleted),
    ``invalid-operation`` (a number or text that no database takes, or no operations), ``storage-error`` (this room
    alone failed), or the code of the stored refusal of this very envelope."""
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final refusal of an envelope, answered the same at every resend."""

    counter: int
    ops_count: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One site of a room."""

    room_id: str
    site: int
    actor: str
    kind: int
    """``SessionKind`` of collab.proto."""
    epoch: int
    """Raised by each resume."""
    secret_hash: bytes
    """SHA-256 of the 16-byte resume secret."""
    last_counter: int
    """The last counter stored or finally refused."""
    closed: bool = False


@dataclass(frozen=True, slots=True)
class RoomRow:
    """One room."""

    room_id: str
    seq: int
    """Head of its log; 0 is an empty room."""
    hlc: int
    """The highest stamp in it."""
    created_ms: int
    updated_ms: int
    snapshot_seq: int
    """Seq of its latest snapshot; 0 for none."""


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A room's state at one seq: the manifest with its blobs."""

    room_id: str
    seq: int
    parts: dict[str, bytes]
    """Partition to encoded state."""


class Storage(Protocol):
    """A database of rooms. Every method raises ``StorageError`` when the database fails; then nothing was done.

    Made by ``open_storage(url)``, then ``await open()``. Before that and after ``close()`` every other method raises
    ``ClosedError``. Methods of one storage may run at once; a write that is under way is finished when its caller is
    cancelled. ``memory.MemoryStorage`` is the twin for tests and ``memory://``; ``sql.SqlStorage`` is the real one.
    The suite ``tests/contract/test_storage_*.py`` holds for both.
    """

    is_durable: bool
    """Whether ``append`` returns only after the disk has it (False: acks say ``buffered``). Known after ``open``."""

    async def open(self) -> None:
        """Connect, and bring the schema up to date."""

    async def close(self) -> None:
        """Finish what is under way and disconnect."""

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        """Store envelopes of any rooms and sites in one transaction, in the order given; one answer each.

        A room's ``seq`` rises by the number of operations, without gaps; a site's counters continue. A request whose
        (site, counter) is in the log is answered from it. When the commit's outcome is unknown, the log is read before
        anything is tried again. If the batch fails as a whole it is retried room by room, and a room that still fails
        raises ``StorageError`` only if all failed; otherwise its requests are ``NotAppended("storage-error", ...)``.
        After a refused envelope the later ones of its site in the same batch are counter gaps.
        """

    async def head(self, room_id: str) -> RoomRow | None:
        """The room, or None."""

    async def create_room(self, room_id: str, now_ms: int) -> RoomRow:
        """The room, made when it does not exist."""

    def read_ops(self, room_id: str, after_seq: int, upto_seq: int | None = None) -> AsyncIterator[Sequence[OpRow]]:
        """Operations with ``after_seq < seq <= upto_seq`` in seq order, in chunks of at most 5,000 rows.

        Without ``upto_seq``, up to the head when the last chunk is read. Nothing for a room that does not exist.
        """

    async def op_at(self, room_id: str, seq: int) -> OpRow | None:
        """The operation at ``seq``."""

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        """What became of the envelope whose first counter this is."""

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        """Enter a site at epoch 1; False when the number is taken.

        Raises:
            RoomNotFoundError: If the room does not exist.
        """

    async def site(self, room_id: str, site: int) -> SiteRow | None:
        """The site, or None."""

    async def resume_site(self, room_id: str, site: int, now_ms: int) -> SiteRow | None:
        """Raise the site's epoch and return it; None when it is unknown or closed.

        Once it returns, nothing of an older epoch is stored any more: ``last_counter`` is final for them.
        """

    async def refuse(self, room_id: str, site: int, epoch: int, refusal: Refusal) -> bool:
        """Store a final refusal and advance the site's last counter over it; False when fenced or out of order.

        True again for a refusal that is stored already.
        """

    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        """Write a snapshot; parts equal to an earlier one's share its blob; only the newest two are kept.

        Raises:
            RoomNotFoundError: If the room does not exist.
            StorageError: If the snapshot's seq is ahead of the log.
        """

    async def latest_snapshot(self, room_id: str) -> SnapshotRow | None:
        """The newest snapshot, or None."""

    async def list_rooms(self, limit: int = 1000, after: str = "") -> list[RoomRow]:
        """Rooms by id, after ``after``."""

    async def delete_room(self, room_id: str) -> bool:
        """Delete a room with all that belongs to it; False when it was not there."""
