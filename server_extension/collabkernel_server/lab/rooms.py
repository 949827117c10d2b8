"""The kinds of rooms that JupyterLab opens: a document, a fork of one, and who is on this server."""

from __future__ import annotations

from typing import Protocol

from collabkernel.room.session import Principal
from collabkernel.server.connection import Connection
from collabkernel.server.hub import Hub
from collabkernel.server.transport import Transport
from collabkernel_server.lab.documents import Documents, OpenDocument
from collabkernel_server.lab.events import DocumentEvents
from collabkernel_server.lab.names import DocumentName, policy_of


class LabRoom(Protocol):
    """One room as a socket needs it."""

    room_id: str

    async def join(self, principal: Principal, transport: Transport) -> Connection:
        """Let a socket in."""

    def leave(self, principal: Principal) -> None:
        """A socket that had joined is gone."""

    async def save(self) -> str:
        """Write what the room holds to its file; ``success``, ``failed`` or ``skipped``."""


class DocumentLabRoom:
    """A notebook or file."""

    def __init__(self, name: DocumentName, hub: Hub, documents: Documents, events: DocumentEvents) -> None:
        self.room_id = name.room_id
        self._name = name
        self._hub = hub
        self._documents = documents
        self._events = events
        self._open: OpenDocument | None = None

    async def join(self, principal: Principal, transport: Transport) -> Connection:
        """Load the document if it is not, and let a socket in."""
        document = await self._documents.open(self.room_id)
        try:
            policy = policy_of(self._name.type)
            connection = await self._hub.open_document(self.room_id, principal, transport, policy)
        except BaseException:
            document.release()
            raise
        self._open = document
        self._warn_of_views(document.path)
        self._events.session(self.room_id, document.path, "initialize", "a client came")
        self._events.awareness(self.room_id, principal.actor, "join")
        return connection

    def _warn_of_views(self, path: str) -> None:
        others = [other for other in self._documents.loaded_ids() if self._is_view(other)]
        if others:
            message = f"this file is also open as {', '.join(others)}; the two follow each other when they are saved"
            self._events.session(self.room_id, path, msg=message, level="WARNING")

    def _is_view(self, document_id: str) -> bool:
        other = DocumentName.parse(document_id)
        return other is not None and other.file_id == self._name.file_id and document_id != self.room_id

    def leave(self, principal: Principal) -> None:
        """Let go of the document."""
        if self._open is not None:
            self._open.release()
            self._open = None
            self._events.awareness(self.room_id, principal.actor, "leave")

    async def save(self) -> str:
        """Write the document to its file."""
        return await self._documents.save(self.room_id)


class AwarenessRoom:
    """Who is on this JupyterLab; nothing of it is kept."""

    def __init__(self, room_id: str, hub: Hub) -> None:
        self.room_id = room_id
        self._hub = hub

    async def join(self, principal: Principal, transport: Transport) -> Connection:
        """Let a socket in."""
        return await self._hub.open_awareness(self.room_id, principal, transport)

    def leave(self, principal: Principal) -> None:
        """Nothing is held."""

    async def save(self) -> str:
        """There is nothing to save."""
        return "skipped"
