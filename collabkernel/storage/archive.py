"""The archive of dropped operations: Parquet files in a folder, or under the URL of an object store.

A room has a folder of its own, named after it and when it was made, and in that one file for each stretch of its log::

    planning.1763000000000/0000000000000001-0000000000100000.parquet

Columns are those of ``OpRow``; ``payload`` is an encoded ``Op`` of collab.proto. A file is written beside its place,
read back, and then moved there, so one that is there is whole. Everything here blocks: not for the loop's thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from collabkernel.errors import ArchiveError
from collabkernel.storage.base import OpRow, RoomRow

if TYPE_CHECKING:  # of the extra ``archive``
    import pyarrow

FILE_ROWS = 100_000
"""Operations in one file: a few megabytes, compressed."""
FILE_BYTES = 64 << 20
"""... and their payloads: what is in memory while it is written, twice."""
_FILE = re.compile(r"(\d{16})-(\d{16})\.parquet")


class Archive:
    """Operations of rooms, by room and seq."""

    def __init__(self, url: str) -> None:
        """Take a folder's path, or a URL that Arrow knows, such as ``s3://bucket/folder`` or ``gs://...``.

        Raises:
            ArchiveError: It is none, or pyarrow is not installed.
        """
        try:
            from pyarrow import fs, parquet
        except ImportError:
            raise ArchiveError(
                "an archive needs pyarrow: pip install 'collabkernel[archive]', or compact without one"
            ) from None
        self._fs: Any = fs
        self._parquet: Any = parquet
        parts = urlsplit(url)
        with _explained(f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if "://" in url else url, url):
            where = url if "://" in url else Path(url).absolute().as_uri()
            self._files, self._root = fs.FileSystem.from_uri(where)

    def is_full(self, rows: Sequence[OpRow]) -> bool:
        """Whether these are enough for one file."""
        return len(rows) >= FILE_ROWS or sum([len(row.payload) for row in rows]) >= FILE_BYTES

    def last(self, room: RoomRow) -> OpRow | None:
        """The last operation of a room that is here; None when there is none.

        Raises:
            ArchiveError: It cannot be read.
        """
        folder = self._folder(room)
        with _explained(folder):
            chosen = self._fs.FileSelector(folder, allow_not_found=True)
            names = [_FILE.fullmatch(found.base_name) for found in self._files.get_file_info(chosen)]
            newest = max([(int(name[2]), name[0]) for name in names if name is not None], default=None)
            if newest is None:
                return None
            with self._files.open_input_file(f"{folder}/{newest[1]}") as stream:
                file = self._parquet.ParquetFile(stream)
                rows = file.read_row_group(file.num_row_groups - 1)
            (row,) = rows.slice(rows.num_rows - 1).to_pylist()
        return OpRow(**row)

    def write(self, room: RoomRow, rows: Sequence[OpRow]) -> None:
        """Put operations here that follow one another.

        Raises:
            ArchiveError: They cannot be written, or do not read as what was written.
        """
        folder = self._folder(room)
        path = f"{folder}/{rows[0].seq:016}-{rows[-1].seq:016}.parquet"
        beside = f"{folder}/.{os.getpid()}.tmp"
        table = _table(rows)
        with _explained(path):
            self._files.create_dir(folder, recursive=True)
            with self._files.open_output_stream(beside) as stream:
                self._parquet.write_table(table, stream, compression="zstd")
            with self._files.open_input_file(beside) as stream:
                if not self._parquet.read_table(stream).equals(table):
                    raise ArchiveError(f"{path} does not read as what was written: the disk or the store is damaged")
            self._files.move(beside, path)

    def _folder(self, room: RoomRow) -> str:
        return f"{self._root}/{room.room_id}.{room.created_ms}"


def _table(rows: Sequence[OpRow]) -> pyarrow.Table:
    import pyarrow

    integer = pyarrow.int64()
    kinds = dict.fromkeys(OpRow._fields, integer) | {"actor": pyarrow.string(), "payload": pyarrow.binary()}
    columns = zip(*rows, strict=True)
    arrays = [pyarrow.array(column, kinds[name]) for name, column in zip(OpRow._fields, columns, strict=True)]
    return pyarrow.table(arrays, names=list(OpRow._fields))


@contextmanager
def _explained(where: str, secret: str = "") -> Iterator[None]:
    """Say what was wrong where, without a URL that may have a password in it.

    Most of Arrow's errors are ValueError or OSError as well, some are its own alone.
    """
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ValueError, ArrowException) as error:
        told = str(error).replace(secret, where) if secret else str(error)
        raise ArchiveError(f"the archive {where} cannot be used: {told}") from None
