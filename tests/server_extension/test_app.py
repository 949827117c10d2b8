"""Start and stop of a real server: SIGTERM under load, the kernels' environment, and what is said when rooms fail."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from collabkernel_server.app import CollabKernelServer
from jupyter_server.extension.config import ExtensionConfigManager
from jupyter_server.extension.manager import ExtensionPackage
from traitlets import TraitError
from websockets.exceptions import ConnectionClosed

import collabkernel
from collabkernel.errors import StorageError
from collabkernel.storage.blobs import OUTSIDE_BYTES
from tests.bounds import HANG_S
from tests.server_extension.running_server import Member, RunningServer

StartServer = Callable[..., RunningServer]
CLIENTS = 20
CROWD = 500


def _somaxconn() -> int:
    path = Path("/proc/sys/net/core/somaxconn")
    return int(path.read_text()) if path.exists() else 0


class Writer(threading.Thread):
    """Writes without pause until the server closes its socket; knows what was acknowledged."""

    def __init__(self, member: Member, number: int) -> None:
        super().__init__(daemon=True)
        self.member = member
        self.number = number
        self.acked = 0
        self.has_ack = threading.Event()
        self.close_code: int | None = None

    def run(self) -> None:
        # A put may fail first; what the server had said before it closed is read then.
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.member.put(f"k{self.number}", self.member.counter)
                self.acked = self.member.receive(lambda message: message.acks).acks[-1].counter
                self.has_ack.set()
        self.close_code = self.member.close_code()


@pytest.fixture(scope="module")
def stopped(start_server: StartServer) -> Iterator[tuple[RunningServer, list[Writer], float]]:
    """A server that was stopped by SIGTERM while 20 clients were writing, and one was connected that reads nothing."""
    server = start_server()
    writers = [Writer(server.join(f"stop-{number % 3}"), number) for number in range(CLIENTS)]
    silent = server.open_raw("stop-0", X_Person="silent")
    for writer in writers:
        writer.start()
    assert all(writer.has_ack.wait(HANG_S) for writer in writers)
    took_s = server.stop()
    for writer in writers:
        writer.join(HANG_S)
    yield server, writers, took_s
    silent.close()


def test_sigterm_with_writing_clients_ends_within_two_seconds(
    stopped: tuple[RunningServer, list[Writer], float],
) -> None:
    server, _, took_s = stopped

    print(f"SIGTERM to exit with {CLIENTS} writing clients: {took_s:.2f} s")
    assert took_s < server.stop_s_max, server.log[-3000:]
    assert server.process.returncode == 0
    assert "Traceback" not in server.log, server.log[-3000:]


def test_every_client_is_told_that_the_server_stops(stopped: tuple[RunningServer, list[Writer], float]) -> None:
    for writer in stopped[1]:
        assert writer.close_code == 1012
        bye = next(message.bye for message in writer.member.seen if message.bye is not None)
        assert bye.code == "server-stopping"
        assert bye.retry_after_ms > 0


def test_token_file_is_gone_after_the_stop(stopped: tuple[RunningServer, list[Writer], float]) -> None:
    assert list(stopped[0].runtime_dir.glob("collabkernel-*")) == []


def test_everything_acknowledged_is_there_after_a_new_start(
    stopped: tuple[RunningServer, list[Writer], float], start_server: StartServer
) -> None:
    old, writers, _ = stopped
    server = start_server(folder=old.folder)
    states = [server.request("GET", f"collabkernel/api/rooms/stop-{number}").json["state"] for number in range(3)]

    for writer in writers:
        assert writer.acked > 0
        assert states[writer.number % 3][f"k{writer.number}"] >= writer.acked


def test_a_database_that_cannot_be_made_is_told_and_the_rest_served(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = start_server(f"--CollabKernelServer.db_url=sqlite:///{tmp_path}/file/rooms.sqlite", folder=tmp_path / "it")

    answer = server.request("GET", "collabkernel/api/rooms")

    assert (answer.status, answer.json["code"]) == (503, "storage-error")
    assert answer.json["message"] == StorageError("").told
    assert "the file cannot be made" in server.log, "which the operator reads"
    assert server.request("GET", "api").status == 200
    assert server.stop() < server.stop_s_max


def test_large_parts_of_snapshots_are_outside_and_are_there_after_a_new_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    options = [
        f"--CollabKernelServer.blob_url={(tmp_path / 'blobs').as_uri()}",
        "--CollabKernelServer.snapshot_ops=1",
        "--CollabKernelServer.snapshot_min_interval_ms=0",
    ]
    server = start_server(*options, folder=tmp_path / "it")
    text = random.Random(1).randbytes(OUTSIDE_BYTES).hex()
    with collabkernel.connect("large", url=server.base_url, token=server.token) as room:
        room.root["text"] = text
        room.flush()
        deadline_s = time.monotonic() + HANG_S
        while not any(path.is_file() for path in (tmp_path / "blobs").rglob("*")):
            assert time.monotonic() < deadline_s, "no blob was written"
            time.sleep(0.01)
    server.stop()

    again = start_server(*options, folder=tmp_path / "it")
    assert again.request("GET", "collabkernel/api/rooms/large").json["state"] == {"text": text}


def test_a_blob_url_that_is_none_is_told_and_the_rest_served(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--CollabKernelServer.blob_url=s3://ann:hidden@bucket", folder=tmp_path / "it")

    answer = server.request("GET", "collabkernel/api/rooms")

    assert (answer.status, answer.json["code"]) == (503, "storage-error")
    assert answer.json["message"] == StorageError("").told
    assert "AWS_ACCESS_KEY_ID" in server.log, "which the operator reads"
    assert "hidden" not in server.log
    assert server.request("GET", "api").status == 200


def test_kernels_find_the_server_by_their_environment(server: RunningServer) -> None:
    notebook_code = (
        "import os; print(os.environ['COLLABKERNEL_URL'], open(os.environ['COLLABKERNEL_TOKEN_FILE']).read())"
    )
    answer = server.run_in_kernel(notebook_code)

    assert answer.split() == [server.base_url.replace("127.0.0.1", "localhost"), server.kernel_token]


@pytest.mark.skipif(_somaxconn() < CROWD, reason="the system lets fewer wait, whatever it is asked")
def test_a_crowd_that_comes_at_once_waits_to_be_accepted(server: RunningServer) -> None:
    where = urlsplit(server.base_url)
    assert where.hostname is not None
    with contextlib.ExitStack() as crowd:
        server.process.send_signal(signal.SIGSTOP)
        crowd.callback(server.process.send_signal, signal.SIGCONT)
        for _ in range(CROWD):
            # Who finds no place is not answered, and his system knocks again a second later.
            crowd.enter_context(socket.create_connection((where.hostname, where.port or 0), timeout=0.9))


def test_extension_is_enabled_by_the_install_and_valid() -> None:
    """What ``jupyter server extension list`` looks at, without the other extensions."""
    installed = ExtensionConfigManager(read_config_path=[str(Path(sys.prefix) / "etc" / "jupyter")])

    assert installed.get_jpserver_extensions()["collabkernel_server"] is True
    assert ExtensionPackage(name="collabkernel_server", enabled=True).validate()


def test_bad_pattern_is_refused() -> None:
    with pytest.raises(TraitError, match="room_name_pattern"):
        CollabKernelServer(room_name_pattern="(")
