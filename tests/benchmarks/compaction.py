"""Compaction of a long log by the command, beside a server that serves another room from the same database."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from rich.console import Console

from collabkernel.limits import Limits
from collabkernel.server.reader import Reader
from collabkernel.storage import open_storage
from collabkernel.storage.sqlite import FREE_PAGES_KEPT
from tests.benchmarks.load import LoadResult, Plan
from tests.benchmarks.report import Row, percentile, row
from tests.benchmarks.room_log import store_log
from tests.benchmarks.server_process import Server, running_server

OPS, QUICK_OPS = 1_000_000, 30_000
WEIGHTS = (60, 5, 20, 5, 5)
"""A board that is worked on: most edits change what is there."""
START_MS = 1_700_000_000_000
PACE_MS = 5_000
"""A million operations are a month of days and nights."""
SLICE_S = 10.0
BASELINE_SLICES = 3
INTERVAL_S = 0.02
LIMITS = Limits()


def rows(console: Console, *, is_quick: bool = False, only: str = "") -> list[Row]:
    """All figures: they are of one run."""
    if only not in "compaction":
        return []
    ops = QUICK_OPS if is_quick else OPS
    with tempfile.TemporaryDirectory() as name, console.status("compaction") as status:
        folder = Path(name)
        path = folder / "rooms.sqlite"
        status.update(f"storing {ops:,} operations")
        asyncio.run(_store(path, ops))
        before_bytes, before = path.stat().st_size, asyncio.run(_state(path))
        with running_server(folder) as server:
            status.update("another room alone")
            alone = [_slice(server, seed) for seed in range(BASELINE_SLICES)]
            status.update("compaction")
            begun_s = time.monotonic()
            meanwhile = []
            with _command(path) as process:
                while process.poll() is None:
                    meanwhile.append(_slice(server, 100 + len(meanwhile)))
            taken_s = time.monotonic() - begun_s  # up to a slice too long
        is_equal = asyncio.run(_state(path)) == before
        asyncio.run(_drop_another(path))
        after_bytes = path.stat().st_size
    found = [
        row("compaction/state_equal", [float(is_equal)], "of 1"),
        row("compaction/ops", [ops], "ops"),
        row("compaction/taken", [taken_s], "s"),
        row("compaction/store_before", [before_bytes / 2**20], "MiB"),
        row("compaction/store_after", [after_bytes / 2**20], "MiB"),
        row("compaction/store_after_of_before", [100 * after_bytes / before_bytes], "%"),
    ]
    for percent in (50, 95, 99):
        for name, slices in (("alone", alone), ("meanwhile", meanwhile)):
            values = [percentile(rtt_ms, percent) for rtt_ms in slices]
            found.append(row(f"compaction/another_room_{name}/p{percent}", values, "ms"))
    return found


async def _store(path: Path, ops: int) -> None:
    storage = open_storage(f"sqlite:///{path}")
    await storage.open()
    await store_log(storage, "board", ops, start_ms=START_MS, pace_ms=PACE_MS, weights=WEIGHTS)
    for seq in (ops - LIMITS.snapshot_ops, ops):  # as a server leaves it
        await Reader(storage).write_snapshot("board", seq, START_MS)
    await storage.close()


async def _state(path: Path) -> dict[str, str]:
    """What the room is to who loads it: the hashes of its parts."""
    storage = open_storage(f"sqlite:///{path}")
    await storage.open()
    fold, _ = await Reader(storage).load("board")
    await storage.close()
    return {name: sha256(part).hexdigest() for name, part in fold.to_parts().items()}


async def _drop_another(path: Path) -> None:
    """Its log has grown all the time, and is no part of what is left of the other."""
    storage = open_storage(f"sqlite:///{path}")
    await storage.open()
    await storage.delete_room("another")
    await storage.close()
    with closing(sqlite3.connect(path)) as file:
        (free,) = file.execute("PRAGMA freelist_count").fetchone()
        # A script: executed by itself, this pragma gives back one page.
        file.executescript(f"PRAGMA incremental_vacuum({max(1, free - FREE_PAGES_KEPT)})")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _slice(server: Server, seed: int) -> list[float]:
    """Round trips of one who writes in another room."""
    plan = Plan([server.socket_url("another")], SLICE_S, INTERVAL_S, window=10, seed=seed)
    command = [sys.executable, "-m", "tests.benchmarks.load", json.dumps(asdict(plan))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the load failed:\n{result.stderr[-3000:]}")
    found: LoadResult = json.loads(result.stdout)
    return found["rtt_ms"]


@contextmanager
def _command(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "collabkernel_server.compact", "--db", f"sqlite:///{path}", "--older-than", "0m"]
    with (path.parent / "compact.log").open("w") as log:
        process = subprocess.Popen([*command, "--room", "board"], stdout=log, stderr=log, text=True)
    try:
        yield process
        if process.returncode:
            raise RuntimeError(f"the command failed:\n{(path.parent / 'compact.log').read_text()[-3000:]}")
    finally:
        process.kill()
        process.wait()
