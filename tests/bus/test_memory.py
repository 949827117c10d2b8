"""The bus of one process, beyond the contract: its bounds."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.bus.memory import MemoryBus

pytestmark = pytest.mark.anyio


async def test_a_full_queue_becomes_one_gap():
    bus = MemoryBus(queue_messages_max=3)
    await bus.open()
    got: list[bytes | None] = []
    await bus.subscribe("plan", got.append, lambda: got.append(None))

    for i in range(3):
        bus.publish("plan", b"%d" % i)
    await asyncio.sleep(0)
    assert got == [b"0", b"1", b"2"]

    for i in range(9):
        bus.publish("plan", b"%d" % i)
    await asyncio.sleep(0)
    bus.publish("plan", b"after")
    await asyncio.sleep(0)

    assert got[3:] == [None, b"after"]
    await bus.close()


async def test_a_subscriber_with_many_messages_lets_others_have_their_turn():
    bus = MemoryBus()
    await bus.open()
    order: list[str] = []
    await bus.subscribe("plan", lambda _: order.append("plan"), lambda: None)
    await bus.subscribe("notes", lambda _: order.append("notes"), lambda: None)

    for _ in range(200):
        bus.publish("plan", b"")
    bus.publish("notes", b"")
    while len(order) < 201:  # noqa: ASYNC110  # turns of the loop are what is tested
        await asyncio.sleep(0)

    assert order.index("notes") < 100
    await bus.close()
