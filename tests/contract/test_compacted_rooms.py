"""Rooms whose logs are compacted while people work in them: nobody notices, and who was away comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from collabkernel.bus.polling import PollingBus
from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import MapSet
from collabkernel.errors import NotKeptError
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub, wall_clock_ms
from collabkernel.server.log_compaction import LogCompaction, Outcome, holding
from collabkernel.storage import open_storage
from collabkernel.storage.base import Storage
from tests.server.hub_rooms import Person, leave, people, until
from tests.server.raw import join
from tests.server.worked_rooms import HOUR_MS, allowance

pytestmark = pytest.mark.anyio
EACH = pytest.mark.parametrize("storage_url", ["memory", "sqlite", "postgres"], indirect=True)
"""Compaction waits while rooms move."""
SHARED = pytest.mark.parametrize("storage_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
async def start(storage_url: str, storage: Storage) -> AsyncIterator[Callable[..., object]]:
    """Starts servers on one database; in memory there is one."""
    hubs: list[Hub] = []

    async def start_one() -> Hub:
        own = storage if storage_url == "memory://" else open_storage(storage_url)
        hubs.append(Hub(own, Limits(), bus=None if storage_url == "memory://" else PollingBus(own, 20)))
        await hubs[-1].start()
        return hubs[-1]

    yield start_one
    for hub in hubs:
        await hub.stop()


async def compact(storage: Storage) -> Outcome | None:
    """Compact all but the newest operation, as somebody who is no server of this room."""
    compaction = LogCompaction(storage, allowance(storage))
    async with holding(storage, "a test") as lease:
        assert lease is not None
        plan = await compaction.plan("board", wall_clock_ms() + HOUR_MS, ops_min=1)
        outcome = None if plan is None else await compaction.carry_out(plan, lease)
        assert outcome is None or outcome.error is None, outcome
        return outcome


async def compacted(storage: Storage, at_least: int) -> None:
    row = await storage.head("board")
    assert row is not None
    outcome = await compact(storage)
    assert outcome is not None
    assert outcome.ops_dropped >= at_least


@EACH
async def test_who_was_away_comes_back_with_what_he_wrote_and_finds_all(start, storage: Storage):
    hub = await start()
    ann, bob = everybody = await people(hub, "ann", "bob")
    (block,) = ann.doc.append("a paragraph")
    await until(lambda: bob.texts == ["a paragraph"])
    await bob.go_offline()
    bob.room.root["bob"] = "offline"
    bob.doc[block.id].insert(0, "Not ")
    for n in range(50):
        ann.room.root["ann"] = n
    ann.doc[block.id].split(2)
    ann.doc[block.id].delete()
    await ann.room.flush()
    await compacted(storage, 50)

    await bob.come_back()
    await bob.room.flush()
    await until(lambda: ann.room.to_json() == bob.room.to_json() == {"ann": 49, "bob": "offline"})
    await until(lambda: ann.texts == bob.texts == ["paragraph"])
    late = Person(hub, "late")
    await late.join()
    await until(lambda: late.texts == ["paragraph"])
    assert late.room.to_json() == ann.room.to_json()
    await leave([*everybody, late])


@EACH
async def test_a_resend_of_what_was_compacted_is_stored_already(start, storage: Storage):
    hub = await start()
    ann = await join(hub, actor="ann")
    for counter in range(1, 6):
        await ann.store(counter, MapSet(ROOT, "n", counter))
    resume = ann.resume()
    await ann.leave()
    await compacted(storage, 4)

    again = await join(hub, actor="ann", resume=resume)
    assert again.welcome is not None
    await again.submit(2, MapSet(ROOT, "n", 2))
    await again.until(lambda: again.acks.get(2))
    assert await again.store(6, MapSet(ROOT, "n", 6)) == 6
    assert (await hub.room_state("board"))["state"] == {"n": 6}


@EACH
async def test_the_past_ends_where_the_log_does(start, storage: Storage):
    hub = await start()
    (ann,) = await people(hub, "ann")
    for n in range(20):
        ann.room.root["n"] = n
    await ann.room.flush()
    before = (await ann.room.at(ann.room.seq)).to_json()
    await compacted(storage, 10)

    assert (await ann.room.at(ann.room.seq)).to_json() == before == {"n": 19}
    with pytest.raises(NotKeptError) as raised:
        await ann.room.at(5)
    assert (await ann.room.at(raised.value.after_seq)).seq == raised.value.after_seq
    await leave([ann])


@SHARED
async def test_people_on_two_servers_notice_nothing(start, storage: Storage):
    hubs = [await start(), await start()]
    ann, bob = Person(hubs[0], "ann"), Person(hubs[1], "bob")
    await ann.join()
    await bob.join()
    is_over = False

    async def work(person: Person, other: Person) -> None:
        nonlocal is_over
        me = person.room.replica.actor
        for n in range(60):
            person.room.root[f"{me}{n % 7}"] = n
            person.room.list("log").append(f"{me}{n}")
            if n % 3 == 0:
                person.doc.append(f"{me}{n}")
            await person.room.flush()
        await until(lambda: len(person.room.list("log")) == len(other.room.list("log")) == 120)

    async def keep_compacting() -> int:
        dropped = 0
        while not is_over:
            outcome = await compact(storage)
            dropped += outcome.ops_dropped if outcome is not None else 0
            await asyncio.sleep(0.01)
        return dropped

    compacting = asyncio.create_task(keep_compacting())
    try:
        await asyncio.gather(work(ann, bob), work(bob, ann))
    finally:
        is_over = True
    assert await compacting > 50
    await until(lambda: ann.room.to_json() == bob.room.to_json() and ann.texts == bob.texts)
    assert len(ann.texts) == 40
    cat = Person(await start(), "cat")
    await cat.join()
    await until(lambda: cat.texts == ann.texts)
    assert cat.room.to_json() == ann.room.to_json()
    await leave([ann, bob, cat])
