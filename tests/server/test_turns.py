"""Costly work comes in a little at a time, and who finds too many before him is told when to come again."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.errors import TooManyError
from collabkernel.server.turns import Turns


def test_so_many_have_their_turn_so_many_wait_and_the_next_is_sent_away() -> None:
    async def test() -> None:
        turns = Turns("readings", at_once=2, waiting_max=1, retry_ms=500)
        inside: list[int] = []
        end = asyncio.Event()

        async def work(number: int) -> None:
            async with turns.turn():
                inside.append(number)
                await end.wait()

        working = [asyncio.create_task(work(number)) for number in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert inside == [0, 1]
        with pytest.raises(TooManyError) as refused:
            await work(3)
        assert refused.value.retry_after_ms == 500
        end.set()
        await asyncio.gather(*working)
        assert inside == [0, 1, 2]
        await work(4)

    asyncio.run(test())


def test_who_gives_up_waiting_or_fails_leaves_his_place() -> None:
    async def test() -> None:
        turns = Turns("readings", at_once=1, waiting_max=1, retry_ms=500)
        with pytest.raises(ZeroDivisionError):
            async with turns.turn():
                1 / 0  # noqa: B018  # fails inside
        async with turns.turn():
            waiting = asyncio.create_task(turns.turn().__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with turns.turn():
            pass

    asyncio.run(test())
