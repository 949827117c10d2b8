"""What a room needs of a database: the op log, sites, refusals and snapshots. Bytes only; no operation is read here.

Numbers fit SQL's signed 64-bit integers: sites are 32-bit, counters and seqs 53-bit, an HLC is below 2**63 (the year
6429). Texts are valid UTF-8 without NUL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from collabkernel.limits import VERSIONS_BYTES, VERSIONS_PER_ROOM


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
    purged_seq: int = 0
    """Of the last purge that is in the state that took it; of another than the log's, it is not stored."""
    is_purge: bool = False
    """It purges: what comes behind it must have seen it."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Stored: durable, and in its room's order."""

    seq: int
    """Of the first operation. Of an envelope that was dropped from the log since: where the log begins, less one; a
    state at that seq or later has it."""
    hlc: int
    """0 for a dropped one, when nobody can tell."""
    duplicate: bool = False
    """It was in the log already; nothing was written."""


@dataclass(frozen=True, slots=True)
class NotAppended:
    """This envelope alone was not stored; the others of its batch were."""

    code: str
    """``fenced`` (site resumed elsewhere, closed or unknown), ``counter-gap``, ``room-not-found`` (deleted), ``moved``,
    ``room-reset`` (a purge is stored that had not been seen), ``invalid-operation`` (a number or text that no database
    takes, or no operations), ``storage-error`` (this room alone failed), ``degraded`` (not answered: ask again), or the
    code of the stored refusal of this very envelope."""
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
    dropped_seq: int = 0
    """Operations up to here were dropped from the log."""


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A room's state at one seq: the manifest with its blobs."""

    room_id: str
    seq: int
    parts: dict[str, bytes]
    """Partition to encoded state."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do what only one server may do at a time."""

    name: str
    holder: str
    token: int
    """Higher than that of every lease of this name before; what is written under an older one is refused."""
    expires_ms: int
    """By the database's clock."""


class FileRow(NamedTuple):
    """A file that a document is bound to."""

    file_id: str
    path: str
    """Relative to the root directory, with slashes; compared sign by sign."""
    deleted: bool
    """Then ``path`` is where it was last."""
    updated_ms: int


class SaveRow(NamedTuple):
    """The last save of one view of a file: what somebody sees it as, such as a notebook or the text of one."""

    hash: str
    """Of the content on disk; empty before the first save."""
    seq: int
    """Where in the document's log that content was taken."""
    intents: tuple[str, ...]
    """Hashes of contents that were about to be put on disk and are not recorded: a save that was interrupted, or that
    is late. On disk they are nobody else's edit."""
    updated_ms: int


class VersionRow(NamedTuple):
    """A version of a room that outlives the compaction of its log."""

    seq: int
    name: str
    """Empty for one that nobody named."""
    created_ms: int
    size_bytes: int
    """Stored, compressed."""


class VersionBounds(NamedTuple):
    """How many versions a room may have, and how large all of them may be, compressed."""

    versions_max: int
    bytes_max: int


TIMELINE_BOUNDS = VersionBounds(VERSIONS_PER_ROOM, VERSIONS_BYTES)
"""Of a document of JupyterLab."""


class TicketRow(NamedTuple):
    """A one-use permission to open a room's socket. What is not asked about here is its maker's own."""

    digest: bytes
    """SHA-256 of its secret, which is kept nowhere."""
    room_id: str
    actor: str
    """Whose it is."""
    user: str
    """How its maker describes him."""
    role: int
    """``Role`` of collab.proto."""
    origin: str
    ttl_ms: int
    """How long it is good from now on, by the database's clock; 0 or less: it has expired."""


class OriginRow(NamedTuple):
    """Who made an operation, and when."""

    site: int
    counter: int
    seq: int
    hlc: int
    actor: str


Rest = Callable[[float], Awaitable[None]]
"""Awaited between the transactions of long work, with the seconds that the last one took, so that others go on."""


class Leases(Protocol):
    """Who may do something. Expiry is by the database's clock, so that servers need not agree on the time."""

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """Take a lease; None while somebody else holds it.

        Who has it already gets it with a new token, and his older one is lost. So a holder's name must tell apart all
        that may want it at once.
        """

    async def renew_lease(self, lease: Lease, ttl_ms: int) -> Lease | None:
        """The lease with a later expiry; None when it is lost or expired."""

    async def release_lease(self, lease: Lease) -> None:
        """Let others have it at once. Its next token is higher all the same."""

    async def holds_lease(self, lease: Lease) -> bool:
        """Whether it is neither lost nor expired."""


class Files(Protocol):
    """Files by id and path. Every method raises ``InvalidValueError`` for a path that is none."""

    async def file_by_path(self, path: str, *, create: bool, now_ms: int) -> FileRow | None:
        """The file at a path; with ``create``, entered under a new id when there is none.

        A copy is entered by ``delete_file`` of its target (whatever was known there is overwritten) and ``create``.
        """

    async def file_by_id(self, file_id: str) -> FileRow | None:
        """The file, deleted or not; None when there never was one, or it was forgotten."""

    async def move_file(self, old: str, new: str, now_ms: int) -> list[FileRow]:
        """Move a file, or all below a directory, and return them as they are then; what was at ``new`` is deleted."""

    async def delete_file(self, path: str, now_ms: int) -> None:
        """Mark a file, or all below a directory, as deleted; a file made there later gets another id.

        What was deleted more than ``FILE_DELETED_KEPT_MS`` ago is forgotten.
        """

    async def restore_file(self, file_id: str, now_ms: int) -> bool:
        """Make a deleted file live again where it was; False when it is not deleted, or another has its path."""

    async def intend_save(self, file_id: str, lease: Lease, *, view: str, hash: str) -> bool:
        """Note what is about to be put on disk; the newest ``SAVE_INTENTS`` are kept. False as for ``record_save``."""

    async def record_save(
        self, file_id: str, lease: Lease, *, view: str, hash: str, seq: int, base: bytes, now_ms: int
    ) -> bool:
        """Note what was saved. False, with nothing noted, when somebody else has had the lease since, or it was
        released, or there is no such file. That the lease has expired alone does no harm.

        Args:
            file_id: The file.
            lease: Under which it was saved.
            view: Which document of this file; each has a history of its own, and what it saved last.
            hash: Of the content on disk; taken out of the intents.
            seq: Where in the document's log the content was taken.
            base: What a later merge needs of the content; kept up to ``FILE_BASE_BYTES``.
            now_ms: Wall clock.
        """

    async def saved(self, file_id: str, view: str) -> SaveRow | None:
        """The last save; None before the first, and when the file is deleted."""

    async def saved_base(self, file_id: str, view: str) -> bytes | None:
        """What was kept of the content; None when nothing was saved, it was too large, or the file is deleted."""


class Versions(Protocol):
    """States of rooms that stay when the log before them is dropped; what they hold is their writer's own."""

    async def save_version(
        self,
        room_id: str,
        seq: int,
        name: str,
        state: bytes,
        made_ms: int,
        bounds: VersionBounds = TIMELINE_BOUNDS,
        lease: Lease | None = None,
    ) -> None:
        """Keep a state. At the same seq there is one: another name names it anew.

        Args:
            room_id: The room.
            seq: Where in its log.
            name: Empty for none.
            state: What it is.
            made_ms: When it was so, milliseconds since the Unix epoch.
            bounds: Over them the unnamed are thinned by age, then the oldest named go.
            lease: Write only as its holder.

        Raises:
            RoomNotFoundError: If the room does not exist.
            StorageError: If the seq is ahead of the log.
            LeaseLostError: If somebody else has had the lease since, or it was released; that it has expired alone does
                no harm.
        """

    async def versions(self, room_id: str) -> list[VersionRow]:
        """Those of a room, oldest first."""

    async def version_state(self, room_id: str, seq: int) -> bytes | None:
        """The state of one, or None."""


class Tickets(Protocol):
    """One-use tickets: what one server issues is spent once, at whichever server it is shown."""

    async def issue_ticket(self, ticket: TicketRow, tickets_max: int) -> int:
        """Keep a ticket until it is spent or expires; when that is, milliseconds since the Unix epoch.

        Over ``tickets_max`` the oldest goes of who has most, so that one who asks without end spoils his own alone;
        servers that issue at once may pass it by one each. Some of those that have expired go with each call.
        """

    async def spend_ticket(self, digest: bytes) -> TicketRow | None:
        """Take a ticket away; None when there is none. Of all who ask at once, one gets it."""


class Storage(Leases, Files, Versions, Tickets, Protocol):
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
        raises ``StorageError`` only if all failed; otherwise its requests are ``NotAppended("storage-error", ...)``,
        or ``degraded`` if the database did not answer: then the rooms behind it are not tried either.
        After a refused envelope the later ones of its site in the same batch are counter gaps.
        """

    async def head(self, room_id: str) -> RoomRow | None:
        """The room, or None."""

    async def create_room(self, room_id: str, now_ms: int) -> RoomRow:
        """The room, made when it does not exist."""

    def read_ops(self, room_id: str, after_seq: int, upto_seq: int | None = None) -> AsyncIterator[Sequence[OpRow]]:
        """Operations with ``after_seq < seq <= upto_seq`` in seq order, in chunks that are not empty.

        A chunk has at most ``READ_ROWS_MAX`` rows, and ``READ_BYTES_MAX`` bytes of payloads or one row. Without
        ``upto_seq``, up to the head when the last chunk is read. Nothing for a room that does not exist.

        Raises:
            LogDroppedError: If the log does not go back as far, at any chunk. Nothing is passed over.
        """

    async def op_at(self, room_id: str, seq: int) -> OpRow | None:
        """The operation at ``seq``; None as well for one that was dropped."""

    async def seq_before(self, room_id: str, hlc: int) -> int:
        """The seq before the first operation in the log that is stamped over ``hlc``; the head where none is.

        What was made offline before that time and stored after it counts as what came after, if anything made later
        was stored before it. 0 for a room that does not exist.
        """

    async def origins(self, room_id: str, ops: Sequence[tuple[int, int]]) -> list[OriginRow]:
        """Of operations by site and counter those that are in the log, in any order; some thousand at most."""

    async def actors(self, room_id: str, sites: Sequence[int]) -> dict[int, str]:
        """Who writes as each of these sites, of those that the room has; some thousand at most."""

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        """What became of the envelope whose first counter this is; ``Appended`` says what it says of a dropped one."""

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        """Enter a site at epoch 1; False when the number is taken.

        Raises:
            RoomNotFoundError: If the room does not exist.
        """

    async def free_sites(self, room_id: str, sites_max: int, unused_since_ms: int) -> int:
        """How many sites may still be entered, counted up to ``FREE_SITES_MAX``.

        When there are fewer, up to as many that never wrote anything and were entered or resumed before
        ``unused_since_ms`` are dropped first; a resume of one of them is refused then.

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
        """Write a snapshot; parts equal to an earlier one's share its blob.

        Only the newest two are kept; the second goes when the log no longer goes back to it, for nobody can use it.

        Raises:
            RoomNotFoundError: If the room does not exist.
            StorageError: If the snapshot's seq is ahead of the log.
        """

    async def latest_snapshot(
        self, room_id: str, wanted: Sequence[str] | None = None, before_seq: int | None = None
    ) -> SnapshotRow | None:
        """The newest snapshot, or None.

        Args:
            room_id: The room.
            wanted: Read these of its parts alone, as far as it has them; None: all.
            before_seq: Of those below this; the one before the newest is kept in case that cannot be read.

        Raises:
            BlobLostError: A part of it is missing or damaged. A save that has this part again writes it anew.
            BlobsAwayError: A part is outside the database, where nobody answers. The same holds.
        """

    async def sweep_blobs(self, rest: Rest | None = None) -> int:
        """Remove what nothing names outside the database a day after it was written; how many. ``rest`` as below.

        Raises:
            BlobsAwayError: They cannot be reached.
        """

    async def list_rooms(self, limit: int = 1000, after: str = "") -> list[RoomRow]:
        """Rooms by id, after ``after``."""

    async def delete_room(self, room_id: str) -> bool:
        """Delete a room with all that belongs to it; False when it was not there."""

    async def drop_ops(self, room_id: str, upto_seq: int, lease: Lease | None = None, rest: Rest | None = None) -> int:
        """Drop the log up to a seq; return how many operations went. The newest snapshot must be there or later.

        The operation at that snapshot's seq stays, so that who is there can resume. The sites' last counters stay: a
        resend of what was dropped is answered as stored. Space on the disk is given back or used again. A long log goes
        in several transactions, and an interrupted call has dropped less. Between them ``rest`` is awaited.

        Raises:
            RoomNotFoundError: If the room does not exist.
            StorageError: If ``upto_seq`` is ahead of the newest snapshot.
            LeaseLostError: As ``save_version``.
        """

    async def heads(self, room_ids: Sequence[str]) -> dict[str, int]:
        """Heads of the logs of these rooms, of those that exist, in one query."""

    async def size_bytes(self) -> int:
        """What the database takes, about: on its disk with what it has free, or in memory its operations."""

    async def change_mark(self) -> Hashable:
        """Differs from what it was before when another server may have written something; cheap."""
