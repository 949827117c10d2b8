"""A real Jupyter server in a process of its own, with people told apart by a header, a reader, and a stranger."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jupyter_client.blocking import BlockingKernelClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapSet, Scalar
from collabkernel.limits import Limits
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import ClientMessage, Hello, ServerMessage, SessionKind, Submit, Welcome
from tests.bounds import HANG_S, stop_s_max
from tests.jupyter_command import jupyter_command

TOKEN = "the-servers-own-token"
CONFIG = '''
from jupyter_server.auth import Authorizer, IdentityProvider, User

class Member(User):
    """As JupyterHub's: its rights are in it, and nobody else knows them."""
    def __init__(self, name):
        super().__init__(name)
        self.scopes = {"access"}

class People(IdentityProvider):
    """The X-Person header stands for a login; without it, Jupyter's token."""
    async def get_user(self, handler):
        name = handler.request.headers.get("X-Person")
        if name and name.startswith("hub"):
            return Member(name)
        if name:
            return User(name, display_name=name.title(), color="#aabbcc")
        return await super().get_user(handler)

class Rules(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        if user.username.startswith("hub") and user.scopes != {"access"}:
            return False
        if resource == "server":
            return not user.username.startswith(("reader", "stranger"))
        if resource not in ("rooms", "contents"):
            return True
        assert action in ("read", "write"), action
        if user.username.startswith("stranger"):
            return False
        return action == "read" or not user.username.startswith("reader")

c.ServerApp.identity_provider_class = People
c.ServerApp.authorizer_class = Rules
c.ServerApp.allow_unauthenticated_access = False
'''


@dataclasses.dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningServer:
    """One ``jupyter server``, with our extension alone unless others are named."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        port: int = 0,
        python: str | Path = sys.executable,
        extensions: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.token = TOKEN
        self.runtime_dir = folder / "runtime"
        (folder / "config").mkdir(parents=True, exist_ok=True)
        (folder / "config" / "jupyter_server_config.py").write_text(CONFIG)
        names = ("COLLABKERNEL_", "JUPYTER")
        env = {name: value for name, value in os.environ.items() if not name.startswith(names)} | {
            "JUPYTER_NO_CONFIG": "1",
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime_dir),
            "JUPYTER_TOKEN": TOKEN,
        }
        command = [*jupyter_command("jupyter_server", python), "--no-browser", f"--port={port}", "--log-level=DEBUG"]
        enabled = dict.fromkeys(["collabkernel_server", *extensions], True)
        command += [f"--ServerApp.jpserver_extensions={enabled}", f"--ServerApp.root_dir={folder}"]
        command += [f"--config={folder / 'config' / 'jupyter_server_config.py'}"]
        command += ["--allow-root", "--ServerApp.base_url=/base/", *arguments]
        started_s = time.monotonic()
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
        )
        self._lines: list[str] = []
        self._is_ready = threading.Event()
        self._log_reader = threading.Thread(target=self._read_log, daemon=True)
        self._log_reader.start()
        assert self._is_ready.wait(HANG_S), f"the server did not start:\n{self.log}"
        assert self.process.poll() is None, f"the server ended:\n{self.log}"
        self.stop_s_max = stop_s_max(time.monotonic() - started_s)
        info = json.loads((self.runtime_dir / f"jpserver-{self.process.pid}.json").read_text())
        self.base_url = f"http://127.0.0.1:{info['port']}/base/"

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            if "collabkernel: ready" in line or "collabkernel: rooms are not available" in line:
                self._is_ready.set()
        self._is_ready.set()

    @property
    def log(self) -> str:
        return "".join(self._lines)

    @property
    def origin(self) -> str:
        return self.base_url.removesuffix("/base/")

    @property
    def kernel_token(self) -> str:
        (path,) = self.runtime_dir.glob("collabkernel-*.token")
        return path.read_text()

    def request(
        self, method: str, path: str, body: object = None, *, person: str | None = "ann", **headers: str
    ) -> Answer:
        """A REST request; underscores in header names stand for dashes."""
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if person:
            all_headers["X-Person"] = person
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data, all_headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=HANG_S) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def mint(self, room: str, person: str = "ann", **extra: str) -> str:
        """A ticket, asked for as a page does: with the XSRF cookie and its header."""
        answer = self.request(
            "POST", "collabkernel/api/auth_ticket", {"room": room, **extra}, person=person, **xsrf_headers()
        )
        assert answer.status == 200, answer
        return str(answer.json["ticket"])

    def open(self, room: str, query: str = "", *, person: str | None = "ann", **options: Any) -> Member:
        """A WebSocket in a room; raises ``websockets.InvalidStatus`` when it is refused."""
        headers = dict(options.pop("additional_headers", {}))
        if person:
            headers["X-Person"] = person
        options.setdefault("subprotocols", ["collabkernel.v1"])
        url = f"ws{self.base_url.removeprefix('http')}collabkernel/api/rooms/{room}/ws{query}"
        options |= {"additional_headers": headers, "compression": None, "max_size": None, "proxy": None}
        # Entered here and closed by the member's own end: tests open sockets that outlive a block.
        return Member(connect(url, open_timeout=HANG_S, **options).__enter__())

    def open_raw(self, room: str, **headers: str) -> socket.socket:
        """The line of an upgrade request that was sent; nothing reads the answer."""
        host, port = self.origin.removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)), timeout=HANG_S)
        line.sendall(upgrade_request(f"/base/collabkernel/api/rooms/{room}/ws", f"{host}:{port}", headers))
        return line

    def join(self, room: str, query: str = "", **options: Any) -> Member:
        """A WebSocket in a room, welcomed."""
        member = self.open(room, query, **options)
        member.greet()
        return member

    def run_in_kernel(self, code: str) -> str:
        """What the code prints in a kernel that this server starts."""
        headers = {"Authorization": f"token {self.token}"}
        started = self.request("POST", "api/kernels", {"name": "python3"}, person=None, **headers)
        assert started.status == 201, started
        kernel_id = started.json["id"]
        client = BlockingKernelClient(connection_file=str(self.runtime_dir / f"kernel-{kernel_id}.json"))
        client.load_connection_file()
        client.start_channels(hb=False)  # a kernel that starts slowly misses its first beats
        printed: list[str] = []
        try:
            client.wait_for_ready(timeout=HANG_S)
            client.execute_interactive(
                code, timeout=HANG_S, output_hook=lambda message: printed.append(message["content"].get("text", ""))
            )
        finally:
            client.stop_channels()
            self.request("DELETE", f"api/kernels/{kernel_id}", person=None, **headers)
        return "".join(printed)

    def stop(self) -> float:
        """SIGTERM, and how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(HANG_S)
        took_s = time.monotonic() - started
        self._log_reader.join(10)
        return took_s


def upgrade_request(path: str, host: str, headers: dict[str, str]) -> bytes:
    """A WebSocket upgrade as it is on the wire."""
    all_headers = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol": "collabkernel.v1",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def xsrf_headers() -> dict[str, str]:
    """What a page of the server's own origin sends with a POST."""
    return {"Cookie": "_xsrf=0123456789abcdef", "X_XSRFToken": "0123456789abcdef"}


class Member:
    """One socket in a room, speaking the protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self.socket = connection
        self.counter = 1
        self.seen: list[ServerMessage] = []

    def send(self, message: ClientMessage) -> None:
        self.socket.send(encode_client_message(message))

    def receive(self, until: Callable[[ServerMessage], Any]) -> ServerMessage:
        """Read messages up to the one that ``until`` is waiting for."""
        while True:
            frame = self.socket.recv(timeout=HANG_S)
            assert isinstance(frame, bytes)
            message = decode_server_message(frame, Limits())
            self.seen.append(message)
            if until(message):
                return message

    def greet(self) -> Welcome:
        """Say Hello; the answer."""
        self.send(Hello(SessionKind.SCRIPT, "test"))
        welcome = self.receive(lambda message: message.welcome).welcome
        assert welcome is not None
        return welcome

    def put(self, key: str, value: Scalar) -> None:
        """Submit one write of the room's root, without waiting."""
        hlc = (time.time_ns() // 1_000_000) << 16
        self.send(Submit((Envelope(self.counter, 0, hlc, (MapSet(ROOT, key, value),)),)))
        self.counter += 1

    def close_code(self) -> int | None:
        """Read until the server has closed; the status that it gave, or None for a broken line."""
        try:
            self.receive(lambda _: False)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else None
        raise AssertionError("not reached")

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
