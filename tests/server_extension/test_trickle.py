"""Who waits for a turn of the event loop, and for how many."""

from __future__ import annotations

import asyncio

import pytest
from collabkernel_server.trickle import Trickle

from tests.bounds import HANG_S

pytestmark = pytest.mark.anyio


async def come(trickle: Trickle, came: list[int], nth: int) -> None:
    await trickle.wait()
    came.append(nth)


async def test_few_go_on_at_once() -> None:
    trickle = Trickle(3)
    came: list[int] = []

    for nth in range(3):
        await come(trickle, came, nth)  # nothing else has a turn

    assert came == [0, 1, 2]


async def test_of_many_a_few_go_on_in_a_turn_in_the_order_of_coming() -> None:
    trickle = Trickle(3)
    came: list[int] = []
    tasks = [asyncio.create_task(come(trickle, came, nth)) for nth in range(10)]
    most = 0
    async with asyncio.timeout(HANG_S):
        while len(came) < 10:
            before = len(came)
            await asyncio.sleep(0)
            most = max(most, len(came) - before)

    assert came == list(range(10))
    assert most == 3
    await asyncio.gather(*tasks)


async def test_who_gave_up_takes_nobodys_turn() -> None:
    trickle = Trickle(1)
    came: list[int] = []
    tasks = [asyncio.create_task(come(trickle, came, nth)) for nth in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()

    async with asyncio.timeout(HANG_S):
        await tasks[3]

    assert came == [0, 3]


async def test_who_comes_later_finds_all_places_again() -> None:
    trickle = Trickle(2)
    came: list[int] = []
    await asyncio.gather(*[come(trickle, came, nth) for nth in range(5)])
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    await come(trickle, came, 5)
    await come(trickle, came, 6)

    assert came == list(range(7))
