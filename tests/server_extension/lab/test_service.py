"""Which rooms there are, and who is asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from collabkernel_server.lab.rooms import DocumentLabRoom

from collabkernel.errors import RoomNotFoundError, StorageError
from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from tests.server_extension.lab.test_compat import World, run, running_world

ADA = Principal("ada", "Ada", "", Role.WRITER)


async def is_found(world: World, room_id: str) -> bool:
    try:
        room = await world.lab.find_room(room_id, ADA)
    except RoomNotFoundError:
        return False
    assert isinstance(room, DocumentLabRoom)
    return True


def test_a_document_is_found_by_its_file_and_when_that_is_gone_while_it_is_open(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path) as world:
            room_id = await world.room_id()
            assert await is_found(world, room_id)
            assert not await is_found(world, "text:file:ffffffff")
            held = await (await world.documents()).open(room_id)
            (tmp_path / "plan.txt").unlink()
            assert await is_found(world, room_id)
            held.release()

    run(test)


def test_the_database_is_not_asked_for_a_document_that_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(room_id: str) -> None:
        raise StorageError(f"asked for {room_id}")

    async def test() -> None:
        async with running_world(tmp_path) as world:
            room_id = await world.room_id()
            hub = await world.lab.hub()
            monkeypatch.setattr(hub.storage, "head", away)
            with pytest.raises(StorageError, match="asked for"):
                await is_found(world, room_id)
            monkeypatch.undo()
            held = await (await world.documents()).open(room_id)

            monkeypatch.setattr(hub.storage, "head", away)
            assert await is_found(world, room_id)
            monkeypatch.undo()
            held.release()

    run(test)
