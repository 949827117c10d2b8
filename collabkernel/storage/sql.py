"""The op log in SQLite or PostgreSQL, through SQLAlchemy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, delete

from collabkernel import metrics
from collabkernel.errors import ClosedError, DegradedError, StorageError
from collabkernel.limits import COUNTER_MAX, FILE_BASE_BYTES
from collabkernel.storage import compaction, files, leases, log, roster, saves, schema, standing, tickets, versions
from collabkernel.storage.append import AppendPlan, storable_refusal
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
from collabkernel.storage.blobs import BlobStore
from collabkernel.storage.compression import compressed, decompress
from collabkernel.storage.database import Database, make_database, parse_url
from collabkernel.storage.failures import DATABASE_ERRORS, explain
from collabkernel.storage.inserts import insert_if_new
from collabkernel.storage.rules import check_move, check_path
from collabkernel.storage.sql_snapshots import SqlSnapshots
from collabkernel.storage.statements import Parameters, Statements
from collabkernel.storage.tables import rooms

RETRY_S = 10.0
"""A failed batch is retried room by room for this long, and until the database does not answer; rooms whose turn does
not come fail with it."""

T = TypeVar("T")


class SqlStorage:
    """A ``Storage`` in a database; ``base.Storage`` has the promises."""

    def __init__(
        self, url: str, durable: bool = True, database: Database | None = None, blobs: BlobStore | None = None
    ) -> None:
        """Take the URL of a database; nothing is connected before ``open``.

        Args:
            url: As ``open_storage`` takes it, but for ``memory://``.
            durable: Whether an append waits for the disk.
            database: Used in place of the one at the URL.
            blobs: Where large parts of snapshots go; None for the database.

        Raises:
            StorageError: If the URL names no database that we know, or its driver is not installed.
        """
        self._database = make_database(parse_url(url), durable) if database is None else database
        self._is_open = False
        self.snapshots = SqlSnapshots(self.read, self.write, blobs)
        """For who works on their blobs."""
        self._writes: set[asyncio.Task[object]] = set()
        """Transactions under way: they are finished even if their callers are cancelled."""
        self.is_durable = durable

    async def open(self) -> None:
        """Connect, and bring the schema up to date."""
        if self._is_open:
            return
        try:
            with self._explained():
                await self._connect()
            self._is_open = True
            await self.snapshots.open()
        except BaseException:
            self._is_open = False
            await self._database.close()
            raise

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        self._is_open = False
        if self._writes:
            await asyncio.wait(self._writes)
        self.snapshots.close()
        with self._explained():
            await self._database.close()

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        """Store envelopes, all in one transaction."""
        if not batch:
            return []
        attempt = _Attempt(batch)
        try:
            await self._append(attempt)
        except StorageError:
            return await self._append_room_by_room(attempt)
        return attempt.answers

    async def head(self, room_id: str) -> RoomRow | None:
        """The room, or None."""
        return await self.read(partial(log.find_room, room_id=room_id))

    async def create_room(self, room_id: str, now_ms: int) -> RoomRow:
        """The room, made when it does not exist."""
        while True:
            if (room := await self.head(room_id)) is not None:
                return room
            await self.write(partial(_insert_room, room_id=room_id, now_ms=now_ms))

    async def read_ops(
        self, room_id: str, after_seq: int, upto_seq: int | None = None
    ) -> AsyncIterator[Sequence[OpRow]]:
        """Operations in seq order, in chunks."""
        room = await self.read(partial(log.room_key, room_id=room_id))
        after_seq, upto_seq = max(after_seq, 0), COUNTER_MAX if upto_seq is None else upto_seq
        while room is not None and after_seq < upto_seq:
            rows = await self.read(partial(log.read_ops, room=room, after_seq=after_seq, upto_seq=upto_seq))
            if not rows:
                return
            yield rows
            after_seq = rows[-1].seq

    async def op_at(self, room_id: str, seq: int) -> OpRow | None:
        """The operation at ``seq``."""
        return await self.read(partial(log.op_at, room_id=room_id, seq=seq))

    async def seq_before(self, room_id: str, hlc: int) -> int:
        """The seq before the first operation that is stamped over ``hlc``."""
        return await self.read(partial(log.seq_before, room_id=room_id, hlc=hlc))

    async def origins(self, room_id: str, ops: Sequence[tuple[int, int]]) -> list[OriginRow]:
        """Who made operations, and when."""
        return await self.read(partial(log.origins, room_id=room_id, asked=ops))

    async def actors(self, room_id: str, sites: Sequence[int]) -> dict[int, str]:
        """Who writes as each of these sites."""
        return await self.read(partial(log.actors, room_id=room_id, asked=sites))

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        """What became of the envelope whose first counter this is."""
        return await self.read(partial(log.find_envelope, room_id=room_id, site=site, counter=counter))

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        """Enter a site at epoch 1; False when the number is taken."""
        row = {"site": site, "actor": actor, "kind": kind, "secret_hash": secret_hash, "now_ms": now_ms}
        while not await self._change(roster.ENTER, {"room_id": room_id, **row}):
            if await self.read(partial(roster.is_taken, room_id=room_id, site=site)):
                return False
        return True

    async def free_sites(self, room_id: str, sites_max: int, unused_since_ms: int) -> int:
        """How many sites may still be entered, after unused ones were dropped when there are few."""
        return await self.write(
            partial(roster.free, room_id=room_id, sites_max=sites_max, unused_since_ms=unused_since_ms)
        )

    async def site(self, room_id: str, site: int) -> SiteRow | None:
        """The site, or None."""
        return await self.read(partial(roster.find, room_id=room_id, site=site))

    async def resume_site(self, room_id: str, site: int, now_ms: int) -> SiteRow | None:
        """Raise the site's epoch and return it; None when it is unknown or closed."""
        return await self.write(partial(roster.resume, room_id=room_id, site=site, now_ms=now_ms))

    async def refuse(self, room_id: str, site: int, epoch: int, refusal: Refusal) -> bool:
        """Store a final refusal; False when fenced or out of order."""
        storable = storable_refusal(refusal)
        return await self.write(partial(roster.refuse, room_id=room_id, site=site, epoch=epoch, refusal=storable))

    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        """Write a snapshot; equal parts share a blob; only the newest two are kept."""
        await self.snapshots.save(snapshot, now_ms)

    async def latest_snapshot(
        self, room_id: str, wanted: Sequence[str] | None = None, before_seq: int | None = None
    ) -> SnapshotRow | None:
        """The newest snapshot, or these of its parts; or None."""
        return await self.snapshots.latest(room_id, wanted, before_seq)

    async def sweep_blobs(self, rest: Rest | None = None) -> int:
        """Remove what is outside and not named."""
        return await self.snapshots.sweep(rest)

    async def list_rooms(self, limit: int = 1000, after: str = "") -> list[RoomRow]:
        """Rooms by id, after ``after``."""
        return await self.read(partial(log.list_rooms, limit=limit, after=after))

    async def delete_room(self, room_id: str) -> bool:
        """Delete a room with all that belongs to it; False when it was not there."""
        return await self.write(partial(_delete_room, room_id=room_id), is_long=True)

    async def drop_ops(self, room_id: str, upto_seq: int, lease: Lease | None = None, rest: Rest | None = None) -> int:
        """Drop the log up to a seq, in several transactions; an interrupted one has dropped less."""
        dropped, is_done = 0, False
        drop = partial(compaction.drop_chunk, room_id=room_id, upto_seq=upto_seq, lease=lease)
        while not is_done:
            begun_s = time.monotonic()
            gone, is_done = await self.write(drop, is_long=True, is_passing=True)  # what comes back goes again
            dropped += gone
            if rest is not None:
                await rest(time.monotonic() - begun_s)
        if dropped:
            with self._explained():
                await self._database.tidy(rest)
        return dropped

    async def heads(self, room_ids: Sequence[str]) -> dict[str, int]:
        """Heads of the logs of these rooms."""
        return await self.read(partial(log.heads, room_ids=room_ids))

    async def size_bytes(self) -> int:
        """What the database takes on its disk, with what it has free."""
        return await self.read(compaction.size_bytes)

    async def change_mark(self) -> Hashable:
        """Differs when another server may have written something."""
        self._check_open()
        with self._explained():
            return await self._database.change_mark()

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
        data = await compressed(state)
        await self.write(lambda each: versions.save(each, room_id, seq, name, data, made_ms, bounds, lease))

    async def versions(self, room_id: str) -> list[VersionRow]:
        """Those of a room, oldest first."""
        return await self.read(partial(versions.list_all, room_id=room_id))

    async def version_state(self, room_id: str, seq: int) -> bytes | None:
        """The state of one, or None."""
        data = await self.read(partial(versions.state, room_id=room_id, seq=seq))
        return None if data is None else decompress(data, f"the version of room {room_id!r} at seq {seq}")

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """Take a lease; None while somebody else holds it."""
        return await self.write(partial(leases.acquire, name=name, holder=holder, ttl_ms=ttl_ms))

    async def renew_lease(self, lease: Lease, ttl_ms: int) -> Lease | None:
        """The lease with a later expiry; None when it is lost or expired."""
        return await self.write(partial(leases.renew, lease=lease, ttl_ms=ttl_ms))

    async def release_lease(self, lease: Lease) -> None:
        """Let others have it at once."""
        await self.write(partial(leases.release, lease=lease))

    async def holds_lease(self, lease: Lease) -> bool:
        """Whether it is neither lost nor expired."""
        return await self.read(partial(leases.holds, lease=lease))

    async def file_by_path(self, path: str, *, create: bool, now_ms: int) -> FileRow | None:
        """The file at a path."""
        check_path(path)
        row = await self.read(partial(files.by_path, path=path))
        if row is not None or not create:
            return row
        return await self.write(partial(files.create, path=path, now_ms=now_ms))

    async def file_by_id(self, file_id: str) -> FileRow | None:
        """The file, deleted or not."""
        return await self.read(partial(files.by_id, file_id=file_id))

    async def move_file(self, old: str, new: str, now_ms: int) -> list[FileRow]:
        """Move a file, or all below a directory."""
        check_move(old, new)
        return await self.write(partial(files.move, old=old, new=new, now_ms=now_ms))

    async def delete_file(self, path: str, now_ms: int) -> None:
        """Mark a file, or all below a directory, as deleted."""
        check_path(path)
        await self.write(partial(files.remove, path=path, now_ms=now_ms))

    async def restore_file(self, file_id: str, now_ms: int) -> bool:
        """Make a deleted file live again."""
        return await self.write(partial(files.restore, file_id=file_id, now_ms=now_ms))

    async def intend_save(self, file_id: str, lease: Lease, *, view: str, hash: str) -> bool:
        """Note what is about to be put on disk."""
        return await self.write(partial(saves.intend, file_id=file_id, lease=lease, view=view, hash_=hash))

    async def record_save(
        self, file_id: str, lease: Lease, *, view: str, hash: str, seq: int, base: bytes, now_ms: int
    ) -> bool:
        """Note what was saved."""
        kept = await compressed(base) if len(base) <= FILE_BASE_BYTES else None
        return await self.write(
            partial(
                saves.record, file_id=file_id, lease=lease, view=view, hash_=hash, seq=seq, base=kept, now_ms=now_ms
            )
        )

    async def saved(self, file_id: str, view: str) -> SaveRow | None:
        """The last save."""
        return await self.read(partial(saves.by_view, file_id=file_id, view=view))

    async def saved_base(self, file_id: str, view: str) -> bytes | None:
        """What was kept of its content."""
        data = await self.read(partial(saves.base, file_id=file_id, view=view))
        return None if data is None else decompress(data, f"the saved content of file {file_id} as {view}")

    async def issue_ticket(self, ticket: TicketRow, tickets_max: int) -> int:
        """Keep a ticket; when it expires."""
        return await self.write(partial(tickets.issue, ticket=ticket, tickets_max=tickets_max), is_passing=True)

    async def spend_ticket(self, digest: bytes) -> TicketRow | None:
        """Take a ticket away."""
        return await self.write(partial(tickets.spend, digest=digest), is_passing=True)

    async def _connect(self) -> None:
        self.is_durable = await self._database.open()
        if not await self._database.read(schema.is_current):
            await self._database.write(schema.upgrade, is_long=True)

    async def _append_room_by_room(self, failed: _Attempt) -> list[Appended | NotAppended]:
        """Try each room of a failed batch alone.

        The failed transaction may have been committed all the same. Each append reads the log under the room's lock
        before it writes, so it answers what is stored from there; until the lock is free, a commit of the failed one
        may still be on its way.
        """
        answers: list[Appended | NotAppended | None] = [None] * len(failed.batch)
        indices_by_room: dict[str, list[int]] = {}
        for i, request in enumerate(failed.batch):
            indices_by_room.setdefault(request.room_id, []).append(i)
        deadline_s = time.monotonic() + RETRY_S
        failures: list[StorageError] = []
        for indices in indices_by_room.values():
            attempt = _Attempt([failed.batch[i] for i in indices])
            try:
                if failures and (isinstance(failures[-1], DegradedError) or time.monotonic() > deadline_s):
                    raise failures[-1]
                await self._append(attempt)
            except StorageError as error:
                failures.append(error)
                for i in indices:
                    answers[i] = NotAppended(error.code, error.told)
            else:
                for i, answer in zip(indices, attempt.answers, strict=True):
                    answers[i] = failed.own(i, answer)
        if len(failures) == len(indices_by_room):
            raise failures[-1]
        return _complete(answers)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that reads over a connection, as all of the above do; for who works on the tables."""
        self._check_open()
        with self._explained():
            return await self._database.read(work)

    async def _append(self, attempt: _Attempt) -> None:
        self._check_open()
        with self._explained():
            await self._database.append(attempt.run)

    async def write(self, work: Callable[[Connection], T], *, is_long: bool = False, is_passing: bool = False) -> T:
        """Run a transaction to its end, whatever becomes of the caller.

        A transaction that was cancelled in its COMMIT would leave a connection of unknown state, and nobody knowing
        what is stored.
        """
        return await self._to_its_end(partial(self._database.write, work, is_long=is_long, is_passing=is_passing))

    async def _change(self, statements: Mapping[str, Executable], parameters: Parameters) -> int:
        """Run the one for this kind of database as a transaction of its own; how many rows it has changed."""
        statement = statements[self._database.url.get_backend_name()]
        return await self._to_its_end(partial(self._database.change, statement, parameters))

    async def _to_its_end(self, transact: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self._check_open()
        task = asyncio.get_running_loop().create_task(self._explaining(transact))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _explaining(self, transact: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with self._explained():
            return await transact()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DATABASE_ERRORS as error:
            metrics.storage_failures.inc()
            raise explain(error, self._database.url) from error

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError("this storage is not open; call open() first, and nothing after close()")


@dataclass(slots=True)
class _Attempt:
    """One append transaction: it remembers what it was about to commit when its COMMIT fails."""

    batch: Sequence[AppendRequest]
    plan: AppendPlan | None = None

    def run(self, statements: Statements) -> None:
        """The transaction's work."""
        self.plan = log.append_batch(statements, self.batch, time.time_ns() // 1_000_000)

    @property
    def answers(self) -> list[Appended | NotAppended]:
        """What the transaction answers, once it is committed."""
        assert self.plan is not None, "run() has returned"
        return _complete(self.plan.answers)

    def own(self, i: int, later: Appended | NotAppended) -> Appended | NotAppended:
        """The answer of a later attempt: what this one stored after all is no duplicate to our caller."""
        mine = self.plan.answers[i] if self.plan is not None else None
        if isinstance(mine, Appended) and not mine.duplicate and later == replace(mine, duplicate=True):
            return mine
        return later


def _complete(answers: Sequence[Appended | NotAppended | None]) -> list[Appended | NotAppended]:
    complete = [answer for answer in answers if answer is not None]
    assert len(complete) == len(answers), "every request has its answer"
    return complete


def _insert_room(connection: Connection, room_id: str, now_ms: int) -> None:
    standing.check_may_begin(connection, room_id)
    values = {"id": room_id, "seq": 0, "hlc": 0, "created_ms": now_ms, "updated_ms": now_ms, "snapshot_seq": 0}
    insert_if_new(connection, rooms, values)


def _delete_room(connection: Connection, room_id: str) -> bool:
    log.lock_room(connection, room_id)
    return connection.execute(delete(rooms).where(rooms.c.id == room_id)).rowcount == 1
