"""A hub that drains: its sessions go in slices, nobody new is let in, and rooms that are empty end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from collabkernel.errors import ServerDrainingError
from collabkernel.limits import Limits
from collabkernel.server import drain
from collabkernel.server.hub import Hub
from collabkernel.storage.memory import MemoryStorage
from tests.server.raw import RawClient, enter, eventually, join, run
from tests.server.test_hub_documents import ROOM, YClient, seed


def hub() -> Hub:
    return Hub(MemoryStorage(), Limits())


def test_everybody_goes_in_slices_with_all_that_was_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "SLICE_MS", 20)
    gone_at_s: list[float] = []

    async def scenario(hub: Hub) -> None:
        clients = [await join(hub, f"room-{n % 2}", actor=f"a{n}") for n in range(8)]
        for client in clients:
            await client.store(1)
        assert hub.info()["status"] == "serving"

        hub.drain(over_ms=80)
        hub.drain(over_ms=0)  # asked again, it goes on as it was
        assert hub.info()["status"] == "draining"
        await asyncio.gather(*[gone(client, gone_at_s) for client in clients])

        assert {client.bye for client in clients} == {ServerDrainingError.code}
        assert max(gone_at_s) - min(gone_at_s) > 0.04, "they went at once, not in slices"
        assert hub.info()["sessions"] == 0
        await eventually(lambda: loaded(hub, 0))
        assert [(await hub.room_state(f"room-{n}"))["seq"] for n in range(2)] == [4, 4]

    run(scenario, hub())


async def gone(client: RawClient, at_s: list[float]) -> None:
    await client.until(lambda: client.closed)
    at_s.append(asyncio.get_running_loop().time())


async def loaded(hub: Hub, rooms: int) -> bool:
    return bool(hub.info()["rooms_loaded"] == rooms)


def test_nobody_new_is_let_in_but_the_servers_own() -> None:
    async def scenario(hub: Hub) -> None:
        await hub.seed_document(ROOM, seed("text"), "ann")
        hub.check_open()
        hub.drain(over_ms=0)

        with pytest.raises(ServerDrainingError) as caught:
            await enter(hub)
        assert caught.value.retry_after_ms
        with pytest.raises(ServerDrainingError):
            await YClient("ann").enter(hub)
        with pytest.raises(ServerDrainingError):
            hub.check_open()
        saver = YClient("saver")
        saver.principal = replace(saver.principal, is_service=True)
        await saver.enter(hub)
        assert saver.text == "text"
        await eventually(lambda: loaded(hub, 1))
        assert saver.closed is None

    run(scenario, hub())


def test_a_stop_ends_a_drain() -> None:
    async def scenario() -> RawClient:
        draining = hub()
        await draining.start()
        first, last = await join(draining, "a", actor="ann"), await join(draining, "b", actor="bob")
        draining.drain(over_ms=drain.OVER_MS_MAX)
        assert first.closed is None
        await draining.stop()
        return last

    last = asyncio.run(scenario())
    assert last.bye == "server-stopping"
