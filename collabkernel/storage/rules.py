"""What may be asked of files, versions and dropped logs, and what is too much; for every storage. Pure."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence

from collabkernel.errors import InvalidValueError, StorageError
from collabkernel.limits import FILE_PATH_BYTES
from collabkernel.storage.append import is_storable_text
from collabkernel.storage.base import VersionBounds, VersionRow

COMPACTION_LEASE = "compaction"
"""Who has it may drop old operations."""


def check_path(path: str) -> None:
    """Refuse a path that no database takes, or that is none of a file below the root.

    Raises:
        InvalidValueError: If so.
    """
    if not path or path.startswith("/") or path.endswith("/"):
        raise InvalidValueError(f"{path!r} is no path of a file, relative to the root, without slashes around it")
    if not is_storable_text(path) or len(path.encode()) > FILE_PATH_BYTES:
        raise InvalidValueError(f"{path!r} is no valid UTF-8, has a NUL, or is over {FILE_PATH_BYTES} bytes")


def check_move(old: str, new: str) -> None:
    """Refuse paths that nothing can be moved between.

    Raises:
        InvalidValueError: If one is no path, or the new one is below the old one.
    """
    check_path(old)
    check_path(new)
    if new.startswith(old + "/"):
        raise InvalidValueError(f"{old!r} cannot be moved below itself, to {new!r}")


def is_at_or_below(path: str, directory: str) -> bool:
    """Whether a path is this one or below it."""
    return path == directory or path.startswith(directory + "/")


def new_id() -> str:
    """A file id: a random UUID."""
    return str(uuid.uuid4())


def surplus(rows: Sequence[VersionRow], bounds: VersionBounds) -> list[VersionRow]:
    """Those to be dropped; never the newest of all.

    The unnamed are thinned by age: that one goes whose absence leaves the smallest hole beside how long ago it was. So
    many saves of this hour do not push out those of last month. When all have names, the oldest go.

    Args:
        rows: A room's versions, oldest first.
        bounds: What it may have.
    """
    left, size_bytes = list(rows), sum([row.size_bytes for row in rows])
    gone: list[VersionRow] = []
    while len(left) > 1 and (len(left) > bounds.versions_max or size_bytes > bounds.bytes_max):
        unnamed = [index for index, row in enumerate(left[:-1]) if not row.name]
        dropped = left.pop(min(unnamed, key=lambda index: _hole(left, index)) if unnamed else 0)
        size_bytes -= dropped.size_bytes
        gone.append(dropped)
    return gone


def _hole(rows: Sequence[VersionRow], index: int) -> float:
    """The time that would have no version without this one, as a share of its age."""
    if index == 0:
        return math.inf  # how it began
    age_ms = rows[-1].created_ms - rows[index].created_ms
    return (rows[index + 1].created_ms - rows[index - 1].created_ms) / max(1, age_ms)


def check_seq(room_id: str, seq: int, head: int) -> None:
    """Refuse a version of what has not happened yet.

    Raises:
        StorageError: If so.
    """
    if not 0 <= seq <= head:
        raise StorageError(f"a version of room {room_id!r} at seq {seq} is ahead of its log, which ends at {head}")


def horizon_of(room_id: str, upto_seq: int, snapshot_seq: int) -> int:
    """The last seq that may be dropped of those up to ``upto_seq``; the snapshot's own operation stays.

    Raises:
        StorageError: If there is no snapshot at or after ``upto_seq``.
    """
    if upto_seq > snapshot_seq:
        raise StorageError(
            f"the log of room {room_id!r} is needed up to {upto_seq}: its newest snapshot is at {snapshot_seq}"
        )
    return min(upto_seq, snapshot_seq - 1)
