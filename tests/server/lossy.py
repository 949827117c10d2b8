"""A storage in memory whose snapshots, from some seq on, cannot be read before they are written again."""

from __future__ import annotations

from collections.abc import Sequence

from collabkernel.errors import BlobLostError, BlobsAwayError
from collabkernel.storage.base import SnapshotRow
from collabkernel.storage.memory import MemoryStorage


class LossyStorage(MemoryStorage):
    """What is lost is so for ``latest_snapshot`` alone: it is what a caller is told of a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[int] = set()
        """Seqs of snapshots."""
        self.error: type[BlobLostError | BlobsAwayError] = BlobLostError

    async def latest_snapshot(
        self, room_id: str, wanted: Sequence[str] | None = None, before_seq: int | None = None
    ) -> SnapshotRow | None:
        snapshot = await super().latest_snapshot(room_id, wanted, before_seq)
        if snapshot is not None and snapshot.seq in self.lost:
            raise self.error(f"the snapshot at {snapshot.seq} is gone")
        return snapshot

    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        await super().save_snapshot(snapshot, now_ms)
        self.lost.discard(snapshot.seq)
