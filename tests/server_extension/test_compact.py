"""The command that compacts: what it tells, and what it leaves."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from collabkernel_server import compact as command

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import MapDelete, MapSet
from collabkernel.errors import StorageError
from collabkernel.limits import PURGED_IDS, Limits
from collabkernel.server.direct_purge import DirectPurge
from collabkernel.server.hub import wall_clock_ms
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.server.log_compaction import LEASE
from collabkernel.server.reader import Reader
from collabkernel.storage import blobs, open_storage
from collabkernel.storage.base import AppendRequest, RoomRow, Storage
from collabkernel.wire.ops import encode_op, op_kind
from tests.server.worked_rooms import ROOM, START_MS, store, worked_log
from tests.server_extension.running_server import RunningServer

T = TypeVar("T")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with one room that was worked in."""
    url = f"sqlite:///{tmp_path}/rooms.sqlite"
    within(url, lambda storage: store(storage, worked_log(1)))
    return url


def within(url: str, work: Callable[[Storage], Coroutine[Any, Any, T]], blob_url: str = "") -> T:
    async def main() -> T:
        storage = open_storage(url, blob_url=blob_url)
        await storage.open()
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(main())


def room(url: str) -> RoomRow:
    row = within(url, lambda storage: storage.head(ROOM))
    assert row is not None
    return row


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command.compact, arguments, env={"COLUMNS": "200"})


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log was made long ago."""
    monkeypatch.setattr(command, "wall_clock_ms", lambda: 2**45)


@pytest.mark.usefixtures("later")
def test_it_tells_what_would_go_and_then_what_went(url: str, tmp_path: Path) -> None:
    before = room(url)
    dry = run("--db", url, "--dry-run", "--archive", str(tmp_path / "archive"))
    assert dry.exit_code == 0, dry.output
    assert f"{ROOM} │ {before.seq - 1}" in dry.output
    assert room(url) == before
    assert not (tmp_path / "archive").exists()

    done = run("--db", url, "--archive", str(tmp_path / "archive"))

    assert done.exit_code == 0, done.output
    assert "Compacted rooms" in done.output
    assert f"{before.seq - 1}" in done.output
    assert "The database takes" in done.output
    assert room(url).dropped_seq == before.seq - 1
    assert list((tmp_path / "archive").rglob("*.parquet"))
    again = run("--db", url)
    assert "Nothing to compact" in again.output


@pytest.mark.usefixtures("later")
def test_snapshots_outside_the_database_are_read_and_what_nothing_names_goes(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs.BlobStore.__init__, "__defaults__", (0,))
    monkeypatch.setattr(blobs, "GRACE_MS", -60_000)
    folder = (tmp_path / "blobs").as_uri()

    async def snapshot(storage: Storage) -> None:
        for seq in (20, 40, 60):
            await Reader(storage).write_snapshot(ROOM, seq, 0)

    def files() -> set[Path]:
        return {file for file in (tmp_path / "blobs").rglob("*") if file.is_file()}

    within(url, snapshot, folder)
    before = files()
    assert run("--db", url).exit_code == 1, "without the blobs nothing is compared, and nothing goes"
    assert room(url).dropped_seq == 0

    done = run("--db", url, "--blobs", folder)

    assert done.exit_code == 0, done.output
    assert room(url).dropped_seq == room(url).seq - 1
    assert before - files(), "what the first snapshot alone had"
    within(url, lambda storage: storage.latest_snapshot(ROOM), folder)


def test_what_is_young_stays(url: str) -> None:
    assert "Nothing to compact" in run("--db", url, "--older-than", "999999d").output
    assert room(url).dropped_seq == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--db", "memory://"), "rooms in a server's memory"),
        (("--older-than", "a month"), "is no age: write 30d"),
        (("--older-than", "23h", "--purge"), "--purge wants --older-than 1d or more"),
        (("--room", "nowhere"), "there is no room 'nowhere' here"),
        (("--archive", "ftp://ann:secret@nowhere"), "ftp://nowhere"),
        (("--db", "mongodb://x"), "mongodb"),
        (("--blobs", "s3://ann:secret@bucket"), "AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_is_wrong_says_what_to_do(url: str, arguments: tuple[str, ...], told: str) -> None:
    result = run(*(() if "--db" in arguments else ("--db", url)), *arguments)
    assert result.exit_code in (1, 2)
    assert told in result.output
    assert "secret" not in result.output
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("later")
def test_a_room_that_cannot_be_compacted_is_told_with_the_exit_code(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    result = run("--db", url, "--archive", str(tmp_path / "file"))
    assert result.exit_code == 1
    assert "cannot be used" in result.output
    assert room(url).dropped_seq == 0


@pytest.mark.usefixtures("later")
def test_it_waits_for_who_compacts_but_not_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LEASE_WAIT_S", 0.5)

    async def take(storage: Storage, ttl_ms: int) -> None:
        assert await storage.acquire_lease(LEASE, "another", ttl_ms)

    within(url, lambda storage: take(storage, 60_000))
    result = run("--db", url)
    assert result.exit_code == 1
    assert "compacts this database now" in result.output
    assert room(url).dropped_seq == 0


@pytest.mark.usefixtures("later")
def test_a_lease_of_one_that_was_killed_is_waited_for(url: str) -> None:
    async def take(storage: Storage) -> None:
        assert await storage.acquire_lease(LEASE, "another", 1000)

    within(url, take)
    begun_s = time.monotonic()
    assert run("--db", url).exit_code == 0
    assert time.monotonic() - begun_s < command.LEASE_WAIT_S
    assert room(url).dropped_seq == room(url).seq - 1


DELETED = PURGED_IDS + 100


def empty(url: str, at_ms: int = START_MS) -> str:
    """A database with one room of which most keys were deleted at a time."""
    keys = [f"k{n}" for n in range(DELETED + 1)]
    ops = [MapSet(ROOT, key, key) for key in keys] + [MapDelete(ROOT, key) for key in keys[1:]]
    encoded = tuple([(op_kind(op), encode_op(op)) for op in ops])
    within(url, lambda storage: store(storage, [AppendRequest(ROOM, 7, 1, 1, 0, at_ms << 16, "ann", encoded)]))
    return url


@pytest.fixture
def emptied_url(tmp_path: Path) -> str:
    """Such a database."""
    return empty(f"sqlite:///{tmp_path}/rooms.sqlite")


async def contents(storage: Storage) -> tuple[object, int]:
    """What shows of a room, and what its snapshot takes."""
    fold, seq = await Reader(storage).load(ROOM)
    assert fold.seq == seq
    snapshot = await storage.latest_snapshot(ROOM)
    assert snapshot is not None
    return fold.state.tree.to_json(), len(snapshot.parts["live"])


@pytest.mark.usefixtures("later")
def test_what_was_deleted_goes_when_that_is_asked_for(emptied_url: str) -> None:
    assert run("--db", emptied_url).exit_code == 0
    plain, before_bytes = within(emptied_url, contents)
    assert plain == {"k0": "k0"}

    done = run("--db", emptied_url, "--purge")

    assert done.exit_code == 0, done.output
    assert f"{ROOM}: {DELETED:,} deleted elements, keys and blocks are gone" in done.output
    after, after_bytes = within(emptied_url, contents)
    assert after == plain
    assert after_bytes < before_bytes / 100
    assert "gone" not in run("--db", emptied_url, "--purge").output.replace("operations gone", "")


@pytest.mark.usefixtures("later")
def test_what_was_deleted_is_left_to_the_server_that_keeps_the_room(emptied_url: str) -> None:
    async def keep(storage: Storage) -> None:
        leases = KeeperLeases(storage, "server", Limits(), wall_clock_ms)
        assert await leases.take(ROOM) is not None

    within(emptied_url, keep)
    done = run("--db", emptied_url, "--purge")
    assert done.exit_code == 0, done.output
    assert f"{ROOM}: a server has it at hand" in done.output


@pytest.mark.usefixtures("later")
def test_a_room_that_cannot_be_purged_is_told_with_the_exit_code(
    emptied_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(DirectPurge, "purge", fail)
    for _ in range(2):  # the second time there is nothing to compact
        done = run("--db", emptied_url, "--purge")
        assert done.exit_code == 1
        assert f"{ROOM}: the disk is full" in done.output


def test_a_running_server_and_who_is_there_notice_nothing(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    try:
        with server.join("board") as member:
            for n in range(1, 6):
                member.put("n", n)
                member.receive(lambda message: message.acks)
            arguments = [
                "--db",
                f"sqlite:///{tmp_path}/data/collabkernel/rooms.sqlite",
                "--older-than",
                "0m",
                "--room",
                "board",
            ]
            module = [sys.executable, "-m", "collabkernel_server.compact"]
            done = subprocess.run([*module, *arguments], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "│ 4 " in done.stdout

            member.put("n", 6)
            member.receive(lambda message: message.acks)
        room = server.request("GET", "collabkernel/api/rooms/board").json
        assert (room["seq"], room["state"]) == (6, {"n": 6})
        assert server.request("GET", "collabkernel/api/rooms/board/past?seq=4").status == 200
        refused = server.request("GET", "collabkernel/api/rooms/board/past?seq=2")
        assert (refused.status, refused.json["code"]) == (400, "not-kept")
        assert "The nearest: 4" in refused.json["message"]
    finally:
        server.stop()


def test_who_is_in_a_room_goes_on_when_it_is_purged_by_hand(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "collabkernel"
    folder.mkdir(parents=True)
    url = empty(f"sqlite:///{folder}/rooms.sqlite", wall_clock_ms() - 2 * command.DAY_MS)
    server = RunningServer(tmp_path)
    try:
        with server.join(ROOM) as member:
            done = run("--db", url, "--older-than", "1d", "--purge")
            assert f"{DELETED:,} deleted elements, keys and blocks are gone" in done.output
            with closing(sqlite3.connect(folder / "rooms.sqlite")) as database:
                ((head,),) = database.execute("SELECT max(seq) FROM ops")
            member.receive(lambda message: message.through == head)  # who writes before that is sent away for a moment
            member.put("k1", "again")
            member.receive(lambda message: message.acks)
        assert server.request("GET", f"collabkernel/api/rooms/{ROOM}").json["state"] == {"k0": "k0", "k1": "again"}
    finally:
        server.stop()
