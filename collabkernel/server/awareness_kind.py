"""Rooms of awareness alone: made from nothing, and gone when nobody is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from collabkernel.limits import Limits
from collabkernel.room.awareness_room import AwarenessRoom
from collabkernel.room.effects import Ban, ReadCatchUp
from collabkernel.room.events import FrameReceived, Keeping
from collabkernel.server.kinds import LoadedRoom
from collabkernel.storage.base import OpRow, RoomRow


class AwarenessKind:
    """Rooms that have no log."""

    hello_timeout_ms: int | None = None

    def __init__(self, limits: Limits, now_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self.bytes_per_s = limits.frame_bytes_per_s
        self.work_ms_per_s: int | None = limits.document_work_ms_per_s
        self.thread_bytes: int | None = None

    async def load(self, room_id: str, has_peers: bool) -> LoadedRoom:
        """An empty room."""
        return AwarenessRoom(room_id, self._limits, self._now_ms(), has_peers)

    async def catch_up(self, room_id: str, effect: ReadCatchUp) -> tuple[tuple[bytes, ...], int]:
        """There is nothing to catch up with."""
        raise AssertionError(f"room {room_id} asks for {effect}")

    async def rows_after(self, room_id: str, after_seq: int) -> Sequence[OpRow]:
        """There is no log."""
        raise AssertionError(f"room {room_id} reads after {after_seq}")

    async def row(self, room_id: str) -> RoomRow | None:
        """It is in no database."""
        del room_id
        return None

    async def write_snapshot(self, room_id: str, seq: int, now_ms: int) -> None:
        """There is nothing to keep."""
        raise AssertionError(f"room {room_id} keeps {seq} at {now_ms}")

    async def take_keeping(self, room_id: str) -> Keeping | None:
        """There is nothing to mend."""
        raise AssertionError(f"room {room_id} asks for a keeper")

    async def give_keeping(self, room_id: str, keeping: Keeping) -> None:
        """There is nothing to mend."""
        raise AssertionError(f"room {room_id} had {keeping}")

    def forget(self, room_id: str) -> None:
        """Nothing is kept."""

    def ban(self, room_id: str, effect: Ban) -> None:
        """Nobody can do harm here."""
        raise AssertionError(f"room {room_id} keeps {effect.actor} out")

    def farewell(self, code: str, reason: str) -> bytes:
        """The Yjs protocol has no goodbye but the close code."""
        del code, reason
        return b""

    def event(self, session_id: int, frame: bytes) -> FrameReceived:
        """One frame, one message; the room reads it."""
        return FrameReceived(session_id, frame)

    async def events(self, session_id: int, frame: bytes) -> list[tuple[FrameReceived, int]]:
        """All are one event."""
        raise AssertionError(f"session {session_id} sent {len(frame)} bytes that are not one event")
