"""Moves rooms from one database to another and back, while servers write to both (``migrating.MigratingStorage``).

A room is moved in four steps, of which only the last decides:

1. its copy is brought up to what it is, and its log is compared, as often as it takes; everybody goes on writing;
2. *close*: its row where it is says *left*. Who appends after that is refused, and looks where it is;
3. what came since is copied, and all of the room is compared; nobody can write to either;
4. *open*: the copy's row says *here*.

Killed after the second step, the room is in neither database until a migration is run again, which settles it first.
Whoever moves and copies has the lease ``LEASE`` of both databases; each transaction looks at that of its own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, func, select

from collabkernel.errors import (
    DegradedError,
    DifferenceError,
    LeaseLostError,
    LogDroppedError,
    MigrationError,
    StorageError,
)
from collabkernel.storage import leases, snapshots, standing
from collabkernel.storage.base import Lease
from collabkernel.storage.comparing import Compared, compare, compare_files
from collabkernel.storage.copying import Copier
from collabkernel.storage.holding import held
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import COPY, HERE, LEFT, SHARES, Placement, share_of
from collabkernel.storage.tables import files, rooms

LEASE = "migration"
LEASE_MS = 5_000
"""Renewed each third of it; so long after who was killed somebody else opens the room that he had closed."""
LISTED_ROOMS = 1000
"""Rooms whose rows are looked at together."""
VERIFY_ATTEMPTS = 5
"""Somebody would have to save a file, or join a room of thousands of sites, between a copy and a look at it, at each
of them."""

log = logging.getLogger(__name__)

T = TypeVar("T")
Watch = Callable[[str, int, int], None]
"""Told what is done, how many rooms of it are, and of how many."""

_LISTED = ("standing", "created_ms", "seq", "hlc", "updated_ms", "snapshot_seq", "dropped_seq")


class Way(NamedTuple):
    """A direction to copy in."""

    truth: SqlStorage
    copy: SqlStorage
    copier: Copier


class Listed(NamedTuple):
    """A room's row as the two databases have it, to see whether they differ; None where there is none."""

    room_id: str
    truth: tuple[int, ...] | None
    copy: tuple[int, ...] | None

    @property
    def is_here(self) -> bool:
        """Whether the truth is where it was looked for."""
        return self.truth is not None and self.truth[0] == HERE

    @property
    def is_behind(self) -> bool:
        """Whether the copy is not what the truth is, or the truth is gone."""
        if self.truth is None:
            return self.copy is not None and self.copy[0] == COPY
        return self.is_here and (self.copy is None or self.copy != (COPY, *self.truth[1:]))


class Counted(NamedTuple):
    """What a database has of rooms."""

    here: int
    copies: int


@asynccontextmanager
async def migration(old: SqlStorage, new: SqlStorage, watch: Watch | None = None) -> AsyncIterator[Migration | None]:
    """The right to migrate between two databases that are open, as long as the block lasts; None while another has it.

    Raises:
        MigrationError: They are one, or cannot be migrated between.
        StorageError: A database does not answer.
    """
    names = [await database.write(snapshots.space) for database in (old, new)]
    if names[0] == names[1]:
        raise MigrationError("these are one database, or one is a copy of the other's file; choose a new one")
    holder = secrets.token_hex(8)
    async with held(old, LEASE, holder, LEASE_MS) as old_lease, held(new, LEASE, holder, LEASE_MS) as new_lease:
        if old_lease is None or new_lease is None:
            yield None
            return
        work = Migration(old, new, {old: old_lease, new: new_lease}, watch or _unwatched)
        await work.begin(*names)
        yield work


def _unwatched(_what: str, _done: int, _total: int) -> None:
    """Nobody wants to know."""


class Migration:
    """Copies, compares and moves rooms between two databases. Made by ``migration``; one task uses it."""

    def __init__(self, old: SqlStorage, new: SqlStorage, lease_of: Mapping[SqlStorage, Lease], watch: Watch) -> None:
        self._old = old
        self._new = new
        self._lease_of = lease_of
        self._watch = watch
        self._forth = Way(old, new, Copier(old, new, lease_of[new], self._rest))
        self._back = Way(new, old, Copier(new, old, lease_of[old], self._rest))
        self._is_shared = True
        """Whether rooms are in both databases, so that others write to where copies are."""
        self.failures: dict[str, StorageError] = {}
        """Why rooms were not copied or moved, by id; files by an empty one."""
        self.closed_s = 0.0
        """The longest time that a room was in neither database."""

    async def begin(self, old_name: str, new_name: str) -> None:
        """Let the two know each other, and settle what was begun before.

        Raises:
            MigrationError: The new one has rooms or files of its own, or one of them moves with a third.
        """
        placements = await self._placements()
        if (placements[0].peer, placements[1].peer) != (new_name, old_name):
            if not placements[1].peer and not await self._new.read(_is_empty):
                raise MigrationError("the database to migrate to has rooms or files of its own; choose a new one")
            for database, peer, end_share, files in (
                (self._new, old_name, 0, COPY),
                (self._old, new_name, SHARES, HERE),
            ):
                begun = partial(standing.set_peer, peer=peer, first_share=0, end_share=end_share, files=files)
                await self._write(database, begun)
            placements = await self._placements()
        if placements[0].end_share != SHARES or placements[1].first_share != 0:
            raise MigrationError("rooms move the other way between these two: exchange the two URLs")
        if placements[1].end_share != placements[0].first_share:  # a change of shares was cut short
            set_shares = partial(standing.set_shares, first_share=0, end_share=placements[0].first_share)
            await self._write(self._new, set_shares)
        await self._settle()

    async def _placements(self) -> list[Placement]:
        """Of the old database and the new one."""
        return [await database.read(standing.find_placement) for database in (self._old, self._new)]

    async def finish(self) -> None:
        """Let the new database be one as any other. What is in the old one stays as it is, and is left.

        Raises:
            MigrationError: Something is still in the old one.
        """
        if await self.share() < SHARES or not await self.has_moved_files() or (await self._old.read(_count)).here:
            raise MigrationError("not everything was moved; switch 100 percent first")
        await self._write(self._new, standing.finish)

    async def share(self) -> int:
        """Rooms of the shares below this belong to the new database."""
        return (await self._old.read(standing.find_placement)).first_share

    async def counts(self) -> tuple[Counted, Counted]:
        """What the old database has, and the new one."""
        return await self._old.read(_count), await self._new.read(_count)

    async def has_moved_files(self) -> bool:
        """Whether all files are in the new database."""
        return (await self._new.read(standing.find_placement)).files == HERE

    async def _rest(self, took_s: float) -> None:
        """Of an SQLite file others look for the lock only now and then."""
        if self._is_shared:
            await asyncio.sleep(took_s)

    # -- copying

    async def follow(self) -> int:
        """Bring all copies up to what their rooms were when this began; how many rooms had changed."""
        changed = 0
        self._is_shared = await self.share() > 0
        for way in (self._forth, self._back):
            total = (await way.truth.read(_count)).here
            done = 0
            async for listed in self._listed(way):
                if listed.is_behind:
                    changed += await self._tried(listed.room_id, way.copier.copy_room(listed.room_id)) is not None
                done += listed.is_here
                self._watch("copying", done, max(done, total))
        files_way = await self._files_way()
        if files_way is not None:
            await self._begin_files(files_way)
            await self._tried("", files_way.copier.copy_files())
        return changed

    async def _tried(self, room_id: str, work: Awaitable[T]) -> T | None:
        """Do it; what is wrong with one room is noted, and keeps no other from being copied or moved."""
        try:
            return await work
        except (DegradedError, LeaseLostError):
            raise
        except StorageError as error:
            self.failures[room_id] = error
            return None

    async def catch_up(self) -> None:
        """Follow until nothing has changed meanwhile, or so little that the next round would be as long."""
        before: int | None = None
        while (changed := await self.follow()) and (before is None or changed < before):
            before = changed

    async def verify(self) -> AsyncIterator[Compared]:
        """Compare each room with its copy, byte by byte. Nothing that may not change is mended before.

        What may change is brought up to date first, and a room that is written to is compared as it was then.
        """
        for way in (self._forth, self._back):
            total = (await way.truth.read(_count)).here
            done = 0
            async for listed in self._listed(way):
                if listed.is_here:
                    yield await self._verified(way, listed.room_id)
                    done += 1
                    self._watch("comparing", done, max(done, total))
        files_way = await self._files_way()
        if files_way is not None:
            yield await self._verified_files(files_way)

    async def _verified(self, way: Way, room_id: str) -> Compared:
        found = Compared(room_id, 0, "")
        for _ in range(VERIFY_ATTEMPTS):
            try:
                if (seen := await way.copier.copy_room(room_id)) is None:  # it was deleted
                    return found
                found = await compare(way.truth, way.copy, seen, is_deep=True)
            except (DegradedError, LeaseLostError):
                raise
            except LogDroppedError:  # it was compacted meanwhile
                continue
            except StorageError as error:
                return Compared(room_id, 0, "", str(error))
            if not found.difference:
                break
        return found

    async def _verified_files(self, way: Way) -> Compared:
        for _ in range(VERIFY_ATTEMPTS):
            await way.copier.copy_files()
            if not (found := await compare_files(way.truth, way.copy, is_deep=True)):
                break
        return Compared("", 0, "", found)

    # -- moving

    async def switch(self, end_share: int) -> AsyncIterator[str]:
        """Let the rooms of the shares below this be in the new database and all others in the old one; those moved.

        With all shares the files are moved as well; they come back before any room does.

        A room whose copy is not what it is stays where it was; ``failures`` tells.
        """
        self._is_shared = True
        if end_share < SHARES and await self._tried("", self._move_files(self._back)):
            yield ""
        # First the one whose range gets smaller: a name must never be free in both.
        steps = [(self._old, end_share, SHARES), (self._new, 0, end_share)]
        if end_share < await self.share():
            steps.reverse()
        for database, first, end in steps:
            await self._write(database, partial(standing.set_shares, first_share=first, end_share=end))
        for way in (self._forth, self._back):
            total = (await way.truth.read(_count)).here
            done = 0
            async for listed in self._listed(way):
                is_new = share_of(listed.room_id) < end_share
                if not listed.is_here:
                    continue
                is_wrong = is_new == (way.copy is self._new)
                if is_wrong and await self._tried(listed.room_id, self._move(way, listed.room_id)):
                    yield listed.room_id
                done += 1
                self._watch("moving", done, max(done, total))
        if end_share == SHARES and not self.failures and await self._tried("", self._move_files(self._forth)):
            yield ""

    async def _move(self, way: Way, room_id: str) -> bool:
        """Move a room; False when it was deleted meanwhile."""
        seen = await way.copier.copy_room(room_id)
        if seen is None:
            return False
        found = await compare(way.truth, way.copy, seen)
        if found.difference.startswith("ops:"):
            raise DifferenceError(f"room {room_id!r}: {found.difference}")
        closed_s = time.monotonic()
        if not await self._change(way.truth, room_id, HERE, LEFT):
            return False
        try:
            await self._check(way, room_id, after_seq=seen.room.seq)
        except BaseException:
            await asyncio.shield(self._change(way.truth, room_id, LEFT, HERE))
            raise
        await self._change(way.copy, room_id, COPY, HERE)
        self.closed_s = max(self.closed_s, time.monotonic() - closed_s)
        return True

    async def _check(self, way: Way, room_id: str, after_seq: int) -> None:
        """Copy what there still is of a room that is closed, and compare it."""
        seen = await way.copier.copy_room(room_id)
        if seen is None:
            raise MigrationError(f"room {room_id!r} was deleted while it was moved")
        if difference := (await compare(way.truth, way.copy, seen, after_seq)).difference:
            raise DifferenceError(f"room {room_id!r}: {difference}")

    async def _move_files(self, way: Way) -> bool:
        """Move all files, with what was saved there; False when they are not where they would be moved from."""
        if (await way.truth.read(standing.find_placement)).files != HERE:
            return False
        await self._begin_files(way)
        await way.copier.copy_files()
        await self._write(way.truth, partial(standing.change_files, before=HERE, after=LEFT))
        try:
            await self._check_files(way)
        except BaseException:
            await asyncio.shield(self._write(way.truth, partial(standing.change_files, before=LEFT, after=HERE)))
            raise
        await self._write(way.copy, partial(standing.change_files, before=COPY, after=HERE))
        return True

    async def _check_files(self, way: Way) -> None:
        await way.copier.copy_files()
        if difference := await compare_files(way.truth, way.copy):
            raise DifferenceError(f"files: {difference}")
        token = await way.truth.read(leases.highest_token)
        await self._write(way.copy, partial(leases.forget_all, token=token, but=LEASE))

    async def _begin_files(self, way: Way) -> None:
        await self._write(way.copy, partial(standing.change_files, before=LEFT, after=COPY))

    async def _files_way(self) -> Way | None:
        """In which direction files are copied; None while they are in neither database."""
        for way in (self._forth, self._back):
            if (await way.truth.read(standing.find_placement)).files == HERE:
                return way
        return None

    # -- what was cut short

    async def _settle(self) -> None:
        """Take back the moves that somebody has begun, and not ended: their servers wait. They are made again later."""
        for way in (self._forth, self._back):
            async for listed in self._listed(way):
                if listed.truth is None or listed.copy is None or (listed.truth[0], listed.copy[0]) != (LEFT, COPY):
                    continue
                await self._change(way.truth, listed.room_id, LEFT, HERE)
            if [(await each.read(standing.find_placement)).files for each in (way.truth, way.copy)] == [LEFT, COPY]:
                await self._write(way.truth, partial(standing.change_files, before=LEFT, after=HERE))

    # -- rows

    async def _listed(self, way: Way) -> AsyncIterator[Listed]:
        """Rooms of both databases, by id."""
        after: str | None = ""
        while after is not None:
            truth = await way.truth.read(partial(_list, after=after, upto=None))
            upto = max(truth) if len(truth) == LISTED_ROOMS else None
            copy = more = await way.copy.read(partial(_list, after=after, upto=upto))
            while upto is None and len(more) == LISTED_ROOMS:
                more = await way.copy.read(partial(_list, after=max(more), upto=None))
                copy = copy | more
            for room_id in sorted(truth.keys() | copy.keys()):
                yield Listed(room_id, truth.get(room_id), copy.get(room_id))
            after = upto

    async def _change(self, database: SqlStorage, room_id: str, before: int, after: int) -> bool:
        return await self._write(database, partial(standing.change, room_id=room_id, before=before, after=after))

    async def _write(self, database: SqlStorage, work: Callable[[Connection], T]) -> T:
        def run(connection: Connection) -> T:
            leases.check_newest(connection, self._lease_of[database])
            return work(connection)

        return await database.write(run)


def _list(connection: Connection, after: str, upto: str | None) -> dict[str, tuple[int, ...]]:
    query = select(rooms.c.id, *(rooms.c[name] for name in _LISTED)).where(rooms.c.id > after).order_by(rooms.c.id)
    query = query.limit(LISTED_ROOMS) if upto is None else query.where(rooms.c.id <= upto)
    return {row[0]: tuple(row[1:]) for row in connection.execute(query)}


def _count(connection: Connection) -> Counted:
    query = select(rooms.c.standing, func.count()).group_by(rooms.c.standing)
    counts = {row[0]: int(row[1]) for row in connection.execute(query)}
    return Counted(counts.get(HERE, 0), counts.get(COPY, 0))


def _is_empty(connection: Connection) -> bool:
    return not any(connection.scalar(select(func.count()).select_from(table)) for table in (rooms, files))
