"""Two servers on one database and one Redis: what one stores the other shows, whatever becomes of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from collabkernel.bus import redis, redis_link
from collabkernel.bus.redis import RedisBus
from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import MapSet
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from collabkernel.storage.base import Storage
from collabkernel.wire.messages import Presence
from tests.bus.valkey import Valkey, connected
from tests.server.raw import RawClient, join

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("storage_url", ["sqlite", "postgres"], indirect=True)]
EDITS = 60
NEVER_MS = 10**7


@pytest.fixture
def buses() -> list[RedisBus]:
    return []


@pytest.fixture
async def hubs(
    request: pytest.FixtureRequest,
    storage_url: str,
    storage: Storage,
    valkey: Valkey,
    buses: list[RedisBus],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[list[Hub]]:
    """Each with a storage, and so with connections, of its own."""
    del storage  # it has emptied the database
    if "without" in request.node.name:
        monkeypatch.setattr(redis, "CALM_POLL_MS", NEVER_MS)
    hubs = []
    for _ in range(2):
        own = open_storage(storage_url)
        buses.append(RedisBus(valkey.url, own, prefix=request.node.name, poll_ms=50))
        hubs.append(Hub(own, bus=buses[-1]))
        await hubs[-1].start()
        await connected(buses[-1])
    yield hubs
    for hub in hubs:
        await hub.stop()


async def test_an_edit_comes_over_redis_without_a_look_at_the_log(hubs: list[Hub], buses: list[RedisBus]):
    for bus in buses:
        bus.look_every_ms = NEVER_MS
    ann, bob = await join(hubs[0], actor="ann"), await join(hubs[1], actor="bob")
    for counter in range(1, 6):
        seq = await ann.store(counter)
        await bob.until(lambda seq=seq: bob.through >= seq)
    assert [stored.seq for stored in bob.envelopes] == [1, 2, 3, 4, 5]


async def test_presence_comes_over_redis(hubs: list[Hub]):
    ann, bob = await join(hubs[0], actor="ann"), await join(hubs[1], actor="bob")
    await ann.say(Presence('{"at":1}'))
    await bob.until(
        lambda: (
            '{"at":1}' in [each.state_json for message in bob.messages for each in (*message.presence, *message.moves)]
        )
    )


async def test_both_write_while_redis_dies_and_comes_back_and_show_one_log(
    hubs: list[Hub], buses: list[RedisBus], valkey: Valkey, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_link, "RETRY_S_MAX", 0.1)
    clients = [await join(hub, actor=f"a{n}") for n, hub in enumerate(hubs)]

    async def write(n: int, client: RawClient) -> None:
        for counter in range(1, EDITS + 1):
            await client.store(counter, MapSet(ROOT, f"{n}-{counter}", counter))
            if n == 0 and counter == EDITS // 3:
                valkey.kill()
                await connected(buses[0], False)
            if n == 0 and counter == 2 * EDITS // 3:
                valkey.start()
                await connected(buses[0])

    await asyncio.gather(*[write(n, client) for n, client in enumerate(clients)])

    for client in clients:
        await client.until(lambda client=client: client.through == 2 * EDITS)
        assert [stored.seq for stored in client.envelopes] == list(range(1, 2 * EDITS + 1)), "no gap, none twice"
        assert client.closed is None
    states = [(await hub.room_state("board"))["state"] for hub in hubs]
    assert states[0] == states[1] == {f"{n}-{k}": k for n in range(2) for k in range(1, EDITS + 1)}
