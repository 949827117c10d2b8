"""Servers on one database that purge what all of them edit: what is stored behind a purge has seen it, on each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from collabkernel.bus.polling import PollingBus
from collabkernel.crdt.ids import Stamp
from collabkernel.document.operations import Purge, document_id
from collabkernel.document.purge_plan import Then, plan_purges
from collabkernel.limits import HLC_MAX, SITE_MAX, Limits
from collabkernel.room.fold import Fold
from collabkernel.server.hub import Hub
from collabkernel.server.reader import Reader
from collabkernel.storage.base import Storage
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.ops import decode_op
from collabkernel.wire.room_state import encode_parts
from tests.bounds import HANG_S
from tests.contract.authors import whole_log
from tests.contract.databases import make_storage
from tests.server.hub_rooms import Person, leave, until

pytestmark = [pytest.mark.anyio, pytest.mark.heavy]
LIMITS = replace(Limits(), keeper_tick_ms=1, keeper_lease_ms=200)
ALL = Stamp(HLC_MAX, SITE_MAX)


@pytest.fixture
async def hubs(storage_url: str, storage: Storage) -> AsyncIterator[list[Hub]]:
    """Two on one database."""
    if isinstance(storage, MemoryStorage):
        storages: list[Storage] = [storage, storage]
    else:
        storages = [make_storage(storage_url) for _ in range(2)]
    hubs = [Hub(each, LIMITS, bus=PollingBus(each, 20)) for each in storages]
    for hub in hubs:
        await hub.start()
    yield hubs
    for hub in hubs:
        await hub.stop()


async def ask(hub: Hub) -> None:
    """Have the keeper at a server purge all that is dead."""
    fold, _ = await Reader(hub.storage).load("board")
    ops = plan_purges(fold.state, Then(fold.state, fold.seq, ALL), least=1)
    hub.ask_purge("board", tuple(ops), fold.seq)


async def purges(storage: Storage) -> list[Purge]:
    found = [decode_op(row.payload) for row in await whole_log(storage, "board") if row.site == 1]
    return [op for op in found if isinstance(op, Purge)]


async def settled(hub: Hub, everybody: Sequence[Person]) -> Fold:
    """What the log says when everybody has it, byte by byte, and the keeper has nothing left."""
    async with asyncio.timeout(HANG_S):
        while True:
            fold, _ = await Reader(hub.storage).load("board")
            states = [person.room.replica.state for person in everybody]
            if all(encode_parts(state, 0, 0) == encode_parts(fold.state, 0, 0) for state in states):
                return fold
            await asyncio.sleep(0.02)


async def test_what_is_deleted_goes_on_both_servers_and_out_of_the_snapshot(hubs: list[Hub]):
    ann, bob = everybody = [Person(hub, name) for hub, name in zip(hubs, ("ann", "bob"), strict=True)]
    for person in everybody:
        await person.room.join(HANG_S)
    ann.room.list("l").extend(range(50))
    await until(lambda: len(bob.room.list("l")) == 50)
    del bob.room.list("l")[5:45]
    await until(lambda: len(ann.room.list("l")) == 10)

    await ask(hubs[1])

    await until(lambda: all(person.room.replica.state.purged_seq for person in everybody))
    assert [len(op.ids) for op in await purges(hubs[0].storage)] == [40]
    ann.room.list("l").insert(5, "x")
    await until(lambda: list(bob.room.list("l")) == [0, 1, 2, 3, 4, "x", 45, 46, 47, 48, 49])
    await settled(hubs[0], everybody)
    await leave(everybody)


async def test_deleted_blocks_go_on_both_servers_and_edits_go_on(hubs: list[Hub]):
    everybody = [Person(hub, name) for hub, name in zip(hubs, ("ann", "bob"), strict=True)]
    for person in everybody:
        await person.room.join(HANG_S)
    docs = [person.room.doc("body") for person in everybody]
    docs[0].append("\n\n".join(f"block {n}" for n in range(20)))
    await until(lambda: len(docs[1]) == 20)
    for block in list(docs[1])[5:15]:
        block.delete()
    await until(lambda: len(docs[0]) == 10)

    await ask(hubs[1])

    await until(lambda: all(person.room.replica.state.purged_seq for person in everybody))
    assert [(op.is_of_blocks, len(op.ids)) for op in await purges(hubs[0].storage)] == [(True, 10)]
    docs[0].insert("new", after=docs[0][4])
    await until(lambda: len(docs[1]) == 11)
    fold, _ = await Reader(hubs[0].storage).load("board")
    blocks = fold.state.blocks
    assert blocks is not None
    assert len(blocks.blocks) == len(blocks.ropes) + 1 == 12
    assert [block.text for block in docs[1]] == [line.text for line in blocks.outline(document_id("body"))]
    await leave(everybody)


async def test_servers_that_append_and_purge_at_once_come_to_one_state_and_lose_nothing(hubs: list[Hub]):
    everybody = [Person(hubs[i % 2], f"user{i}") for i in range(4)]
    for person in everybody:
        await person.room.join(HANG_S)
    made: set[str] = set()
    deleted: set[str] = set()

    async def edit(person: Person, rng: random.Random) -> None:
        items = person.room.list("l")
        for n in range(60):
            if len(items) > 8 and rng.random() < 0.6:
                deleted.add(items.pop(rng.randrange(len(items))))
            else:
                made.add(name := f"{person.room.site}-{n}-{id(person)}")
                items.insert(rng.randint(0, len(items)), name)
            await asyncio.sleep(rng.random() * 0.01)

    async def keep_purging() -> None:
        for n in range(12):
            await ask(hubs[n % 2])
            await asyncio.sleep(0.05)

    editors = [edit(person, random.Random(i)) for i, person in enumerate(everybody)]
    await asyncio.gather(keep_purging(), *editors)
    for person in everybody:
        await until(lambda person=person: person.room.status == "live")
        await person.room.flush()

    async with asyncio.timeout(HANG_S):
        while not await purges(hubs[0].storage):  # each has found the lease taken whenever it was asked
            await ask(hubs[0])
            await asyncio.sleep(0.05)
    fold = await settled(hubs[0], everybody)
    assert not fold.skipped
    (shown,) = fold.state.tree.to_json().values()
    assert sorted(shown) == sorted(made - deleted)
    await leave(everybody)
