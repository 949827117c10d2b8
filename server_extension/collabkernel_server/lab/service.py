"""JupyterLab's documents on this server: which room an address means, and what stands behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_server.services.contents.manager import ContentsManager

from collabkernel.errors import CollabKernelError, InvalidRoomNameError, RoomNotFoundError
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.hub import Hub
from collabkernel.server.turns import Turns
from collabkernel.wire.messages import Role
from collabkernel_server.lab.documents import Documents, OpenDocument
from collabkernel_server.lab.events import DocumentEvents
from collabkernel_server.lab.forks import ForkLabRoom, Forks
from collabkernel_server.lab.names import GLOBAL_AWARENESS, DocumentName, is_fork, is_known_type, policy_of
from collabkernel_server.lab.rooms import AwarenessRoom, DocumentLabRoom, LabRoom
from collabkernel_server.lab.run_notes import end_dead_runs
from collabkernel_server.lab.server_life import ServerLife

LAB_SETTING = "collabkernel_lab"
STOCK_TYPES = ("file", "notebook")
"""Looked at when the server starts, and not by the first page: the first look imports what documents are made of."""
RETRY_MS = 5_000
"""When somebody who found too many before him may ask again."""
STOP_S = 1.0
"""What saving may take of the two seconds of a stop; what is not in its file then is in the database."""


class LabService:
    """Finds rooms by their names on the wire, and files by their paths."""

    def __init__(
        self,
        hub: Callable[[], Awaitable[Hub]],
        contents: ContentsManager,
        events: DocumentEvents,
        log: logging.Logger | logging.LoggerAdapter[Any],
        limits: Limits,
    ) -> None:
        self.hub = hub
        self.events = events
        self.histories = Turns("looks at histories", limits.histories_at_once, limits.histories_waiting, RETRY_MS)
        """For whoever reads a document's whole past."""
        self._contents = contents
        self._log = log
        self._documents: Documents | None = None
        self._forks: Forks | None = None
        self._recovering: asyncio.Task[int] | None = None
        self.life = ServerLife(hub)
        """What other servers know this one by, once it runs cells."""
        self.runs_cells = False
        """Whether this one does."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Follow what happens to files from now on, and save what a server that died did not.

        Raises:
            StorageError: The database cannot be opened; it is tried again when somebody comes.
        """
        documents = await self.documents()
        for type_name in STOCK_TYPES:
            policy_of(type_name)
        self._recovering = asyncio.create_task(documents.recover(), name="recovering documents")

    @property
    def loaded(self) -> Documents | None:
        """The documents of this server; None before anything was asked of them."""
        return self._documents

    async def documents(self) -> Documents:
        """The documents of this server.

        Raises:
            ServerStoppingError: The server is shutting down.
            StorageError: The database cannot be opened.
        """
        hub = await self.hub()
        if self._documents is None:
            self._documents = Documents(hub, self._contents, self.events, on_opened=self._end_dead_runs)
            self._documents.start()
        return self._documents

    async def forks(self) -> Forks:
        """Forks of documents; raises as ``documents`` does."""
        documents = await self.documents()
        if self._forks is None:
            self._forks = Forks(await self.hub(), documents)
        return self._forks

    async def index(self, path: str) -> tuple[str, bool]:
        """The id of a file, and whether it is new.

        Raises:
            FileGoneError: There is no such file.
        """
        return await (await self.documents()).ids.index(path)

    async def find_room(self, room_id: str, principal: Principal) -> LabRoom:
        """The room of that name; nothing is loaded.

        Raises:
            InvalidRoomNameError: No room has such a name.
            RoomNotFoundError: There is none.
            BannedError: This user may not open it for now.
            CollabKernelError: It cannot be told now.
        """
        hub = await self.hub()
        if room_id == GLOBAL_AWARENESS:
            return AwarenessRoom(room_id, hub)
        if is_fork(room_id):
            fork = await (await self.forks()).get(room_id)
            hub.check_ban(fork.room_id, principal.actor)
            return ForkLabRoom(fork, hub, await self.documents())
        name = DocumentName.parse(room_id)
        if name is None:
            raise InvalidRoomNameError(f"{room_id[:80]!r} is the name of no document")
        hub.check_ban(room_id, principal.actor)
        documents = await self.documents()
        if not await self._exists(name, hub, documents, principal.role):
            raise RoomNotFoundError(room_id)
        return DocumentLabRoom(name, hub, documents, self.events)

    async def _exists(self, name: DocumentName, hub: Hub, documents: Documents, role: Role) -> bool:
        """Whether it is open, or there is a history of it, or a file.

        A type that no package knows is a plain file to us, and there are as many of those as names: each would be a
        copy of the file in the database, so who may only read begins none.
        """
        binding = documents.loaded(name.room_id)
        if binding is not None and binding.is_alive:
            return True
        row = await hub.storage.head(name.room_id)
        if row is not None and row.seq > 0:
            return True
        if role is not Role.WRITER and not is_known_type(name.type):
            return False
        return await documents.ids.path_of(name.file_id) is not None

    async def open_document(self, document_id: str) -> OpenDocument:
        """A hold on a document, with a replica; raises as ``Documents.open`` does."""
        opened = await (await self.documents()).open(document_id)
        try:
            await opened.wake()
        except BaseException:
            opened.release()
            raise
        return opened

    def _end_dead_runs(self, document_id: str) -> None:
        """Look for cells that a killed server left running, on a server that runs cells."""
        if self.runs_cells and ":notebook:" in document_id:
            task = asyncio.create_task(self._look_for_dead_runs(document_id), name=f"runs in {document_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look_for_dead_runs(self, document_id: str) -> None:
        try:
            held = await self.open_document(document_id)
            try:
                await end_dead_runs(await held.wake(), (await self.hub()).storage, self.life.id)
            finally:
                held.release()
        except CollabKernelError as error:
            self._log.warning("collabkernel: whether cells of %s still run is not known: %s", document_id, error)

    async def stop(self) -> None:
        """Write to their files what is not there yet."""
        if self._recovering is not None:
            self._recovering.cancel()
        for task in self._tasks:
            task.cancel()
        if self._documents is None:
            return
        try:
            async with asyncio.timeout(STOP_S):
                if self._forks is not None:
                    await self._forks.stop()
                await self._documents.stop()
        except TimeoutError:
            self._log.warning("collabkernel: not every document could be saved in time; the database has them all")
