"""The command ``collabkernel compact``: compaction of rooms' logs by hand, with a server running or not."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from collabkernel.document.operations import Purge
from collabkernel.errors import CollabKernelError, StorageError
from collabkernel.limits import Limits
from collabkernel.server.compaction import Compaction
from collabkernel.server.direct_purge import DirectPurge
from collabkernel.server.hub import wall_clock_ms
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.server.log_compaction import LEASE_MS, LogCompaction, Outcome, Plan, holding
from collabkernel.server.purging import DAY_MS, Purging
from collabkernel.server.reader import Reader
from collabkernel.server.room_history import RoomHistory
from collabkernel.storage import open_storage
from collabkernel.storage.archive import Archive
from collabkernel.storage.base import Lease, Storage
from collabkernel_server.database import MEMORY_URL, default_db_url

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": DAY_MS}
LEASE_WAIT_S = 1.5 * LEASE_MS / 1000
"""One that was killed holds the lease for so long."""
LEASE_LOOK_S = 0.25


class Age(click.ParamType[int]):
    """A time ago: a number of days, hours or minutes, as milliseconds."""

    name = "AGE"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Such as ``30d``."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,6})([mhd])", value)
        if found is None:
            self.fail(f"{value!r} is no age: write 30d, 12h or 90m", param, ctx)
        return int(found[1]) * _UNITS_MS[found[2]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    db_url: str
    rooms: tuple[str, ...]
    older_than_ms: int
    blob_url: str
    archive: str
    is_dry: bool
    is_purge: bool
    cpu_percent: int


@click.command()
@click.option(
    "--db",
    "db_url",
    envvar="COLLABKERNEL_DB",
    help="The database, as the server's db_url. Without it, the one that Jupyter servers of this user have by default."
    " One with a password is better in COLLABKERNEL_DB: a command line is seen by others on the machine.",
)
@click.option("--room", "rooms", multiple=True, help="Only this room; may be given again.")
@click.option(
    "--older-than",
    type=Age(),
    default="30d",
    show_default=True,
    help="What is older goes, and of each hour of it the last state stays: 30d, 12h, 90m.",
)
@click.option(
    "--archive", envvar="COLLABKERNEL_ARCHIVE", default="", help="Folder or URL for what goes, as Parquet files."
)
@click.option(
    "--blobs",
    "blob_url",
    envvar="COLLABKERNEL_BLOBS",
    default="",
    help="Where large parts of snapshots are, as the server's blob_url; what nothing names there any more goes.",
)
@click.option(
    "--purge",
    "is_purge",
    is_flag=True,
    help="Let go of what was deleted as long ago, too, a day at least. A room that a server has at hand is left to it.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Tell what operations would go, and change nothing.")
@click.option(
    "--cpu-percent",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="Share of one core to work with; it rests in between, so that others wait for it no longer than for an edit.",
)
def compact(
    db_url: str | None,
    rooms: tuple[str, ...],
    older_than: int,
    archive: str,
    blob_url: str,
    is_dry: bool,
    is_purge: bool,
    cpu_percent: int,
) -> None:
    """Make the logs of rooms shorter. Servers may run meanwhile.

    Every room stays as it is, and can still be shown as it was at every operation that is younger, and at the end of
    each hour of work before. What goes was folded and compared first. Interrupt it at any time: the same command goes
    on.

    \b
    Examples:
      collabkernel compact --dry-run
      collabkernel compact --older-than 90d --archive /srv/archive
      collabkernel compact --room planning --older-than 0m
    """
    wish = Wish(db_url or default_db_url(), rooms, older_than, blob_url, archive, is_dry, is_purge, cpu_percent)
    if wish.db_url == MEMORY_URL:
        raise click.UsageError("rooms in a server's memory have no database that could be compacted from here")
    if is_purge and older_than < DAY_MS:
        raise click.UsageError(
            "--purge wants --older-than 1d or more: whoever was away for longer makes his edits again"
        )
    console = Console()
    try:
        has_failed = asyncio.run(_run(wish, console))
    except CollabKernelError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException("interrupted. What was done stays done; the same command goes on.") from None
    if has_failed:
        raise SystemExit(1)


async def _run(wish: Wish, console: Console) -> bool:
    """Do it; whether something failed."""
    archive = Archive(wish.archive) if wish.archive and not wish.is_dry else None
    storage = open_storage(wish.db_url, blob_url=wish.blob_url)
    await storage.open()
    try:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            shown = _Shown(progress)
            limits = replace(Limits(), compact_cpu_percent=wish.cpu_percent)
            work = Compaction(storage, limits, wall_clock_ms, has_peers=True)
            compaction = LogCompaction(storage, work, archive=archive, watch=shown.watch)
            before_bytes = await storage.size_bytes()
            await _check_rooms(storage, wish.rooms)
            rooms = list(wish.rooms) or [room_id async for room_id in compaction.rooms()]
            plans = await _plans(compaction, rooms, wish, shown)
            outcomes, purges = list[Outcome](), Purges()
            if not wish.is_dry:
                async with _lease(storage, shown) as lease:
                    outcomes = [await compaction.carry_out(plan, lease) for plan in plans]
                    if wish.is_purge:
                        purges = await _purge(storage, work, rooms, wish.older_than_ms, shown)
                    await storage.sweep_blobs(work.rest)
            after_bytes = await storage.size_bytes()
    finally:
        await storage.close()
    purges.tell(console)
    if not plans:
        console.print("Nothing to compact: no log has enough that is as old.")
        return bool(purges.failed)
    console.print(_plan_table(plans) if wish.is_dry else _outcome_table(outcomes))
    console.print(f"The database takes {_mib(before_bytes)}" + ("." if wish.is_dry else f" -> {_mib(after_bytes)}."))
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        console.print(Text(f"{outcome.room_id}: {outcome.error}", "red"), soft_wrap=True)
    return bool(failed or purges.failed)


class _Shown:
    """How far it is, in a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("looking at the rooms", total=None)

    def say(self, what: str) -> None:
        self._progress.update(self._task, description=what, total=None)

    def watch(self, room_id: str, step: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=f"{room_id}: {step}", completed=done, total=total)


async def _check_rooms(storage: Storage, room_ids: Sequence[str]) -> None:
    for room_id in room_ids:
        if await storage.head(room_id) is None:
            raise click.ClickException(f"there is no room {room_id!r} here; without --room all are compacted")


async def _plans(compaction: LogCompaction, rooms: Sequence[str], wish: Wish, shown: _Shown) -> list[Plan]:
    before_ms = max(0, wall_clock_ms() - wish.older_than_ms)
    shown.say(f"looking at {len(rooms)} rooms")
    plans = [await compaction.plan(room_id, before_ms, ops_min=1) for room_id in rooms]
    return [plan for plan in plans if plan is not None]


@dataclass(slots=True)
class Purges:
    """What became of what was deleted."""

    count_by_room: dict[str, int] = field(default_factory=dict)
    """Slots, keys and blocks that went."""
    kept: list[str] = field(default_factory=list)
    """Rooms that a server has at hand."""
    failed: dict[str, StorageError] = field(default_factory=dict)

    def tell(self, console: Console) -> None:
        """Say it, a line a room."""
        for room_id, count in self.count_by_room.items():
            console.print(Text(f"{room_id}: {count:,} deleted elements, keys and blocks are gone"))
        for room_id in self.kept:
            console.print(Text(f"{room_id}: a server has it at hand, and lets go of what was deleted by itself"))
        for room_id, error in self.failed.items():
            console.print(Text(f"{room_id}: {error}", "red"), soft_wrap=True)


async def _purge(storage: Storage, work: Compaction, rooms: Sequence[str], older_than_ms: int, shown: _Shown) -> Purges:
    """Let go of what was deleted as long ago."""
    limits, reader, found = replace(Limits(), history_days=older_than_ms // DAY_MS), Reader(storage), Purges()
    asked: dict[str, tuple[Sequence[Purge], int]] = {}

    def ask(room_id: str, ops: Sequence[Purge], seq: int) -> None:
        asked[room_id] = ops, seq

    past = RoomHistory(storage, reader, limits)
    purging = Purging(reader, past, work, limits, wall_clock_ms, ask)
    leases = KeeperLeases(storage, secrets.token_hex(8), limits, wall_clock_ms)
    direct = DirectPurge(storage, reader, leases, work, wall_clock_ms)
    for room_id in rooms:
        shown.say(f"{room_id}: what was deleted")
        if not await purging.purge(room_id):
            continue
        try:
            count = await direct.purge(room_id, *asked.pop(room_id))
        except StorageError as error:
            found.failed[room_id] = error
            continue
        if count is None:
            found.kept.append(room_id)
        else:
            found.count_by_room[room_id] = count
    return found


@asynccontextmanager
async def _lease(storage: Storage, shown: _Shown) -> AsyncIterator[Lease]:
    """The right to compact; one that was killed holds it for a while."""
    holder = secrets.token_hex(8)
    deadline_s = asyncio.get_running_loop().time() + LEASE_WAIT_S
    while True:
        async with holding(storage, holder) as lease:
            if lease is not None:
                yield lease
                return
        if asyncio.get_running_loop().time() > deadline_s:
            raise click.ClickException("a server or another command compacts this database now; try again later")
        shown.say("waiting for another compaction")
        await asyncio.sleep(LEASE_LOOK_S)


def _plan_table(plans: list[Plan]) -> Table:
    table = Table("room", "would go", "would stay", title="Operations of rooms' logs")
    for plan in plans:
        room = plan.room
        table.add_row(Text(room.room_id), f"{plan.ops_count:,}", f"{room.seq - plan.upto_seq:,}")
    return table


def _outcome_table(outcomes: list[Outcome]) -> Table:
    table = Table("room", "operations gone", "operations left", "states kept", title="Compacted rooms")
    for each in outcomes:
        states = f"{each.states:,} ({_mib(each.states_bytes)})"
        table.add_row(Text(each.room_id), f"{each.ops_dropped:,}", f"{each.ops_left:,}", states)
    return table


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"


if __name__ == "__main__":
    compact()
