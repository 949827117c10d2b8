"""What a runner must know of the kind of room that it runs: how one is loaded and read, and what its sockets say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from collabkernel.errors import RemoteProtocolError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.effects import Ban, Effect, ReadCatchUp
from collabkernel.room.events import Event, FrameReceived, Keeping
from collabkernel.room.room import Room
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.server.reader import Reader
from collabkernel.storage.base import OpRow, RoomRow
from collabkernel.wire.codec import decode_client_message
from collabkernel.wire.frames import bye_part
from collabkernel.wire.messages import Bye, ClientMessage, Submit

log = logging.getLogger(__name__)

RETRY_MS = 200
"""Who is sent away by an ending room comes back after this: about what loading one takes."""
DECODE_INLINE_BYTES = 16 << 10
"""Larger frames are read in a thread: one of a megabyte holds 40,000 operations, up to a second of work."""
ENVELOPES_PER_EVENT = 256
"""A frame with more envelopes is cut into events of so many: each is its own admission, in about 40 us."""


class LoadedRoom(Protocol):
    """A room in memory: a plain function of its past."""

    @property
    def head(self) -> int:
        """The last stored seq; 0 where nothing is stored."""

    @property
    def lag_ops(self) -> int:
        """Operations that the log is known to have and this room has not applied."""

    @property
    def size_bytes(self) -> int:
        """What its contents are counted as."""

    def described_sessions(self) -> list[dict[str, str | int]]:
        """Who is here."""

    def handle_all(self, events: Iterable[Event], now_ms: int, flush_ms: int = 0, shows: bool = True) -> list[Effect]:
        """Take events that came together, and say what follows from them.

        What is stored is shown in frames that are ``flush_ms`` apart at least: a busy server's. Without ``shows`` all
        that is due by the clock waits for the next call, which follows at once.
        """


class RoomKind(Protocol):
    """One kind of room. Every method that reads raises ``StorageError`` when the database fails."""

    hello_timeout_ms: int | None
    """A socket that has not said Hello by then is closed; None where nobody says it."""
    bytes_per_s: int
    """What a socket may send."""
    work_ms_per_s: int | None
    """Of a second, what a socket's frames may keep the processor; None where each is paid for by what is in it."""
    thread_bytes: int | None
    """A frame over this is handled in a thread; None where large ones come in small events."""

    async def load(self, room_id: str, has_peers: bool) -> LoadedRoom:
        """The room at the head of its log."""

    async def catch_up(self, room_id: str, effect: ReadCatchUp) -> tuple[tuple[bytes, ...], int]:
        """Parts that bring a session on, and the seq they reach."""

    async def rows_after(self, room_id: str, after_seq: int) -> Sequence[OpRow]:
        """A chunk of the log; empty at its head."""

    async def row(self, room_id: str) -> RoomRow | None:
        """The room as the database has it; None where it has none."""

    async def write_snapshot(self, room_id: str, seq: int, now_ms: int) -> None:
        """Write the room's snapshot at ``seq``."""

    async def take_keeping(self, room_id: str) -> Keeping | None:
        """Be the keeper of a room's documents; None while another server is."""

    async def give_keeping(self, room_id: str, keeping: Keeping) -> None:
        """Let other servers be it."""

    def forget(self, room_id: str) -> None:
        """Drop what is kept of a room."""

    def ban(self, room_id: str, effect: Ban) -> None:
        """Keep somebody out for a while."""

    def farewell(self, code: str, reason: str) -> bytes:
        """A frame for who is sent away by an ending room; empty where none is said."""

    def event(self, session_id: int, frame: bytes) -> FrameReceived | None:
        """A frame as one event; None if it must be read in a thread first, by ``events``."""

    async def events(self, session_id: int, frame: bytes) -> list[tuple[FrameReceived, int]]:
        """Such a frame as events, each with its share of the bytes."""


class LiveKind:
    """Rooms of live values."""

    def __init__(self, reader: Reader, leases: KeeperLeases, limits: Limits, now_ms: Callable[[], int]) -> None:
        self._reader = reader
        self._leases = leases
        self._limits = limits
        self._now_ms = now_ms
        self.hello_timeout_ms: int | None = limits.hello_timeout_ms
        self.bytes_per_s = limits.frame_bytes_per_s
        self.work_ms_per_s: int | None = None
        self.thread_bytes: int | None = None

    async def load(self, room_id: str, has_peers: bool) -> LoadedRoom:
        """The room at the head of its log.

        One with a long log behind its snapshot gets another at once: who opens it is sent that, not all operations.
        """
        fold, snapshot_seq = await self._reader.load(room_id)
        now_ms, is_durable = self._now_ms(), self._reader.is_durable
        if fold.seq - snapshot_seq > self._limits.catch_up_ops:
            try:
                await self._reader.save(room_id, fold, now_ms)
                snapshot_seq = fold.seq
            except StorageError as error:  # a full disk: it can be read all the same
                log.warning("Room %s opens without a snapshot: %s", room_id, error)
        return Room(room_id, fold.state, fold.seq, fold.hlc, snapshot_seq, self._limits, now_ms, is_durable, has_peers)

    async def catch_up(self, room_id: str, effect: ReadCatchUp) -> tuple[tuple[bytes, ...], int]:
        """Parts that bring a session on, and the seq they reach."""
        return await self._reader.catch_up(
            room_id, effect.after_seq, effect.head, effect.with_snapshot, effect.is_partial, effect.enough
        )

    async def rows_after(self, room_id: str, after_seq: int) -> Sequence[OpRow]:
        """A chunk of the log; empty at its head."""
        return await self._reader.rows_after(room_id, after_seq)

    async def row(self, room_id: str) -> RoomRow | None:
        """The room as the database has it; None when it was deleted."""
        return await self._reader.row(room_id)

    async def write_snapshot(self, room_id: str, seq: int, now_ms: int) -> None:
        """Write the room's snapshot at ``seq``."""
        await self._reader.write_snapshot(room_id, seq, now_ms)

    async def take_keeping(self, room_id: str) -> Keeping | None:
        """Be the keeper of a room's documents; None while another server is."""
        return await self._leases.take(room_id)

    async def give_keeping(self, room_id: str, keeping: Keeping) -> None:
        """Let other servers be it."""
        await self._leases.release(room_id, keeping)

    def forget(self, room_id: str) -> None:
        """Drop what is kept of a room."""
        self._reader.forget(room_id)

    def ban(self, room_id: str, effect: Ban) -> None:
        """Rooms of live values refuse what is wrong, and keep nobody out."""
        raise AssertionError(f"room {room_id} keeps {effect.actor} out")

    def farewell(self, code: str, reason: str) -> bytes:
        """Bye."""
        return bye_part(Bye(code, reason, RETRY_MS))

    def event(self, session_id: int, frame: bytes) -> FrameReceived | None:
        """A frame as one event, if it is not large; one over the limit is left to the room to refuse."""
        if len(frame) <= DECODE_INLINE_BYTES or len(frame) > self._limits.frame_bytes:
            return FrameReceived(session_id, frame)
        return None

    async def events(self, session_id: int, frame: bytes) -> list[tuple[FrameReceived, int]]:
        """A large frame as events; one that is no message is left to the room to refuse."""
        try:
            message = await asyncio.to_thread(decode_client_message, frame, self._limits)
        except RemoteProtocolError as error:
            return [(FrameReceived(session_id, frame, error), len(frame))]
        parts = list(_parts(message))
        size_bytes = len(frame) // len(parts)
        return [(FrameReceived(session_id, b"" if i else frame, part), size_bytes) for i, part in enumerate(parts)]


def _parts(message: ClientMessage) -> Iterable[ClientMessage]:
    if not isinstance(message, Submit) or len(message.envelopes) <= ENVELOPES_PER_EVENT:
        yield message
        return
    for start in range(0, len(message.envelopes), ENVELOPES_PER_EVENT):
        yield Submit(message.envelopes[start : start + ENVELOPES_PER_EVENT])
