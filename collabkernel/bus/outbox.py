"""What waits to be published: bounded, by room in order; what did not fit, or did not arrive, is told as a gap."""

from __future__ import annotations

from collections import deque

OUTBOX_MESSAGES_MAX = 1024
"""Messages waiting for the connection: a second of a server at 1,000 commits a second."""
OUTBOX_BYTES_MAX = 16 * 2**20
"""... and their bytes."""
MESSAGE_BYTES_MAX = 2**20
"""One message; of a larger one the others are told, and read it from the log as they would a lost one."""

GAP = b""
"""The message that says: something is missing here, the log has it."""


class Outbox:
    """Messages by room, oldest first. In a full one all are lost at once: one gap costs as much as many."""

    __slots__ = ("_bytes", "_gaps", "_messages")

    def __init__(self) -> None:
        self._messages: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._gaps: dict[str, None] = {}
        """Rooms whose subscribers are to be told of a gap, in order."""

    def __bool__(self) -> bool:
        return bool(self._gaps or self._messages)

    def put(self, room_id: str, message: bytes) -> None:
        """Queue a message; behind an untold gap of its room it is part of that."""
        if room_id in self._gaps:
            return
        if len(message) > MESSAGE_BYTES_MAX:
            self.lose([(room_id, message)])
        elif len(self._messages) >= OUTBOX_MESSAGES_MAX or self._bytes + len(message) > OUTBOX_BYTES_MAX:
            self.lose([(room_id, message)])
            self.lose_all()
        else:
            self._messages.append((room_id, message))
            self._bytes += len(message)

    def take(self, messages_max: int) -> list[tuple[str, bytes]]:
        """What to publish next: gaps, then messages."""
        taken = [(room_id, GAP) for room_id in list(self._gaps)[:messages_max]]
        for room_id, _ in taken:
            del self._gaps[room_id]
        while self._messages and not self._gaps and len(taken) < messages_max:
            room_id, message = self._messages.popleft()
            self._bytes -= len(message)
            taken.append((room_id, message))
        return taken

    def lose(self, messages: list[tuple[str, bytes]]) -> None:
        """These may not have got through: their rooms are told, and what waits of the rooms is part of it."""
        lost = dict.fromkeys(room_id for room_id, _ in messages)
        self._gaps |= lost
        if any(room_id in lost for room_id, _ in self._messages):
            self._messages = deque(each for each in self._messages if each[0] not in lost)
            self._bytes = sum(len(message) for _, message in self._messages)

    def lose_all(self) -> None:
        """Nothing that waits gets through."""
        self.lose(list(self._messages))
