"""The daily compaction of rooms on a server: when it begins, which rooms it takes, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from collabkernel import metrics
from collabkernel.errors import BlobsAwayError, CollabKernelError, DegradedError, LeaseLostError
from collabkernel.limits import Limits
from collabkernel.server.compaction import Compaction
from collabkernel.server.log_compaction import LogCompaction, Outcome, holding
from collabkernel.server.purging import DAY_MS, Purging
from collabkernel.storage.archive import Archive
from collabkernel.storage.base import Lease, Storage

log = logging.getLogger(__name__)

FIRST_MS = 600_000
"""A server that has just started has more to do than to compact."""
WEIGHT = 2
"""What work on rooms' logs counts for: rooms that are open here wait for the interpreter meanwhile. With the default
share of 5 % it is at work for 2.5 % of the time; with all of it more than one in twenty edits met it, and their p95 was
a third to a half longer."""
LOOK_S = 60.0
"""Between two looks at the clock, while it is not time, or another server compacts."""


def local_hour(now_ms: int) -> int:
    """The hour of the day where this server stands."""
    return time.localtime(now_ms / 1000).tm_hour


def is_hour_of(hour: int, from_hour: int, to_hour: int) -> bool:
    """Whether an hour is between two, of which the second may be of the next day; 0 and 24 are all of a day."""
    if from_hour < to_hour:
        return from_hour <= hour < to_hour
    return hour >= from_hour or hour < to_hour


class DailyCompaction:
    """One server's. Of several on one database one does the work, and the others find that nothing is left to do."""

    def __init__(
        self,
        storage: Storage,
        work: Compaction,
        limits: Limits,
        now_ms: Callable[[], int],
        holder: str,
        purging: Purging,
        archive_url: str = "",
        hour_of: Callable[[int], int] = local_hour,
        look_s: float = LOOK_S,
    ) -> None:
        """Begin nothing yet.

        Args:
            storage: The database.
            work: Whose turns and allowance it takes.
            limits: What is compacted, and when.
            now_ms: This server's clock.
            holder: Tells this server from all others.
            purging: Looks for what was deleted long ago.
            archive_url: Where dropped operations go; empty for nowhere.
            hour_of: The hour of the day of a time.
            look_s: Between two looks at the clock.
        """
        self._storage = storage
        self._work = work
        self._limits = limits
        self._now_ms = now_ms
        self._holder = holder
        self._purging = purging
        self._archive_url = archive_url
        self._hour_of = hour_of
        self._look_s = look_s
        self._due_ms = now_ms() + FIRST_MS

    async def run(self) -> None:
        """Compact once a day, until it is cancelled."""
        while True:
            if self._now_ms() >= self._due_ms and self._is_time():
                try:
                    await self._compact()
                except Exception:  # the edge of a task that works for all rooms
                    log.exception("Rooms were not compacted, and will be tried again in a day")
                    self._due_ms = self._now_ms() + DAY_MS
            await asyncio.sleep(self._look_s)

    def _is_time(self) -> bool:
        limits = self._limits
        return is_hour_of(self._hour_of(self._now_ms()), limits.compact_from_hour, limits.compact_to_hour)

    async def _compact(self) -> None:
        """Compact all that is due, and remove what nobody names, if nobody else does."""
        archive = Archive(self._archive_url) if self._archive_url else None
        compaction = LogCompaction(self._storage, self._work, archive=archive, weight=WEIGHT)
        async with holding(self._storage, self._holder) as lease:
            if lease is None:
                return
            if self._limits.history_days:
                await self._compact_rooms(compaction, lease)
            await self._sweep()
        self._due_ms = self._now_ms() + DAY_MS

    async def _compact_rooms(self, compaction: LogCompaction, lease: Lease) -> None:
        async for room_id in compaction.rooms():
            if not self._is_time():
                log.info("Compaction goes on tomorrow: its hours are over")
                break
            try:
                await self._compact_room(compaction, room_id, lease)
                await self._purging.purge(room_id)
            except (LeaseLostError, DegradedError):
                raise
            except CollabKernelError:  # a room that is damaged does not keep the others from it
                log.exception("Room %s was not compacted, and will be tried again in a day", room_id)

    async def _sweep(self) -> None:
        try:
            count = await self._storage.sweep_blobs(self._work.rest)
        except BlobsAwayError as error:
            log.warning("Old blobs were not removed, and will be tried again in a day: %s", error)
            return
        if count:
            log.info("%d blobs were removed that nothing names", count)

    async def _compact_room(self, compaction: LogCompaction, room_id: str, lease: Lease) -> None:
        before_ms = max(0, self._now_ms() - self._limits.history_days * DAY_MS)
        plan = await compaction.plan(room_id, before_ms, self._limits.compact_ops)
        if plan is not None:
            self._tell(await compaction.carry_out(plan, lease))

    def _tell(self, outcome: Outcome) -> None:
        metrics.compacted_ops.inc(outcome.ops_dropped)
        if outcome.error is not None:
            log.error("Room %s was not compacted: %s", outcome.room_id, outcome.error)
        else:
            log.info("Room %s: %d operations were compacted", outcome.room_id, outcome.ops_dropped)
