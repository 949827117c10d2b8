"""A server's storage while rooms move between two databases: each room is asked for where it is.

Which of the two that is, their rows say (``standing``). An append goes where the room was last, and costs nothing more;
it is refused there when the room has moved, and then goes to the other, whose log goes on at the same seq with the same
sites. So rooms in memory, and who is in them, notice nothing.

What is acknowledged is in the database that has the room. The other one follows a few seconds behind, from a task here:
of all servers, and of ``collabkernel migrate``, one at a time does that. It ends moves that were cut short as well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import TypeVar

from collabkernel.errors import DegradedError, MovedError, RoomNotFoundError, StorageError
from collabkernel.storage import standing
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
from collabkernel.storage.migration import migration
from collabkernel.storage.rules import COMPACTION_LEASE
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import COPY, HERE, LEFT

MOVING_S = 3.0
"""A room that is moved is closed for some milliseconds; who has waited for it as long is told to ask again."""
MOVING_LOOK_S = 0.02
FOLLOW_S = 2.0
"""Between two rounds in which copies are brought up to date, and ..."""
FOLLOW_SHARE = 20
"""... so many times as long as the last one took."""
KNOWN_MAX = 10_000
"""Rooms of which it is remembered that they are in the new database; over it all are looked for again."""

log = logging.getLogger(__name__)

T = TypeVar("T")
_MOVED = frozenset({MovedError.code, RoomNotFoundError.code})
"""What a database says that does not have a room."""


class MigratingStorage:
    """A ``Storage`` of two databases; ``base.Storage`` has the promises, but that compaction waits."""

    def __init__(self, old: SqlStorage, new: SqlStorage) -> None:
        """Take the database where rooms were until now, and the one they move to."""
        self._old = old
        self._new = new
        self._in_new: set[str] = set()
        """Rooms that were seen in the new one: a guess, that is as good as the last answer."""
        self._following: asyncio.Task[None] | None = None
        self.is_durable = old.is_durable and new.is_durable

    async def open(self) -> None:
        """Connect to both."""
        await self._old.open()
        try:
            await self._new.open()
        except BaseException:
            await self._old.close()
            raise
        self.is_durable = self._old.is_durable and self._new.is_durable
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="migration")

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
        try:
            await self._old.close()
        finally:
            await self._new.close()

    async def _follow(self) -> None:
        """Bring copies up to date, once ``collabkernel migrate`` has begun, unless somebody else does."""
        while True:
            began_s = time.monotonic()
            try:
                if (await self._new.read(standing.find_placement)).peer:
                    async with migration(self._old, self._new) as work:
                        if work is not None:
                            await work.follow()
                            for room_id, error in work.failures.items():
                                log.error("The copy of room %r does not follow: %s", room_id, error)
            except StorageError as error:
                log.warning("Copies of rooms do not follow: %s", error)
            except Exception:  # the edge of a task that works for all rooms
                log.exception("Copies of rooms do not follow")
            await asyncio.sleep(max(FOLLOW_S, FOLLOW_SHARE * (time.monotonic() - began_s)))

    # -- where things are

    async def _find(self, room_id: str) -> SqlStorage | None:
        """The database that has a room; None when there is no such room.

        Raises:
            MovedError: It is being moved.
        """
        first, second = (self._new, self._old) if room_id in self._in_new else (self._old, self._new)
        found = []
        for database in (first, second):
            row = await database.read(partial(standing.find, room_id=room_id))
            if row is not None and row.standing == HERE:
                self._remember(room_id, database)
                return database
            found.append(None if row is None else row.standing)
        if sorted(found, key=str) in ([COPY, LEFT], [LEFT, LEFT]):
            raise MovedError(f"room {room_id!r}")
        return None

    def _remember(self, room_id: str, database: SqlStorage) -> None:
        self._in_new.discard(room_id)
        if database is self._new:
            if len(self._in_new) >= KNOWN_MAX:
                self._in_new.clear()
            self._in_new.add(room_id)

    async def _at(self, room_id: str, call: Callable[[SqlStorage], Awaitable[T]]) -> T:
        """Do something where a room is, or, when there is none, where nothing is known of it."""

        async def attempt() -> T:
            database = await self._find(room_id)
            if database is None:
                is_known = await self._old.read(partial(standing.find, room_id=room_id)) is not None
                database = self._new if is_known else self._old
            return await call(database)

        return await _until_moved(attempt)

    async def _files_at(self) -> SqlStorage:
        """The database that has the files, and the leases.

        Raises:
            MovedError: They are being moved.
        """
        for database in (self._old, self._new):
            if (await database.read(standing.find_placement)).files == HERE:
                return database
        raise MovedError("files")

    async def _at_files(self, call: Callable[[SqlStorage], Awaitable[T]]) -> T:
        async def attempt() -> T:
            return await call(await self._files_at())

        return await _until_moved(attempt)

    # -- rooms

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        """Store envelopes, those of each database in one transaction."""
        answers: dict[int, Appended | NotAppended] = {}
        pending = dict(enumerate(batch))
        deadline_s = time.monotonic() + MOVING_S
        failures: list[StorageError] = []
        while pending:
            new = {i: each for i, each in pending.items() if each.room_id in self._in_new}
            old = {i: each for i, each in pending.items() if i not in new}
            parts = [_append(each, asked, failures) for each, asked in ((self._old, old), (self._new, new)) if asked]
            for part in await asyncio.gather(*parts):
                answers |= part
            pending = await self._moved(pending, answers, time.monotonic() > deadline_s)
            if pending:
                await asyncio.sleep(MOVING_LOOK_S)
        if failures and all(_has_failed(answer) for answer in answers.values()):
            raise failures[-1]
        return [answers[i] for i in range(len(batch))]

    async def _moved(
        self, asked: dict[int, AppendRequest], answers: dict[int, Appended | NotAppended], is_late: bool
    ) -> dict[int, AppendRequest]:
        """Of what was asked of a database that does not have the room, what is to be asked of the other."""
        again: dict[int, AppendRequest] = {}
        found: dict[str, bool] = {}
        for i, request in asked.items():
            answer = answers[i]
            if not (isinstance(answer, NotAppended) and answer.code in _MOVED):
                continue
            if request.room_id not in found:
                found[request.room_id] = await self._has_moved(request.room_id)
            if found[request.room_id] and is_late:
                answers[i] = NotAppended(DegradedError.code, _still_moving(answer.reason))
            elif found[request.room_id]:
                again[i] = request
        return again

    async def _has_moved(self, room_id: str) -> bool:
        """Whether a room is in another database than was asked, or will be; False when there is none."""
        try:
            return await self._find(room_id) is not None
        except MovedError:
            return True

    async def head(self, room_id: str) -> RoomRow | None:
        """The room, or None."""
        return await self._at(room_id, lambda each: each.head(room_id))

    async def create_room(self, room_id: str, now_ms: int) -> RoomRow:
        """The room, made when it does not exist, in the database whose share it is of."""

        async def attempt() -> RoomRow:
            # Each is asked again whether it has the room after the one before has said that it makes none.
            for database in (self._old, self._new):
                if (found := await self._find(room_id)) is not None:
                    return await found.create_room(room_id, now_ms)
                try:
                    row = await database.create_room(room_id, now_ms)
                except MovedError:
                    continue
                self._remember(room_id, database)
                return row
            raise MovedError(f"room {room_id!r}")

        return await _until_moved(attempt)

    async def read_ops(
        self, room_id: str, after_seq: int, upto_seq: int | None = None
    ) -> AsyncIterator[Sequence[OpRow]]:
        """Operations in seq order, in chunks; where it moves meanwhile, the rest from there."""
        while True:
            database = await self._at(room_id, _itself)
            async for rows in database.read_ops(room_id, after_seq, upto_seq):
                yield rows
                after_seq = rows[-1].seq
            if await self._at(room_id, _itself) is database:
                return

    async def op_at(self, room_id: str, seq: int) -> OpRow | None:
        """The operation at ``seq``."""
        return await self._at(room_id, lambda each: each.op_at(room_id, seq))

    async def seq_before(self, room_id: str, hlc: int) -> int:
        """The seq before the first operation that is stamped over ``hlc``."""
        return await self._at(room_id, lambda each: each.seq_before(room_id, hlc))

    async def origins(self, room_id: str, ops: Sequence[tuple[int, int]]) -> list[OriginRow]:
        """Who made operations, and when."""
        return await self._at(room_id, lambda each: each.origins(room_id, ops))

    async def actors(self, room_id: str, sites: Sequence[int]) -> dict[int, str]:
        """Who writes as each of these sites."""
        return await self._at(room_id, lambda each: each.actors(room_id, sites))

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        """What became of the envelope whose first counter this is."""
        return await self._at(room_id, lambda each: each.find_envelope(room_id, site, counter))

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        """Enter a site at epoch 1; False when the number is taken."""
        return await self._at(room_id, lambda each: each.new_site(room_id, site, actor, kind, secret_hash, now_ms))

    async def free_sites(self, room_id: str, sites_max: int, unused_since_ms: int) -> int:
        """How many sites may still be entered, after unused ones were dropped when there are few."""
        return await self._at(room_id, lambda each: each.free_sites(room_id, sites_max, unused_since_ms))

    async def site(self, room_id: str, site: int) -> SiteRow | None:
        """The site, or None."""
        return await self._at(room_id, lambda each: each.site(room_id, site))

    async def resume_site(self, room_id: str, site: int, now_ms: int) -> SiteRow | None:
        """Raise the site's epoch and return it; None when it is unknown or closed."""
        return await self._at(room_id, lambda each: each.resume_site(room_id, site, now_ms))

    async def refuse(self, room_id: str, site: int, epoch: int, refusal: Refusal) -> bool:
        """Store a final refusal; False when fenced or out of order."""
        return await self._at(room_id, lambda each: each.refuse(room_id, site, epoch, refusal))

    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        """Write a snapshot."""
        await self._at(snapshot.room_id, lambda each: each.save_snapshot(snapshot, now_ms))

    async def latest_snapshot(
        self, room_id: str, wanted: Sequence[str] | None = None, before_seq: int | None = None
    ) -> SnapshotRow | None:
        """The newest snapshot, or these of its parts; or None."""
        return await self._at(room_id, lambda each: each.latest_snapshot(room_id, wanted, before_seq))

    async def sweep_blobs(self, rest: Rest | None = None) -> int:
        """Remove what is outside and not named."""
        return await self._old.sweep_blobs(rest) + await self._new.sweep_blobs(rest)

    async def list_rooms(self, limit: int = 1000, after: str = "") -> list[RoomRow]:
        """Rooms by id, after ``after``."""
        rows = {row.room_id: row for each in (self._old, self._new) for row in await each.list_rooms(limit, after)}
        return [rows[room_id] for room_id in sorted(rows)[:limit]]

    async def delete_room(self, room_id: str) -> bool:
        """Delete a room with all that belongs to it, and its copy first: a room without one is copied again."""

        async def delete(database: SqlStorage) -> bool:
            other = self._old if database is self._new else self._new
            await other.write(partial(standing.remove_copy, room_id=room_id), is_long=True)
            return await database.delete_room(room_id)

        return await self._at(room_id, delete)

    async def drop_ops(self, room_id: str, upto_seq: int, lease: Lease | None = None, rest: Rest | None = None) -> int:
        """Drop the log up to a seq."""
        return await self._at(room_id, lambda each: each.drop_ops(room_id, upto_seq, lease, rest))

    async def heads(self, room_ids: Sequence[str]) -> dict[str, int]:
        """Heads of the logs of these rooms: a copy's is never ahead."""
        heads = await self._old.heads(room_ids)
        for room_id, seq in (await self._new.heads(room_ids)).items():
            heads[room_id] = max(seq, heads.get(room_id, 0))
        return heads

    async def size_bytes(self) -> int:
        """What both databases take."""
        return await self._old.size_bytes() + await self._new.size_bytes()

    async def change_mark(self) -> Hashable:
        """Differs when another server may have written something."""
        return await self._old.change_mark(), await self._new.change_mark()

    # -- versions

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
        await self._at(room_id, lambda each: each.save_version(room_id, seq, name, state, made_ms, bounds, lease))

    async def versions(self, room_id: str) -> list[VersionRow]:
        """Those of a room, oldest first."""
        return await self._at(room_id, lambda each: each.versions(room_id))

    async def version_state(self, room_id: str, seq: int) -> bytes | None:
        """The state of one, or None."""
        return await self._at(room_id, lambda each: each.version_state(room_id, seq))

    # -- leases, files, tickets

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """Take a lease; None while somebody else holds it. Nobody gets that of compaction."""
        if name == COMPACTION_LEASE:  # a lease is of one database, and rooms are in two
            return None
        return await self._at_files(lambda each: each.acquire_lease(name, holder, ttl_ms))

    async def renew_lease(self, lease: Lease, ttl_ms: int) -> Lease | None:
        """The lease with a later expiry; None when it is lost or expired."""
        return await self._at_files(lambda each: each.renew_lease(lease, ttl_ms))

    async def release_lease(self, lease: Lease) -> None:
        """Let others have it at once."""
        await self._at_files(lambda each: each.release_lease(lease))

    async def holds_lease(self, lease: Lease) -> bool:
        """Whether it is neither lost nor expired."""
        return await self._at_files(lambda each: each.holds_lease(lease))

    async def file_by_path(self, path: str, *, create: bool, now_ms: int) -> FileRow | None:
        """The file at a path."""
        return await self._at_files(lambda each: each.file_by_path(path, create=create, now_ms=now_ms))

    async def file_by_id(self, file_id: str) -> FileRow | None:
        """The file, deleted or not."""
        return await self._at_files(lambda each: each.file_by_id(file_id))

    async def move_file(self, old: str, new: str, now_ms: int) -> list[FileRow]:
        """Move a file, or all below a directory."""
        return await self._at_files(lambda each: each.move_file(old, new, now_ms))

    async def delete_file(self, path: str, now_ms: int) -> None:
        """Mark a file, or all below a directory, as deleted."""
        await self._at_files(lambda each: each.delete_file(path, now_ms))

    async def restore_file(self, file_id: str, now_ms: int) -> bool:
        """Make a deleted file live again."""
        return await self._at_files(lambda each: each.restore_file(file_id, now_ms))

    async def intend_save(self, file_id: str, lease: Lease, *, view: str, hash: str) -> bool:
        """Note what is about to be put on disk."""
        return await self._at_files(lambda each: each.intend_save(file_id, lease, view=view, hash=hash))

    async def record_save(
        self, file_id: str, lease: Lease, *, view: str, hash: str, seq: int, base: bytes, now_ms: int
    ) -> bool:
        """Note what was saved."""
        return await self._at_files(
            lambda each: each.record_save(file_id, lease, view=view, hash=hash, seq=seq, base=base, now_ms=now_ms)
        )

    async def saved(self, file_id: str, view: str) -> SaveRow | None:
        """The last save."""
        return await self._at_files(lambda each: each.saved(file_id, view))

    async def saved_base(self, file_id: str, view: str) -> bytes | None:
        """What was kept of its content."""
        return await self._at_files(lambda each: each.saved_base(file_id, view))

    async def issue_ticket(self, ticket: TicketRow, tickets_max: int) -> int:
        """Keep a ticket; when it expires."""
        return await self._at_files(lambda each: each.issue_ticket(ticket, tickets_max))

    async def spend_ticket(self, digest: bytes) -> TicketRow | None:
        """Take a ticket away, wherever it was issued."""
        return await self._old.spend_ticket(digest) or await self._new.spend_ticket(digest)


async def _append(
    database: SqlStorage, asked: dict[int, AppendRequest], failures: list[StorageError]
) -> dict[int, Appended | NotAppended]:
    try:
        return dict(zip(asked, await database.append(list(asked.values())), strict=True))
    except StorageError as error:
        failures.append(error)
        return dict.fromkeys(asked, NotAppended(error.code, error.told))


async def _itself(database: SqlStorage) -> SqlStorage:
    return database


async def _until_moved(attempt: Callable[[], Awaitable[T]]) -> T:
    """Do something again as long as what it asks for is elsewhere, or on its way.

    Raises:
        DegradedError: It is on its way for long.
    """
    deadline_s = time.monotonic() + MOVING_S
    while True:
        try:
            return await attempt()
        except MovedError as error:
            if time.monotonic() > deadline_s:
                raise DegradedError(_still_moving(str(error))) from error
        await asyncio.sleep(MOVING_LOOK_S)


def _still_moving(reason: str) -> str:
    return f"it is being moved for long; was `collabkernel migrate` killed? The same command goes on. ({reason})"


def _has_failed(answer: Appended | NotAppended) -> bool:
    return isinstance(answer, NotAppended) and answer.code in (StorageError.code, DegradedError.code)
