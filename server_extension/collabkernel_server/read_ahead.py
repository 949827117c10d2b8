"""Tornado's WebSocket, which takes what has come in one read where it would make three of each frame.

Tornado reads the header, the mask and the payload each by itself: a future for each, and since a part of the frame is
left in its buffer meanwhile, it takes the socket out of the event loop's selector and puts it back for the next frame.
That was a fifth of what an edit took of the loop.
"""

from __future__ import annotations

from typing import Any

from tornado.websocket import WebSocketHandler, WebSocketProtocol13

AHEAD_BYTES = 16 << 10
"""What is read ahead of a socket that sends faster than its room takes: it is held here, and TCP holds the rest."""


class ReadAheadProtocol(WebSocketProtocol13):
    """The server's end of one connection. All that frames mean is Tornado's affair."""

    # A slot: Python shares the keys of up to 30 attributes; one more than Tornado's own took each socket 1.5 KB.
    __slots__ = ("_ahead",)

    def __init__(self, handler: WebSocketHandler, params: Any) -> None:
        super().__init__(handler, False, params)
        self._ahead = b""

    async def _read_bytes(self, n: int) -> bytes:
        ahead = self._ahead
        while len(ahead) < n:
            missing = n - len(ahead)
            is_large = missing > AHEAD_BYTES
            more = await self.stream.read_bytes(missing if is_large else AHEAD_BYTES, partial=not is_large)
            ahead = ahead + more if ahead else more
        self._ahead = ahead[n:]
        self._wire_bytes_in += n
        return ahead[:n]
