"""The storage contract, part four: kill -9 of a writer. What it said was stored is there; nothing is there twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from collabkernel.storage import open_storage
from tests.contract.authors import NOW_MS, enter, whole_log

pytestmark = pytest.mark.anyio

WRITER = """
import asyncio, sys
from collabkernel.storage import open_storage
from tests.contract.authors import Author

async def main(url, epoch, counter):
    storage = open_storage(url)
    await storage.open()
    author = Author("plan", 7, epoch, counter)
    while True:
        batch = [author.next(3), author.next(2)]
        answers = await storage.append(batch)
        for request, answer in zip(batch, answers, strict=True):
            print(request.counter, answer.seq, flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def write_until_killed(url: str, epoch: int, counter: int, acks_count: int) -> list[tuple[int, int]]:
    """Run a writer and kill it after some acknowledgements; gives (counter, seq) of each that it printed."""
    command = [sys.executable, "-c", WRITER, url, str(epoch), str(counter)]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(acks_count)]
        writer.kill()
        lines += writer.stdout.readlines()
    assert lines[0], "the writer died before its first append"
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_acknowledged_operations_survive_a_killed_writer(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
):
    url = f"sqlite:///{tmp_path}/rooms.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    storage = open_storage(url)
    await storage.open()
    await storage.delete_room("plan")
    await enter(storage)
    epoch, counter, acks = 1, 0, []

    for acks_count in (1, 6, 17):
        acks += await asyncio.to_thread(write_until_killed, url, epoch, counter, acks_count)
        site = await storage.resume_site("plan", 7, NOW_MS)
        epoch, counter = site.epoch, site.last_counter

    log = await whole_log(storage)
    assert [row.seq for row in log] == [row.counter for row in log] == list(range(1, len(log) + 1))
    assert [row.payload for row in log] == [f"7:{row.counter}".encode() for row in log]
    assert {row.counter: row.seq for row in log}.items() >= dict(acks).items()
    assert len(log) % 5 == 0, "a batch is stored whole or not at all"
    await storage.close()
