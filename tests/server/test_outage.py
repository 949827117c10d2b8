"""One judgement of the database for a whole server, told and logged once."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from collabkernel.errors import DegradedError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.events import DatabaseBack, DatabaseLost, Event
from collabkernel.server.outage import Outage
from tests.bounds import HANG_S

LIMITS = replace(Limits(), storage_retry_min_ms=100, storage_retry_max_ms=1000)


class Clock:
    now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def test_rooms_and_the_log_are_told_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outage = Outage(LIMITS, clock)
    told: list[list[Event]] = [[], []]
    outage.watch(told[0].append)
    with caplog.at_level(logging.DEBUG):
        outage.begin("refused")
        outage.begin("refused")
        outage.watch(told[1].append)
        assert REGISTRY.get_sample_value("collabkernel_degraded") == 1
        clock.now_ms = 12_340
        outage.end()
        outage.end()

    assert told == [[DatabaseLost(), DatabaseBack()]] * 2
    assert REGISTRY.get_sample_value("collabkernel_degraded") == 0
    begun, ended = [record.getMessage() for record in caplog.records]
    assert "refused" in begun
    assert "12.3 s" in ended


def test_a_room_that_is_gone_is_not_told() -> None:
    outage = Outage(LIMITS, Clock())
    told: list[Event] = []
    outage.watch(told.append)
    outage.unwatch(told.append)
    outage.begin("refused")
    assert told == []


def test_the_database_is_asked_less_and_less_often_and_at_first_soon_again_after_it_was_well() -> None:
    clock = Clock()
    outage = Outage(LIMITS, clock)
    outage.begin("refused")
    assert [outage.next_retry_ms() for _ in range(6)] == [100, 200, 400, 800, 1000, 1000]

    outage.end()
    outage.begin("it answers one thing and not the next")
    assert outage.next_retry_ms() == 1000
    outage.end()
    clock.now_ms += 1001
    outage.begin("refused")
    assert outage.next_retry_ms() == 100


def test_who_was_not_answered_waits_until_the_database_was_asked_since() -> None:
    async def main() -> None:
        outage = Outage(LIMITS, Clock())
        asked: list[None] = []
        outage.on_suspected = lambda: asked.append(None)
        with pytest.raises(DegradedError), outage.noticed():
            raise DegradedError("refused")
        assert asked == [None]
        outage.check()  # nobody is sent away for one answer that was lost

        waiting = asyncio.create_task(outage.answered())
        outage.begin("refused")
        with pytest.raises(DegradedError) as caught:
            outage.check()
        assert caught.value.retry_after_ms
        await asyncio.sleep(0)
        assert not waiting.done()
        outage.end()
        async with asyncio.timeout(HANG_S):
            await waiting

    asyncio.run(main())


def test_a_refusal_for_good_makes_nobody_ask_again() -> None:
    outage = Outage(LIMITS, Clock())
    with pytest.raises(StorageError), outage.noticed():
        raise StorageError("damaged")
    assert not outage.is_suspected
