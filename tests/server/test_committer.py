"""Group commit: order, sharing, and what a fault does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from collabkernel.errors import StorageError
from collabkernel.limits import Limits
from collabkernel.room.effects import Append, FindEnvelope, GrantSite, Refuse
from collabkernel.room.events import AppendFailed, EnvelopeFound, Event, OpsStored, RefusalStored, SiteGranted
from collabkernel.server.committer import Committer
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, Refusal, Storage
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Resume


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


async def ask_all(storage: Storage, *jobs: Append | Refuse | FindEnvelope | GrantSite) -> list[Event]:
    committer = Committer(storage, Limits(), lambda: 5)
    answers: list[Event] = []
    for job in jobs:
        committer.ask("board", job, answers.append)
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
        assert await ask_all(storage, append(granted, 1), append(granted, 2)) == [AppendFailed("no")] * 2
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
