"""The Jupyter server extension: its settings, its endpoints, its start and its stop."""

from __future__ import annotations

import atexit
import gc
import re
from typing import Any

from jupyter_server.auth import User
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from sqlalchemy.engine import make_url
from traitlets import Bool, Float, TraitError, Unicode, default, validate
from traitlets.utils.bunch import Bunch

from collabkernel.errors import StorageError
from collabkernel.server.hub import Hub
from collabkernel.storage.base import Storage
from collabkernel.storage.memory import MemoryStorage
from collabkernel.storage.sql import SqlStorage
from collabkernel_server.credentials import KernelCredential
from collabkernel_server.database import MEMORY_URL, DatabaseLock, default_db_url
from collabkernel_server.handler import SERVICE_SETTING
from collabkernel_server.identity import default_kernel_user
from collabkernel_server.rest import InfoHandler, RoomHandler, RoomsHandler, TicketHandler
from collabkernel_server.rooms_socket import RoomSocket
from collabkernel_server.service import RoomService
from collabkernel_server.settings import limit_traits, limits_of

_WILDCARD_IPS = {"", "0.0.0.0", "::", "*"}


class CollabKernelServer(ExtensionApp):
    """Live rooms on this Jupyter server.

    Every field of ``collabkernel.limits.Limits`` is a trait of the same name.
    """

    name = "collabkernel_server"
    extension_url = "/collabkernel/api/info"
    load_other_extensions = True
    description = "Hosts collabkernel rooms: live objects that people, scripts and agents edit at once."
    examples = """
    jupyter server --CollabKernelServer.db_url=sqlite:////srv/rooms.sqlite
    jupyter server --CollabKernelServer.sessions_per_room=200
    """

    db_url = Unicode(
        help="Where rooms are kept, as an SQLAlchemy URL. The default is SQLite in Jupyter's data directory."
        " memory:// keeps them in this process and loses them at its end."
    ).tag(config=True)
    durable = Bool(
        True,
        help="Acknowledge an edit only when it would survive a power cut (an fsync a commit). Without it an"
        " acknowledged edit survives a crash of this process, not of the machine, and acks say so.",
    ).tag(config=True)
    room_name_pattern = Unicode(
        ".*",
        help="A regular expression that a room's whole name must match, on top of the format's own rules"
        " (1 to 128 of A-Z a-z 0-9 . _ ~ -).",
    ).tag(config=True)
    kernel_access = Bool(
        True,
        help="Let this server's kernels find it: COLLABKERNEL_URL in their environment, and in the file that"
        " COLLABKERNEL_TOKEN_FILE names a token that can only mint tickets.",
    ).tag(config=True)
    kernel_user = Unicode(
        help="User name that code in kernels acts as. The default is JUPYTERHUB_USER, else who runs the server."
    ).tag(config=True)
    kernel_user_name = Unicode(help="Name shown for it. The default is the user name.").tag(config=True)
    ping_interval_s = Float(
        30.0, min=0.0, help="Seconds between WebSocket pings; an unanswered one ends the socket. 0 for none."
    ).tag(config=True)
    # A class body's locals() is its namespace (PEP 667), so this declares one trait for each limit.
    locals().update(limit_traits())

    service: RoomService

    @default("db_url")
    def _default_db_url(self) -> str:
        return default_db_url()

    @default("kernel_user")
    def _default_kernel_user(self) -> str:
        return default_kernel_user()

    @default("kernel_user_name")
    def _default_kernel_user_name(self) -> str:
        return self.kernel_user

    @validate("room_name_pattern")
    def _check_room_name_pattern(self, proposal: Bunch) -> str:
        try:
            re.compile(proposal.value)
        except re.error as error:
            raise TraitError(f"room_name_pattern is no regular expression: {error}") from None
        return str(proposal.value)

    def initialize_settings(self) -> None:
        """Make the service; nothing is opened before the event loop runs."""
        limits = limits_of(self)
        assert self.serverapp is not None
        self.service = RoomService(
            make_hub=lambda: Hub(self._make_storage(), limits),
            limits=limits,
            credential=KernelCredential(
                User(self.kernel_user, display_name=self.kernel_user_name), self.serverapp.runtime_dir
            ),
            lock=DatabaseLock(self.db_url),
            room_name_pattern=self.room_name_pattern,
            ping_interval_s=self.ping_interval_s,
            log=self.log,
        )
        self.settings[SERVICE_SETTING] = self.service

    def _make_storage(self) -> Storage:
        if self.db_url == MEMORY_URL:
            return MemoryStorage()
        return SqlStorage(self.db_url, durable=self.durable)

    def initialize_handlers(self) -> None:
        """Add the endpoints."""
        room = r"/collabkernel/api/rooms/(?P<room_id>[^/]+)"
        self.handlers.extend(
            [
                (room + "/ws", RoomSocket),
                (room, RoomHandler),
                (r"/collabkernel/api/rooms", RoomsHandler),
                (r"/collabkernel/api/info", InfoHandler),
                (r"/collabkernel/api/auth_ticket", TicketHandler),
            ]
        )

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Called when the loop runs and the port is known: tell the kernels, and open the database."""
        if self.kernel_access:
            self.service.credential.publish(_kernel_url(serverapp))
        try:
            await self.service.hub()
        except StorageError as error:
            # The rest of the server is of use without rooms; who asks for one is told the same, and it is tried again.
            self.log.error("collabkernel: rooms are not available: %s", error)
        else:
            where = make_url(self.db_url).render_as_string(hide_password=True)
            self.log.info("collabkernel: ready; rooms are kept in %s", where)

    def current_activity(self) -> dict[str, Any] | None:
        """Open sockets, so that an idle shutdown does not throw people out of their rooms."""
        count = self.service.session_count
        return {"sessions": count} if count else None

    async def stop_extension(self) -> None:
        """Called first of all at SIGTERM, with the loop still running and the sockets still open."""
        await self.service.stop()
        # The interpreter's last garbage collections walk through everything that was imported, only to free what the
        # exit frees anyway: 0.5 to 1.5 s of the two that a stop may take, on two busy cores; 0.05 s without them.
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)


def _kernel_url(serverapp: ServerApp) -> str:
    """The server as a kernel on this machine reaches it: a wildcard address is asked at the loopback one."""
    if serverapp.sock or serverapp.ip not in _WILDCARD_IPS:
        return str(serverapp.connection_url)
    scheme = "https" if serverapp.certfile else "http"
    host = "[::1]" if serverapp.ip == "::" else "127.0.0.1"
    return f"{scheme}://{host}:{serverapp.port}" + url_path_join("/", serverapp.base_url, "/")
