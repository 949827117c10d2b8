"""What is noted of saves, under one lease a file."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.file_errors import SaveFailedError
from collabkernel_server.lab.names import DocumentName
from collabkernel_server.lab.save_notes import SaveNotes

from collabkernel.storage.memory import MemoryStorage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage():
    storage = MemoryStorage()
    await storage.open()
    yield storage
    await storage.close()


async def notes_of(storage, server_id, view="text:file"):
    row = await storage.file_by_path("a.txt", create=True, now_ms=0)
    name = DocumentName(*view.split(":"), row.file_id)
    return SaveNotes(storage, name, server_id, lambda: 1)


def never():
    return False


async def test_one_server_at_a_time_notes_and_both_views_share_the_lease(storage):
    one, two, view = [
        await notes_of(storage, "1"),
        await notes_of(storage, "2"),
        await notes_of(storage, "1", "json:x"),
    ]

    async with one.leased(0, never) as lease, two.leased(0, never) as none, view.leased(0, never) as none_either:
        assert none is None
        assert none_either is None
        assert await one.may_put(lease, "hash")
        assert (await two.last()).intents == ("hash",)
        await one.record(lease, "hash", 7, "text")

    assert await two.base() == b"text"
    assert await view.last() is None
    async with two.leased(0, never) as lease:
        assert lease is not None


async def test_a_write_in_place_is_noted_for_all_until_it_is_recorded(storage):
    one, view = await notes_of(storage, "1"), await notes_of(storage, "2", "json:x")
    async with one.leased(0, never) as lease:
        assert await one.may_put(lease, "hash")
        assert await view.in_place() == ""
        assert await one.may_put(lease, "hash", "mark")
        assert await view.in_place() == "mark"
        await one.record(lease, "hash", 7, "text")
        assert await view.in_place() == ""

    async with one.leased(0, never) as lease:
        assert await one.may_put(lease, "another", "mark")
    async with view.leased(0, never) as lease:
        assert await view.in_place() == "mark", "of a server that was killed"
        await view.record(lease, "hash", 8, "text")
        assert await one.in_place() == ""


async def test_a_lost_lease_notes_nothing(storage):
    one, two = await notes_of(storage, "1"), await notes_of(storage, "2")
    async with one.leased(0, never) as lost:
        await storage.release_lease(lost)
        async with two.leased(0, never):
            assert not await one.may_put(lost, "hash")
            assert not await one.may_put(lost, "hash", "mark")
            with pytest.raises(SaveFailedError):
                await one.record(lost, "hash", 1, "text")

    assert await one.last() is None
