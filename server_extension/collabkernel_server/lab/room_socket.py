"""``GET api/collaboration/room/{room}``: the WebSocket on which JupyterLab speaks the Yjs protocol.

Everything is checked before anything is allocated, in this order: host name, login, the authorizer, the room's name,
who was banned from it, whether it exists, the upgrade's headers, the origin. Only then is there a socket, and only then
is a document loaded. A refusal is an HTTP status, at which JupyterLab comes back ever more slowly; the close codes that
it shows a dialog for are used for a document that cannot be loaded, and 1003, at which it stacks dialogs, once a page:
when the page holds an edit that was not taken (decision 0010).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

from jupyter_server.auth.decorator import ws_authenticated

from collabkernel import metrics
from collabkernel.crdt.yjs.parse import Reader, write_uint
from collabkernel.errors import CollabKernelError, RemoteProtocolError
from collabkernel.room.session import Principal
from collabkernel.room.stale_pages import CLOSE_CODE as STALE_PAGE
from collabkernel.server.connection import Connection
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import RAW, encode_raw
from collabkernel_server.identity import role_of
from collabkernel_server.lab.api import RESOURCE, apart, authorized_to_read, lab_error
from collabkernel_server.lab.file_errors import FileError
from collabkernel_server.lab.identity import document_principal
from collabkernel_server.lab.rooms import LabRoom
from collabkernel_server.lab.service import LAB_SETTING, LabService
from collabkernel_server.socket_handler import SocketHandler

_RAW = bytes((RAW,))
SAVES_AT_ONCE = 4
"""Saves that one socket may wait for; JupyterLab asks for one at a time."""
CLOSE_CODE_BY_STATUS = {400: 4400, 404: 4404}
CLOSE_STALE = 1003
"""JupyterLab asks its user at this one whether to load the page again; each time on top of what it asked before."""
CLOSE_FAILED = 4500
"""JupyterLab shows "Cannot open" for these when it has not seen the document yet, and else comes back."""


class DocumentSocket(SocketHandler):
    """One socket in one of JupyterLab's rooms."""

    auth_resource = RESOURCE
    _connection: Connection | None = None
    _room: LabRoom
    _principal: Principal

    def initialize(self) -> None:
        """Prepare what one socket keeps."""
        self._is_closed = False
        self._is_told = False
        self._saves: set[asyncio.Task[None]] = set()

    @property
    def lab(self) -> LabService:
        """The one of this server process."""
        lab: LabService = self.settings[LAB_SETTING]
        return lab

    async def prepare(self) -> None:  # type: ignore[override]  # the argument is Jupyter's own affair
        """Know who asks, without a redirect to a login page."""
        await super().prepare(_redirect_to_login=False)

    @ws_authenticated
    @authorized_to_read
    async def get(self, room_id: str) -> None:
        """Check the rest, then become a WebSocket."""
        try:
            (await self.service.hub()).check_open()
            role = await role_of(self, self.user, RESOURCE) or Role.READER
            self._principal = document_principal(self, self.user, role)
            self._room = await apart(self.lab.find_room(room_id, self._principal))
        except CollabKernelError as error:
            raise lab_error(error) from error
        await self.upgrade(room_id)

    @property
    def max_message_size(self) -> int:
        """Bytes; Tornado closes a socket that sends more (1009). Of a reader nothing large is taken anyway."""
        limits = self.service.limits
        return limits.document_frame_bytes if self._principal.role is Role.WRITER else limits.frame_bytes

    def close_frame(self, code: str, reason: str) -> tuple[int, str]:
        """As for all rooms; what is told of an edit that was not taken, as JupyterLab reads it."""
        if code != STALE_PAGE:
            return super().close_frame(code, reason)
        return CLOSE_STALE, json.dumps({"reloadable": True, "errorReason": reason}, separators=(",", ":"))

    async def open(self, room_id: str) -> None:  # noqa: ARG002  # as the route has it; ``get`` has found the room
        """Load the document if nobody has it open, and join its room."""
        if not self.make_transport():
            return
        try:
            connection = await apart(self._room.join(self._principal, self.transport))
        except FileError as error:
            self._refuse(CLOSE_CODE_BY_STATUS.get(error.status, CLOSE_FAILED), str(error))
        except CollabKernelError as error:
            self.transport.close(error.code, error.told)
        except Exception:
            # The edge of this socket: whatever went wrong with the file ends this socket alone.
            self.log.exception("collabkernel: document %s cannot be loaded", self._room.room_id)
            self._refuse(CLOSE_FAILED, "the document cannot be loaded; the server's log says why")
        else:
            self._joined(connection)

    def _joined(self, connection: Connection) -> None:
        self._connection = connection
        self.transport.on_drained = connection.drained
        if self._is_closed:  # while the document was loaded
            self._leave()

    def _refuse(self, close_code: int, reason: str) -> None:
        self.close(close_code, reason.encode()[:120].decode(errors="ignore"))

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Hand a frame to the room; Tornado reads the next one when it has it, so a full room slows its senders."""
        connection = self._connection
        if connection is None:
            return None
        if isinstance(message, str):
            self._malformed("a text frame; the Yjs protocol is binary")
            return None
        if message[:1] == _RAW:
            return self._on_raw(connection, message[1:])
        return None if connection.take(message) else connection.receive(message)

    async def _on_raw(self, connection: Connection, payload: bytes) -> None:
        await connection.allowance(len(payload))
        try:
            reader = Reader(payload)
            request, save_id = reader.string("a RAW request"), reader.uint("a save's number")
        except RemoteProtocolError as error:
            self._malformed(str(error))
            return
        if request != "save" or reader.at != len(payload):
            self._malformed(f"a RAW request that is no save: {request[:40]!r}")
            return
        if len(self._saves) >= SAVES_AT_ONCE or self._principal.role is not Role.WRITER:
            self._answer_save(save_id, "failed")
            return
        task = asyncio.create_task(self._save(connection, save_id))
        self._saves.add(task)
        task.add_done_callback(self._saves.discard)

    async def _save(self, connection: Connection, save_id: int) -> None:
        try:
            await connection.handed_on()  # the file shall have what was typed before
            status = await self._room.save()
        except Exception:
            # The edge of this task. Without an answer JupyterLab would wait for ever.
            self.log.exception("collabkernel: document %s cannot be saved", self._room.room_id)
            status = "failed"
        self._answer_save(save_id, status)

    def _answer_save(self, save_id: int, status: str) -> None:
        self.tell({"type": "save", "responseTo": save_id, "status": status})

    def tell(self, message: dict[str, Any]) -> None:
        """Send one of Jupyter's own messages."""
        text = json.dumps(message).encode()
        self.transport.send(encode_raw(write_uint(len(text)) + text))

    def _malformed(self, reason: str) -> None:
        """Count it, log the first of this socket, and close: what follows cannot be trusted either."""
        metrics.count_reject("malformed-frame")
        if not self._is_told:
            self._is_told = True
            self.log.warning(
                "collabkernel: %s sent room %s a malformed frame: %s", self.user.username, self._room.room_id, reason
            )
        self.transport.close("malformed-frame", reason)

    def on_close(self) -> None:
        """Leave the room."""
        self._is_closed = True
        self.service.closed(self)
        if self._connection is not None:
            self._leave()

    def _leave(self) -> None:
        assert self._connection is not None
        self.transport.on_drained = None
        self.service.spawn(self._connection.close())
        self._connection = None
        self._room.leave(self._principal)
