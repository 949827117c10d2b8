"""A room's past: what it was at a seq or a time, and who made which of its operations.

Every seq is there that the log goes back to; below, compaction has kept some states (``server.log_compaction``). A past
state is made for who asks, in threads, a few at a time; some are kept for who goes on from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from collabkernel.crdt.clock import MS_MAX
from collabkernel.crdt.ids import HLC_COUNTER_BITS
from collabkernel.errors import InvalidValueError, NotKeptError, RoomNotFoundError, TooManyError
from collabkernel.limits import Limits
from collabkernel.room.names import check_room_name
from collabkernel.server.reader import Reader
from collabkernel.server.turns import Turns
from collabkernel.storage.base import OriginRow, RoomRow, Storage

RETRY_MS = 2000
"""Who finds too many waiting comes back after this."""
STATES_MAX = 1000
"""Past states that are kept, however small."""
HLC_STORED_MAX = 2**63 - 1
"""What a database takes."""


@dataclass(frozen=True, slots=True)
class Authors:
    """Who made operations, and who writes as sites."""

    ops: list[OriginRow]
    actor_by_site: dict[int, str]


class PastStates:
    """Past states that somebody looked at lately: who goes through a history folds only what is between two of them."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._size_bytes = 0
        self._state_by_place: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        """By room, when that was made, and seq; what was asked for last comes last."""

    def nearest(self, room_id: str, made_ms: int, seq: int) -> tuple[int, bytes] | None:
        """Seq and state of the last one at or before a seq."""
        seqs = [at for room, made, at in self._state_by_place if (room, made) == (room_id, made_ms) and at <= seq]
        if not seqs:
            return None
        place = (room_id, made_ms, max(seqs))
        self._state_by_place.move_to_end(place)
        return place[2], self._state_by_place[place]

    def keep(self, room_id: str, made_ms: int, seq: int, state: bytes) -> None:
        """Keep one, and let go of those that nobody has asked for as long."""
        place = (room_id, made_ms, seq)
        self._size_bytes += len(state) - len(self._state_by_place.pop(place, b""))
        self._state_by_place[place] = state
        while self._size_bytes > self._bytes_max or len(self._state_by_place) > STATES_MAX:
            self._size_bytes -= len(self._state_by_place.popitem(last=False)[1])


class RoomHistory:
    """Reads what rooms were."""

    def __init__(self, storage: Storage, reader: Reader, limits: Limits) -> None:
        self._storage = storage
        self._reader = reader
        self._limits = limits
        self._turns = Turns("looks at past states", limits.histories_at_once, limits.histories_waiting, RETRY_MS)
        self._known = PastStates(limits.past_states_bytes)

    async def state_at(self, room_id: str, *, seq: int | None = None, at_ms: int | None = None) -> bytes:
        """A room as it was, as the bytes of a ``RoomState``, which says its seq.

        Args:
            room_id: The room.
            seq: Up to and with this operation of its log.
            at_ms: Before the first operation made later than this, milliseconds since the Unix epoch. Where the log no
                longer goes back as far, the last state that was kept and made by then.

        Raises:
            InvalidValueError: Not one of the two is given, or the log is not as long.
            NotKeptError: The log was compacted, and no such state was kept.
            RoomNotFoundError: It does not exist.
            TooLargeError: Too many operations are to be folded for it.
            TooManyError: Too many others ask.
            StorageError: The database does not answer.
        """
        check_room_name(room_id)
        if (seq is None) == (at_ms is None):
            raise InvalidValueError("a past state is asked for by seq or by time")
        async with self._turns.turn():
            row = await self._storage.head(room_id)
            if row is None:
                raise RoomNotFoundError(room_id)
            if at_ms is not None:
                return await self._state_by(row, at_ms)
            if seq is None or not 0 <= seq <= row.seq:
                raise InvalidValueError(f"the log of this room goes from 0 to {row.seq}, and has no {seq}")
            return await self._state(row, seq)

    async def _state(self, row: RoomRow, seq: int) -> bytes:
        known = self._known.nearest(row.room_id, row.created_ms, seq)
        state = await self._reader.past(row.room_id, seq, self._limits.past_ops, known)
        self._known.keep(row.room_id, row.created_ms, seq, state)
        return state

    async def _state_by(self, row: RoomRow, at_ms: int) -> bytes:
        seq = await self._storage.seq_before(row.room_id, _last_hlc(at_ms))
        if 0 < seq <= row.dropped_seq:
            seq = await self._kept_by(row, at_ms)
        try:
            return await self._state(row, seq)
        except NotKeptError as error:
            if error.before_seq is None:
                raise
            return await self._state(row, error.before_seq)

    async def _kept_by(self, row: RoomRow, at_ms: int) -> int:
        """The seq of the last state that was kept and made by a time from before the log."""
        if at_ms < row.created_ms:
            return 0
        kept = await self._storage.versions(row.room_id)
        made = [each.seq for each in kept if each.created_ms <= at_ms]
        if not made:
            raise NotKeptError(
                row.room_id, "that time", None, min([each.seq for each in kept], default=row.snapshot_seq)
            )
        return max(made)

    async def authors(self, room_id: str, ops: Sequence[tuple[int, int]], sites: Sequence[int]) -> Authors:
        """Who made operations (by site and counter), of those in the log, and who writes as sites.

        Raises:
            RoomNotFoundError: It does not exist.
            TooManyError: That is too much at once.
            StorageError: The database does not answer.
        """
        check_room_name(room_id)
        if max(len(ops), len(sites)) > self._limits.authors_asked:
            raise TooManyError("authors asked for at once", self._limits.authors_asked, 0)
        if await self._storage.head(room_id) is None:
            raise RoomNotFoundError(room_id)
        async with self._turns.turn():
            found = await self._storage.origins(room_id, ops)
            return Authors(found, await self._storage.actors(room_id, sites))


def _last_hlc(at_ms: int) -> int:
    """The last stamp of a millisecond that a log may have."""
    if not 0 <= at_ms <= MS_MAX:
        raise InvalidValueError(f"{at_ms} ms is outside a clock of 0 to {MS_MAX} ms")
    return min(((at_ms + 1) << HLC_COUNTER_BITS) - 1, HLC_STORED_MAX)
