"""Updates that are judged once this server has read what others stored before it got them.

Somebody who comes from another server may bring edits that were stored there and are not known here: of clients that
belong to others, or on top of what is not here. The log has all that anybody was ever shown, so after reading it to its
end the judgement is final.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from collabkernel.room.document_session import DocumentSession
from collabkernel.wire.y_protocol import SyncStep1, SyncUpdate

DOUBTS_MAX = 10_000
DOUBTS_BYTES_MAX = 64 << 20
"""What may wait in a room: a reading of the log takes milliseconds, and who is that far behind comes back later."""


class Doubt(NamedTuple):
    """An update, or a question behind one, that waits for a reading of the log that began after it came."""

    session: DocumentSession
    """It may have left meanwhile; what it had sent counts all the same."""
    message: SyncUpdate | SyncStep1
    reading: int


class Doubts:
    """What waits to be judged, in the order it came."""

    __slots__ = ("_count_by_session", "_doubts", "_is_reading", "_reading", "_size_bytes")

    def __init__(self) -> None:
        self._doubts: list[Doubt] = []
        self._count_by_session: Counter[int] = Counter()
        self._size_bytes = 0
        self._reading = 0
        """Readings begun, each to the end of the log."""
        self._is_reading = False

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
        settled = [doubt for doubt in self._doubts if doubt.reading <= self._reading]
        self._doubts = [doubt for doubt in self._doubts if doubt.reading > self._reading]
        self._count_by_session = Counter([doubt.session.id for doubt in self._doubts])
        self._size_bytes = sum([_size_bytes(doubt.message) for doubt in self._doubts])
        return settled


def _size_bytes(message: SyncStep1 | SyncUpdate) -> int:
    return len(message.update if isinstance(message, SyncUpdate) else message.state_vector)
