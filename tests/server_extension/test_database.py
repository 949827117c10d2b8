"""The default database."""

from __future__ import annotations

from pathlib import Path

import pytest
from collabkernel_server.database import default_db_url


def test_default_is_a_file_in_the_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))

    assert default_db_url() == f"sqlite:///{tmp_path}/collabkernel/rooms.sqlite"
