"""The default database, and the lock that keeps two servers off one file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from collabkernel_server.database import DatabaseLock, default_db_url, sqlite_path

from collabkernel.errors import StorageError


def test_default_is_a_file_in_the_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))

    assert sqlite_path(default_db_url()) == tmp_path / "collabkernel" / "rooms.sqlite"


@pytest.mark.parametrize("url", ["memory://", "postgresql://host/name", "nonsense", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_have_no_file_to_lock(url: str) -> None:
    assert sqlite_path(url) is None
    DatabaseLock(url).acquire()


def test_second_server_is_told_who_has_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/rooms.sqlite"
    first, second = DatabaseLock(url), DatabaseLock(url)
    first.acquire()
    first.acquire()

    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    with pytest.raises(StorageError, match=f"process {os.getpid()}.*db_url"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot write"):
        DatabaseLock(f"sqlite:///{tmp_path}/file/rooms.sqlite").acquire()
