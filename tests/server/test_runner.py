"""The shell of a room: what ends it, and that nobody is left behind when it does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Role
from tests.server.raw import RawClient, enter, join, run


def test_who_comes_while_a_room_ends_is_sent_away_or_let_into_a_new_one() -> None:
    async def scenario(hub: Hub) -> None:
        for _ in range(50):
            ann = await join(hub)
            deletion = asyncio.create_task(hub.delete_room("board"))
            bob = await enter(hub)
            await deletion
            await bob.leave()
            await ann.until(lambda client=ann: client.closed)
            again = await join(hub)
            assert again.welcome is not None
            await again.leave()

    run(scenario, Hub(open_storage("memory://")))


def test_a_room_that_cannot_be_read_says_so_and_is_tried_again() -> None:
    class Unreadable(MemoryStorage):
        is_failing = True

        async def latest_snapshot(self, room_id: str, wanted=None):  # type: ignore[no-untyped-def]  # as the base says
            if self.is_failing:
                raise OSError("bad sector")
            return await super().latest_snapshot(room_id, wanted)

    storage = Unreadable()

    async def scenario(hub: Hub) -> None:
        ann = await enter(hub)
        await ann.until(lambda: ann.closed)
        assert ann.bye == "room-failed"
        storage.is_failing = False
        assert await (await join(hub)).store(1) == 1

    run(scenario, Hub(storage))


def test_a_full_inbox_slows_its_senders_and_loses_nothing() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        for counter in range(1, 301):
            await ann.submit(counter)
        await ann.until(lambda: len(ann.acks) == 300)
        assert sorted(ann.acks.values()) == list(range(1, 301))

    run(scenario, Hub(open_storage("memory://"), replace(Limits(), room_inbox_events=2)))


def test_an_edit_is_acknowledged_a_turn_before_it_is_shown() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        assert await ann.store(1) == 1
        assert not ann.envelopes, "a frame to each of a thousand takes a while"
        await ann.until(lambda: [e.seq for e in ann.envelopes] == [1])

    run(scenario, Hub(open_storage("memory://")))


def test_a_closed_connection_may_be_closed_again() -> None:
    async def scenario(hub: Hub) -> None:
        client = RawClient(hub, "board", "ann", Role.WRITER)
        connection = await hub.open_session("board", Principal("ann", "Ann", "", Role.WRITER), client)
        await connection.close()
        await connection.close()
        assert hub.info()["sessions"] == 0

    run(scenario, Hub(open_storage("memory://")))
