"""The command that moves rooms: what it tells, and how it ends."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from collabkernel_server import migrate as command

from collabkernel.storage.base import Storage
from tests.contract.authors import enter
from tests.server_extension.test_compact import within
from tests.storage.two_databases import ROOMS, store


@pytest.fixture
def urls(tmp_path: Path) -> tuple[str, str]:
    """A database with rooms, and where there is none yet."""

    async def work(storage: Storage) -> None:
        for room_id in ROOMS[:3]:
            author = await enter(storage, room_id)
            await store(storage, author.next(9))

    url = f"sqlite:///{tmp_path}/old.sqlite"
    within(url, work)
    return url, f"sqlite:///{tmp_path}/new.sqlite"


def run(urls: tuple[str, str], *arguments: str) -> Result:
    options = ["--from", urls[0], "--to", urls[1], *arguments]
    return CliRunner().invoke(command.migrate, options, env={"COLUMNS": "200"})


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_rooms_are_copied_compared_moved_and_left(urls: tuple[str, str]) -> None:
    first = run(urls, "--verify")
    assert first.exit_code == 0, first.output
    assert "3 rooms are in --from, 0 in --to; files are in --from" in first.output
    assert "3 rooms are equal, 27 operations of them" in first.output

    moved = run(urls, "--switch", "100")

    assert "4 moved now; who wrote to one waited for" in moved.output
    assert "0 rooms are in --from, 3 in --to; files are in --to" in moved.output
    assert told(run(urls, "--finish", "--verify", "--json")) == {
        "rooms": 3,
        "rooms_moved_to": 3,
        "operations_compared": 27,
        "rooms_equal": 3,
        "moved_now": 0,
        "closed_ms": 0,
        "files": "to",
        "is_finished": True,
        "differences": {},
    }


def test_a_difference_is_told_and_the_command_fails(urls: tuple[str, str], tmp_path: Path) -> None:
    run(urls)
    with sqlite3.connect(tmp_path / "new.sqlite") as database:
        database.execute("UPDATE ops SET payload = X'00' WHERE seq = 8 AND room = 2")
    database.close()

    failed = run(urls, "--verify")

    assert failed.exit_code == 1
    assert f"{ROOMS[1]}: ops: seq 8 differs in payload (migration-differs)" in failed.output
    assert "2 rooms are equal" in failed.output


def test_what_cannot_be_done_is_told(urls: tuple[str, str], tmp_path: Path) -> None:
    for options, message in (
        ((urls[0], urls[0]), "these are one database"),
        ((urls[0], "memory://"), "rooms in a server's memory"),
        ((urls[0], "oracle://x"), "collabkernel stores rooms in"),
        ((urls[0], f"sqlite:///{tmp_path}"), "(storage-error)"),
    ):
        failed = run(options)
        assert failed.exit_code != 0
        assert message in failed.output
    assert run(urls, "--finish").exit_code == 1
    assert "switch 100 percent first (migration)" in run(urls, "--finish").output
