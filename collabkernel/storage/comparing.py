"""Compares a room in two databases, row by row, and names the first difference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from sqlalchemy import Connection, select

from collabkernel.errors import BlobLostError
from collabkernel.storage import log
from collabkernel.storage.base import OpRow
from collabkernel.storage.copying import COPY_ROWS, ROOM, Image, RoomValues, blob_names, find_image
from collabkernel.storage.mirroring import OF_FILES, OF_ROOMS, Sides, first_difference, heavy_difference
from collabkernel.storage.snapshots import Blob
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.tables import blobs


@dataclass(frozen=True, slots=True)
class Compared:
    """What two databases have of a room."""

    room_id: str
    ops_count: int
    """Operations that both have, and that were compared."""
    checksum: str
    """SHA-256 of these, in hexadecimal."""
    difference: str = ""
    """The first that was found; empty for none."""


async def compare(
    truth: SqlStorage, copy: SqlStorage, seen: Image, after_seq: int = 0, *, is_deep: bool = False
) -> Compared:
    """Compare a room, as it was seen when it was copied last, with its copy.

    Args:
        truth: Where it is; somebody may write to it since.
        copy: Where it is copied to, by nobody meanwhile.
        seen: What it was.
        after_seq: Its log up to here was compared before.
        is_deep: Read the contents of snapshots and versions as well.
    """
    room_id = str(seen.room.values["id"])
    there = await copy.read(partial(find_image, room_id=room_id))
    if there is None:
        return Compared(room_id, 0, "", "its copy is not there")
    sides = Sides(truth, copy, seen.room.key, there.room.key)
    found = _room_difference(seen.room, there.room) or _snapshots_difference(seen, there)
    for index, table in enumerate(OF_ROOMS):
        if not found and not seen.has_same(there, index):
            found = await first_difference(table, sides, seen=seen.whole(index))
        if not found and is_deep:
            found = await heavy_difference(table, sides)
    if is_deep and not found:
        found = await _damage(copy, there)
    count, checksum, ops_difference = await _log_difference(truth, copy, seen.room, there.room, after_seq)
    return Compared(room_id, count, checksum, ops_difference or found)


async def _damage(copy: SqlStorage, there: Image) -> str:
    """What is wrong with the copy's blobs; empty for nothing."""
    try:
        for name in sorted(there.blobs):
            await copy.snapshots.read_blob(await copy.read(partial(_blob, room=there.room.key, name=name)), name)
    except BlobLostError as error:
        return f"blobs: {error}"
    return ""


async def compare_files(truth: SqlStorage, copy: SqlStorage, *, is_deep: bool = False) -> str:
    """The first difference in files and what was saved there; empty for none."""
    for table in OF_FILES:
        sides = Sides(truth, copy)
        found = await first_difference(table, sides)
        if found := found or (await heavy_difference(table, sides) if is_deep else ""):
            return found
    return ""


def _room_difference(here: RoomValues, there: RoomValues) -> str:
    for name in ROOM:
        if here.values[name] != there.values[name]:
            return f"rooms: {name} is {here.values[name]}, and in the copy {there.values[name]}"
    return ""


async def _log_difference(
    truth: SqlStorage, copy: SqlStorage, here: RoomValues, there: RoomValues, after_seq: int
) -> tuple[int, str, str]:
    seq = start = max(after_seq, here.dropped_seq, there.dropped_seq)
    digest = sha256()
    while seq < min(here.seq, there.seq):
        upto_seq = min(seq + COPY_ROWS, here.seq, there.seq)
        rows = [
            await database.read(partial(log.read_ops, room=room.key, after_seq=seq, upto_seq=upto_seq))
            for database, room in ((truth, here), (copy, there))
        ]
        # Where payloads differ in size one may have more rows; what follows comes with the next chunk.
        for mine, its in zip(*rows, strict=False):
            if mine.seq != its.seq:
                which = "truth" if its.seq < mine.seq else "copy"
                return seq - start, digest.hexdigest(), f"ops: seq {min(mine.seq, its.seq)} is missing in the {which}"
            if mine != its:
                return seq - start, digest.hexdigest(), f"ops: seq {seq + 1} differs in {_differing(mine, its)}"
            digest.update(repr(mine).encode())
            seq = mine.seq
        if not rows[0] or not rows[1]:
            which = " and ".join(name for name, each in zip(("truth", "copy"), rows, strict=True) if not each)
            return seq - start, digest.hexdigest(), f"ops: seq {seq + 1} is missing in the {which}"
    return max(seq - start, 0), digest.hexdigest(), ""


def _differing(mine: OpRow, its: OpRow) -> str:
    return ", ".join(name for name in OpRow._fields if getattr(mine, name) != getattr(its, name))


def _snapshots_difference(here: Image, there: Image) -> str:
    """Blobs are named by their contents, so equal manifests say that these are equal, if they can be read."""
    if here.snapshots != there.snapshots:
        seqs = [[row[0] for row in each.snapshots] for each in (here, there)]
        return f"snapshots: they are at {seqs[0]}, and in the copy at {seqs[1]}, or of other contents"
    if lost := blob_names(there.snapshots) - there.blobs:
        return f"blobs: {min(lost)} is not in the copy"
    return ""


def _blob(connection: Connection, room: int, name: str) -> Blob:
    row = connection.execute(
        select(blobs.c.data, blobs.c.place).where(blobs.c.room == room, blobs.c.hash == name)
    ).one()
    return Blob(bytes(row.data), row.place)
