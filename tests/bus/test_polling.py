"""The polling bus over a real storage: what others store is told, what is stored here is not, rest costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from pathlib import Path

import pytest

from collabkernel.bus.base import Bus, OpsStoredMessage
from collabkernel.bus.polling import PollingBus
from collabkernel.errors import ClosedError, StorageError
from collabkernel.storage import open_storage
from collabkernel.storage.base import Storage
from tests.bounds import HANG_S
from tests.contract.authors import NOW_MS, enter

pytestmark = pytest.mark.anyio
POLL_MS = 5


class Watched:
    """A storage that counts what the bus asks of it, and fails on demand."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.heads_count = 0
        self.marks_count = 0
        self.is_failing = False
        self.asked = asyncio.Event()
        self.looked = asyncio.Event()
        self.at_rest = asyncio.Lock()
        """Held by a test, it keeps the bus from looking."""

    async def heads(self, room_ids: Sequence[str]) -> dict[str, int]:
        self.heads_count += 1
        async with self.at_rest:
            heads = await self.storage.heads(room_ids)
        self.looked.set()
        return heads

    async def change_mark(self) -> Hashable:
        self.marks_count += 1
        self.asked.set()
        if self.is_failing:
            raise StorageError("the database is away")
        return await self.storage.change_mark()

    async def polls(self, count: int) -> None:
        """Wait until so many polls have begun, the last but one ended."""
        goal = self.marks_count + count + 1
        async with asyncio.timeout(HANG_S):
            while self.marks_count < goal:
                self.asked.clear()
                await self.asked.wait()


class Subscriber:
    """Counts its gaps."""

    def __init__(self) -> None:
        self.gaps = 0
        self._changed = asyncio.Event()

    def on_gap(self) -> None:
        self.gaps += 1
        self._changed.set()

    def on_message(self, message: bytes) -> None:
        raise AssertionError(f"no message is carried, and this came: {message!r}")

    async def until(self, gaps: int) -> None:
        async with asyncio.timeout(HANG_S):
            while self.gaps < gaps:
                self._changed.clear()
                await self._changed.wait()

    async def join(self, bus: Bus, room_id: str = "plan") -> Subscriber:
        self.subscription = await bus.subscribe(room_id, self.on_message, self.on_gap)
        return self


@pytest.fixture(params=["sqlite", "memory"])
async def storages(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Storage, Storage]]:
    """The storages of two servers; in memory there is only one."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/rooms.db"
    ours = open_storage(url)
    theirs = ours if request.param == "memory" else open_storage(url)
    for storage in (ours, theirs):
        await storage.open()
    yield ours, theirs
    for storage in (ours, theirs):
        await storage.close()


@pytest.fixture
def theirs(storages: tuple[Storage, Storage]) -> Storage:
    return storages[1]


@pytest.fixture
def log(storages: tuple[Storage, Storage]) -> Watched:
    return Watched(storages[0])


@pytest.fixture
async def bus(log: Watched) -> AsyncIterator[PollingBus]:
    bus = PollingBus(log, POLL_MS)
    await bus.open()
    yield bus
    await bus.close()


async def test_what_another_server_stores_is_a_gap_to_every_subscriber_of_the_room(
    bus: PollingBus, log: Watched, theirs: Storage
):
    ann, notes = await enter(theirs), await enter(theirs, "notes")
    await theirs.append([notes.next()])
    subscribers = [await Subscriber().join(bus) for _ in range(2)]
    other = await Subscriber().join(bus, "notes")

    for gaps in (1, 2):
        await theirs.append([ann.next(3)])
        for subscriber in subscribers:
            await subscriber.until(gaps)

    await log.polls(3)
    assert [subscriber.gaps for subscriber in (*subscribers, other)] == [2, 2, 0]


async def test_what_this_server_published_is_no_gap(bus: PollingBus, log: Watched, theirs: Storage):
    ann = await enter(theirs)
    subscriber = await Subscriber().join(bus)

    async with log.at_rest:
        await theirs.append([ann.next(2)])
        for seq in (1, 2):
            bus.publish("plan", OpsStoredMessage(bytes(16), seq, seq, b"").encode())
    await log.polls(3)

    assert subscriber.gaps == 0
    async with log.at_rest:
        await theirs.append([ann.next(3)])
        bus.publish("plan", OpsStoredMessage(bytes(16), 5, 5, b"").encode())  # 3 and 4 are another's
    await subscriber.until(1)
    bus.publish("plan", b"of another kind")
    bus.publish("nowhere", b"")


async def test_rest_asks_for_no_heads(bus: PollingBus, log: Watched, theirs: Storage):
    await enter(theirs)
    await Subscriber().join(bus)
    await log.polls(2)
    before = log.heads_count

    await log.polls(10)

    assert log.heads_count == before


async def test_without_rooms_nothing_is_asked(bus: PollingBus, log: Watched, theirs: Storage):
    ann = await enter(theirs)
    gone = await Subscriber().join(bus)
    await log.polls(1)
    await bus.unsubscribe(gone.subscription)
    await bus.unsubscribe(gone.subscription)
    await theirs.append([ann.next()])
    there = await Subscriber().join(bus, "notes")
    await theirs.create_room("notes", NOW_MS)
    await there.until(1)

    assert gone.gaps == 0


async def test_a_deleted_room_is_a_gap_once(bus: PollingBus, log: Watched, theirs: Storage):
    ann = await enter(theirs)
    await theirs.append([ann.next()])
    subscriber = await Subscriber().join(bus)

    await theirs.delete_room("plan")
    await subscriber.until(1)
    await log.polls(3)

    assert subscriber.gaps == 1


async def test_a_failing_database_is_asked_again_and_told_of_once(
    bus: PollingBus, log: Watched, theirs: Storage, caplog: pytest.LogCaptureFixture
):
    ann = await enter(theirs)
    subscriber = await Subscriber().join(bus)
    log.is_failing = True
    await theirs.append([ann.next()])
    await log.polls(3)
    assert subscriber.gaps == 0

    log.is_failing = False
    await subscriber.until(1)

    assert len([record for record in caplog.records if "the database is away" in record.message]) == 1


async def test_a_failing_subscriber_keeps_nobody_from_being_told(
    bus: PollingBus, theirs: Storage, caplog: pytest.LogCaptureFixture
):
    ann = await enter(theirs)

    def fail() -> None:
        raise ValueError("a fault of the subscriber")

    await bus.subscribe("plan", lambda _: None, fail)
    there = await Subscriber().join(bus)
    await theirs.append([ann.next()])
    await there.until(1)
    await theirs.append([ann.next()])
    await there.until(2)

    assert "room 'plan'" in caplog.text


async def test_a_callback_may_unsubscribe(bus: PollingBus, theirs: Storage):
    ann = await enter(theirs)
    ending: list[asyncio.Task[None]] = []
    there = await Subscriber().join(bus)
    subscription = await bus.subscribe(
        "plan", lambda _: None, lambda: ending.append(asyncio.ensure_future(bus.unsubscribe(subscription)))
    )

    await theirs.append([ann.next()])
    await there.until(1)
    await asyncio.gather(*ending)
    await theirs.append([ann.next()])
    await there.until(2)

    assert len(ending) == 1


async def test_a_closed_bus_tells_nothing(log: Watched, theirs: Storage):
    bus = PollingBus(log, POLL_MS)
    with pytest.raises(ClosedError):
        bus.publish("plan", b"")
    await bus.open()
    ann = await enter(theirs)
    subscriber = await Subscriber().join(bus)

    await bus.close()
    await bus.close()
    asked = log.marks_count
    await theirs.append([ann.next()])
    await asyncio.sleep(0)

    assert subscriber.gaps == 0
    assert log.marks_count == asked
    with pytest.raises(ClosedError):
        await bus.subscribe("plan", subscriber.on_message, subscriber.on_gap)


async def test_who_is_to_look_more_often_looks_at_once(log: Watched):
    bus = PollingBus(log, 10**7)
    await bus.open()
    await Subscriber().join(bus)
    await asyncio.sleep(0)  # it sleeps now
    bus.look_every(POLL_MS)
    await log.polls(2)
    await bus.close()


async def test_what_was_heard_in_any_order_is_no_gap(bus: PollingBus, log: Watched, theirs: Storage):
    ann = await enter(theirs)
    subscriber = await Subscriber().join(bus)

    async with log.at_rest:
        await theirs.append([ann.next(3)])
        for seq in (3, 1, 2):
            bus.hear("plan", OpsStoredMessage(bytes(16), seq, seq, b"").encode())
    await log.polls(3)

    assert subscriber.gaps == 0
    bus.hear("plan", b"of another kind")
    bus.hear("nowhere", b"")
    await theirs.append([ann.next()])
    await subscriber.until(1)


@pytest.mark.parametrize("is_heard", [True, False])
async def test_what_is_seen_may_be_on_its_way_for_a_while(log: Watched, theirs: Storage, is_heard: bool):
    bus = PollingBus(log, POLL_MS)
    bus.look_every(POLL_MS, grace_ms=500)
    await bus.open()
    ann = await enter(theirs)
    subscriber = await Subscriber().join(bus)

    await theirs.append([ann.next()])
    log.looked.clear()
    async with asyncio.timeout(HANG_S):
        await log.looked.wait()
    if is_heard:
        bus.hear("plan", OpsStoredMessage(bytes(16), 1, 1, b"").encode())
        await log.polls(3)
        assert subscriber.gaps == 0
    else:
        await subscriber.until(1)
    await bus.close()
