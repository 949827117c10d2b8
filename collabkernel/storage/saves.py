"""Saves in SQL: what was last put on disk of each view of a file, and what is about to be. Over a connection."""

from __future__ import annotations

from sqlalchemy import Connection, Update, delete, insert, select, update

from collabkernel.limits import SAVE_INTENTS
from collabkernel.storage import files, leases, standing
from collabkernel.storage.base import Lease, SaveRow
from collabkernel.storage.inserts import insert_if_new
from collabkernel.storage.tables import save_bases, saves


def by_view(connection: Connection, file_id: str, view: str) -> SaveRow | None:
    """The last save, or None."""
    row = connection.execute(
        select(saves.c.hash, saves.c.seq, saves.c.intents, saves.c.updated_ms).where(
            saves.c.file == file_id, saves.c.view == view
        )
    ).one_or_none()
    return None if row is None else SaveRow(row.hash, row.seq, tuple(row.intents.split()), row.updated_ms)


def intend(connection: Connection, file_id: str, lease: Lease, view: str, hash_: str) -> bool:
    """Note what is about to be put on disk, under a lease; False when it is lost or there is no such file."""
    before = _prepared(connection, file_id, lease, view)
    if before is None:
        return False
    intents = [*[known for known in before.intents if known != hash_], hash_][-SAVE_INTENTS:]
    connection.execute(_change(file_id, view).values(intents=" ".join(intents)))
    return True


def record(
    connection: Connection, file_id: str, lease: Lease, view: str, hash_: str, seq: int, base: bytes | None, now_ms: int
) -> bool:
    """Note what was saved, under a lease; False, with nothing written, when it is lost or there is no such file."""
    before = _prepared(connection, file_id, lease, view)
    if before is None:
        return False
    intents = " ".join([known for known in before.intents if known != hash_])
    connection.execute(_change(file_id, view).values(hash=hash_, seq=seq, intents=intents, updated_ms=now_ms))
    connection.execute(delete(save_bases).where(save_bases.c.file == file_id, save_bases.c.view == view))
    if base is not None:
        connection.execute(insert(save_bases), {"file": file_id, "view": view, "data": base})
    return True


def base(connection: Connection, file_id: str, view: str) -> bytes | None:
    """What was kept of the content, compressed."""
    data = connection.scalar(select(save_bases.c.data).where(save_bases.c.file == file_id, save_bases.c.view == view))
    return None if data is None else bytes(data)


def _prepared(connection: Connection, file_id: str, lease: Lease, view: str) -> SaveRow | None:
    """The row to change, made when there is none yet; None when it must not be changed."""
    standing.check_files_here(connection)
    if not leases.is_newest(connection, lease):
        return None
    file = files.by_id(connection, file_id)
    if file is None or file.deleted:
        return None
    if (known := by_view(connection, file_id, view)) is not None:
        return known
    row = {"file": file_id, "view": view, "hash": "", "seq": 0, "intents": "", "updated_ms": 0}
    insert_if_new(connection, saves, row)
    return by_view(connection, file_id, view)


def _change(file_id: str, view: str) -> Update:
    return update(saves).where(saves.c.file == file_id, saves.c.view == view)
