"""Documents and their files in one process: real storage, real hub, the stock contents manager, and people who type."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.documents import Documents, OpenDocument
from collabkernel_server.lab.local_transport import LocalTransport
from collabkernel_server.lab.names import DocumentName, policy_of
from collabkernel_server.lab.saver import SavePauses
from collabkernel_server.lab.surroundings import REST_MS
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyter_server.services.contents.manager import ContentsManager
from nbformat.sign import NotebookNotary
from pycrdt import Text

from collabkernel.bus.polling import PollingBus
from collabkernel.room.session import Principal
from collabkernel.server.hub import Hub
from collabkernel.storage.sql import SqlStorage
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import encode_awareness, state_json
from tests.bounds import HANG_S

QUICK = SavePauses(debounce_ms=20, longest_ms=100, busy_ms=10, retry_min_ms=20)
"""Far over what anything here takes on a busy machine."""


async def until(is_so: Callable[[], Any]) -> None:
    """Return when something has become so."""
    async with asyncio.timeout(HANG_S):
        while not is_so():  # noqa: ASYNC110  # files have no event
            await asyncio.sleep(0.01)


def contents_at(root: Path, manager: type[ContentsManager] = AsyncLargeFileManager) -> ContentsManager:
    """A contents manager that trusts no notebook of this machine."""
    contents = manager(root_dir=str(root))
    contents.notary = NotebookNotary(data_dir=str(root), db_file=":memory:", secret=b"secret")
    return contents


def notebook(*sources: str, minor: int = 5) -> dict[str, Any]:
    """A notebook of code cells, with ids where its format has them."""
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            **({"id": f"cell-{index}"} if minor >= 5 else {}),
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for index, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": minor}


class Server:
    """One server: its storage, hub and documents."""

    def __init__(
        self,
        database: Path,
        contents: ContentsManager,
        *,
        is_alone: bool = True,
        pauses: SavePauses = QUICK,
        rest_ms: int = REST_MS,
        poll_s: float = 0.05,
    ) -> None:
        self.storage = SqlStorage(f"sqlite:///{database}")
        self.hub = Hub(self.storage, bus=None if is_alone else PollingBus(self.storage, interval_ms=20))
        self.contents = contents
        self.documents = Documents(
            self.hub, contents, pauses=pauses, poll_s=poll_s, cleanup_delay_s=0.2, stop_s=HANG_S, rest_ms=rest_ms
        )
        self._people: list[DocumentClient] = []
        self._is_stopped = False

    async def start(self) -> Server:
        await self.hub.start()
        self.documents.start()
        return self

    async def stop(self) -> None:
        """Save all, and end; once."""
        if self._is_stopped:
            return
        self._is_stopped = True
        for client in self._people:
            await client.stop()
        await self.documents.stop()
        await self.hub.stop()

    async def kill(self) -> None:
        """As ``stop``, but nothing is saved: what is acknowledged is in the log."""
        self._is_stopped = True
        for client in self._people:
            await client.stop()
        await self.hub.stop()  # with it goes the database: the documents' last saves fail
        await self.documents.stop()

    async def open(self, path: str, view: str = "text:file") -> OpenDocument:
        file_id, _ = await self.documents.ids.index(path)
        held = await self.documents.open(f"{view}:{file_id}")
        await held.wake()
        return held

    async def show(self, held: OpenDocument, state: dict[str, Any]) -> None:
        """Somebody's page shows this."""
        document = DocumentName.parse(held.client.room_id)
        assert document is not None
        transport = LocalTransport(1 << 20, 1 << 10)
        ann = Principal("ann", "ann", "", Role.WRITER)
        connection = await self.hub.open_document(document.room_id, ann, transport, policy_of(document.type))
        await connection.receive(encode_awareness([(7, 1, state_json(state))]))

    async def person(self, held: OpenDocument, name: str = "ann") -> DocumentClient:
        """Somebody who has the document open in a browser."""
        document = DocumentName.parse(held.client.room_id)
        assert document is not None
        client = DocumentClient(self.hub, document.room_id, document.type, Principal(name, name, "", Role.WRITER))
        await client.start()
        self._people.append(client)
        return client


def text_of(client: DocumentClient) -> str:
    return str(client.ydoc.get("source", type=Text))


def type_text(client: DocumentClient, text: str, at: int | None = None) -> None:
    """Put a text in a document, at the end when nothing else is said."""
    source = client.ydoc.get("source", type=Text)
    source.insert(len(source) if at is None else at, text)


def type_in_cell(client: DocumentClient, index: int, text: str) -> None:
    """Put a text at the end of a cell."""
    source = client.document.ycells[index]["source"]
    source += text


def sources_of(path: Path) -> list[str]:
    """The cells' sources of a notebook on disk."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
