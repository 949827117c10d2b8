"""What the server needs of a socket."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """The sending half of one WebSocket, or of its twin in memory."""

    def send(self, frame: bytes) -> None:
        """Queue one binary frame. Never blocks and never raises; a dead socket drops it."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes given to ``send`` that the socket has not taken yet."""

    def close(self, code: str, reason: str) -> None:
        """Close after what was sent. ``code`` is one of ours: ``CLOSE_CODES`` maps it to the WebSocket's."""


CLOSE_CODES: dict[str, int] = {
    "server-stopping": 1012,
    "idle": 1001,
    "slow-consumer": 1013,
    "storage-error": 1013,
    "degraded": 1013,
    "room-reset": 1013,
    "room-failed": 1013,
    "fenced": 1013,
    "moved": 1013,
    "too-many": 1013,
    "room-not-found": 1013,
    "superseded": 4001,
    "bad-resume": 4003,
    "purged": 4003,
    "room-deleted": 4004,
    "server-draining": 4012,
    "hello-timeout": 4008,
}
"""Our codes to WebSocket close codes (RFC 6455 section 7.4; 4000 and up are ours). Any other is 1008."""
CLOSE_CODE_OTHER = 1008
