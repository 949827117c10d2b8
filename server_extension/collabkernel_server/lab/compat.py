"""What other server extensions ask of jupyter-server-ydoc, answered for the documents that we serve.

They reach for it in three ways, and all three lead here: ``settings["jupyter_server_ydoc"].get_document``, the app of
an enabled extension of that name (jupyter-server-nbmodel; jupyterlab-chat looks whether there is one), and its
``ywebsocket_server`` (jupyter-mcp-server). Nobody who asks ever says that he is done with a document, so one that he
got the live replica of stays in memory for a while after he last asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from jupyter_server.extension.manager import ExtensionPackage, ExtensionPoint
from jupyter_server.serverapp import ServerApp
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from collabkernel_server.lab.api import apart
from collabkernel_server.lab.documents import Documents, OpenDocument
from collabkernel_server.lab.enable import YDOC_EXTENSION
from collabkernel_server.lab.names import DocumentName, document_class
from collabkernel_server.lab.service import LabService

HOLD_S = 600.0
"""An agent that works on a notebook asks for it again well within this; a document that nobody uses costs memory."""
HELD_MAX = 256
"""Documents held for those who asked; the one that was asked for longest ago goes first."""
FILE_IDS = "file_id_manager"
"""The setting in which jupyter-server-fileid, where it is enabled, puts its ids."""


class HeldDocuments:
    """Documents kept in memory for those who cannot say when they are done."""

    def __init__(self, hold_s: float = HOLD_S, held_max: int = HELD_MAX) -> None:
        self._hold_s = hold_s
        self._held_max = held_max
        self._held: dict[str, tuple[OpenDocument, asyncio.TimerHandle]] = {}

    async def hold(self, documents: Documents, document_id: str) -> OpenDocument:
        """The document, in memory from now on; the time begins anew. Raises as ``Documents.open`` does."""
        document = await documents.open(document_id)
        self.release(document_id)
        timer = asyncio.get_running_loop().call_later(self._hold_s, self.release, document_id)
        self._held[document_id] = document, timer
        while len(self._held) > self._held_max:
            self.release(self.ids[0])
        return document

    @property
    def ids(self) -> list[str]:
        """What is held, that which was asked for longest ago first."""
        return list(self._held)

    def release(self, document_id: str) -> None:
        """Let one go, if it is held."""
        if (held := self._held.pop(document_id, None)) is not None:
            document, timer = held
            timer.cancel()
            document.release()

    def release_all(self) -> None:
        """Let all go."""
        for document_id in self.ids:
            self.release(document_id)


@dataclass(frozen=True, slots=True)
class Room:
    """A document in memory, by the names that jupyter-server-ydoc's rooms have."""

    room_id: str
    _document: YBaseDoc

    @property
    def ydoc(self) -> Doc[Any]:
        """The replica behind the document."""
        return self._document.ydoc


class Rooms:
    """The part of jupyter-server-ydoc's ``ywebsocket_server`` that others use."""

    def __init__(self, api: YDocApi) -> None:
        self._api = api

    @property
    def rooms(self) -> dict[str, Room]:
        """Documents of which this server has a replica just now, by room id."""
        documents = self._api.lab.loaded
        if documents is None:
            return {}
        bindings = [(room_id, documents.loaded(room_id)) for room_id in documents.loaded_ids()]
        return {
            room_id: Room(room_id, binding.client.document)
            for room_id, binding in bindings
            if binding is not None and binding.client.is_awake
        }

    def room_exists(self, room_id: str) -> bool:
        """Whether a document is open on this server."""
        return self._api.lab.loaded is not None and self._api.lab.loaded.loaded(room_id) is not None

    async def get_room(self, room_id: str) -> Room:
        """A document that somebody has opened.

        Raises:
            LookupError: Nobody ever has.
        """
        document = await self._api.get_document(room_id=room_id, copy=False)
        if document is None:
            raise LookupError(room_id)
        return Room(room_id, document)


class YDocApi:
    """Stands where others expect jupyter-server-ydoc's extension app."""

    name = YDOC_EXTENSION
    disable_rtc = False
    _linked = True

    def __init__(self, lab: LabService, held: HeldDocuments | None = None) -> None:
        self.lab = lab
        self.ywebsocket_server = Rooms(self)
        self._held = HeldDocuments() if held is None else held

    async def get_document(
        self,
        *,
        path: str | None = None,
        content_type: str | None = None,
        file_format: str | None = None,
        room_id: str | None = None,
        copy: bool = True,
        create: bool = False,
    ) -> YBaseDoc | None:
        """A shared document.

        Args:
            path: Of its file, relative to the server's root; with ``content_type`` and ``file_format``, or:
            content_type: ``notebook``, ``file`` or another type of document.
            file_format: ``json``, ``text`` or ``base64``.
            room_id: The document's.
            copy: Whether it is a copy, whose edits nobody sees. Otherwise it is the live document, to be edited on the
                event loop; whoever keeps it for more than ten minutes asks again.
            create: Whether one that nobody ever opened is made from its file.

        Returns:
            The document; None when nobody ever opened it and ``create`` is false, and for what is no document.

        Raises:
            ValueError: Neither a room's id alone, nor a path with its type and format.
            CollabKernelError: It cannot be opened.
        """
        has_path = path is not None and content_type is not None and file_format is not None
        has_any = not (path is None and content_type is None and file_format is None)
        if (room_id is None and not has_path) or (room_id is not None and has_any):
            raise ValueError("get_document needs room_id alone, or path, content_type and file_format")
        if room_id is None:
            room_id = await apart(self._room_id(str(path), str(content_type), str(file_format), create))
        if room_id is None or DocumentName.parse(room_id) is None:
            return None
        if not create and not await self._is_known(room_id):
            return None
        return await (self._copy(room_id) if copy else self._live(room_id))

    async def _room_id(self, path: str, content_type: str, file_format: str, create: bool) -> str | None:
        ids = (await self.lab.documents()).ids
        file_id = (await ids.index(path))[0] if create else await ids.id_of(path)
        return None if file_id is None else DocumentName(file_format, content_type, file_id).room_id

    async def _is_known(self, room_id: str) -> bool:
        row = await (await self.lab.hub()).storage.head(room_id)
        return row is not None and row.seq > 0

    async def _live(self, room_id: str) -> YBaseDoc | None:
        document = await self._held.hold(await self.lab.documents(), room_id)
        client = await document.wake()
        await client.synced()
        return client.document

    async def _copy(self, room_id: str) -> YBaseDoc | None:
        document = await (await self.lab.documents()).open(room_id)
        try:
            client = await document.wake()
            await client.synced()
            update = client.ydoc.get_update()
        finally:
            document.release()
        name = DocumentName.parse(room_id)
        assert name is not None
        copied = document_class(name.type)(Doc())
        copied.ydoc.apply_update(update)
        return copied

    # -- what Jupyter asks of an extension's app

    def _link_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Nothing to configure."""

    def _load_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Our own extension has the handlers."""

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Our own extension starts what there is."""

    def current_activity(self) -> None:
        """Our own extension counts the sockets."""

    async def stop_extension(self) -> None:
        """Let go of the documents that others asked for."""
        self._held.release_all()


class FileIdsOfDocuments:
    """Ids of files as jupyter-server-fileid gives them, without an await: those of the documents in memory.

    Others build a room's id from them. For all other files jupyter-server-fileid is asked, where it is there.
    """

    def __init__(self, lab: LabService, others: Any = None) -> None:
        self._lab = lab
        self._others = others

    def get_id(self, path: str) -> str | None:
        """The id of an open document's file."""
        for file_id, its_path in self._paths():
            if its_path == path.strip("/"):
                return file_id
        return None if self._others is None else self._others.get_id(path)

    def index(self, path: str) -> str | None:
        """As ``get_id``: a file gets its id when it is first opened."""
        return self.get_id(path) if self._others is None else self.get_id(path) or self._others.index(path)

    def get_path(self, file_id: str) -> str | None:
        """Where an open document's file is."""
        for its_id, path in self._paths():
            if its_id == file_id:
                return path
        return None if self._others is None else self._others.get_path(file_id)

    def __getattr__(self, name: str) -> Any:
        """All else is jupyter-server-fileid's."""
        return getattr(self._others, name)

    def _paths(self) -> list[tuple[str, str]]:
        documents = self._lab.loaded
        if documents is None:
            return []
        bindings = [documents.loaded(room_id) for room_id in documents.loaded_ids()]
        return [(binding.name.file_id, binding.path) for binding in bindings if binding is not None]


def stand_in(serverapp: ServerApp, lab: LabService) -> None:
    """Be found where others look for jupyter-server-ydoc, which is absent or disabled.

    While our extension is loaded: ours sorts before all that look for it, and the manager goes through a copy.
    """
    api = YDocApi(lab)
    package = ExtensionPackage(name=YDOC_EXTENSION, enabled=False)  # an enabled one would import theirs
    point = ExtensionPoint(metadata={"module": __name__, "name": YDOC_EXTENSION, "app": lambda: api}, log=serverapp.log)
    package.extension_points = {YDOC_EXTENSION: point}
    package.enabled = True
    serverapp.extension_manager.extensions[YDOC_EXTENSION] = package
    serverapp.web_app.settings[YDOC_EXTENSION] = api


def share_file_ids(serverapp: ServerApp, lab: LabService) -> None:
    """Let others build our rooms' ids from paths. When all extensions are loaded, so that nobody replaces them."""
    settings = serverapp.web_app.settings
    settings[FILE_IDS] = FileIdsOfDocuments(lab, settings.get(FILE_IDS))
