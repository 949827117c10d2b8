"""Files in SQL: ids that follow a path through renames, and what was last saved there. Over a connection.

Paths are compared code point by code point, in any case and in any Unicode form: as the file systems that tell them
apart do. What is below a directory is a range of paths, so no pattern is ever matched. At most one file that is not
deleted has a path; an index sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, delete, or_, select, text, update

from collabkernel.limits import FILE_DELETED_KEPT_MS
from collabkernel.storage import standing
from collabkernel.storage.base import FileRow
from collabkernel.storage.inserts import insert_if_new
from collabkernel.storage.rules import new_id
from collabkernel.storage.tables import files, saves

_FILE_ROW = tuple(files.c["id" if name == "file_id" else name] for name in FileRow._fields)
_ID: BindParameter[str] = bindparam("id_")
_PATH: BindParameter[str] = bindparam("path_")


def by_path(connection: Connection, path: str) -> FileRow | None:
    """The file at a path, or None."""
    row = connection.execute(select(*_FILE_ROW).where(files.c.path == path, files.c.deleted.is_(False))).one_or_none()
    return None if row is None else FileRow(*row)


def by_id(connection: Connection, file_id: str) -> FileRow | None:
    """The file, deleted or not; None when there never was one."""
    row = connection.execute(select(*_FILE_ROW).where(files.c.id == file_id)).one_or_none()
    return None if row is None else FileRow(*row)


def create(connection: Connection, path: str, now_ms: int) -> FileRow:
    """The file at a path, with a new id when there is none."""
    _lock(connection)
    values = dict(zip(files.c.keys(), FileRow(new_id(), path, False, now_ms), strict=True))
    insert_if_new(connection, files, values)
    row = by_path(connection, path)
    assert row is not None, "it was made, or was there"
    return row


def move(connection: Connection, old: str, new: str, now_ms: int) -> list[FileRow]:
    """Move a file, or all below a directory; what is at the new path is replaced. Returns what was moved."""
    _lock(connection)
    moved = _at_or_below(connection, old)
    if old == new or not moved:
        return moved
    ids = {row.file_id for row in moved}
    _set_deleted(connection, [row for row in _at_or_below(connection, new) if row.file_id not in ids], now_ms)
    # First all away, then all there: halfway, two of them could have the same path.
    connection.execute(update(files).where(files.c.id == _ID).values(deleted=True), [{"id_": i} for i in ids])
    after = [row._replace(path=new + row.path[len(old) :], updated_ms=now_ms) for row in moved]
    connection.execute(
        update(files).where(files.c.id == _ID).values(path=_PATH, deleted=False, updated_ms=now_ms),
        [{"id_": row.file_id, "path_": row.path} for row in after],
    )
    return after


def remove(connection: Connection, path: str, now_ms: int) -> None:
    """Mark a file, or all below a directory, as deleted."""
    _lock(connection)
    _set_deleted(connection, _at_or_below(connection, path), now_ms)


def restore(connection: Connection, file_id: str, now_ms: int) -> bool:
    """Make a deleted file live again; False when it is not deleted, or another has its path."""
    _lock(connection)
    row = by_id(connection, file_id)
    if row is None or not row.deleted or by_path(connection, row.path) is not None:
        return False
    connection.execute(update(files).where(files.c.id == file_id).values(deleted=False, updated_ms=now_ms))
    return True


def _lock(connection: Connection) -> None:
    """Let no other transaction change paths meanwhile; on SQLite BEGIN IMMEDIATE has seen to that."""
    standing.check_files_here(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE files IN SHARE ROW EXCLUSIVE MODE"))


def _at_or_below(connection: Connection, path: str) -> list[FileRow]:
    query = select(*_FILE_ROW).where(files.c.deleted.is_(False), _is_at_or_below(path)).order_by(files.c.path)
    return [FileRow(*row) for row in connection.execute(query)]


def _is_at_or_below(path: str) -> ColumnElement[bool]:
    """All that begins with ``path/`` is below ``path0``, since 0 is the sign after the slash."""
    return or_(files.c.path == path, (files.c.path >= path + "/") & (files.c.path < path + "0"))


def _set_deleted(connection: Connection, rows: Iterable[FileRow], now_ms: int) -> None:
    long_gone = files.c.deleted.is_(True) & (files.c.updated_ms < now_ms - FILE_DELETED_KEPT_MS)
    connection.execute(delete(files).where(long_gone))
    ids = [{"id_": row.file_id} for row in rows]
    if ids:
        connection.execute(update(files).where(files.c.id == _ID).values(deleted=True, updated_ms=now_ms), ids)
        connection.execute(delete(saves).where(saves.c.file == _ID), ids)
