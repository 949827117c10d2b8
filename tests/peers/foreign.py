"""Clients that others wrote, each in a process and an environment of its own, in one notebook's room."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.bounds import HANG_S
from tests.peers import install
from tests.peers.servers import PeerServer, persons_headers

SCRIPTS = Path(__file__).parent / "clients"
PYTHON_CLIENTS = ("nbmodel", "pycrdt", "ypy")
CLIENTS = ("y-websocket", *PYTHON_CLIENTS)


class ForeignClient:
    """One client; ``sources`` is what it sees of the notebook."""

    def __init__(self, client: str, server: PeerServer, room: str, *, has_narrow_ids: bool = False) -> None:
        self.client = client
        self._has_narrow_ids = has_narrow_ids
        self.sources: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            self._command(server, room),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(server.folder / f"{client}.log").open("w"),
            text=True,
        )
        self._log = server.folder / f"{client}.log"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _command(self, server: PeerServer, room: str) -> list[str]:
        url, headers = server.socket_url(room), json.dumps(persons_headers(self.client))
        if self.client in PYTHON_CLIENTS:
            narrow = ["narrow"] if self._has_narrow_ids else []
            return [str(install.python_of("clients")), str(SCRIPTS / "foreign.py"), self.client, url, headers, *narrow]
        parts = urlsplit(url)
        base = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/' + room)}"
        params = json.dumps({name: values[0] for name, values in parse_qs(parts.query).items()})
        script = str(SCRIPTS / "y_websocket.cjs")
        return [*install.node_command(), script, str(install.node_folder()), base, room, params, headers]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.sources = json.loads(line)
                self._changed.notify_all()

    def wait_until_sees(self, wanted: set[str], timeout_s: float = HANG_S) -> list[str]:
        """Wait until the notebook's sources are these, in whatever order; the order."""
        with self._changed:
            is_so = self._changed.wait_for(lambda: sorted(self.sources) == sorted(wanted), timeout_s)
        assert is_so, f"{self.client} sees {self.sources}; it said:\n{self._log.read_text()[-2000:]}"
        return self.sources

    def add(self, source: str) -> None:
        """Append a cell."""
        self._send({"add": source})

    def type(self, index: int, text: str) -> None:
        """Type at the end of a cell."""
        self._send({"type": [index, text]})

    def _send(self, command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """End its input, and with it the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
