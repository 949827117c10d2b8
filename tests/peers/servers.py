"""Servers of every kind behind one face, each a process of its own: ours, and the peers.

A person is told by the ``X-Person`` header, which stands for a script's token, or by the cookie ``person``, which
stands for a login; one whose name begins with ``reader`` may read contents and not write them. Others are not known.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.bounds import HANG_S, stop_s_max
from tests.jupyter_command import jupyter_command
from tests.peers import install, node_servers
from tests.peers.node_servers import LIVEBLOCKS, NODE_KINDS
from tests.ports import free_port

OURS = "collabkernel"
YDOC, DOCUMENTS, PYCRDT, PYCRDT_STORED = (
    "jupyter-server-ydoc 3.0.4",
    "jupyter-server-documents 0.3.3",
    "pycrdt-websocket 0.16.5",
    "pycrdt-websocket 0.16.5 with its SQLite store",
)
KINDS = (OURS, YDOC, DOCUMENTS, PYCRDT, PYCRDT_STORED, *NODE_KINDS)
GLOBAL_AWARENESS = "JupyterLab:globalAwareness"

POLL_S = 0.05
_EXTENSIONS = {
    OURS: {"collabkernel_server": True},
    YDOC: {"jupyter_server_ydoc": True, "jupyter_server_fileid": True},
    DOCUMENTS: {"jupyter_server_documents": True, "jupyter_server_fileid": True},
}
_CONFIG = '''
from jupyter_server.auth import Authorizer, IdentityProvider, User

class People(IdentityProvider):
    """The X-Person header stands for a script's token, the cookie for a login."""
    async def get_user(self, handler):
        name = handler.request.headers.get("X-Person")
        if name:
            handler._token_authenticated = True
        name = name or handler.get_cookie("person")
        return User(name, display_name=name.title(), color="#aabbcc") if name else None

class Rules(Authorizer):
    """Readers may only read."""
    def is_authorized(self, handler, user, action, resource):
        return action == "read" or not user.username.startswith("reader")

c.ServerApp.identity_provider_class = People
c.ServerApp.authorizer_class = Rules
c.ServerApp.allow_unauthenticated_access = True
'''


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


def persons_headers(person: str | None) -> dict[str, str]:
    """What makes a request this person's."""
    return {"X-Person": person} if person else {}


class PeerServer:
    """A server over the files in ``folder / "files"``; two of them may share that folder and its databases."""

    def __init__(
        self, kind: str, folder: Path, *, name: str = "server", db_url: str = "", options: Sequence[str] = ()
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.files = folder / "files"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log_path = folder / f"{name}.log"
        self._db_url = db_url or f"sqlite:///{folder / 'rooms.sqlite'}"
        self._options = list(options)
        for each in ("files", "home"):
            (folder / each).mkdir(parents=True, exist_ok=True)
        (folder / "config.py").write_text(_CONFIG)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command, environment, nothing = self._command(), self._environment(), subprocess.DEVNULL
        with self.log_path.open("ab") as log:
            # A group of its own, so that a kill leaves none of its children.
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=nothing,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started_s = time.monotonic()
        while not self._is_up():
            if process.poll() is not None or time.monotonic() > started_s + HANG_S:
                _kill(process)
                raise AssertionError(f"{self.kind} did not start:\n{self.log[-3000:]}")
            time.sleep(POLL_S)
        self.stop_s_max = stop_s_max(time.monotonic() - started_s)
        return process

    def _command(self) -> list[str]:
        if self.kind in NODE_KINDS:
            return node_servers.start(self.kind, self.folder, self.port).command
        if self.kind in (PYCRDT, PYCRDT_STORED):
            python = install.python_of("pycrdt-websocket")
            store = [str(self.folder / "ystore.db")] if self.kind == PYCRDT_STORED else []
            return [str(python), str(Path(__file__).parent / "pycrdt_server.py"), str(self.port), *store]
        python = sys.executable if self.kind == OURS else str(install.python_of(self.kind.split()[0]))
        ours = [f"--CollabKernelServer.db_url={self._db_url}"] if self.kind == OURS else []
        return [
            *(*jupyter_command("jupyter_server", python), "--no-browser", "--allow-root", f"--port={self.port}"),
            *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.files}", f"--config={self.folder}/config.py"),
            f"--ServerApp.jpserver_extensions={_EXTENSIONS[self.kind]}",
            *ours,
            *self._options,
        ]

    def _environment(self) -> dict[str, str]:
        names = ("COLLABKERNEL_", "JUPYTER")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        if self.kind != OURS:
            kept.pop("PYTHONPATH", None)
        if self.kind in NODE_KINDS:
            kept |= node_servers.start(self.kind, self.folder, self.port).environment
        home = str(self.folder / "home")
        folders = {f"JUPYTER_{name}_DIR": home for name in ("DATA", "CONFIG", "RUNTIME")}
        return kept | folders | {"HOME": home, "JUPYTER_NO_CONFIG": "1"}

    def _is_up(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                pass
            return not self.is_jupyter or self.request("GET", "api").status == 200
        except OSError:
            return False

    @property
    def is_jupyter(self) -> bool:
        """Whether it knows files; the others take any name for a room."""
        return self.kind in _EXTENSIONS

    @property
    def log(self) -> str:
        """What it has printed."""
        return self.log_path.read_text(errors="replace")

    # ------------------------------------------------------------ its end

    def kill(self) -> None:
        """SIGKILL, to its children too."""
        _kill(self.process)

    def restart(self) -> None:
        """Start again in place after a kill."""
        self.process = self._start()

    def stop(self, wait_s: float = HANG_S) -> float:
        """SIGTERM; the seconds until it had ended, or infinity when it had to be killed."""
        started_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return float("inf")
        return time.monotonic() - started_s

    def __enter__(self) -> PeerServer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop(5)

    # ------------------------------------------------------------ its documents

    def request(self, method: str, path: str, body: object = None, *, person: str | None = "ann") -> Answer:
        """A REST request; redirects are not followed into a login page."""
        data = None if body is None else json.dumps(body).encode()
        headers = persons_headers(person) | {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=HANG_S) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read())

    def room_of(self, path: str, *, type: str = "file", person: str = "ann") -> str:
        """The room of a file, as the front end asks for it; who knows no files takes any name."""
        form = "json" if type == "notebook" else "text"
        if not self.is_jupyter:
            return path
        if self.kind == DOCUMENTS:
            answer = self.request("POST", f"api/fileid/index?path={urllib.parse.quote(path)}", person=person)
            assert answer.status in (200, 201), answer
            return f"{form}:{type}:{answer.json['id']}"
        quoted = urllib.parse.quote(path, safe="")
        asked = {"format": form, "type": type}
        answer = self.request("PUT", f"api/collaboration/session/{quoted}", asked, person=person)
        assert answer.status in (200, 201), answer
        return f"{form}:{type}:{answer.json['fileId']}"

    def socket_url(self, room: str) -> str:
        """Where the WebSocket of a room is."""
        base = self.url.replace("http", "ws", 1)
        if self.kind == LIVEBLOCKS:
            return f"{base}v8?pubkey=pk_localdev&roomId={room}"
        if not self.is_jupyter:
            return base + room
        # Any session id will do on the first start of any of them; a server may not insist on one it knows.
        return f"{base}api/collaboration/room/{room}" + (
            f"?sessionId={self._session_id()}" if self.kind in (OURS, YDOC) else ""
        )

    def _session_id(self) -> str:
        """The id of this process: what a session PUT of any file would answer."""
        (self.files / "session.txt").touch()
        asked = {"format": "text", "type": "file"}
        return str(self.request("PUT", "api/collaboration/session/session.txt", asked).json["sessionId"])


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
