"""Appends that fail: room by room, and with an unknown outcome."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from sqlalchemy import Executable
from sqlalchemy.exc import OperationalError

from collabkernel.errors import StorageError
from collabkernel.storage.base import Appended, NotAppended
from collabkernel.storage.database import make_database, parse_url
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.statements import Parameters
from tests.contract.authors import HLC, enter, whole_log

pytestmark = pytest.mark.anyio


class FaultyDatabase:
    """A database whose next writes fail: before anything is done, or after the commit, when the answer is lost.

    ``away`` is the first of these by an error that may pass.
    """

    def __init__(self, real: Any) -> None:
        self._real = real
        self.faults: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def write(self, work: Callable[[Any], Any], *, is_long: bool = False, is_passing: bool = False) -> Any:
        return await self._run(partial(self._real.write, is_long=is_long, is_passing=is_passing), work)

    async def change(self, statement: Executable, parameters: Parameters) -> Any:
        return await self._run(partial(self._real.change, statement), parameters)

    async def append(self, work: Callable[[Any], Any]) -> Any:
        return await self._run(self._real.append, work)

    async def _run(self, run: Callable[[Any], Any], work: Any) -> Any:
        fault = self.faults.pop(0) if self.faults else None
        if fault == "before":
            raise OperationalError("BEGIN", None, Exception("the connection was lost"))
        if fault == "away":
            raise OperationalError("BEGIN", None, Exception("it is away"), connection_invalidated=True)
        answer = await run(work)
        if fault == "after":
            raise OperationalError("COMMIT", None, Exception("the connection was lost"))
        return answer


@pytest.fixture
def faulty(path: Path) -> FaultyDatabase:
    return FaultyDatabase(make_database(parse_url(f"sqlite:///{path}"), durable=True))


@pytest.fixture
def faults(faulty: FaultyDatabase) -> list[str]:
    """Put ``before`` or ``after`` in, one a write."""
    return faulty.faults


@pytest.fixture
async def storage(path: Path, faulty: FaultyDatabase) -> AsyncIterator[SqlStorage]:
    storage = SqlStorage(f"sqlite:///{path}", database=faulty)
    await storage.open()
    yield storage
    await storage.close()


def refuse_writes_to(path: Path, room_id: str) -> None:
    """Let the database itself fail for one room."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER bad_room BEFORE INSERT ON ops WHEN NEW.room = "
            f"(SELECT key FROM rooms WHERE id = '{room_id}') BEGIN SELECT RAISE(ABORT, 'a bad room'); END"
        )
    connection.close()


async def test_a_commit_whose_answer_was_lost_is_found_in_the_log(storage: SqlStorage, faults: list[str]):
    ann, bob = await enter(storage), await enter(storage, "notes")
    first = ann.next()
    await storage.append([first])
    faults.append("after")

    answers = await storage.append([first, ann.next(2), bob.next()])

    assert answers == [Appended(1, HLC, duplicate=True), Appended(2, HLC), Appended(1, HLC)]
    assert [row.counter for row in await whole_log(storage)] == [1, 2, 3]


async def test_a_commit_that_did_not_happen_is_made_again(storage: SqlStorage, faults: list[str]):
    ann = await enter(storage)
    faults.append("before")

    assert await storage.append([ann.next(2), ann.next()]) == [Appended(1, HLC), Appended(3, HLC)]
    assert (await storage.head("plan")).seq == 3


async def test_if_everything_fails_it_is_raised_and_nothing_is_there(storage: SqlStorage, faults: list[str]):
    ann, bob = await enter(storage), await enter(storage, "notes")
    faults += ["before"] * 3

    with pytest.raises(StorageError, match="the connection was lost"):
        await storage.append([ann.next(), bob.next()])

    assert await whole_log(storage) == await whole_log(storage, "notes") == []


async def test_what_was_stored_though_it_failed_is_a_duplicate_later(storage: SqlStorage, faults: list[str]):
    ann = await enter(storage)
    request = ann.next()
    faults += ["after", "before"]

    with pytest.raises(StorageError):
        await storage.append([request])

    assert await storage.append([request]) == [Appended(1, HLC, duplicate=True)]


async def test_a_room_that_fails_fails_alone(storage: SqlStorage, path: Path):
    authors = [await enter(storage, room_id) for room_id in ("plan", "bad", "notes")]
    refuse_writes_to(path, "bad")

    answers = await storage.append([author.next() for author in authors] + [authors[0].next()])

    assert answers[0] == answers[2] == Appended(1, HLC)
    assert answers[3] == Appended(2, HLC)
    assert isinstance(answers[1], NotAppended)
    assert answers[1].code == "storage-error"
    assert answers[1].reason == StorageError("a bad room").told
    assert await whole_log(storage, "bad") == []


async def test_once_the_database_does_not_answer_no_other_room_is_tried(storage: SqlStorage, faults: list[str]):
    ann, bob, eve = await enter(storage), await enter(storage, "notes"), await enter(storage, "ideas")
    faults += ["before", "", "away", "a try too many"]

    answers = await storage.append([ann.next(), bob.next(), eve.next()])

    assert answers[0] == Appended(1, HLC)
    assert [answer.code for answer in answers[1:]] == ["degraded", "degraded"]
    assert faults == ["a try too many"]


async def test_the_bad_room_alone_raises(storage: SqlStorage, path: Path):
    bad = await enter(storage, "bad")
    refuse_writes_to(path, "bad")

    with pytest.raises(StorageError, match="a bad room"):
        await storage.append([bad.next()])


async def test_operators_see_that_the_database_fails(storage: SqlStorage, faults: list[str]):
    def failures() -> float:
        return prometheus_client.REGISTRY.get_sample_value("collabkernel_storage_failures_total") or 0.0

    ann = await enter(storage)
    before = failures()
    faults.append("before")
    await storage.append([ann.next()])

    assert failures() == before + 1
