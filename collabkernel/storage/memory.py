"""The op log in this process's memory: the twin of ``sql``, for tests and ``memory://``. It ends with its object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

from collabkernel.errors import ClosedError, LeaseLostError, LogDroppedError, RoomNotFoundError, StorageError
from collabkernel.limits import FREE_SITES_MAX, READ_BYTES_MAX, READ_ROWS_MAX
from collabkernel.storage import compression
from collabkernel.storage.append import AppendPlan, RoomHead, SiteHead, answer_from_log, plan_append, storable_refusal
from collabkernel.storage.base import (
    TIMELINE_BOUNDS,
    Appended,
    AppendRequest,
    FileRow,
    Lease,
    NotAppended,
    OpRow,
    OriginRow,
    Refusal,
    Rest,
    RoomRow,
    SaveRow,
    SiteRow,
    SnapshotRow,
    TicketRow,
    VersionBounds,
    VersionRow,
)
from collabkernel.storage.memory_files import MemoryFiles, MemoryLeases, clock_ms
from collabkernel.storage.memory_tickets import MemoryTickets
from collabkernel.storage.rules import check_seq, horizon_of, surplus

_SNAPSHOTS_KEPT = 2


@dataclass(slots=True)
class _Room:
    """All that belongs to one room."""

    row: RoomRow
    log: list[OpRow] = field(default_factory=list)
    """The operation at seq n is at index n - 1 - ``row.dropped_seq``."""
    seq_by_op: dict[tuple[int, int], int] = field(default_factory=dict)
    """By site and counter."""
    site_by_number: dict[int, SiteRow] = field(default_factory=dict)
    refusal_by_first: dict[tuple[int, int], Refusal] = field(default_factory=dict)
    """By site and first counter."""
    snapshots: dict[int, dict[str, bytes]] = field(default_factory=dict)
    """Parts by seq."""
    dropped_counter_by_site: dict[int, int] = field(default_factory=dict)
    resumed_ms_by_site: dict[int, int] = field(default_factory=dict)
    """When each site was entered or resumed last."""
    version_by_seq: dict[int, tuple[VersionRow, bytes]] = field(default_factory=dict)
    purged_seq: int = 0

    @property
    def head(self) -> RoomHead:
        """The end of its log."""
        return RoomHead(self.row.seq, self.row.hlc, purged_seq=self.purged_seq)

    def found(self, site: int, counter: int) -> Appended | Refusal | None:
        """What the log or the refusals have at a counter."""
        seq = self.seq_by_op.get((site, counter))
        if seq is not None:
            return Appended(seq, self.at(seq).hlc, duplicate=True)
        refusal = self.refusal_by_first.get((site, counter))
        if refusal is None and 1 <= counter <= self.dropped_counter_by_site.get(site, 0):
            return None if self._is_refused(site, counter) else Appended(self.row.dropped_seq, 0, duplicate=True)
        return refusal

    def unused_sites(self, since_ms: int) -> list[int]:
        """Sites that never wrote anything and were last heard of before ``since_ms``."""
        return [
            site
            for site, row in self.site_by_number.items()
            if row.last_counter == 0 and self.resumed_ms_by_site[site] < since_ms
        ]

    def _is_refused(self, site: int, counter: int) -> bool:
        return any(
            site == at and first <= counter < first + refusal.ops_count
            for (at, first), refusal in self.refusal_by_first.items()
        )

    def at(self, seq: int) -> OpRow:
        """The operation at a seq that the log has."""
        return self.log[seq - 1 - self.row.dropped_seq]

    def after(self, seq: int, upto_seq: int, rows_max: int) -> list[OpRow]:
        """Operations after a seq."""
        dropped_seq = self.row.dropped_seq
        if seq < min(dropped_seq, upto_seq):
            raise LogDroppedError(self.row.room_id, seq, dropped_seq)
        return self.log[seq - dropped_seq : max(0, min(upto_seq, seq + rows_max) - dropped_seq)]

    def drop(self, upto_seq: int) -> int:
        """Drop the log up to a seq."""
        gone = self.log[: max(0, upto_seq - self.row.dropped_seq)]
        del self.log[: len(gone)]
        for row in gone:
            del self.seq_by_op[row.site, row.counter]
            last = self.dropped_counter_by_site.get(row.site, 0)
            self.dropped_counter_by_site[row.site] = max(last, row.counter)
        self.row = replace(self.row, dropped_seq=self.row.dropped_seq + len(gone))
        self.expire()
        return len(gone)

    def expire(self) -> None:
        """Keep the newest snapshots from which the log leads on."""
        newest = sorted(self.snapshots)[-_SNAPSHOTS_KEPT:]
        kept = [seq for seq in newest if seq >= min(self.row.dropped_seq, self.row.snapshot_seq)]
        self.snapshots = {seq: parts for seq, parts in self.snapshots.items() if seq in kept}

    def grow(self, head: RoomHead, rows: list[OpRow], now_ms: int) -> None:
        """Put operations on the end of the log."""
        self.log += rows
        for row in rows:
            self.seq_by_op[row.site, row.counter] = row.seq
            site = self.site_by_number[row.site]
            if row.counter > site.last_counter:
                self.site_by_number[row.site] = replace(site, last_counter=row.counter)
        self.row = replace(self.row, seq=head.seq, hlc=head.hlc, updated_ms=now_ms)
        self.purged_seq = head.purged_seq


class MemoryStorage:
    """A ``Storage`` without a database; ``base.Storage`` has the promises."""

    is_durable = False

    def __init__(self, now_ms: Callable[[], int] = clock_ms) -> None:
        """Begin with nothing.

        Args:
            now_ms: What a database's clock would say, milliseconds since the Unix epoch.
        """
        self._now_ms = now_ms
        self._room_by_id: dict[str, _Room] = {}
        self._leases = MemoryLeases(now_ms)
        self._files = MemoryFiles()
        self._tickets = MemoryTickets(now_ms)
        self._appends_count = 0
        self._is_open = False

    async def open(self) -> None:
        """Begin; what was stored before a ``close`` is still there."""
        self._is_open = True

    async def close(self) -> None:
        """End."""
        self._is_open = False

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        """Store envelopes, all at once."""
        self._check_open()
        rooms = {room_id: self._room_by_id[room_id] for room_id in {r.room_id for r in batch} & self._room_by_id.keys()}
        heads = {
            (request.room_id, request.site): SiteHead(site.epoch, site.last_counter, site.closed)
            for request in batch
            if (room := rooms.get(request.room_id)) and (site := room.site_by_number.get(request.site))
        }
        plan = plan_append(batch, {i: room.head for i, room in rooms.items()}, heads)
        for i, last_counter in plan.unanswered.items():
            request = batch[i]
            found = rooms[request.room_id].found(request.site, request.counter)
            plan.answers[i] = answer_from_log(request, found, last_counter)
        self._write(rooms, plan)
        return [answer for answer in plan.answers if answer is not None]

    async def head(self, room_id: str) -> RoomRow | None:
        """The room, or None."""
        room = self._room(room_id)
        return None if room is None else room.row

    async def create_room(self, room_id: str, now_ms: int) -> RoomRow:
        """The room, made when it does not exist."""
        self._check_open()
        room = self._room_by_id.setdefault(room_id, _Room(RoomRow(room_id, 0, 0, now_ms, now_ms, 0)))
        return room.row

    async def read_ops(
        self, room_id: str, after_seq: int, upto_seq: int | None = None
    ) -> AsyncIterator[Sequence[OpRow]]:
        """Operations in seq order, in chunks."""
        room = self._room(room_id)
        after_seq = max(after_seq, 0)
        while room is not None:
            upto = room.row.seq if upto_seq is None else min(upto_seq, room.row.seq)
            rows = _chunk(room.after(after_seq, upto, READ_ROWS_MAX))
            if not rows:
                return
            yield rows
            after_seq = rows[-1].seq
            room = self._room(room_id)

    async def op_at(self, room_id: str, seq: int) -> OpRow | None:
        """The operation at ``seq``."""
        room = self._room(room_id)
        return room.at(seq) if room and room.row.dropped_seq < seq <= room.row.seq else None

    async def seq_before(self, room_id: str, hlc: int) -> int:
        """The seq before the first operation that is stamped over ``hlc``."""
        room = self._room(room_id)
        if room is None:
            return 0
        seqs = range(room.row.dropped_seq + 1, room.row.seq + 1)
        return next((seq - 1 for seq in seqs if room.at(seq).hlc > hlc), room.row.seq)

    async def origins(self, room_id: str, ops: Sequence[tuple[int, int]]) -> list[OriginRow]:
        """Who made operations, and when."""
        room = self._room(room_id)
        if room is None:
            return []
        rows = [room.at(room.seq_by_op[op]) for op in dict.fromkeys(ops) if op in room.seq_by_op]
        return [OriginRow(row.site, row.counter, row.seq, row.hlc, row.actor) for row in rows]

    async def actors(self, room_id: str, sites: Sequence[int]) -> dict[int, str]:
        """Who writes as each of these sites."""
        room = self._room(room_id)
        known = {} if room is None else room.site_by_number
        return {site: known[site].actor for site in sites if site in known}

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        """What became of the envelope whose first counter this is."""
        room = self._room(room_id)
        return None if room is None else room.found(site, counter)

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        """Enter a site at epoch 1; False when the number is taken."""
        room = self._room(room_id)
        if room is None:
            raise RoomNotFoundError(room_id)
        if site in room.site_by_number:
            return False
        room.site_by_number[site] = SiteRow(room_id, site, actor, kind, 1, secret_hash, 0)
        room.resumed_ms_by_site[site] = now_ms
        return True

    async def free_sites(self, room_id: str, sites_max: int, unused_since_ms: int) -> int:
        """How many sites may still be entered, after unused ones were dropped when there are few."""
        room = self._room(room_id)
        if room is None:
            raise RoomNotFoundError(room_id)
        if sites_max - len(room.site_by_number) < FREE_SITES_MAX:
            for site in room.unused_sites(unused_since_ms)[:FREE_SITES_MAX]:
                del room.site_by_number[site], room.resumed_ms_by_site[site]
        return min(max(sites_max - len(room.site_by_number), 0), FREE_SITES_MAX)

    async def site(self, room_id: str, site: int) -> SiteRow | None:
        """The site, or None."""
        room = self._room(room_id)
        return None if room is None else room.site_by_number.get(site)

    async def resume_site(self, room_id: str, site: int, now_ms: int) -> SiteRow | None:
        """Raise the site's epoch and return it; None when it is unknown or closed."""
        room = self._room(room_id)
        row = None if room is None else room.site_by_number.get(site)
        if room is None or row is None or row.closed:
            return None
        room.resumed_ms_by_site[site] = now_ms
        resumed = room.site_by_number[site] = replace(row, epoch=row.epoch + 1)
        return resumed

    async def refuse(self, room_id: str, site: int, epoch: int, refusal: Refusal) -> bool:
        """Store a final refusal; False when fenced or out of order."""
        room = self._room(room_id)
        row = None if room is None else room.site_by_number.get(site)
        if room is None or row is None or row.closed or row.epoch != epoch:
            return False
        refusal = storable_refusal(refusal)
        if refusal.counter != row.last_counter + 1:
            return room.refusal_by_first.get((site, refusal.counter)) == refusal
        room.refusal_by_first[site, refusal.counter] = refusal
        room.site_by_number[site] = replace(row, last_counter=refusal.counter + refusal.ops_count - 1)
        return True

    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        """Write a snapshot; only the newest two are kept."""
        del now_ms
        room = self._room(snapshot.room_id)
        if room is None:
            raise RoomNotFoundError(snapshot.room_id)
        if snapshot.seq > room.row.seq:
            raise StorageError(
                f"a snapshot of room {snapshot.room_id!r} at seq {snapshot.seq} is ahead of its log, "
                f"which ends at {room.row.seq}"
            )
        room.snapshots[snapshot.seq] = dict(snapshot.parts)
        room.row = replace(room.row, snapshot_seq=max(room.snapshots))
        room.expire()

    async def latest_snapshot(
        self, room_id: str, wanted: Sequence[str] | None = None, before_seq: int | None = None
    ) -> SnapshotRow | None:
        """The newest snapshot, or these of its parts; or None."""
        room = self._room(room_id)
        seqs = [seq for seq in room.snapshots if before_seq is None or seq < before_seq] if room is not None else []
        if room is None or not seqs:
            return None
        seq = max(seqs)
        parts = room.snapshots[seq]
        return SnapshotRow(room_id, seq, {name: parts[name] for name in parts if wanted is None or name in wanted})

    async def sweep_blobs(self, rest: Rest | None = None) -> int:
        """Nothing is outside."""
        del rest
        self._check_open()
        return 0

    async def list_rooms(self, limit: int = 1000, after: str = "") -> list[RoomRow]:
        """Rooms by id, after ``after``."""
        self._check_open()
        return [self._room_by_id[i].row for i in sorted(i for i in self._room_by_id if i > after)[:limit]]

    async def delete_room(self, room_id: str) -> bool:
        """Delete a room with all that belongs to it; False when it was not there."""
        self._check_open()
        return self._room_by_id.pop(room_id, None) is not None

    async def drop_ops(self, room_id: str, upto_seq: int, lease: Lease | None = None, rest: Rest | None = None) -> int:
        """Drop the log up to a seq, at once."""
        del rest
        self._check_newest(lease)
        room = self._existing(room_id)
        return room.drop(horizon_of(room_id, upto_seq, room.row.snapshot_seq))

    async def heads(self, room_ids: Sequence[str]) -> dict[str, int]:
        """Heads of the logs of these rooms."""
        self._check_open()
        return {room_id: room.row.seq for room_id in room_ids if (room := self._room_by_id.get(room_id))}

    async def size_bytes(self) -> int:
        """What the operations take."""
        self._check_open()
        return sum([len(row.payload) for room in self._room_by_id.values() for row in room.log])

    async def change_mark(self) -> Hashable:
        """Differs when something was written."""
        self._check_open()
        return self._appends_count, len(self._room_by_id)

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
        """Keep a state."""
        self._check_newest(lease)
        room = self._existing(room_id)
        check_seq(room_id, seq, room.row.seq)
        known = room.version_by_seq.get(seq)
        if known is None:
            row = VersionRow(seq, name, made_ms, len(compression.compress(state)))
            room.version_by_seq[seq] = row, state
        elif name:
            room.version_by_seq[seq] = known[0]._replace(name=name), known[1]
        for gone in surplus(await self.versions(room_id), bounds):
            del room.version_by_seq[gone.seq]

    async def versions(self, room_id: str) -> list[VersionRow]:
        """Those of a room, oldest first."""
        room = self._room(room_id)
        return [] if room is None else [room.version_by_seq[seq][0] for seq in sorted(room.version_by_seq)]

    async def version_state(self, room_id: str, seq: int) -> bytes | None:
        """The state of one, or None."""
        room = self._room(room_id)
        version = None if room is None else room.version_by_seq.get(seq)
        return None if version is None else version[1]

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """Take a lease; None while somebody else holds it."""
        self._check_open()
        return self._leases.acquire(name, holder, ttl_ms)

    async def renew_lease(self, lease: Lease, ttl_ms: int) -> Lease | None:
        """The lease with a later expiry; None when it is lost or expired."""
        self._check_open()
        return self._leases.renew(lease, ttl_ms)

    async def release_lease(self, lease: Lease) -> None:
        """Let others have it at once."""
        self._check_open()
        self._leases.release(lease)

    async def holds_lease(self, lease: Lease) -> bool:
        """Whether it is neither lost nor expired."""
        self._check_open()
        return self._leases.holds(lease)

    async def file_by_path(self, path: str, *, create: bool, now_ms: int) -> FileRow | None:
        """The file at a path."""
        self._check_open()
        return self._files.by_path(path, create, now_ms)

    async def file_by_id(self, file_id: str) -> FileRow | None:
        """The file, deleted or not."""
        self._check_open()
        return self._files.by_id(file_id)

    async def move_file(self, old: str, new: str, now_ms: int) -> list[FileRow]:
        """Move a file, or all below a directory."""
        self._check_open()
        return self._files.move(old, new, now_ms)

    async def delete_file(self, path: str, now_ms: int) -> None:
        """Mark a file, or all below a directory, as deleted."""
        self._check_open()
        self._files.delete(path, now_ms)

    async def restore_file(self, file_id: str, now_ms: int) -> bool:
        """Make a deleted file live again."""
        self._check_open()
        return self._files.restore(file_id, now_ms)

    async def intend_save(self, file_id: str, lease: Lease, *, view: str, hash: str) -> bool:
        """Note what is about to be put on disk."""
        self._check_open()
        return self._leases.is_newest(lease) and self._files.intend(file_id, view, hash)

    async def record_save(
        self, file_id: str, lease: Lease, *, view: str, hash: str, seq: int, base: bytes, now_ms: int
    ) -> bool:
        """Note what was saved."""
        self._check_open()
        return self._leases.is_newest(lease) and self._files.record(file_id, view, hash, seq, base, now_ms)

    async def saved(self, file_id: str, view: str) -> SaveRow | None:
        """The last save."""
        self._check_open()
        return self._files.saved(file_id, view)

    async def saved_base(self, file_id: str, view: str) -> bytes | None:
        """What was kept of its content."""
        self._check_open()
        return self._files.saved_base(file_id, view)

    async def issue_ticket(self, ticket: TicketRow, tickets_max: int) -> int:
        """Keep a ticket; when it expires."""
        self._check_open()
        return self._tickets.issue(ticket, tickets_max)

    async def spend_ticket(self, digest: bytes) -> TicketRow | None:
        """Take a ticket away."""
        self._check_open()
        return self._tickets.spend(digest)

    def _check_newest(self, lease: Lease | None) -> None:
        if lease is not None and not self._leases.is_newest(lease):
            raise LeaseLostError(lease.name)

    def _existing(self, room_id: str) -> _Room:
        room = self._room(room_id)
        if room is None:
            raise RoomNotFoundError(room_id)
        return room

    def _write(self, rooms: dict[str, _Room], plan: AppendPlan) -> None:
        now_ms = self._now_ms()
        self._appends_count += 1
        for room_id, head in plan.heads.items():
            rooms[room_id].grow(head, plan.rows[room_id], now_ms)

    def _room(self, room_id: str) -> _Room | None:
        self._check_open()
        return self._room_by_id.get(room_id)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError("this storage is not open; call open() first, and nothing after close()")


def _chunk(rows: list[OpRow]) -> list[OpRow]:
    """The first of these rows, as many as a chunk may have bytes."""
    size_bytes = 0
    for i, row in enumerate(rows):
        size_bytes += len(row.payload)
        if size_bytes > READ_BYTES_MAX:
            return rows[: max(i, 1)]
    return rows
