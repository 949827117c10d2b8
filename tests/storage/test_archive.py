"""What is in the archive, and what it says when it cannot be used."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from collabkernel.errors import ArchiveError
from collabkernel.storage.archive import FILE_BYTES, FILE_ROWS, Archive
from collabkernel.storage.base import OpRow, RoomRow

ROOM = RoomRow("plan", 9, 5, 1_763_000_000_000, 0, 0)


def rows(first: int, last: int) -> list[OpRow]:
    return [
        OpRow(seq, 2**32 - 1, seq, seq, 0, 2**62 + seq, "ann é", 3, b"\0\xff%d" % seq) for seq in range(first, last + 1)
    ]


@pytest.mark.parametrize("as_url", [False, True])
def test_what_was_written_is_read_by_others(tmp_path: Path, as_url: bool) -> None:
    folder = tmp_path / "ar chive"
    archive = Archive(folder.as_uri() if as_url else str(folder))
    assert archive.last(ROOM) is None

    archive.write(ROOM, rows(1, 4))
    archive.write(ROOM, rows(5, 5))

    assert archive.last(ROOM) == rows(5, 5)[0]
    assert archive.last(replace(ROOM, created_ms=ROOM.created_ms + 1)) is None, "a later room of that name"
    files = sorted(folder.rglob("*"))
    assert [file.name for file in files if file.is_file()] == [
        "0000000000000001-0000000000000004.parquet",
        "0000000000000005-0000000000000005.parquet",
    ]
    read = parquet.read_table(folder / f"plan.{ROOM.created_ms}").to_pylist()
    assert [OpRow(**row) for row in read] == rows(1, 5)


def test_a_file_that_was_interrupted_is_none(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    archive.write(ROOM, rows(1, 4))
    (tmp_path / f"plan.{ROOM.created_ms}" / ".123.tmp").write_bytes(b"PAR1")
    assert archive.last(ROOM) == rows(1, 4)[-1]


def test_a_file_is_full_by_rows_or_bytes(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    (row,) = rows(1, 1)
    assert not archive.is_full([row] * (FILE_ROWS - 1))
    assert archive.is_full([row] * FILE_ROWS)
    assert archive.is_full([row._replace(payload=bytes(FILE_BYTES // 4))] * 4)


def test_what_cannot_be_used_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ArchiveError, match="cannot be used"):
        Archive(str(tmp_path / "file")).write(ROOM, rows(1, 1))
    with pytest.raises(ArchiveError, match="ftp://nowhere/else") as raised:
        Archive("ftp://ann:secret@nowhere/else?key=secret")
    assert "secret" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ArchiveError, match=r"pip install 'collabkernel\[archive\]'"):
        Archive(str(tmp_path))


def test_what_does_not_read_as_it_was_written_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(str(tmp_path))
    write = parquet.write_table
    monkeypatch.setattr(parquet, "write_table", lambda table, *rest, **more: write(table.slice(1), *rest, **more))
    with pytest.raises(ArchiveError, match="does not read"):
        archive.write(ROOM, rows(1, 4))
    assert archive.last(ROOM) is None
