"""The service starts its hub once, refuses while it stops, and comes back from a database that failed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from collabkernel_server.credentials import KernelCredential
from collabkernel_server.service import RoomService
from jupyter_server.auth import User

from collabkernel.errors import InvalidRoomNameError, ServerStoppingError, StorageError
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.storage.memory import MemoryStorage

LIMITS = Limits(shutdown_ms=50)


class FailingStorage(MemoryStorage):
    """A database that is down until it is mended."""

    is_down = True

    async def open(self) -> None:
        if self.is_down:
            raise StorageError("the disk is on fire")
        await super().open()


class Socket:
    """A socket that closes when it is told to, or never."""

    def __init__(self, service: RoomService, answers: bool) -> None:
        self.service = service
        self.answers = answers
        self.was_shut = False
        service.opened(self)

    def shut(self) -> None:
        self.was_shut = True
        if self.answers:
            self.service.closed(self)


@pytest.fixture
def storage() -> FailingStorage:
    storage = FailingStorage()
    storage.is_down = False
    return storage


def make_service(folder: Path, storage: FailingStorage, start_retry_ms: int = 1000) -> RoomService:
    return RoomService(
        make_hub=lambda: Hub(storage, LIMITS),
        limits=LIMITS,
        credential=KernelCredential(User("ann"), str(folder)),
        room_name_pattern="team-.*",
        ping_interval_s=30.0,
        log=logging.getLogger("test"),
        start_retry_ms=start_retry_ms,
    )


@pytest.fixture
def service(tmp_path: Path, storage: FailingStorage) -> RoomService:
    return make_service(tmp_path, storage)


def test_all_who_ask_get_one_hub(service: RoomService) -> None:
    async def scenario() -> None:
        hubs = await asyncio.gather(*[service.hub() for _ in range(10)])
        assert len(set(hubs)) == 1
        await service.stop()

    asyncio.run(scenario())


def test_failed_start_is_told_to_all_without_trying_again_at_once(
    service: RoomService, storage: FailingStorage
) -> None:
    async def scenario() -> None:
        storage.is_down = True
        with pytest.raises(StorageError, match="on fire") as first:
            await service.hub()
        assert first.value.retry_after_ms == 1000
        storage.is_down = False
        with pytest.raises(StorageError, match="on fire"):
            await service.hub()
        await service.stop()

    asyncio.run(scenario())


def test_failed_start_is_tried_again_later(tmp_path: Path, storage: FailingStorage) -> None:
    async def scenario() -> None:
        service = make_service(tmp_path, storage, start_retry_ms=0)
        storage.is_down = True
        with pytest.raises(StorageError, match="on fire"):
            await service.hub()
        storage.is_down = False
        await service.hub()
        await service.stop()

    asyncio.run(scenario())


def test_stopping_service_gives_no_hub(service: RoomService) -> None:
    async def scenario() -> None:
        await service.hub()
        await service.stop()
        await service.stop()
        with pytest.raises(ServerStoppingError) as refused:
            await service.hub()
        assert refused.value.retry_after_ms

    asyncio.run(scenario())


def test_stop_shuts_sockets_and_waits_for_them_no_longer_than_the_limit(
    service: RoomService, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        await service.hub()
        good, silent = Socket(service, answers=True), Socket(service, answers=False)
        await service.stop()
        assert good.was_shut
        assert silent.was_shut
        assert service.session_count == 1

    asyncio.run(scenario())
    assert "1 sockets did not answer their close in time" in caplog.text


def test_stop_waits_for_what_was_spawned(service: RoomService) -> None:
    async def scenario() -> list[str]:
        done = []

        async def work() -> None:
            await asyncio.sleep(0)
            done.append("work")

        service.spawn(work())
        await service.stop()
        return done

    assert asyncio.run(scenario()) == ["work"]


def test_failure_of_what_was_spawned_is_logged(service: RoomService, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async def work() -> None:
            raise StorageError("no disk")

        service.spawn(work())
        await service.stop()

    asyncio.run(scenario())
    assert "closing a session failed" in caplog.text


def test_own_pattern_comes_on_top_of_the_formats_rules(service: RoomService) -> None:
    service.check_room_name("team-a")
    for name in ("other", "team-a b"):
        with pytest.raises(InvalidRoomNameError):
            service.check_room_name(name)
