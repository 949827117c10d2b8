"""Database URLs."""

from __future__ import annotations

import sys

import pytest

from collabkernel.errors import StorageError
from collabkernel.storage import open_storage
from collabkernel.storage.database import parse_url
from collabkernel.storage.memory import MemoryStorage
from collabkernel.storage.sql import SqlStorage


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///rooms.db", "sqlite+pysqlite:///rooms.db"),
        ("sqlite:////srv/rooms.db", "sqlite+pysqlite:////srv/rooms.db"),
        ("sqlite+aiosqlite:///rooms.db", "sqlite+pysqlite:///rooms.db"),
        ("postgresql://ann:pw@host:5433/rooms", "postgresql+asyncpg://ann:pw@host:5433/rooms"),
        ("postgres://host/rooms", "postgresql+asyncpg://host/rooms"),
        ("postgresql+psycopg://host/rooms?sslmode=require", "postgresql+asyncpg://host/rooms?ssl=require"),
    ],
)
def test_a_url_gets_our_driver(url: str, expected: str):
    assert parse_url(url).render_as_string(hide_password=False) == expected


def test_the_url_chooses_the_storage():
    assert isinstance(open_storage("memory://"), MemoryStorage)
    assert isinstance(open_storage("sqlite:///rooms.db"), SqlStorage)
    assert isinstance(open_storage("postgresql://host/rooms"), SqlStorage)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("rooms.db", "write sqlite:///FILE"),
        ("sqlite://", "or memory:// for rooms that need not last"),
        ("sqlite:///:memory:", "or memory:// for rooms that need not last"),
        ("mysql://ann:secret@host/rooms", "sqlite:///FILE, postgresql://HOST/NAME or memory://"),
    ],
)
def test_other_urls_are_refused_with_advice(url: str, advice: str):
    with pytest.raises(StorageError) as refused:
        open_storage(url)

    assert advice in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_missing_driver_is_told_how_to_be_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(StorageError, match=r"pip install 'collabkernel\[postgres\]'") as refused:
        open_storage("postgresql://ann:secret@host/rooms")

    assert "secret" not in str(refused.value)


def test_rooms_in_memory_do_without_sqlalchemy():
    import subprocess

    program = "import sys; from collabkernel.storage import open_storage; open_storage('memory://');"
    subprocess.run([sys.executable, "-c", program + "assert 'sqlalchemy' not in sys.modules"], check=True)
