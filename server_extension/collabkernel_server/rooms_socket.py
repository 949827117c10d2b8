"""The WebSocket of a room: ``GET collabkernel/api/rooms/{room}/ws``, subprotocol ``collabkernel.v1``.

Everything is checked before anything is allocated, in this order: host name; ticket, the kernels' token, or Jupyter's
own login; the room's name; the authorizer; the subprotocol; the upgrade's headers; the origin. Only then is there a
socket, and a session.
"""

from __future__ import annotations

from collections.abc import Awaitable

from jupyter_server.auth.decorator import ws_authenticated

from collabkernel.errors import CollabKernelError
from collabkernel.server.hub import Connection, Hub
from collabkernel.wire.frames import bye_part
from collabkernel.wire.messages import Bye, Role
from collabkernel_server.handler import ApiError, api_error
from collabkernel_server.identity import principal_of, role_of
from collabkernel_server.socket_handler import SocketHandler
from collabkernel_server.tickets import Ticket, spend

SUBPROTOCOL = "collabkernel.v1"
TICKET_ARGUMENT = "auth_ticket"
"""Jupyter's log scrubs query arguments whose name has ``auth`` in it."""
OVERSIZE_FACTOR = 2
"""A frame up to this many times the limit is read and refused with a Notice; a larger one closes the socket (1009),
since it would have to be held in memory to be passed over."""


class RoomSocket(SocketHandler):
    """One socket in one room."""

    _ticket: Ticket | None = None
    _connection: Connection | None = None
    _hub: Hub
    _role: Role

    async def prepare(self) -> None:  # type: ignore[override]  # the argument is Jupyter's own affair
        """Know who asks: by a ticket, or the kernels' token, else as Jupyter does, but for its redirect to a page."""
        secret = self.get_query_argument(TICKET_ARGUMENT, None)
        if secret is None:
            if not self.accept_kernel():
                await super().prepare(_redirect_to_login=False)
            return
        self.accept_user(None)
        try:
            hub = await self.service.hub()
            hub.check_open()  # before it is spent: a load balancer shows the same one to the next server
            self._ticket = await spend(hub.tickets, secret, self.path_kwargs["room_id"])
        except CollabKernelError as error:
            raise api_error(error) from None
        self.accept_user(self._ticket.user)

    @ws_authenticated
    async def get(self, room_id: str) -> None:
        """Check the rest, then become a WebSocket."""
        try:
            self.service.check_room_name(room_id)
            self._role = await self._role_now()
            offered = [name.strip() for name in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
            if SUBPROTOCOL not in offered:
                raise ApiError(400, "subprotocol-required", f"open the WebSocket with the subprotocol {SUBPROTOCOL}")
            self._hub = await self.service.hub()
            self._hub.check_open()
        except CollabKernelError as error:
            raise api_error(error) from error
        await self.upgrade(room_id=room_id)

    async def _role_now(self) -> Role:
        """A ticket never gives more than its owner had when it was made, nor more than he has now.

        Raises:
            ApiError: He may not even read.
        """
        ticket = self._ticket
        if ticket is not None and not ticket.is_user_whole:
            return ticket.role
        role = await role_of(self, self.user)
        if role is None:
            raise ApiError(403, "access-denied", "you may not read rooms on this server")
        return role if ticket is None else min(role, ticket.role)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Ours; ``get`` has made sure that it is offered."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def check_origin(self, origin: str) -> bool:  # type: ignore[override]  # Tornado's name for it
        """Allow the server's own origin, what ``ServerApp.allow_origin`` allows, and the one the ticket is bound to."""
        if self._ticket is not None and self._ticket.origin and origin.lower() == self._ticket.origin:
            return True
        return super().check_origin(origin)

    @property
    def max_message_size(self) -> int:
        """Bytes; see ``OVERSIZE_FACTOR``."""
        return OVERSIZE_FACTOR * self.service.limits.frame_bytes

    async def open(self, room_id: str) -> None:
        """Join the room; a refusal now is said in a Bye, which a browser can read, unlike an HTTP status."""
        if not self.make_transport():
            return
        try:
            connection = await self._hub.open_session(room_id, principal_of(self.user, self._role), self.transport)
        except CollabKernelError as error:
            self._say_bye(error.code, error.told, error.retry_after_ms or 0)
            return
        self._connection = connection
        self.transport.on_drained = connection.drained

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Hand a frame to the room; Tornado reads the next one when it has it, so a full room slows its senders."""
        connection = self._connection
        if connection is None:
            return None
        if isinstance(message, str):
            self._say_bye("malformed-frame", f"{SUBPROTOCOL} is binary; text frames are not part of it")
            return None
        return None if connection.take(message) else connection.receive(message)

    def on_close(self) -> None:
        """Leave the room."""
        self.service.closed(self)
        if self._connection is not None:
            self.transport.on_drained = None
            self.service.spawn(self._connection.close())
            self._connection = None

    def _say_bye(self, code: str, reason: str, retry_after_ms: int = 0) -> None:
        self.transport.send(bye_part(Bye(code, reason, retry_after_ms)))
        self.transport.close(code, reason)
