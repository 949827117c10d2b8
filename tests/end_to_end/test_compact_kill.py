"""kill -9 of a compaction at random moments: the room is the same after each, and the next run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pyarrow import parquet

from collabkernel.limits import Limits
from collabkernel.server.log_compaction import LEASE
from collabkernel.server.reader import Reader
from collabkernel.server.room_history import RoomHistory
from collabkernel.storage import open_storage
from collabkernel.storage.base import OpRow, RoomRow, Storage
from tests.benchmarks.room_log import store_log
from tests.bounds import HANG_S

T = TypeVar("T")

ROOM = "board"
START_MS = 1_700_000_000_000
PACE_MS = 10_000
"""An hour is 720 operations."""
LEASED = f"SELECT coalesce(max(expires_ms), 0) FROM leases WHERE name = '{LEASE}'"
KEPT = "SELECT count(*) FROM versions"
DROPPED = "SELECT dropped_seq FROM rooms"
KEPT_OR_DROPPED = f"SELECT ({KEPT}) + ({DROPPED})"
STEPS = ("check", "keep", "drop")
WEIGHTS = (80, 1, 10, 5, 1)
"""Mostly keys are set: the states are small, so that more than one of them is kept."""
LOOKED_AT = 3
"""Kept states that are compared after each kill."""


def within(path: Path, work: Callable[[Storage], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        storage = open_storage(f"sqlite:///{path}")
        await storage.open()
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(main())


async def state_of(storage: Storage) -> dict[str, bytes]:
    fold, _ = await Reader(storage).load(ROOM)
    return fold.to_parts()


async def row_of(storage: Storage) -> RoomRow:
    row = await storage.head(ROOM)
    assert row is not None
    return row


async def log_of(storage: Storage) -> list[OpRow]:
    row = await row_of(storage)
    return [each async for rows in storage.read_ops(ROOM, row.dropped_seq) for each in rows]


async def kept_of(storage: Storage, seqs: list[int]) -> dict[int, bytes]:
    history = RoomHistory(storage, Reader(storage), Limits())
    return {seq: await history.state_at(ROOM, seq=seq) for seq in seqs}


class Compacting:
    """A process of the command."""

    def __init__(self, path: Path, archive: Path) -> None:
        self._path = path
        command = [sys.executable, "-m", "collabkernel_server.compact", "--db", f"sqlite:///{path}"]
        command += ["--older-than", "0m", "--archive", str(archive), "--cpu-percent", "100"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait_for(self, asked: str, more_than: int, at_most_s: float = math.inf) -> float:
        """Wait until a number in the database is higher, or the process or a time is over; the seconds of it."""
        started_s = time.monotonic()
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            while self.process.poll() is None and database.execute(asked).fetchone()[0] <= more_than:
                waited_s = time.monotonic() - started_s
                assert waited_s < HANG_S, f"never over {more_than}: {asked}"
                if waited_s >= at_most_s:
                    break
                time.sleep(0.001)
        return time.monotonic() - started_s

    def kill(self) -> bool:
        """Whether that met it alive; its lease would expire by itself."""
        was_alive = self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        with contextlib.closing(sqlite3.connect(self._path)) as database, database:
            database.execute("UPDATE leases SET expires_ms = 0 WHERE name = ?", (LEASE,))
        return was_alive


def time_of_check(path: Path, folder: Path) -> float:
    """How long a compaction checks a log on this machine before it keeps something, in seconds, by doing it."""
    copy = folder / "copy.sqlite"
    shutil.copy(path, copy)
    compacting = Compacting(copy, folder / "copied")
    compacting.wait_for(LEASED, 0)
    check_s = compacting.wait_for(KEPT, 0)
    compacting.kill()
    return check_s


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("kills", "ops"), [(3, 8_000), pytest.param(20, 100_000, marks=pytest.mark.long)])
def test_a_compaction_that_is_killed_harms_nothing_and_goes_on(tmp_path: Path, kills: int, ops: int) -> None:
    rng = random.Random(int(os.environ.get("COLLABKERNEL_KILL_SEED", "1")))
    path, whole, archive = tmp_path / "rooms.sqlite", tmp_path / "whole.sqlite", tmp_path / "archive"
    within(path, lambda storage: store_log(storage, ROOM, ops, 1, START_MS, PACE_MS, WEIGHTS))
    shutil.copy(path, whole)
    check_s = time_of_check(path, tmp_path)
    expected, log = within(whole, state_of), within(whole, log_of)

    met = partly_dropped = kept_count = 0
    for kill in range(kills):
        row = within(path, row_of)
        compacting = Compacting(path, archive)
        compacting.wait_for(LEASED, 0)
        match STEPS[kill * len(STEPS) // kills]:
            case "check":
                compacting.wait_for(KEPT, kept_count, rng.uniform(0, check_s))
            case "keep":
                compacting.wait_for(KEPT_OR_DROPPED, kept_count + row.dropped_seq + rng.randrange(3))
            case "drop":
                compacting.wait_for(DROPPED, row.dropped_seq + rng.randrange((ops - row.dropped_seq) // 2))
        met += compacting.kill()
        row = within(path, row_of)
        partly_dropped += 0 < row.dropped_seq < ops - 1
        assert within(path, state_of) == expected
        assert within(path, log_of) == log[row.dropped_seq :]
        seqs = [each.seq for each in within(path, lambda storage: storage.versions(ROOM))]
        asked = rng.sample(seqs, min(LOOKED_AT, len(seqs)))
        assert within(path, lambda storage, asked=asked: kept_of(storage, asked)) == within(
            whole, lambda storage, asked=asked: kept_of(storage, asked)
        )
        kept_count = len(seqs)
        if row.dropped_seq == ops - 1:
            break

    last = Compacting(path, archive)
    output = last.process.communicate(timeout=HANG_S + ops / 1000)[0]
    assert last.process.returncode == 0, output
    assert met > 0, "no kill met it at work"
    assert partly_dropped, "no kill met it at the drop"
    assert within(path, state_of) == expected
    assert within(path, row_of).dropped_seq == ops - 1
    assert within(path, log_of) == log[-1:]
    stored = [
        OpRow(**row) for file in sorted(archive.rglob("*.parquet")) for row in parquet.read_table(file).to_pylist()
    ]
    assert stored == log[:-1]
