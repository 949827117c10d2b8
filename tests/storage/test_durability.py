"""fsync before ack: what an append has answered survives a power cut. recording_vfs.py watches SQLite do it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bounds import HANG_S

APPENDS = 25

# In a process of its own: the VFS becomes the default of the whole process.
WRITER = """
import asyncio, json, sys
from tests.storage.recording_vfs import RecordingVfs
from collabkernel.storage import open_storage
from collabkernel.storage.base import TicketRow
from tests.contract.authors import enter

async def main(folder, durable, appends):
    vfs = RecordingVfs()
    storage = open_storage(f"sqlite:///{folder}/rooms.db", durable=durable)
    await storage.open()
    author = await enter(storage)
    acks = []
    for i in range(appends):
        ticket = TicketRow(b"%d" % i, "plan", "ann", "{}", 1, "", 60_000)
        await storage.issue_ticket(ticket, 10_000)
        vfs.events.append("issue ticket")
        [answer] = await storage.append([author.next(40)])
        vfs.events.append(f"ack {answer.seq}")
        left = {name: data.hex() for name, data in vfs.left_by_a_power_cut().items()}
        acks.append({"seq": answer.seq + 39, "left": left})
    json.dump({"events": vfs.events, "acks": acks[-3:], "is_durable": storage.is_durable}, sys.stdout)
    await storage.close()

asyncio.run(main(sys.argv[1], sys.argv[2] == "durable", int(sys.argv[3])))
"""


def write(folder: Path, durability: str) -> dict[str, Any]:
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", WRITER, str(folder), durability, str(APPENDS)]
    writer = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False, timeout=HANG_S)
    assert writer.returncode == 0, writer.stderr
    report: dict[str, Any] = json.loads(writer.stdout)
    return report


def ops_left(folder: Path, left: dict[str, str]) -> int:
    """The head of the log in the files that a power cut leaves. The shared memory of the WAL is no file of the disk."""
    folder.mkdir()
    for name, data in left.items():
        (folder / name).write_bytes(bytes.fromhex(data))
    with sqlite3.connect(folder / "rooms.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        [(seq, ops)] = connection.execute("SELECT seq, (SELECT count(*) FROM ops) FROM rooms").fetchall()
    connection.close()
    assert seq == ops
    return int(ops)


def unsynced_acks(events: list[str]) -> list[str]:
    """Acknowledgements that were given while a file had writes that no sync had followed."""
    unsynced: set[str] = set()
    early = []
    for event in events:
        what, name = event.split()
        if what == "ack" and unsynced:
            early.append(event)
        elif what == "write":
            unsynced.add(name)
        elif what == "sync":
            unsynced.discard(name)
    return early


def test_every_append_is_synced_before_its_answer(tmp_path: Path):
    report = write(tmp_path, "durable")

    events = report["events"]
    assert report["is_durable"] is True
    assert sum(event.startswith("ack") for event in events) == APPENDS
    assert unsynced_acks(events) == []
    assert events.count("sync rooms.db-wal") >= APPENDS


def test_a_ticket_waits_for_no_disk_and_keeps_no_append_from_it(tmp_path: Path):
    """Every append above has a ticket's commit before it."""
    events = write(tmp_path, "durable")["events"]

    unsynced = unsynced_acks([event.replace("issue", "ack") for event in events])
    assert unsynced == ["ack ticket"] * APPENDS


def test_a_power_cut_after_an_answer_loses_nothing_of_it(tmp_path: Path):
    report = write(tmp_path, "durable")

    for ack in report["acks"]:
        assert ops_left(tmp_path / f"left at {ack['seq']}", ack["left"]) == ack["seq"]


def test_without_durability_the_same_power_cut_loses_work(tmp_path: Path):
    """The two tests above can fail: a relaxed storage, which says so, does not pass them."""
    report = write(tmp_path, "relaxed")

    assert report["is_durable"] is False
    assert len(unsynced_acks(report["events"])) > APPENDS // 2


@pytest.mark.parametrize(
    "events",
    [["write a", "ack 1"], ["write a", "sync b", "ack 1"], ["write b", "sync b", "write b", "ack 1"]],
)
def test_an_early_answer_is_seen(events: list[str]):
    assert unsynced_acks(events) == ["ack 1"]
