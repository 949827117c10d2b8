"""A real Jupyter server in a process of its own, with its rooms on SQLite in a folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

TOKEN = "benchmark"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.1

# Load comes from one machine as one user: the limits that would hold it back are lifted, the queues' bounds stay.
LIFTED = {
    "ops_per_s": 10_000_000,
    "ops_burst": 100_000_000,
    "frames_per_s": 1_000_000,
    "frame_bytes_per_s": 1 << 40,
    "joins_per_s": 100_000,
    "sessions_per_actor": 100_000,
    "resyncs_per_minute": 100_000,
}


class ServerFailedError(Exception):
    """The server did not start, or failed under load; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    url: str
    pid: int

    def ask(self, path: str, body: dict[str, str] | None = None) -> dict[str, object]:
        """The JSON answer to a GET, or with a body to a POST."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    def socket_url(self, room: str) -> str:
        """The URL of the room's WebSocket, with a fresh ticket in it."""
        ticket = self.ask("collabkernel/api/auth_ticket", {"room": room})
        return f"{ticket['url']}?auth_ticket={ticket['ticket']}"

    def cpu_s(self) -> float:
        """Processor time so far, to 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def running_server(folder: Path, *options: str, db_url: str = "") -> Iterator[Server]:
    """A Jupyter server with our extension alone, durable commits, its database ``rooms.sqlite`` in ``folder``."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}", "--port-retries=0"),
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={folder}",
        f"--CollabKernelServer.db_url={db_url or f'sqlite:///{folder}/rooms.sqlite'}",
        *[f"--CollabKernelServer.{name}={value}" for name, value in LIFTED.items()],
        *options,
    ]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=_environment(folder), stdout=log, stderr=log)
    try:
        server = Server(f"http://127.0.0.1:{port}/", process.pid)
        _wait_until_it_answers(server, process)
        yield server
        if process.poll() is not None:
            raise ServerFailedError(f"the server ended with {process.returncode}")
    except Exception as error:
        said = (folder / "server.log").read_text()[-2000:]
        raise ServerFailedError(f"{error}\nThe server said:\n{said}") from error
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(folder: Path) -> dict[str, str]:
    homes = {name: str(folder) for name in ("HOME", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    return os.environ | homes


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            server.ask("collabkernel/api/info")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(POLL_S)
    raise ServerFailedError("the server does not answer")
