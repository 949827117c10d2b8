"""Two servers that share nothing but a database: what one stores the other shows, in the order of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence

import pytest

from collabkernel.bus.polling import POLL_MS, PollingBus
from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import MapSet
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from collabkernel.storage.base import Storage
from tests.server.raw import RawClient, join

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("storage_url", ["sqlite", "postgres"], indirect=True)]
EDITS = 40


def hub_on(url: str) -> Hub:
    storage = open_storage(url)
    return Hub(storage, bus=PollingBus(storage))


@pytest.fixture
async def hubs(storage_url: str, storage: Storage) -> AsyncIterator[list[Hub]]:
    """Each with a storage, and so with connections, of its own."""
    del storage  # it has emptied the database
    hubs = [hub_on(storage_url) for _ in range(2)]
    for hub in hubs:
        await hub.start()
    yield hubs
    for hub in hubs:
        await hub.stop()


async def test_an_edit_is_shown_at_the_other_server_within_a_second(hubs: list[Hub]):
    ann, bob = await join(hubs[0], actor="ann"), await join(hubs[1], actor="bob")
    looks, found_after = 0, []
    look, heads = hubs[1].storage.change_mark, hubs[1].storage.heads

    async def count_looks() -> Hashable:
        nonlocal looks
        looks += 1
        return await look()

    async def note_heads(room_ids: Sequence[str]) -> dict[str, int]:
        found_after.append(looks)
        return await heads(room_ids)

    hubs[1].storage.change_mark, hubs[1].storage.heads = count_looks, note_heads
    for counter in range(1, 6):
        seq = await ann.store(counter)
        looks = 0
        await bob.until(lambda seq=seq: bob.through >= seq)

    assert 5 * POLL_MS <= 1000
    assert found_after
    assert max(found_after) <= 2, "each is found after a look or two; without a mark of change it would be 25"
    assert [stored.seq for stored in bob.envelopes] == [1, 2, 3, 4, 5]


async def test_both_write_at_once_and_show_one_log(hubs: list[Hub]):
    clients = [await join(hub, actor=f"a{n}") for n, hub in enumerate(hubs)]

    async def write(n: int, client: RawClient) -> None:
        for counter in range(1, EDITS + 1):
            await client.store(counter, MapSet(ROOT, f"{n}-{counter}", counter))

    await asyncio.gather(*[write(n, client) for n, client in enumerate(clients)])

    for client in clients:
        await client.until(lambda client=client: client.through == 2 * EDITS)
        assert [stored.seq for stored in client.envelopes] == list(range(1, 2 * EDITS + 1))
        assert client.closed is None
    states = [(await hub.room_state("board"))["state"] for hub in hubs]
    assert states[0] == states[1] == {f"{n}-{k}": k for n in range(2) for k in range(1, EDITS + 1)}


async def test_a_room_that_is_deleted_and_made_again_is_another_one(hubs: list[Hub]):
    bob = await join(hubs[1], actor="bob")
    await bob.store(1)

    await hubs[0].delete_room("board")
    ann = await join(hubs[0], actor="ann")
    for counter in range(1, 4):
        await ann.store(counter, MapSet(ROOT, "new", counter))

    await bob.until(lambda: bob.closed)
    assert bob.bye == "room-deleted"
    again = await join(hubs[1], actor="bob")
    assert (await hubs[1].room_state("board"))["state"] == {"new": 3}
    assert again.closed is None
