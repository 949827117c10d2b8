"""What other extensions ask of jupyter-server-ydoc: documents by room and by path, live or copied."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from collabkernel_server.lab.compat import FileIdsOfDocuments, HeldDocuments, YDocApi
from collabkernel_server.lab.documents import Documents
from collabkernel_server.lab.events import DocumentEvents
from collabkernel_server.lab.file_errors import FileGoneError
from collabkernel_server.lab.service import LabService

from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.storage.memory import MemoryStorage
from tests.bounds import HANG_S
from tests.server_extension.lab.file_world import contents_at, until
from tests.server_extension.running_server import RunningServer

PLAN = {"path": "plan.txt", "content_type": "file", "file_format": "text"}


class World:
    """A folder with one file, and what answers for jupyter-server-ydoc."""

    def __init__(self, root: Path, hub: Hub, hold_s: float = 600, held_max: int = 256) -> None:
        contents = contents_at(root)
        (root / "plan.txt").write_text("plan")

        async def running_hub() -> Hub:
            return hub

        self.lab = LabService(
            running_hub, contents, DocumentEvents(contents.event_logger), logging.getLogger(), Limits()
        )
        self.held = HeldDocuments(hold_s, held_max)
        self.api = YDocApi(self.lab, self.held)
        self.ids = FileIdsOfDocuments(self.lab)

    async def documents(self) -> Documents:
        return await self.lab.documents()

    async def room_id(self, path: str = "plan.txt") -> str:
        return f"text:file:{(await self.lab.index(path))[0]}"


@asynccontextmanager
async def running_world(root: Path, **held: float) -> AsyncIterator[World]:
    hub = Hub(MemoryStorage())
    await hub.start()
    world = World(root, hub, **held)  # type: ignore[arg-type]
    yield world
    await world.api.stop_extension()
    await world.lab.stop()
    await hub.stop()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(HANG_S):
            await test()

    asyncio.run(bounded())


def test_document_that_nobody_opened_is_made_only_when_asked_to(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path) as world:
            assert await world.api.get_document(**PLAN) is None
            assert await world.api.get_document(room_id=await world.room_id()) is None
            made = await world.api.get_document(**PLAN, create=True)
            assert made is not None
            assert made.get() == "plan"
            again = await world.api.get_document(room_id=await world.room_id())
            assert again is not None
            assert again.get() == "plan"

    run(test)


def test_copy_is_nobodys_and_the_live_one_is_everybodys(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path) as world:
            copy = await world.api.get_document(**PLAN, create=True)
            live = await world.api.get_document(**PLAN, copy=False)
            assert copy is not None
            assert live is not None
            copy.set("mine alone")
            live.set("plan B")
            held = await (await world.documents()).open(await world.room_id())
            await held.client.flush()

            assert held.client.document.get() == "plan B"
            assert (await world.api.get_document(room_id=await world.room_id(), copy=False)) is live
            assert copy.get() == "mine alone"
            held.release()

    run(test)


def test_room_has_its_document_by_the_name_that_others_use(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path) as world:
            rooms = world.api.ywebsocket_server
            assert rooms.rooms == {}
            with pytest.raises(LookupError):
                await rooms.get_room(await world.room_id())
            live = await world.api.get_document(**PLAN, copy=False, create=True)
            room = await rooms.get_room(await world.room_id())

            assert room._document is live
            assert rooms.room_exists(room.room_id)
            assert rooms.rooms[room.room_id]._document is live

    run(test)


@pytest.mark.parametrize(
    "wrong", [{}, {"path": "plan.txt"}, {"path": "plan.txt", "content_type": "file"}, {"room_id": "a:b:c", **PLAN}]
)
def test_neither_a_room_nor_a_whole_path_is_an_error(tmp_path: Path, wrong: dict[str, str]) -> None:
    async def test() -> None:
        async with running_world(tmp_path) as world:
            with pytest.raises(ValueError, match="room_id"):
                await world.api.get_document(**wrong)

    run(test)


def test_what_is_no_document_is_none(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path) as world:
            assert await world.api.get_document(room_id="0" * 32) is None
            assert await world.api.get_document(room_id="JupyterLab:globalAwareness") is None
            assert await world.api.get_document(**PLAN | {"path": "none.txt"}) is None
            with pytest.raises(FileGoneError):
                await world.api.get_document(**PLAN | {"path": "none.txt"}, create=True)

    run(test)


def test_live_document_is_let_go_of_when_nobody_asks_any_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path, hold_s=0.05) as world:
            await world.api.get_document(**PLAN, copy=False, create=True)
            await until(lambda: not world.held.ids)

    run(test)


def test_of_many_held_documents_the_one_asked_for_longest_ago_goes(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path, held_max=2) as world:
            documents = await world.documents()
            for name in "abc":
                (tmp_path / f"{name}.txt").write_text(name)
                await world.held.hold(documents, await world.room_id(f"{name}.txt"))
            assert [await world.room_id(f"{name}.txt") for name in "bc"] == list(world.held.ids)

    run(test)


def test_ids_are_those_of_the_documents_in_memory(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path) as world:
            assert world.ids.get_id("plan.txt") is None
            live = await world.api.get_document(**PLAN, copy=False, create=True)
            assert live is not None
            file_id = world.ids.get_id("/plan.txt")

            assert file_id is not None
            assert f"text:file:{file_id}" == await world.room_id()
            assert world.ids.index("plan.txt") == file_id
            assert world.ids.get_path(file_id) == "plan.txt"
            assert world.ids.index("other.txt") is None
            assert world.ids.get_path("other") is None

    run(test)


class Others:
    """jupyter-server-fileid's, as far as it is asked."""

    def get_id(self, path: str) -> str | None:
        return "id of " + path

    index = get_id

    def get_path(self, file_id: str) -> str:
        return file_id.removeprefix("id of ")

    def save(self, path: str) -> str:
        return "saved " + path


def test_ids_of_other_files_are_jupyter_server_fileids(tmp_path: Path) -> None:
    async def test() -> None:
        async with running_world(tmp_path) as world:
            ids = FileIdsOfDocuments(world.lab, Others())
            await world.api.get_document(**PLAN, copy=False, create=True)

            assert ids.get_id("plan.txt") == world.ids.get_id("plan.txt")
            assert ids.index("other.txt") == "id of other.txt"
            assert ids.get_path("id of other.txt") == "other.txt"
            assert ids.save("other.txt") == "saved other.txt"

    run(test)


def test_server_shows_the_stand_in_as_an_enabled_extension(server: RunningServer) -> None:
    assert "jupyter_server_ydoc | extension was successfully started" in server.log
    assert "Traceback" not in server.log
