"""Updates that are judged once this server knows what others stored before it got them.

Somebody who comes from another server may bring edits that were stored there and are not known here: of clients that
belong to others, or on top of what is not here. The log has all that anybody was ever shown, so when all of it up to
then is here the judgement is final. That is so after a reading of it that began later, and also when a row of this
server's own, which was asked to be stored later, stands right behind what is here: a busy document reads nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from collabkernel.room.document_session import DocumentSession
from collabkernel.wire.y_protocol import SyncStep1, SyncUpdate

DOUBTS_MAX = 10_000
DOUBTS_BYTES_MAX = 64 << 20
"""What may wait in a room: a reading of the log takes milliseconds, and who is that far behind comes back later."""


class Doubt(NamedTuple):
    """An update, or a question behind one, that waits to be judged."""

    session: DocumentSession
    """It may have left meanwhile; what it had sent counts all the same."""
    message: SyncUpdate | SyncStep1
    reading: int
    """The number of the first reading that begins after it came."""


class Doubts:
    """What waits to be judged, in the order it came."""

    __slots__ = ("_appends", "_arrived", "_count_by_session", "_doubts", "_is_reading", "_reading", "_size_bytes")

    def __init__(self) -> None:
        self._doubts: list[Doubt] = []
        self._count_by_session: Counter[int] = Counter()
        self._size_bytes = 0
        self._reading = 0
        """Readings begun, each to the end of the log."""
        self._is_reading = False
        self._arrived = 0
        """Messages that ever waited."""
        self._appends: deque[int] = deque()
        """Of each row that was asked to be stored, how many of them had come before."""

    def __len__(self) -> int:
        return len(self._doubts)

    def holds(self, session: DocumentSession, message: SyncUpdate | SyncStep1) -> bool:
        """Whether a message has to wait: what a session sends, behind what it sent before.

        What the server's own clients ask, behind all that waits: they save for everybody.
        """
        is_for_all = session.principal.is_service and isinstance(message, SyncStep1)
        return session.id in self._count_by_session or (is_for_all and bool(self._doubts))

    @property
    def is_full(self) -> bool:
        """Whether no more may wait."""
        return len(self._doubts) >= DOUBTS_MAX or self._size_bytes >= DOUBTS_BYTES_MAX

    def add(self, session: DocumentSession, message: SyncUpdate | SyncStep1) -> None:
        """Let a message wait."""
        self._doubts.append(Doubt(session, message, self._reading + 1))
        self._arrived += 1
        self._count_by_session[session.id] += 1
        self._size_bytes += _size_bytes(message)

    def reading_begins(self) -> None:
        """The log is read from here on, unless that is under way."""
        if not self._is_reading:
            self._is_reading = True
            self._reading += 1

    def reading_ended(self) -> list[Doubt]:
        """The log was read to its end; what is to be judged now."""
        self._is_reading = False
        return self._settle(sum([doubt.reading <= self._reading for doubt in self._doubts]))

    def append_begins(self, rows: int) -> None:
        """So many rows are asked to be stored."""
        self._appends += [self._arrived] * rows

    def append_ended(self, rows: int, is_whole: bool) -> list[Doubt]:
        """The next so many of them are; what is to be judged now, if all that is stored before them is here."""
        before = [self._appends.popleft() for _ in range(rows)]
        return self._settle(before[-1] - (self._arrived - len(self._doubts))) if is_whole and before else []

    @property
    def need_reading(self) -> bool:
        """Whether something waits that neither a reading nor a row will settle."""
        is_behind_all = bool(self._appends) and self._appends[-1] == self._arrived
        return bool(self._doubts) and not self._is_reading and not is_behind_all

    def _settle(self, count: int) -> list[Doubt]:
        """Those that came first."""
        settled, self._doubts = self._doubts[: max(0, count)], self._doubts[max(0, count) :]
        if settled:
            self._count_by_session = Counter([doubt.session.id for doubt in self._doubts])
            self._size_bytes = sum([_size_bytes(doubt.message) for doubt in self._doubts])
        return settled


def _size_bytes(message: SyncStep1 | SyncUpdate) -> int:
    return len(message.update if isinstance(message, SyncUpdate) else message.state_vector)
