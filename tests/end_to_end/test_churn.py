"""Documents under churn: the store stays small, the text right, and a kill in the middle loses nothing."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from collabkernel.bus.polling import PollingBus
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from tests.bounds import HANG_S
from tests.end_to_end.churn import Churner, store_bytes
from tests.server.test_hub_documents import ROOM, seed

STORE_BYTES_MAX = 5_000_000
RUN = Path(__file__).parent / "churn_run.py"


def hub_in(folder: Path) -> Hub:
    storage = open_storage(f"sqlite:///{folder}/rooms.db")
    return Hub(storage, bus=PollingBus(storage))


async def churned(folder: Path, total_bytes: int) -> None:
    """Churn a file of 100 bytes, with the limits that users have, and look at it again after a restart."""
    hub = hub_in(folder)
    await hub.start()
    await hub.seed_document(ROOM, seed("x" * 100), "ann")
    ann = Churner("ann")
    await ann.enter(hub)
    while ann.sent_bytes < total_bytes:
        await ann.churn(500, 100_000)
    await ann.until(lambda: str(ann.durable_source) == "x" * 100)
    async with asyncio.timeout(HANG_S):
        while store_bytes(folder) >= STORE_BYTES_MAX:  # noqa: ASYNC110  # a file tells of no event
            await asyncio.sleep(0.1)
    assert ann.closed is None
    await hub.stop()
    assert store_bytes(folder) < STORE_BYTES_MAX

    again = hub_in(folder)
    await again.start()
    bob = Churner("bob")
    await bob.enter(again)
    assert bob.text == "x" * 100
    await again.stop()
    print(f"{ann.sent_bytes} bytes of churn leave a store of {store_bytes(folder)}")


@pytest.mark.parametrize("total_mb", [20, pytest.param(100, marks=pytest.mark.long)])
def test_churn_leaves_a_small_store(tmp_path: Path, total_mb: int) -> None:
    asyncio.run(churned(tmp_path, total_mb * 1_000_000))


def run_until_killed(url: str, first_mark: int, marks: int) -> list[int]:
    """Run a server and kill it after some acknowledged marks; all that it printed."""
    with subprocess.Popen(
        [sys.executable, str(RUN), url, str(first_mark)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(marks)]
        server.kill()
        lines += server.stdout.readlines()
    assert lines[0], "the server died before its first mark"
    return [int(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.long)])
def test_a_kill_while_the_log_is_compacted_loses_nothing(tmp_path: Path, kills: int) -> None:
    url, rng = f"sqlite:///{tmp_path}/rooms.db", random.Random(kills)

    async def prepare() -> None:
        hub = hub_in(tmp_path)
        await hub.start()
        await hub.seed_document(ROOM, seed("seed "), "ann")
        await hub.stop()

    async def text() -> tuple[str, int]:
        hub = hub_in(tmp_path)
        await hub.start()
        reader = Churner("reader")
        await reader.enter(hub)
        row = await hub.storage.head(ROOM)
        await hub.stop()
        assert row is not None
        return reader.text, row.dropped_seq

    asyncio.run(prepare())
    acked: list[int] = []
    for _ in range(kills):
        acked += run_until_killed(url, max(acked, default=0) + 1000, rng.randint(5, 25))
        found, dropped_seq = asyncio.run(text())
        lost = [mark for mark in acked if found.count(f"<{mark}>") != 1]
        assert lost == [], "acknowledged, and not there or twice"
    assert dropped_seq > 10, "hardly anything was compacted"
