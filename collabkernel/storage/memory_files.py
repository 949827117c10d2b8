"""Leases and files in this process's memory: the twins of ``leases`` and ``files``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from collabkernel.limits import FILE_BASE_BYTES, FILE_DELETED_KEPT_MS, LEASE_EXPIRED_KEPT_MS, SAVE_INTENTS
from collabkernel.storage.base import FileRow, Lease, SaveRow
from collabkernel.storage.rules import check_move, check_path, is_at_or_below, new_id


def clock_ms() -> int:
    """This process's wall clock: there is no database that would have another."""
    return time.time_ns() // 1_000_000


class MemoryLeases:
    """Leases by name; of those that went, the highest token stays."""

    def __init__(self, now_ms: Callable[[], int] = clock_ms) -> None:
        self._now_ms = now_ms
        self._token = 0
        self._lease_by_name: dict[str, Lease] = {}

    def acquire(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """Take a lease that is free, expired, or the holder's own."""
        held, now_ms = self._lease_by_name.get(name), self._now_ms()
        if held is not None and held.holder != holder and held.expires_ms > now_ms:
            return None
        lease = Lease(name, holder, (held.token if held else self._token) + 1, now_ms + ttl_ms)
        self._lease_by_name[name] = lease
        return lease

    def renew(self, lease: Lease, ttl_ms: int) -> Lease | None:
        """The lease for longer; None when it is lost."""
        if not self.holds(lease):
            return None
        renewed = Lease(lease.name, lease.holder, lease.token, self._now_ms() + ttl_ms)
        self._lease_by_name[lease.name] = renewed
        return renewed

    def release(self, lease: Lease) -> None:
        """Let others have it at once."""
        oldest_ms = self._now_ms() - LEASE_EXPIRED_KEPT_MS
        going = [held for held in self._lease_by_name.values() if held.expires_ms < oldest_ms]
        if self.is_newest(lease):
            going.append(lease)
        for held in going:
            self._token = max(self._token, held.token)
            self._lease_by_name.pop(held.name, None)

    def holds(self, lease: Lease) -> bool:
        """Whether it is neither lost nor expired."""
        return self.is_newest(lease) and self._lease_by_name[lease.name].expires_ms > self._now_ms()

    def is_newest(self, lease: Lease) -> bool:
        """Whether nobody has had it since, and it was not released."""
        held = self._lease_by_name.get(lease.name)
        return held is not None and (held.token, held.holder) == (lease.token, lease.holder)


class MemoryFiles:
    """Files by id."""

    def __init__(self) -> None:
        self._file_by_id: dict[str, FileRow] = {}
        self._id_by_path: dict[str, str] = {}
        """Of those that are not deleted."""
        self._saves_by_id: dict[str, dict[str, SaveRow]] = {}
        """Of each file, by view."""
        self._base_by_view: dict[tuple[str, str], bytes] = {}

    def by_path(self, path: str, create: bool, now_ms: int) -> FileRow | None:
        """The file at a path, made when asked."""
        check_path(path)
        file_id = self._id_by_path.get(path)
        if file_id is None and create:
            row = FileRow(new_id(), path, False, now_ms)
            file_id = self._put(row)
        return None if file_id is None else self._file_by_id[file_id]

    def by_id(self, file_id: str) -> FileRow | None:
        """The file, deleted or not."""
        return self._file_by_id.get(file_id)

    def move(self, old: str, new: str, now_ms: int) -> list[FileRow]:
        """Move a file, or all below a directory."""
        check_move(old, new)
        moved = self._at_or_below(old)
        if old == new or not moved:
            return moved
        for row in moved:
            del self._id_by_path[row.path]
        self._set_deleted(self._at_or_below(new), now_ms)
        after = [row._replace(path=new + row.path[len(old) :], updated_ms=now_ms) for row in moved]
        for row in after:
            self._put(row)
        return after

    def delete(self, path: str, now_ms: int) -> None:
        """Mark a file, or all below a directory, as deleted."""
        check_path(path)
        self._set_deleted(self._at_or_below(path), now_ms)

    def restore(self, file_id: str, now_ms: int) -> bool:
        """Make a deleted file live again."""
        row = self._file_by_id.get(file_id)
        if row is None or not row.deleted or row.path in self._id_by_path:
            return False
        self._put(row._replace(deleted=False, updated_ms=now_ms))
        return True

    def intend(self, file_id: str, view: str, hash_: str) -> bool:
        """Note what is about to be put on disk."""
        before = self._prepared(file_id, view)
        if before is None:
            return False
        intents = (*[known for known in before.intents if known != hash_], hash_)[-SAVE_INTENTS:]
        self._saves_by_id[file_id][view] = before._replace(intents=intents)
        return True

    def record(self, file_id: str, view: str, hash_: str, seq: int, base: bytes, now_ms: int) -> bool:
        """Note what was saved."""
        before = self._prepared(file_id, view)
        if before is None:
            return False
        intents = tuple([known for known in before.intents if known != hash_])
        self._saves_by_id[file_id][view] = SaveRow(hash_, seq, intents, now_ms)
        self._base_by_view.pop((file_id, view), None)
        if len(base) <= FILE_BASE_BYTES:
            self._base_by_view[file_id, view] = base
        return True

    def saved(self, file_id: str, view: str) -> SaveRow | None:
        """The last save."""
        return self._saves_by_id.get(file_id, {}).get(view)

    def saved_base(self, file_id: str, view: str) -> bytes | None:
        """What was kept of its content."""
        return self._base_by_view.get((file_id, view))

    def _prepared(self, file_id: str, view: str) -> SaveRow | None:
        row = self._file_by_id.get(file_id)
        if row is None or row.deleted:
            return None
        return self._saves_by_id.setdefault(file_id, {}).get(view) or SaveRow("", 0, (), 0)

    def _at_or_below(self, path: str) -> list[FileRow]:
        ids = [self._id_by_path[known] for known in sorted(self._id_by_path) if is_at_or_below(known, path)]
        return [self._file_by_id[file_id] for file_id in ids]

    def _put(self, row: FileRow) -> str:
        self._file_by_id[row.file_id] = row
        self._id_by_path[row.path] = row.file_id
        return row.file_id

    def _set_deleted(self, rows: Iterable[FileRow], now_ms: int) -> None:
        oldest_ms = now_ms - FILE_DELETED_KEPT_MS
        for gone in [row for row in self._file_by_id.values() if row.deleted and row.updated_ms < oldest_ms]:
            del self._file_by_id[gone.file_id]
        for row in rows:
            del self._id_by_path[row.path]
            for view in self._saves_by_id.pop(row.file_id, {}):
                self._base_by_view.pop((row.file_id, view), None)
            self._file_by_id[row.file_id] = row._replace(deleted=True, updated_ms=now_ms)
