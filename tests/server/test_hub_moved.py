"""A room that has moved to another database: servers that know both go on with it, others send people away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collabkernel.errors import MovedError
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import SHARES
from tests.server.hub_rooms import leave, people
from tests.server.raw import enter, join
from tests.storage.two_databases import migrating


async def switch(urls: list[str], end_share: int) -> None:
    """Move all rooms, as the command does."""
    old, new = [SqlStorage(url) for url in urls]
    await old.open()
    await new.open()
    async with migrating(old, new) as work:
        await work.catch_up()
        async for _ in work.switch(end_share):
            pass
        assert work.failures == {}
    await old.close()
    await new.close()


@pytest.mark.long
def test_a_loaded_room_goes_on_in_the_other_database_and_back(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.sqlite" for name in ("old", "new")]

    async def scenario() -> None:
        hub = Hub(open_storage(urls[0], migrate_to_url=urls[1]))
        await hub.start()
        everybody = await people(hub, "ann", "bob")
        for end_share in (SHARES, 0):
            for person in everybody:
                person.doc.append(f"{person.room.name} {end_share}")
                person.room.root["n"] = end_share
                await person.room.flush()
            await switch(urls, end_share)
        for person in everybody:
            person.doc.append("last")
            await person.room.flush()
            assert person.room.status == "live"
        assert hub.info()["degraded_since_ms"] is None
        shown = await hub.room_state("board")
        await leave(everybody)
        await hub.stop()
        alone = Hub(open_storage(urls[0]))
        await alone.start()
        assert (await alone.room_state("board"))["state"] == shown["state"]
        await alone.stop()

    asyncio.run(scenario())


def test_a_server_that_has_not_heard_can_store_nothing_and_sends_people_away(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.sqlite" for name in ("old", "new")]

    async def scenario() -> None:
        deaf, hub = Hub(open_storage(urls[0])), Hub(open_storage(urls[0], migrate_to_url=urls[1]))
        await deaf.start()
        await hub.start()
        ann = await join(deaf, actor="ann")
        assert await ann.store(1) == 1
        await switch(urls, SHARES)

        await ann.submit(2)

        await ann.until(lambda: ann.closed)
        assert ann.closed is not None
        assert ann.closed[0] == "moved"
        with pytest.raises(MovedError) as refused:
            await enter(deaf)
        assert refused.value.retry_after_ms
        assert await deaf.list_rooms() == []
        with pytest.raises(MovedError):
            await deaf.delete_room("board")
        bob = await join(hub, actor="bob")
        assert await bob.store(1) == 2, "what was refused is not there"
        await deaf.stop()
        await hub.stop()

    asyncio.run(scenario())
