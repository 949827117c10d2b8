"""The memory twin answers what SQLite answers, whatever is asked; the contract says what that is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collabkernel.errors import StorageError
from collabkernel.storage.base import AppendRequest, Refusal, SnapshotRow, Storage
from collabkernel.storage.memory import MemoryStorage
from collabkernel.storage.sql import SqlStorage
from tests.contract.authors import whole_log
from tests.examples import examples

rooms = st.sampled_from(["plan", "plan", "notes"])
sites = st.integers(1, 2)
counters = st.integers(1, 6)
requests = st.builds(
    AppendRequest,
    room_id=rooms,
    site=sites,
    epoch=st.integers(1, 2),
    counter=counters,
    base=st.just(0),
    hlc=st.integers(0, 9),
    actor=st.just("ann"),
    ops=st.lists(st.just((1, b"op")), min_size=1, max_size=2).map(tuple),
)
refusals = st.builds(Refusal, counters, st.integers(1, 2), st.just("rate"), st.just("too fast"))
snapshots = st.builds(SnapshotRow, rooms, st.integers(0, 4), st.just({"live": b"state"}))
calls = st.one_of(
    st.tuples(st.just("create_room"), rooms, st.just(1)),
    st.tuples(st.just("new_site"), rooms, sites, st.just("ann"), st.just(1), st.just(b"hash"), st.just(1)),
    st.tuples(st.just("append"), st.lists(requests, max_size=6)),
    st.tuples(st.just("append"), st.lists(requests, max_size=6)),
    st.tuples(st.just("refuse"), rooms, sites, st.integers(1, 2), refusals),
    st.tuples(st.just("resume_site"), rooms, sites, st.just(1)),
    st.tuples(st.just("find_envelope"), rooms, sites, counters),
    st.tuples(st.just("save_snapshot"), snapshots, st.just(1)),
    st.tuples(st.just("delete_room"), rooms),
)


async def answer(storage: Storage, call: tuple[Any, ...]) -> object:
    try:
        return await getattr(storage, call[0])(*call[1:])
    except StorageError as error:
        return type(error), str(error)


async def state(storage: Storage) -> list[object]:
    listed = [(row.room_id, row.seq, row.hlc, row.snapshot_seq) for row in await storage.list_rooms()]
    details: list[object] = []
    for room_id in ("plan", "notes"):
        details += [await whole_log(storage, room_id), await storage.latest_snapshot(room_id)]
        details += [await storage.site(room_id, site) for site in (1, 2)]
    return [*listed, *details]


START = [
    ("create_room", "plan", 1),
    ("new_site", "plan", 1, "ann", 1, b"hash", 1),
    ("new_site", "plan", 2, "bob", 1, b"hash", 1),
]


@pytest.fixture(scope="module")
def sqlite_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("twin") / "rooms.db"


@settings(examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls, max_size=15))
def test_memory_and_sqlite_answer_the_same(sqlite_path: Path, script: list[tuple[Any, ...]]):
    async def run() -> None:
        memory, sql = MemoryStorage(), SqlStorage(f"sqlite:///{sqlite_path}", durable=False)
        await memory.open()
        await sql.open()
        for room_id in ("plan", "notes"):
            await sql.delete_room(room_id)
        for call in START + script:
            left, right = await answer(memory, call), await answer(sql, call)
            if call[0] != "create_room":  # its row has the time of the last append
                assert left == right, call
        assert await state(memory) == await state(sql)
        await sql.close()

    asyncio.run(run())
