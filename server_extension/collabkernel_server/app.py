"""The Jupyter server extension: its settings, its endpoints, its start and its stop."""

from __future__ import annotations

import atexit
import gc
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.auth import User
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from sqlalchemy.engine import make_url
from traitlets import Bool, Float, Int, TraitError, Unicode, default, validate
from traitlets.utils.bunch import Bunch

from collabkernel.bus import DEFAULT_PREFIX, make_bus
from collabkernel.bus.polling import POLL_MS
from collabkernel.errors import StorageError
from collabkernel.limits import LISTEN_BACKLOG, Limits
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from collabkernel_server.credentials import KernelCredential
from collabkernel_server.database import MEMORY_URL, default_db_url
from collabkernel_server.handler import SERVICE_SETTING
from collabkernel_server.history import AuthorsHandler, PastHandler
from collabkernel_server.identity import default_kernel_user
from collabkernel_server.lab.enable import (
    NBMODEL_EXTENSION,
    configure_page,
    is_enabled,
    is_lab_installed,
    is_ydoc_enabled,
)
from collabkernel_server.operation import DrainHandler, ReadyHandler
from collabkernel_server.rest import InfoHandler, RoomHandler, RoomsHandler, TicketHandler
from collabkernel_server.rooms_socket import RoomSocket
from collabkernel_server.service import RoomService
from collabkernel_server.settings import limit_traits, limits_of

if TYPE_CHECKING:  # the extra that it needs may not be installed
    from collabkernel_server.lab.execute import Executor
    from collabkernel_server.lab.service import LabService

GC_THRESHOLDS = 10_000, 5, 20
"""A full collection walks through a large document in 90 ms, in which nobody is answered: one a million objects that
stay, and not each 70,000. Few things here are in cycles: a session that has ended is."""
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
    poll_interval_ms = Int(
        POLL_MS,
        min=0,
        help="Milliseconds between two looks at what other servers on this database have stored. 0 for a server that"
        " is alone on it and will be; another one's edits would not be shown here.",
    ).tag(config=True)
    redis_url = Unicode(
        help="A Redis or Valkey that servers on one database tell each other over what they have stored, as"
        " redis://host:6379, rediss://... or unix://..., redis+sentinel://host,host/service for the master that"
        " Sentinels name, redis+cluster://host,host for a Cluster (with the extra collabkernel[redis]). Nothing is"
        " kept there: without it, or while it does not answer, they look at the database every poll_interval_ms."
    ).tag(config=True)
    redis_prefix = Unicode(
        DEFAULT_PREFIX,
        help="Before the names of all channels on Redis. Servers that share a database share it; others need another.",
    ).tag(config=True)
    blob_url = Unicode(
        help="Where large parts of snapshots of rooms and documents are: file:///srv/blobs, s3://bucket/prefix (with"
        " the extra collabkernel[s3]), or another URL of fsspec. Credentials come from the environment, such as"
        " AWS_ACCESS_KEY_ID, or a role, never from the URL. Empty for the database. Servers that share a database share"
        " it."
    ).tag(config=True)
    migrate_to_url = Unicode(
        help="Another database that rooms of db_url are moved to by `collabkernel migrate`. Servers that have both URLs"
        " go on meanwhile. Empty for none."
    ).tag(config=True)
    archive_url = Unicode(
        help="A folder, or a URL such as s3://bucket/folder, into which operations of rooms are written as Parquet"
        " files (with the extra collabkernel[archive]) before compaction drops them; see history_days. Empty for none."
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
    lab_rooms = Bool(
        True,
        help="Serve JupyterLab's shared notebooks and files (with the extra collabkernel[lab] installed, and"
        " jupyter_server_ydoc not enabled).",
    ).tag(config=True)
    server_side_execution = Bool(
        False,
        help="Run cells of shared notebooks on the server: they go on, and what they show arrives, when every browser"
        " is closed. Cells cannot ask for input() then.",
    ).tag(config=True)
    outputs_dir = Unicode(
        help="Where outputs are that are too large for their notebooks. The default is a folder beside the database, or"
        " in Jupyter's data directory. Servers that share a database should share it."
    ).tag(config=True)
    # A class body's locals() is its namespace (PEP 667), so this declares one trait for each limit.
    locals().update(limit_traits())

    service: RoomService
    lab: LabService | None = None
    """JupyterLab's documents; None where they are not served."""
    executor: Executor | None = None
    """Runs their cells; None where browsers do."""

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
            make_hub=lambda: self._make_hub(limits),
            limits=limits,
            credential=KernelCredential(
                User(self.kernel_user, display_name=self.kernel_user_name), self.serverapp.runtime_dir
            ),
            room_name_pattern=self.room_name_pattern,
            ping_interval_s=self.ping_interval_s,
            log=self.log,
        )
        self.settings[SERVICE_SETTING] = self.service
        if self._serves_documents():
            self._make_lab(limits)

    def _make_hub(self, limits: Limits) -> Hub:
        if self.db_url == MEMORY_URL:
            return Hub(open_storage(MEMORY_URL), limits, archive_url=self.archive_url)
        storage = open_storage(self.db_url, self.durable, self.blob_url, self.migrate_to_url)
        bus = make_bus(storage, poll_ms=self.poll_interval_ms, redis_url=self.redis_url, redis_prefix=self.redis_prefix)
        return Hub(storage, limits, bus=bus, archive_url=self.archive_url)

    def _make_lab(self, limits: Limits) -> None:
        from collabkernel_server.lab.execute_handler import EXECUTOR_SETTING, make_executor
        from collabkernel_server.lab.output_handler import OUTPUTS_SETTING, default_folder, make_files
        from collabkernel_server.lab.serve import LAB_SETTING, make_lab

        assert self.serverapp is not None
        self.lab = self.settings[LAB_SETTING] = make_lab(self.service, self.serverapp)
        folder = Path(self.outputs_dir) if self.outputs_dir else default_folder(self.db_url)
        files = self.settings[OUTPUTS_SETTING] = make_files(folder, self.serverapp.base_url, limits)
        if self.server_side_execution and self._may_run_cells():
            self.executor = make_executor(self.serverapp, self.lab.open_document, limits, files, self.lab.life)
            self.settings[EXECUTOR_SETTING] = self.executor
            self.lab.runs_cells = True

    def _may_run_cells(self) -> bool:
        assert self.serverapp is not None
        if not is_enabled(self.serverapp, NBMODEL_EXTENSION):
            return True
        self.log.warning(
            "collabkernel: %s is enabled, and runs cells at the same address with its own requests; collabkernel leaves"
            " cells to it. Disable it for collabkernel's server_side_execution.",
            NBMODEL_EXTENSION,
        )
        return False

    def _serves_documents(self) -> bool:
        assert self.serverapp is not None
        if not self.lab_rooms or not is_lab_installed():
            return False
        if is_ydoc_enabled(self.serverapp):
            self.log.warning(
                "collabkernel: jupyter_server_ydoc is enabled too, and serves JupyterLab's documents; collabkernel"
                " leaves them to it. `collabkernel lab enable` and a restart make collabkernel serve them."
            )
            return False
        return True

    def initialize_handlers(self) -> None:
        """Add the endpoints."""
        assert self.serverapp is not None
        if self.lab is not None:
            from collabkernel_server.lab.serve import CONTENTS_HANDLERS, EXECUTE_HANDLERS, HANDLERS

            self.handlers.extend(HANDLERS + CONTENTS_HANDLERS)
            if self.executor is not None:
                self.handlers.extend(EXECUTE_HANDLERS)
        configure_page(self.serverapp, is_serving=self.lab is not None, runs_cells=self.executor is not None)
        if self.lab is not None:
            from collabkernel_server.lab.compat import stand_in

            stand_in(self.serverapp, self.lab)  # after the last look for jupyter-server-ydoc itself
        room = r"/collabkernel/api/rooms/(?P<room_id>[^/]+)"
        self.handlers.extend(
            [
                (room + "/ws", RoomSocket),
                (room + "/past", PastHandler),
                (room + "/authors", AuthorsHandler),
                (room, RoomHandler),
                (r"/collabkernel/api/rooms", RoomsHandler),
                (r"/collabkernel/api/info", InfoHandler),
                (r"/collabkernel/api/ready", ReadyHandler),
                (r"/collabkernel/api/drain", DrainHandler),
                (r"/collabkernel/api/auth_ticket", TicketHandler),
            ]
        )

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Called when the loop runs and the port is known: tell the kernels, and open the database."""
        _let_a_crowd_wait(serverapp)
        if self.kernel_access:
            self.service.credential.publish(_kernel_url(serverapp))
        try:
            await self.service.hub()
            if self.lab is not None:
                from collabkernel_server.lab.compat import share_file_ids

                share_file_ids(serverapp, self.lab)
                await self.lab.start()
            if self.executor is not None:
                self.executor.start()
        except StorageError as error:
            # The rest of the server is of use without rooms; who asks for one is told the same, and it is tried again.
            self.log.error("collabkernel: rooms are not available: %s", error)
        else:
            # What was imported stays. Without this each full collection walks through its 220,000 objects, and nobody's
            # edit is shown meanwhile: 0.13 s, in the middle of many who join.
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            where = make_url(self.db_url).render_as_string(hide_password=True)
            self.log.info("collabkernel: ready; rooms are kept in %s", where)

    def current_activity(self) -> dict[str, Any] | None:
        """Open sockets, so that an idle shutdown does not throw people out of their rooms."""
        count = self.service.session_count
        return {"sessions": count} if count else None

    async def stop_extension(self) -> None:
        """Called first of all at SIGTERM, with the loop still running and the sockets still open."""
        if self.executor is not None:
            await self.executor.stop()
        if self.lab is not None:
            await self.lab.stop()
        await self.service.stop()
        # The interpreter's last garbage collections walk through everything that was imported, only to free what the
        # exit frees anyway: 0.5 to 1.5 s of the two that a stop may take, on two busy cores; 0.05 s without them.
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)


def _let_a_crowd_wait(serverapp: ServerApp) -> None:
    """Have the system keep more who connect at once than Tornado asks for; Jupyter has no setting for it."""
    server = getattr(serverapp, "http_server", None)  # who embeds Jupyter may serve it by his own
    for each in getattr(server, "_sockets", {}).values():
        each.listen(LISTEN_BACKLOG)


def _kernel_url(serverapp: ServerApp) -> str:
    """The server as a kernel on this machine reaches it: a wildcard address is asked at the loopback one."""
    if serverapp.sock or serverapp.ip not in _WILDCARD_IPS:
        return str(serverapp.connection_url)
    scheme = "https" if serverapp.certfile else "http"
    host = "[::1]" if serverapp.ip == "::" else "127.0.0.1"
    return f"{scheme}://{host}:{serverapp.port}" + url_path_join("/", serverapp.base_url, "/")
