"""Servers on one database that compact what all of them edit: nothing is lost, and who is left behind comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from collabkernel.bus.polling import PollingBus
from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import MapSet
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.server.reader import Reader
from collabkernel.storage.base import Storage
from tests.contract.databases import make_storage
from tests.end_to_end.churn import Churner
from tests.server.raw import eventually, join
from tests.server.test_hub_documents import ROOM, seed

pytestmark = pytest.mark.anyio
SHARED = pytest.mark.parametrize("storage_url", ["sqlite", "postgres"], indirect=True)
LIMITS = replace(Limits(), snapshot_log_bytes=20_000, snapshot_log_interval_ms=20, compact_cpu_percent=50)
HASTY = replace(LIMITS, compact_grace_ms=0)
NEVER_MS = 10**8


@pytest.fixture
async def start(storage_url: str, storage: Storage) -> AsyncIterator[Callable[..., object]]:
    """Starts servers on one database, each with connections of its own."""
    del storage  # it has emptied the database
    hubs: list[Hub] = []

    async def start_one(limits: Limits = LIMITS, poll_ms: int | None = 50) -> Hub:
        storage = make_storage(storage_url)
        bus = PollingBus(storage, poll_ms) if poll_ms is not None else None
        hubs.append(Hub(storage, limits, bus=bus))
        await hubs[-1].start()
        return hubs[-1]

    yield start_one
    for hub in hubs:
        await hub.stop()


async def until_dropped(hub: Hub, room_id: str = ROOM, beyond_seq: int = 0) -> None:
    async def is_dropped() -> bool:
        row = await hub.storage.head(room_id)
        return row is not None and row.dropped_seq > beyond_seq

    await eventually(is_dropped)


async def test_a_document_is_compacted_in_every_storage(start):
    hub = await start(poll_ms=None)
    await hub.seed_document(ROOM, seed("x" * 100), "ann")
    ann = Churner("ann")
    await ann.enter(hub)
    for _ in range(10):
        await ann.churn(5_000, 10_000)
    await until_dropped(hub, beyond_seq=10)
    bob = Churner("bob")
    await bob.enter(hub)
    assert bob.text == "x" * 100
    row = await hub.storage.head(ROOM)
    assert await hub.history.state_at(ROOM, row.seq)
    assert [version.name for version in await hub.storage.versions(ROOM)] == [""]


async def test_a_session_that_lagged_behind_the_log_is_given_the_whole_state(start):
    hub = await start(replace(HASTY, ring_bytes=20_000))
    await hub.seed_document(ROOM, seed("x" * 100), "ann")
    ann, bob = Churner("ann"), Churner("bob")
    await ann.enter(hub)
    await bob.enter(hub)

    bob.buffered_bytes = LIMITS.session_queue_bytes + 1
    await ann.mark("<seen>")
    await bob.until(lambda: "<seen>" in bob.text)
    for _ in range(10):
        await ann.churn(5_000, 10_000)
    await ann.mark("<late>")
    await until_dropped(hub, beyond_seq=15)
    assert "<late>" not in bob.text
    bob.buffered_bytes = 0
    bob.connection.drained()

    await bob.until(lambda: "<late>" in bob.text)
    assert bob.text == ann.text
    assert bob.closed is None


async def edit(client: Churner, hub: Hub, marks: int) -> None:
    """Churn and leave marks; whoever is sent away comes back with what he has."""
    for n in range(marks):
        await client.churn(2_000, 20_000)
        await client.mark(f"<{client.principal.actor}{n}>")
        if client.closed is not None:
            await client.enter(hub)


@SHARED
async def test_two_servers_compact_what_both_edit(start):
    hubs = [await start(), await start()]
    await hubs[0].seed_document(ROOM, seed("x" * 100), "ann")
    clients = [Churner("ann"), Churner("bob")]
    for client, hub in zip(clients, hubs, strict=True):
        await client.enter(hub)

    await asyncio.gather(*[edit(client, hub, 15) for client, hub in zip(clients, hubs, strict=True)])
    await until_dropped(hubs[0], beyond_seq=30)

    marks = [f"<{name}{n}>" for name in ("ann", "bob") for n in range(15)]
    for client in clients:
        await client.until(lambda client=client: all(mark in client.text for mark in marks))
    await clients[0].until(lambda: len(clients[0].text) == len(clients[1].text))
    assert clients[0].text == clients[1].text
    assert len(clients[0].text) == 100 + len("".join(marks))
    cat = Churner("cat")
    await cat.enter(await start())
    assert cat.text == clients[0].text


@SHARED
async def test_a_document_below_the_horizon_is_loaded_again(start):
    fast, slow = await start(HASTY), await start(poll_ms=NEVER_MS)
    await fast.seed_document(ROOM, seed("seed "), "ann")
    ann, bob = Churner("ann"), Churner("bob")
    await ann.enter(fast)
    await bob.enter(slow)
    for _ in range(5):
        await ann.churn(10_000, 20_000)
    await ann.mark("<ann>")
    await until_dropped(fast, beyond_seq=3)

    await bob.mark("<bob>")
    await bob.until(lambda: bob.closed)
    assert bob.closed[0] == "room-reset"
    await bob.enter(slow)

    assert "<ann>" in bob.text
    assert "<bob>" in bob.text
    await ann.until(lambda: "<bob>" in ann.text)
    assert ann.text == bob.text


@SHARED
async def test_a_room_of_live_values_below_the_horizon_is_loaded_again(start):
    fast, slow = await start(), await start(poll_ms=NEVER_MS)
    ann, bob = await join(fast, actor="ann"), await join(slow, actor="bob")
    for counter in range(1, 5):
        await ann.store(counter, MapSet(ROOT, f"ann{counter}", counter))
    await Reader(fast.storage).write_snapshot("board", 4, 1)
    assert await fast.storage.drop_ops("board", 4) == 3

    await bob.submit(1, MapSet(ROOT, "bob", 1))
    await bob.until(lambda: bob.closed)
    assert bob.bye == "room-reset"

    again = await join(slow, actor="bob", resume=bob.resume())
    assert again.closed is None
    state = (await slow.room_state("board"))["state"]
    assert state == {"ann1": 1, "ann2": 2, "ann3": 3, "ann4": 4, "bob": 1}
    assert await again.store(2, MapSet(ROOT, "bob", 2)) == 6
    await ann.until(lambda: ann.through == 6)
