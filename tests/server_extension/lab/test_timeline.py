"""The timeline of a document whose log was compacted: kept versions first, then the log that is left."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from collabkernel_server.lab.timeline import STEPS_MAX, Step, find_steps, read_history, thinned
from pycrdt import Doc, Text

from collabkernel.crdt.clock import ms_from_hlc
from collabkernel.room.document_log import seed_request
from collabkernel.server.hub import Hub
from collabkernel.storage.base import SnapshotRow
from collabkernel.storage.memory import MemoryStorage

ROOM = "text:file:1"
HOUR_MS = 3_600_000


async def typed(hub: Hub, text: str) -> None:
    """A document that was typed sign by sign, one an hour."""
    await hub.storage.create_room(ROOM, 0)
    await hub.storage.new_site(ROOM, 1, "collabkernel", 2, bytes(32), 0)
    doc: Doc[Text] = Doc(client_id=5)
    source = doc.get("source", type=Text)
    for counter, sign in enumerate(text, start=1):
        before = doc.get_state()
        source += sign
        request = seed_request(ROOM, b"", "ann", counter * HOUR_MS)
        await hub.storage.append([replace(request, counter=counter, ops=((64, doc.get_update(before)),))])


async def compacted(hub: Hub, seq: int) -> None:
    fold, _ = await hub.history.read(ROOM, seq)
    fold.settle()
    await hub.storage.save_snapshot(SnapshotRow(ROOM, seq, fold.to_parts()), 0)
    await hub.storage.drop_ops(ROOM, seq)


def test_steps_are_those_of_the_log_where_nothing_was_dropped() -> None:
    async def test() -> None:
        hub = Hub(MemoryStorage())
        await hub.start()
        await typed(hub, "abc")
        history = await read_history(hub, ROOM)

        assert await find_steps(history, "file", 1000) == [Step(seq, seq * HOUR_MS) for seq in (1, 2, 3)]
        assert await find_steps(history, "file", 10 * HOUR_MS) == [Step(3, HOUR_MS)]
        await hub.stop()

    asyncio.run(test())


def test_where_the_log_was_dropped_the_kept_versions_are_the_steps() -> None:
    async def test() -> None:
        hub = Hub(MemoryStorage())
        await hub.start()
        await typed(hub, "abcdef")
        fold, _ = await hub.history.read(ROOM, 2)
        fold.settle()
        await hub.storage.save_version(ROOM, 2, "Saved", fold.state, 2 * HOUR_MS)
        await compacted(hub, 4)
        history = await read_history(hub, ROOM)

        assert await find_steps(history, "file", 1000) == [Step(seq, seq * HOUR_MS) for seq in (2, 4, 5, 6)]
        assert [ms_from_hlc(row.hlc) for row in history.rows] == [5 * HOUR_MS, 6 * HOUR_MS]
        await hub.stop()

    asyncio.run(test())


def test_document_without_a_past_has_no_steps() -> None:
    async def test() -> None:
        hub = Hub(MemoryStorage())
        await hub.start()
        assert await find_steps(await read_history(hub, ROOM), "file", 1000) == []
        await hub.stop()

    asyncio.run(test())


def test_of_too_many_steps_the_newest_stays() -> None:
    steps = thinned([Step(seq, seq) for seq in range(3 * STEPS_MAX)])

    assert len(steps) <= STEPS_MAX
    assert steps[-1] == Step(3 * STEPS_MAX - 1, 3 * STEPS_MAX - 1)
