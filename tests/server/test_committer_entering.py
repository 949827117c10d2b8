"""Those who are let in, beside the commits."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from collabkernel.limits import Limits
from collabkernel.room.effects import GrantSite
from collabkernel.room.events import Event, OpsStored, SiteGranted
from collabkernel.server.committer import Committer
from collabkernel.server.outage import Outage
from tests.bounds import HANG_S
from tests.server.test_committer import CountingStorage, append, with_site


async def turns() -> None:
    """Let what is ready go on, until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


class SlowToEnter(CountingStorage):
    """Enters no site before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_enter = asyncio.Event()
        self.entering = 0

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        self.entering += 1
        await self.may_enter.wait()
        return await super().new_site(room_id, site, actor, kind, secret_hash, now_ms)


def test_edits_are_stored_while_others_are_let_in() -> None:
    async def main() -> None:
        storage = SlowToEnter()
        storage.may_enter.set()
        granted = await with_site(storage)
        storage.may_enter.clear()
        answers: list[Event] = []
        is_stored = asyncio.Event()

        def answer(event: Event) -> None:
            answers.append(event)
            is_stored.set()

        committer = Committer(storage, Limits(), lambda: 5)
        lines = committer.lines("board", answer)
        lines.ask(GrantSite(2, "eve", 1, None))
        running = asyncio.ensure_future(committer.run())
        await turns()
        assert storage.entering == 2
        for counter in (1, 2):
            is_stored.clear()
            lines.ask(append(granted, counter))
            await asyncio.wait_for(is_stored.wait(), HANG_S)
        assert [type(each) for each in answers] == [OpsStored, OpsStored]

        committer.stop()
        await turns()
        assert not running.done(), "who was being let in is let in first"
        storage.may_enter.set()
        await asyncio.wait_for(running, HANG_S)
        assert isinstance(answers[-1], SiteGranted)
        assert storage.batches == [1, 1]

    asyncio.run(main())


def test_who_is_let_in_slowly_has_the_database_tried_and_edits_go_on() -> None:
    async def main() -> None:
        storage = SlowToEnter()
        storage.may_enter.set()
        granted = await with_site(storage)
        storage.may_enter.clear()
        was_tried = asyncio.Event()
        limits = replace(Limits(), storage_slow_ms=1)
        outage = Outage(limits, lambda: 5)
        lost: list[Event] = []
        outage.watch(lost.append)
        committer = Committer(storage, limits, lambda: 5, outage)
        answers: list[Event] = []
        lines = committer.lines("board", answers.append)
        lines.ask(GrantSite(2, "eve", 1, None))
        outage.on_suspected, wake = was_tried.set, outage.on_suspected
        running = asyncio.ensure_future(committer.run())
        await asyncio.wait_for(was_tried.wait(), HANG_S)
        wake()
        await asyncio.wait_for(outage.answered(), HANG_S)
        lines.ask(append(granted, 1))
        await turns()
        assert [type(each) for each in answers] == [OpsStored]
        assert lost == []

        storage.may_enter.set()
        committer.stop()
        await asyncio.wait_for(running, HANG_S)
        assert isinstance(answers[-1], SiteGranted)

    asyncio.run(main())


def test_a_server_that_stops_does_not_wait_for_who_is_not_let_in() -> None:
    async def main() -> None:
        storage = SlowToEnter()
        await storage.open()
        await storage.create_room("board", 0)
        outage = Outage(Limits(), lambda: 5)
        committer = Committer(storage, Limits(), lambda: 5, outage)
        answers: list[Event] = []
        committer.lines("board", answers.append).ask(GrantSite(2, "eve", 1, None))
        running = asyncio.ensure_future(committer.run())
        await turns()
        assert storage.entering == 1

        outage.begin("it is away")
        committer.stop()
        await asyncio.wait_for(running, HANG_S)
        assert answers == []

    asyncio.run(main())


def test_few_rooms_are_served_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr("collabkernel.server.committer.LINES_AT_ONCE", 3)
        storage = SlowToEnter()
        await storage.open()
        answers: list[Event] = []
        committer = Committer(storage, Limits(), lambda: 5)
        for room_id in "abcde":
            await storage.create_room(room_id, 0)
            committer.lines(room_id, answers.append).ask(GrantSite(1, "eve", 1, None))
        committer.stop()
        running = asyncio.ensure_future(committer.run())
        await turns()
        assert (storage.entering, answers) == (3, [])

        storage.may_enter.set()
        await asyncio.wait_for(running, HANG_S)
        assert [type(each) for each in answers] == [SiteGranted] * 5

    asyncio.run(main())


def test_a_mistake_of_ours_in_who_is_let_in_is_not_kept_quiet() -> None:
    async def main() -> None:
        storage = CountingStorage()
        await storage.open()
        await storage.create_room("board", 0)

        def answer(event: Event) -> None:
            raise AssertionError(event)

        committer = Committer(storage, Limits(), lambda: 5)
        committer.lines("board", answer).ask(GrantSite(2, "eve", 1, None))
        with pytest.raises(AssertionError, match="SiteGranted"):
            await asyncio.wait_for(committer.run(), HANG_S)

    asyncio.run(main())
