"""Group commit: order, sharing, and what a fault does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from collabkernel.errors import DegradedError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.effects import Append, FindEnvelope, GrantSite, Refuse
from collabkernel.room.events import (
    AppendFailed,
    AskFailed,
    EnvelopeFound,
    Event,
    OpsStored,
    RefusalStored,
    SiteGranted,
)
from collabkernel.server.committer import Committer
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, Refusal, SiteRow, Storage
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Resume
from tests.bounds import HANG_S


class CountingStorage(MemoryStorage):
    """A real storage that tells how its appends were batched."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.is_failing = False

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        self.batches.append(len(batch))
        if self.is_failing:
            raise StorageError("no")
        return await super().append(batch)


async def ask_all(
    storage: Storage, *jobs: Append | Refuse | FindEnvelope | GrantSite, limits: Limits | None = None
) -> list[Event]:
    committer = Committer(storage, limits or Limits(), lambda: 5)
    answers: list[Event] = []
    lines = committer.lines("board", answers.append)
    for job in jobs:
        lines.ask(job)
    committer.stop()
    await committer.run()
    return answers


async def with_site(storage: Storage) -> SiteGranted:
    await storage.open()
    await storage.create_room("board", 0)
    (granted,) = await ask_all(storage, GrantSite(1, "ann", 1, None))
    assert isinstance(granted, SiteGranted)
    return granted


def append(granted: SiteGranted, counter: int, epoch: int = 1) -> Append:
    assert granted.site is not None
    return Append((AppendRequest("board", granted.site.site, epoch, counter, 0, 1 << 40, "ann", ((3, b"x"),)),))


def test_appends_share_a_commit_and_what_comes_between_keeps_its_place() -> None:
    async def main() -> None:
        storage = CountingStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        site = granted.site.site
        refusal = Refusal(3, 1, "too-large", "no")

        answers = await ask_all(
            storage,
            append(granted, 1),
            append(granted, 2),
            Refuse(site, 1, refusal),
            append(granted, 4),
            FindEnvelope(1, site, 3),
            FindEnvelope(1, site, 4),
        )

        assert storage.batches == [2, 1]
        assert answers == [
            OpsStored((Appended(1, 1 << 40),)),
            OpsStored((Appended(2, 1 << 40),)),
            RefusalStored(site, refusal, True),
            OpsStored((Appended(3, 1 << 40),)),
            EnvelopeFound(1, 3, refusal),
            EnvelopeFound(1, 4, Appended(3, 1 << 40, duplicate=True)),
        ]

    asyncio.run(main())


def test_a_fault_is_told_to_all_who_shared_the_commit_and_the_next_is_tried() -> None:
    async def main() -> None:
        storage = CountingStorage()
        granted = await with_site(storage)
        storage.is_failing = True
        assert (
            await ask_all(storage, append(granted, 1), append(granted, 2))
            == [AppendFailed(StorageError("no").told)] * 2
        )
        storage.is_failing = False
        assert await ask_all(storage, append(granted, 1)) == [OpsStored((Appended(1, 1 << 40),))]

    asyncio.run(main())


def test_a_new_site_has_a_secret_that_the_database_does_not_know() -> None:
    async def main() -> None:
        storage = MemoryStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        assert len(granted.secret) == 16
        assert granted.secret not in granted.site.secret_hash

    asyncio.run(main())


def test_a_resume_sees_what_was_asked_before_it_and_fences_what_comes_after() -> None:
    async def main() -> None:
        storage = MemoryStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        resume = GrantSite(2, "ann", 1, Resume(granted.site.site, granted.secret, 0, None))

        stored, resumed, fenced = await ask_all(storage, append(granted, 1), resume, append(granted, 2))

        assert stored == OpsStored((Appended(1, 1 << 40),))
        assert isinstance(resumed, SiteGranted)
        assert resumed.site is not None
        assert (resumed.site.epoch, resumed.site.last_counter) == (2, 1)
        assert isinstance(fenced, OpsStored)
        assert isinstance(fenced.outcomes[0], NotAppended)
        assert fenced.outcomes[0].code == "fenced"

    asyncio.run(main())


async def two_rooms(storage: Storage, flood: list[Append | Refuse | FindEnvelope], quiet: Append) -> list[str]:
    """Which room was answered when, of one that asks for much and one that asks for little."""
    committer = Committer(storage, Limits(), lambda: 5)
    order: list[str] = []
    loud = committer.lines("board", lambda _: order.append("board"))
    calm = committer.lines("calm", lambda _: order.append("calm"))
    for job in flood:
        loud.ask(job)
    calm.ask(quiet)
    committer.stop()
    await committer.run()
    return order


def test_a_room_that_floods_its_line_keeps_no_other_waiting() -> None:
    async def main() -> None:
        storage = MemoryStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        site = granted.site.site
        await storage.create_room("calm", 0)
        assert await storage.new_site("calm", site, "bob", 1, b"h" * 32, 0)
        quiet = Append((AppendRequest("calm", site, 1, 1, 0, 1 << 40, "bob", ((3, b"x"),)),))

        refusals = [Refuse(site, 1, Refusal(n, 1, "too-large", "no")) for n in range(1, 101)]
        assert "calm" in (await two_rooms(storage, [*refusals], quiet))[:2]
        finds = [FindEnvelope(1, site, n) for n in range(1, 1001)]
        assert "calm" in (await two_rooms(storage, [*finds], quiet))[:100]

    asyncio.run(main())


def test_a_crowd_that_joins_holds_up_no_edit() -> None:
    async def main() -> None:
        storage = MemoryStorage()
        granted = await with_site(storage)
        crowd = [GrantSite(n, "eve", 1, None) for n in range(2, 102)]
        answers = await ask_all(storage, *crowd, append(granted, 1))
        assert any(isinstance(answer, OpsStored) for answer in answers[:2])
        assert len(answers) == 101

    asyncio.run(main())


class CrowdStorage(MemoryStorage):
    """Tells how many resumes it was asked for at once, and of how many sites."""

    def __init__(self) -> None:
        super().__init__()
        self.resuming: list[int] = []
        self.crowds: list[tuple[int, int]] = []

    async def resume_site(self, room_id: str, site: int, now_ms: int) -> SiteRow | None:
        self.resuming.append(site)
        await asyncio.sleep(0)
        if self.resuming:
            self.crowds.append((len(self.resuming), len(set(self.resuming))))
            self.resuming.clear()
        return await super().resume_site(room_id, site, now_ms)


def test_a_crowd_that_comes_back_is_in_within_few_rounds_and_one_site_after_itself() -> None:
    async def main() -> None:
        storage = CrowdStorage()
        granted = [await with_site(storage)]
        granted += [each for _ in range(9) for each in await ask_all(storage, GrantSite(1, "ann", 1, None))]
        resumes = [GrantSite(1, "ann", 1, Resume(each.site.site, each.secret, 0, None)) for each in granted]

        answers = await ask_all(storage, *resumes[:3], resumes[0], *resumes[:10])

        assert storage.crowds == [(3, 3), (1, 1), (8, 8), (2, 2)]
        epochs = [answer.site.epoch for answer in answers if isinstance(answer, SiteGranted) and answer.site]
        assert epochs == [2, 2, 2, 3, 4, 3, 3, 2, 2, 2, 2, 2, 2, 2]

    asyncio.run(main())


def test_a_small_commit_takes_from_every_room_in_turn() -> None:
    async def main() -> None:
        storage = MemoryStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        site = granted.site.site
        await storage.create_room("calm", 0)
        assert await storage.new_site("calm", site, "bob", 1, b"h" * 32, 0)
        quiet = Append((AppendRequest("calm", site, 1, 1, 0, 1 << 40, "bob", ((3, b"x" * (9 << 20)),)),))
        assert (await two_rooms(storage, [append(granted, n) for n in range(1, 101)], quiet))[:2] == ["board", "calm"]

    asyncio.run(main())


class BuggyStorage(MemoryStorage):
    """A storage with a mistake in it: some actor's name is too much for it."""

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        if any(request.actor == "eve" for request in batch):
            raise ValueError("a mistake of ours")
        return await super().append(batch)

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        if actor == "eve":
            raise ValueError("a mistake of ours")
        return await super().new_site(room_id, site, actor, kind, secret_hash, now_ms)


def test_a_mistake_of_ours_ends_one_room_and_never_the_committer() -> None:
    async def main() -> None:
        storage = BuggyStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        await storage.create_room("eves", 0)
        committer = Committer(storage, Limits(), lambda: 5)
        answers: list[Event] = []
        eves: list[Event] = []
        board, other = committer.lines("board", answers.append), committer.lines("eves", eves.append)
        other.ask(Append((AppendRequest("eves", 7, 1, 1, 0, 1 << 40, "eve", ((3, b"x"),)),)))
        other.ask(GrantSite(9, "eve", 1, None))
        board.ask(append(granted, 1))
        committer.stop()
        await committer.run()

        assert answers == [OpsStored((Appended(1, 1 << 40),))]
        assert sorted(eves, key=repr) == [
            AppendFailed("the log failed: ValueError"),
            AskFailed(9, "the log failed: ValueError"),
        ]

    asyncio.run(main())


def test_nothing_is_stored_on_top_of_an_envelope_that_was_not() -> None:
    """Bob's envelope was admitted to a room that had Ann's: stored without hers it may make no sense for ever."""

    async def main() -> None:
        storage = CountingStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        assert await storage.new_site("board", 7, "bob", 1, b"h" * 32, 0)
        bobs = Append((AppendRequest("board", 7, 1, 1, 0, 1 << 40, "bob", ((3, b"x"),)),))
        storage.is_failing = True
        committer = Committer(storage, Limits(), lambda: 5)
        answers: list[Event] = []

        def answer(event: Event) -> None:
            answers.append(event)
            storage.is_failing = False
            if len(answers) == 1:
                lines.ask(bobs)

        lines = committer.lines("board", answer)
        lines.ask(append(granted, 1))
        committer.stop()
        await committer.run()

        assert [type(event) for event in answers] == [AppendFailed, AppendFailed]
        head = await storage.head("board")
        assert head is not None
        assert head.seq == 0

    asyncio.run(main())


def test_a_room_has_no_more_sites_than_its_limit() -> None:
    async def check() -> None:
        storage = MemoryStorage()
        await storage.open()
        await storage.create_room("board", 0)

        joins = [GrantSite(i, "ann", 1, None) for i in range(3)]
        *granted, refused = await ask_all(storage, *joins, limits=Limits(sites_per_room=2))

        assert [type(event) for event in granted] == [SiteGranted] * 2
        assert isinstance(refused, AskFailed)
        assert (refused.session_id, refused.code) == (2, "too-many")

    asyncio.run(check())


def test_a_room_that_ends_just_as_its_turn_comes_ends_alone() -> None:
    """Its line was looked at, then emptied, then taken from: the committer ended, and every room with it."""

    async def main() -> None:
        storage = MemoryStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        committer = Committer(storage, Limits(), lambda: 5)
        answers: list[Event] = []
        ending, board = committer.lines("board", answers.append), committer.lines("board", answers.append)
        ending.ask(FindEnvelope(1, granted.site.site, 1))
        asyncio.get_running_loop().call_soon(ending.close)
        asyncio.get_running_loop().call_soon(board.ask, append(granted, 1))
        asyncio.get_running_loop().call_later(0.01, committer.stop)
        await committer.run()

        assert answers[-1:] == [OpsStored((Appended(1, 1 << 40),))]

    asyncio.run(main())


class AwayStorage(MemoryStorage):
    """A real storage that does not answer so many times, for some rooms or for all."""

    def __init__(self) -> None:
        super().__init__()
        self.unanswered = 0
        self.away_room: str | None = None
        """It alone is not answered; None: nobody is."""
        self.asked: list[str] = []

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        self.asked.append("append")
        if not self.unanswered:
            return await super().append(batch)
        self.unanswered -= 1
        if self.away_room is None:
            raise DegradedError("away")
        there = [request for request in batch if request.room_id != self.away_room]
        answers = iter(await super().append(there) if there else [])
        return [
            NotAppended("degraded", "away") if request.room_id == self.away_room else next(answers) for request in batch
        ]

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        self.asked.append("find")
        return await super().find_envelope(room_id, site, counter)

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        self.asked.append("site")
        return await super().new_site(room_id, site, actor, kind, secret_hash, now_ms)


async def commit_all(committer: Committer, answers: list[Event], count: int) -> None:
    """Run a committer until so many answers are there."""
    running = asyncio.create_task(committer.run())
    async with asyncio.timeout(HANG_S):
        while len(answers) < count:  # noqa: ASYNC110  # an answer has no event here
            await asyncio.sleep(0)
    committer.stop()
    await running


QUICK = replace(Limits(), storage_retry_min_ms=1, storage_retry_max_ms=1)


def test_what_was_not_answered_is_asked_again_in_its_order_and_nothing_else_meanwhile() -> None:
    async def main() -> None:
        storage = AwayStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        site = granted.site.site
        storage.unanswered = 3
        storage.asked.clear()
        committer = Committer(storage, QUICK, lambda: 5)
        answers: list[Event] = []
        board, other = committer.lines("board", answers.append), committer.lines("board", answers.append)
        for counter in (1, 2, 3):
            board.ask(append(granted, counter))
        board.ask(FindEnvelope(1, site, 2))
        other.ask(FindEnvelope(2, site, 1))
        await commit_all(committer, answers, 5)

        assert storage.asked[:4] == ["append"] * 4
        found = [event for event in answers if isinstance(event, EnvelopeFound)]
        assert [event for event in answers if event not in found] == [
            OpsStored((Appended(seq, 1 << 40),)) for seq in (1, 2, 3)
        ]
        assert {event.session_id: event.found for event in found} == {
            1: Appended(2, 1 << 40, duplicate=True),
            2: Appended(1, 1 << 40, duplicate=True),
        }

    asyncio.run(main())


def test_who_wants_a_site_of_a_database_that_is_away_is_told_so_and_it_is_not_asked() -> None:
    async def main() -> None:
        storage = AwayStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        storage.unanswered = 1
        storage.asked.clear()
        committer = Committer(storage, QUICK, lambda: 5)
        answers: list[Event] = []

        def answer(event: Event) -> None:
            answers.append(event)
            if isinstance(event, AskFailed) and event.session_id == 7:
                lines.ask(GrantSite(8, "bob", 1, None))

        lines = committer.lines("board", answer)
        lines.ask(append(granted, 1))
        lines.ask(GrantSite(7, "ann", 1, Resume(granted.site.site, granted.secret, 0, None)))
        await commit_all(committer, answers, 3)

        refused = [event for event in answers if isinstance(event, AskFailed)]
        assert [(event.session_id, event.code, event.was_tried) for event in refused] == [
            (7, "degraded", False),
            (8, "degraded", False),
        ]
        assert storage.asked == ["append", "append"]

    asyncio.run(main())


def test_a_room_that_was_not_answered_while_others_were_is_asked_for_again() -> None:
    async def main() -> None:
        storage = AwayStorage()
        granted = await with_site(storage)
        assert granted.site is not None
        await storage.create_room("far", 0)
        assert await storage.new_site("far", 7, "bob", 1, b"h" * 32, 0)
        storage.unanswered, storage.away_room = 2, "far"
        committer = Committer(storage, QUICK, lambda: 5)
        near: list[Event] = []
        far: list[Event] = []
        far_lines, near_lines = committer.lines("far", far.append), committer.lines("board", near.append)
        for counter in (1, 2):
            far_lines.ask(Append((AppendRequest("far", 7, 1, counter, 0, 1 << 40, "bob", ((3, b"x"),)),)))
        near_lines.ask(append(granted, 1))
        await commit_all(committer, far, 2)

        assert near == [OpsStored((Appended(1, 1 << 40),))]
        assert far == [OpsStored((Appended(1, 1 << 40),)), OpsStored((Appended(2, 1 << 40),))]

    asyncio.run(main())
