"""What runners know of rooms of live values; tests/server/test_hub.py runs them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapSet
from collabkernel.errors import RemoteProtocolError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.effects import Ban
from collabkernel.room.room import Room
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.server.kinds import DECODE_INLINE_BYTES, ENVELOPES_PER_EVENT, LiveKind
from collabkernel.server.reader import Reader
from collabkernel.storage.base import SnapshotRow
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import Submit
from tests.server.test_reader import filled


def kind(storage: MemoryStorage | None = None, limits: Limits | None = None, now_ms: int = 0) -> LiveKind:
    storage, limits = storage or MemoryStorage(), limits or Limits()
    leases = KeeperLeases(storage, "here", limits, lambda: now_ms)
    return LiveKind(Reader(storage), leases, limits, lambda: now_ms)


def test_a_large_frame_becomes_several_events():
    count = 3 * ENVELOPES_PER_EVENT
    frame = encode_client_message(
        Submit(tuple([Envelope(n, 0, 1, (MapSet(ROOT, "k", "v" * 30),)) for n in range(1, count + 1)]))
    )
    assert len(frame) > DECODE_INLINE_BYTES

    events = asyncio.run(kind().events(7, frame))

    assert len(events) == 3
    assert sum([len(event.message.envelopes) for event, _ in events]) == count  # type: ignore[union-attr]  # Submits


def test_a_large_frame_of_garbage_is_left_to_the_room():
    ((event, size_bytes),) = asyncio.run(kind().events(7, b"\xff" * (DECODE_INLINE_BYTES + 1)))

    assert isinstance(event.message, RemoteProtocolError)
    assert size_bytes == DECODE_INLINE_BYTES + 1


def test_a_farewell_is_a_bye():
    bye = decode_server_message(kind().farewell("room-reset", "again"), Limits()).bye

    assert bye is not None
    assert bye.code == "room-reset"


def test_nobody_is_kept_out():
    with pytest.raises(AssertionError):
        kind().ban("board", Ban("eve", "hostile"))


@pytest.mark.parametrize(("ops", "snapshot_seq"), [(31, 31), (30, 0)])
def test_a_room_with_a_long_log_has_a_snapshot_when_it_is_open(ops: int, snapshot_seq: int) -> None:
    async def main() -> None:
        storage = await filled(ops)
        room = await kind(storage, Limits(catch_up_ops=30)).load("board", has_peers=False)

        snapshot = await storage.latest_snapshot("board")
        assert (0 if snapshot is None else snapshot.seq) == snapshot_seq
        assert isinstance(room, Room)
        assert room.head == ops

    asyncio.run(main())


class FullDisk(MemoryStorage):
    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        raise StorageError(f"no room for a snapshot at {snapshot.seq}, {now_ms}")


def test_a_room_opens_though_its_snapshot_cannot_be_written(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        of_full_disk = kind(await filled(31, FullDisk()), Limits(catch_up_ops=30), now_ms=5)
        with caplog.at_level(logging.WARNING):
            room = await of_full_disk.load("board", has_peers=False)
        assert isinstance(room, Room)
        assert room.head == 31

    asyncio.run(main())

    assert "opens without a snapshot: no room for a snapshot at 31, 5" in caplog.text
