"""A loop that is late makes larger steps, one that has time none, and a rest is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from collabkernel.limits import Limits
from collabkernel.room.effects import Append
from collabkernel.room.events import Event
from collabkernel.server import pace as module
from collabkernel.server.committer import Committer
from collabkernel.server.pace import Pace
from collabkernel.storage.base import Appended, AppendRequest, NotAppended
from collabkernel.storage.memory import MemoryStorage
from tests.bounds import HANG_S
from tests.contract.authors import Author, enter

BLOCK_S = 3 * module.SAMPLE_S


async def make_late(pace: Pace) -> None:
    """Keep the loop busy for longer than its timers wait, until that shows."""
    async with asyncio.timeout(HANG_S):
        while pace.flush_ms < 100:
            pace.work()
            until_s = time.perf_counter() + BLOCK_S
            while time.perf_counter() < until_s:
                pass
            await asyncio.sleep(0)


def test_a_late_loop_makes_larger_steps_up_to_the_limits() -> None:
    async def main() -> None:
        pace = Pace(Limits())
        assert (pace.flush_ms, pace.commit_ms) == (0, 0)

        await make_late(pace)

        assert pace.is_busy
        assert (pace.flush_ms, pace.commit_ms) == (100, 10)
        narrow = Pace(replace(Limits(), flush_tick_max_ms=7, commit_tick_ms=3))
        narrow._late_ms, narrow._wanted = pace._late_ms, pace._wanted
        assert (narrow.flush_ms, narrow.commit_ms) == (7, 3)
        pace._sampled_s -= 2 * module.REST_S
        assert not pace.is_busy, "that is long ago"

    asyncio.run(main())


def test_a_loop_that_is_late_and_has_time_shows_at_once() -> None:
    async def main() -> None:
        pace = Pace(Limits())
        for _ in range(20):
            pace.work()
            time.sleep(BLOCK_S)  # noqa: ASYNC251  # late, and nothing is done
            await asyncio.sleep(0)
        assert pace._late_ms > module.CALM_MS
        assert pace.flush_ms == 0

    asyncio.run(main())


def test_a_loop_that_has_time_again_shows_at_once_again() -> None:
    async def main() -> None:
        pace = Pace(Limits())
        await make_late(pace)

        async with asyncio.timeout(HANG_S):
            while pace.flush_ms:
                pace.work()
                await asyncio.sleep(module.SAMPLE_S)

    asyncio.run(main())


def test_a_rest_is_forgotten_and_costs_no_timer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pace = Pace(Limits())
        await make_late(pace)
        await asyncio.sleep(2 * module.SAMPLE_S)
        assert pace._due_s is None
        pace._sampled_s = loop.time() - 2 * module.REST_S

        pace.work()

        assert pace.flush_ms == 0

    asyncio.run(main())


class Watched(MemoryStorage):
    """Notes how much each append had, and lets what comes next be asked meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        self.batches.append(len(batch))
        return await super().append(batch)


async def batches_at(pace: Pace) -> list[int]:
    """What is stored together of three envelopes, each asked for when the one before it is stored, and two more."""
    storage = Watched()
    await storage.open()
    authors: list[Author] = [await enter(storage, f"room-{number}") for number in range(2)]
    committer = Committer(storage, Limits(), lambda: 5, pace=pace)
    answered = asyncio.Event()
    answers: list[Event] = []

    def on_answer(event: Event) -> None:
        answers.append(event)
        if len(answers) == 1:  # the next of each room come one after the other, a turn of the loop apart
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: loop.call_soon(lines[0].ask, Append((authors[0].next(),))))
            loop.call_later(0.002, lines[1].ask, Append((authors[1].next(),)))
        if len(answers) == 3:
            answered.set()

    lines = [committer.lines(author.room_id, on_answer) for author in authors]
    task = asyncio.create_task(committer.run())
    lines[0].ask(Append((authors[0].next(),)))
    async with asyncio.timeout(HANG_S):
        await answered.wait()
        committer.stop()
        await task
    return storage.batches


def test_a_busy_server_stores_together_what_comes_within_a_step() -> None:
    async def main() -> None:
        busy = Pace(replace(Limits(), commit_tick_ms=500))
        busy._late_ms, busy._wanted = 1000, 1
        assert await batches_at(Pace(Limits())) == [1, 1, 1]
        assert await batches_at(busy) == [1, 2]

    asyncio.run(main())
