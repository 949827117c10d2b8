"""What storing costs: an append of one envelope and of a hundred, operations a second, a read of a whole log.

SQLite with durable commits, PostgreSQL on the same machine (not in the quick run), and the memory twin, which shows
what the plan of an append takes without a database. ``storage/fsync`` is beside them: every durable commit waits for
one.

Run it alone: ``python -m tests.benchmarks.storage_cost [--quick]``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from collabkernel.storage import open_storage
from collabkernel.storage.base import Storage
from tests.benchmarks import report
from tests.contract.authors import Author, enter
from tests.contract.databases import running_postgres

SITES_COUNT = 100
READ_OPS = 100_000
FILL_ENVELOPE_OPS = 1000
WARM_UP_APPENDS = 20


def rows(quick: bool) -> list[report.Row]:
    """Every figure; with ``quick``, fewer repeats and no PostgreSQL."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_build_folder())))
        url_by_kind = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/rooms.db"}
        if not quick:
            url_by_kind["postgres"] = stack.enter_context(running_postgres())
        measured = [report.row("storage/fsync", _fsyncs_ms(folder), "ms")]
        for kind, url in url_by_kind.items():
            measured += asyncio.run(_measure(kind, url, appends_count=60 if quick else 400))
    return measured


async def _measure(kind: str, url: str, appends_count: int) -> list[report.Row]:
    storage = open_storage(url)
    await storage.open()
    authors = [await enter(storage, site=site) for site in range(1, SITES_COUNT + 1)]
    single = [seconds * 1000 async for seconds in _appends(storage, authors[:1], appends_count)]
    hundred = [seconds * 1000 async for seconds in _appends(storage, authors, appends_count)]
    reads = await _reads(storage)
    await storage.close()
    return [
        report.row(f"storage/{kind}/append 1 envelope", single, "ms"),
        report.row(f"storage/{kind}/append 1 envelope p95", [report.percentile(single, 95)], "ms"),
        report.row(f"storage/{kind}/append 100 envelopes", hundred, "ms"),
        report.row(f"storage/{kind}/append 100 envelopes p95", [report.percentile(hundred, 95)], "ms"),
        report.row(f"storage/{kind}/ops stored", [SITES_COUNT * 1000 / took_ms for took_ms in hundred], "ops/s"),
        report.row(f"storage/{kind}/read {READ_OPS:,} ops", reads, "ms"),
    ]


async def _appends(storage: Storage, authors: list[Author], count: int) -> AsyncIterator[float]:
    """Seconds of each append of one operation an author."""
    for i in range(WARM_UP_APPENDS + count):
        batch = [author.next() for author in authors]
        started_s = time.perf_counter()
        await storage.append(batch)
        if i >= WARM_UP_APPENDS:
            yield time.perf_counter() - started_s


async def _reads(storage: Storage) -> list[float]:
    """Milliseconds of each read of a log."""
    author = await enter(storage, "long")
    for _ in range(READ_OPS // FILL_ENVELOPE_OPS):
        await storage.append([author.next(FILL_ENVELOPE_OPS)])
    runs = []
    for _ in range(5):
        started_s, count = time.perf_counter(), 0
        async for chunk in storage.read_ops("long", 0):
            count += len(chunk)
        runs.append((time.perf_counter() - started_s) * 1000)
        assert count == READ_OPS
    return runs


def _fsyncs_ms(folder: Path) -> list[float]:
    """Milliseconds of each fsync of a small append to a file beside the database."""
    runs = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(report.FSYNC_RUNS):
            file.write(b"x" * 4096)
            started_s = time.perf_counter()
            os.fsync(file.fileno())
            runs.append((time.perf_counter() - started_s) * 1000)
    return runs


def _build_folder() -> Path:
    report.BUILD.mkdir(parents=True, exist_ok=True)
    return report.BUILD.resolve()


if __name__ == "__main__":
    report.show("storage_cost", rows("--quick" in sys.argv), Console(width=140))
