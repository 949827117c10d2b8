"""``collabkernel migrate``: move rooms to another database while servers run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from collabkernel.errors import CollabKernelError, DifferenceError
from collabkernel.storage import open_storage
from collabkernel.storage.migration import LEASE_MS, Migration, migration
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import SHARES
from collabkernel_server.database import MEMORY_URL

LEASE_WAIT_S = 1.5 * LEASE_MS / 1000
"""One that was killed holds the lease for so long; a server, for a round of what it copies."""
LEASE_LOOK_S = 0.1
SHOWN_MAX = 20
"""Rooms that differ, of which each is told."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    from_url: str
    to_url: str
    blob_url: str
    verify: bool
    end_share: int | None
    """Rooms of the shares below it are to be in the new database; None for where they are."""
    finish: bool


@dataclass(slots=True)
class Outcome:
    """What was done."""

    rooms: int = 0
    """In both databases."""
    rooms_moved_to: int = 0
    """In the new one."""
    operations_compared: int = 0
    rooms_equal: int | None = None
    moved_now: int = 0
    closed_ms: int = 0
    """The longest time that a room was in neither database."""
    files: str = ""
    """In which database they are: ``from`` or ``to``."""
    is_finished: bool = False


@click.command()
@click.option("--from", "from_url", envvar="COLLABKERNEL_DB", required=True, help="The database, as servers' db_url.")
@click.option(
    "--to",
    "to_url",
    envvar="COLLABKERNEL_MIGRATE_TO",
    required=True,
    help="The other one, as servers' migrate_to_url; at first it is empty. URLs with a password are better in"
    " COLLABKERNEL_DB and COLLABKERNEL_MIGRATE_TO: a command line is seen by others on the machine.",
)
@click.option("--verify", is_flag=True, help="Compare every room in both, byte by byte; exit 1 if one differs.")
@click.option(
    "--switch",
    "percent",
    type=click.FloatRange(0, 100),
    help="Let this percentage of the rooms be in the new database, the others in the old one: more than before moves"
    " rooms there, less moves them back. All servers have to have both URLs.",
)
@click.option("--finish", is_flag=True, help="After all is moved: let the new database be one as any other.")
@click.option(
    "--blobs",
    "blob_url",
    envvar="COLLABKERNEL_BLOBS",
    default="",
    help="Where large parts of snapshots are, as the servers' blob_url.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def migrate(
    from_url: str, to_url: str, verify: bool, percent: float | None, finish: bool, blob_url: str, as_json: bool
) -> None:
    """Move rooms to another database. Servers and people go on meanwhile.

    Each call copies what the other database does not have yet. A room is moved when its copy is equal; what it was is
    left as it is. Interrupt it at any time: the same command goes on.

    \b
    Examples, in their order:
      collabkernel migrate --from sqlite:////srv/rooms.sqlite --to postgresql://db/rooms --verify
      (restart each server with CollabKernelServer.migrate_to_url)
      collabkernel migrate --from ... --to ... --switch 5
      collabkernel migrate --from ... --to ... --switch 100 --verify
      (restart each server with the new db_url, and without migrate_to_url)
      collabkernel migrate --from ... --to ... --finish

    With --switch 0 all rooms go back.
    """
    if any(url.startswith(MEMORY_URL) for url in (from_url, to_url)):
        raise click.UsageError("rooms in a server's memory have no database that could be reached from here")
    end_share = None if percent is None else round(percent * SHARES / 100)
    wish = Wish(from_url, to_url, blob_url, verify, end_share, finish)
    console = Console(stderr=as_json)
    try:
        outcome, differences = asyncio.run(_run(wish, console))
    except CollabKernelError as error:
        raise click.ClickException(f"{error} ({error.code})") from None
    except KeyboardInterrupt:
        raise click.ClickException("interrupted. What was done stays done; the same command goes on.") from None
    if as_json:
        told = {name: getattr(outcome, name) for name in Outcome.__slots__} | {"differences": differences}
        click.echo(json.dumps(told, indent=2))
    else:
        _tell(console, wish, outcome, differences)
    if differences:
        raise SystemExit(1)


async def _run(wish: Wish, console: Console) -> tuple[Outcome, dict[str, str]]:
    """Do it; with what is wrong, by room."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        shown = _Shown(progress)
        async with (
            _opened(wish.from_url, wish.blob_url) as old,
            _opened(wish.to_url, wish.blob_url) as new,
            _right(old, new, shown) as work,
        ):
            return await _carry_out(work, wish)


async def _carry_out(work: Migration, wish: Wish) -> tuple[Outcome, dict[str, str]]:
    outcome = Outcome()
    await work.catch_up()
    if wish.end_share is not None:
        async for _ in work.switch(wish.end_share):
            outcome.moved_now += 1
    outcome.closed_ms = round(work.closed_s * 1000)
    differences = {}
    if wish.verify:
        outcome.rooms_equal = 0
        async for compared in work.verify():
            outcome.operations_compared += compared.ops_count
            outcome.rooms_equal += bool(compared.room_id) and not compared.difference
            if compared.difference:
                differences[compared.room_id] = compared.difference
    differences |= {room_id: str(error) for room_id, error in work.failures.items() if room_id not in differences}
    if wish.finish and not differences:
        await work.finish()
        outcome.is_finished = True
    old, new = await work.counts()
    outcome.rooms, outcome.rooms_moved_to = old.here + new.here, new.here
    outcome.files = "to" if await work.has_moved_files() else "from"
    return outcome, differences


@asynccontextmanager
async def _opened(url: str, blob_url: str) -> AsyncIterator[SqlStorage]:
    storage = open_storage(url, blob_url=blob_url)
    assert isinstance(storage, SqlStorage), "it is not in memory"
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


class _Shown:
    """How far it is, in a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("looking at the databases", total=None)

    def say(self, what: str) -> None:
        self._progress.update(self._task, description=what, total=None)

    def watch(self, what: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=f"{what} rooms", completed=done, total=total)


@asynccontextmanager
async def _right(old: SqlStorage, new: SqlStorage, shown: _Shown) -> AsyncIterator[Migration]:
    """The right to migrate: one that was killed holds it for a while, and servers again and again."""
    deadline_s = asyncio.get_running_loop().time() + LEASE_WAIT_S
    while True:
        async with migration(old, new, shown.watch) as work:
            if work is not None:
                yield work
                return
        if asyncio.get_running_loop().time() > deadline_s:
            raise click.ClickException("another command migrates these databases now; try again later")
        shown.say("waiting for another migration")
        await asyncio.sleep(LEASE_LOOK_S)


def _tell(console: Console, wish: Wish, outcome: Outcome, differences: dict[str, str]) -> None:
    if wish.end_share is not None:
        console.print(f"{outcome.moved_now:,} moved now; who wrote to one waited for {outcome.closed_ms} ms at most.")
    console.print(
        f"{outcome.rooms - outcome.rooms_moved_to:,} rooms are in --from, {outcome.rooms_moved_to:,} in --to;"
        f" files are in --{outcome.files}. Each is copied to the other."
    )
    if outcome.rooms_equal is not None:
        console.print(f"{outcome.rooms_equal:,} rooms are equal, {outcome.operations_compared:,} operations of them.")
    for room_id, difference in list(differences.items())[:SHOWN_MAX]:
        console.print(Text(f"{room_id or 'files'}: {difference} ({DifferenceError.code})", "red"), soft_wrap=True)
    if len(differences) > SHOWN_MAX:
        console.print(f"... and {len(differences) - SHOWN_MAX:,} more.")
    if outcome.is_finished:
        console.print("Finished: --to is a database as any other now.")


if __name__ == "__main__":
    migrate()
