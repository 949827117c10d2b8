"""Where rooms are kept by default, and the lock that keeps two servers off one SQLite file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from jupyter_core.paths import jupyter_data_dir
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from collabkernel.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows: SQLite's own locks keep the file whole; two servers on it are not detected.
    fcntl = None  # type: ignore[assignment]  # the module where there is one

MEMORY_URL = "memory://"
"""Rooms that need not outlive the server process."""


def default_db_url() -> str:
    """SQLite in Jupyter's data directory: durable, and one for each user."""
    return f"sqlite:///{Path(jupyter_data_dir()) / 'collabkernel' / 'rooms.sqlite'}"


def sqlite_path(db_url: str) -> Path | None:
    """The file of a SQLite URL; None for every other URL, of which the storage itself says what is wrong."""
    try:
        url = make_url(db_url)
    except ArgumentError:
        return None
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if is_file else None


class DatabaseLock:
    """Held by the one server process that serves a SQLite file; gone when the process is, however it ends.

    Each server keeps the rooms it serves in memory. Two on one file would each miss what the other stores.
    """

    def __init__(self, db_url: str) -> None:
        self._db_url = db_url
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Make the database's folder (0700) and take the lock.

        Raises:
            StorageError: If another server has it, or the folder cannot be written.
        """
        database = sqlite_path(self._db_url)
        if database is None or self._file is not None:
            return
        path = database.with_name(database.name + ".lock")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = path.open("a+", encoding="ascii")
        except OSError as error:
            raise StorageError(f"cannot write beside the database {database}: {error.strerror}") from error
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise StorageError(
                f"another server (process {holder}) hosts the rooms in {database}; connect to that one, stop it,"
                " or give this server a database of its own: --CollabKernelServer.db_url=sqlite:////path/rooms.sqlite"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let another server have it; idempotent. The lock's file stays, so that nobody locks a removed one."""
        if self._file is not None:
            self._file.close()
            self._file = None
