"""A room's end of one Tornado WebSocket: queues frames, counts what the socket has not taken, closes with our codes."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketHandler

from collabkernel.server.transport import CLOSE_CODE_OTHER, CLOSE_CODES
from collabkernel_server.fast_socket import DirectStream

log = logging.getLogger(__name__)

_REASON_BYTES_MAX = 123
"""A close frame holds 125 bytes, two of them the status (RFC 6455, 5.5)."""
SHARED_FROM_BYTES = 4 << 10
"""Larger frames are not copied: a snapshot of 10 MB that waits for 1,000 slow sockets is one."""
PIECE_S = 0.002
"""So long sockets are written to at a time. Then the loop reads, stores and answers, which takes it some turns, before
it goes on: a frame to 1,000 sockets takes 12 to 50 ms."""
FEW = 64
"""So few that come meanwhile do not wait for the rest: these are answers, such as the 30 of a commit of a busy server,
and not what is shown to everybody."""
_PLAIN = (IOStream, DirectStream)
"""Streams whose sockets can be written to past them, when nothing waits there. Not those of TLS."""
BUFFERS_MAX = 1000
"""Pieces in one system call; Linux takes 1,024."""


def close_frame(code: str, reason: str) -> tuple[int, str]:
    """The WebSocket's close code and reason for one of our codes."""
    return CLOSE_CODES.get(code, CLOSE_CODE_OTHER), f"{code}: {reason}" if reason else code


class Pushes:
    """The transports of one server that have something to send, each of which is told once.

    What a room says to a session in one turn goes out in one write, which costs more than what is in it.
    """

    def __init__(self) -> None:
        self._new: list[SocketTransport] = []
        self._waiting: deque[SocketTransport] = deque()
        self._is_planned = False
        self._frame = self._wire = b""

    def wire(self, frame: bytes) -> bytes:
        """A frame behind its header. The last one is kept: a room gives the same frame to all of its sessions."""
        if frame is not self._frame:
            self._frame, self._wire = frame, _frame_header(len(frame)) + frame
        return self._wire

    def add(self, transport: SocketTransport) -> None:
        """Push this one when the turn is over."""
        self._new.append(transport)
        self._plan()

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._push)

    def _push(self) -> None:
        self._is_planned = False
        new, self._new = self._new, []
        if len(new) <= FEW:
            for transport in new:
                _push(transport)
        else:
            self._waiting += new
        until_s = time.monotonic() + PIECE_S
        while self._waiting:
            _push(self._waiting.popleft())
            if time.monotonic() > until_s:
                break
        if self._waiting:
            self._plan()


def _push(transport: SocketTransport) -> None:
    try:
        transport.push()
    except Exception:  # the edge of one socket: the others behind it have theirs to send
        log.exception("A socket is closed that could not be written to")
        transport.abort()


class SocketTransport:
    """Implements ``collabkernel.server.transport.Transport`` on a WebSocket handler.

    ``on_drained`` is called when the socket, after it held more than ``high_bytes``, holds no more than ``low_bytes``.
    """

    def __init__(
        self,
        socket: WebSocketHandler,
        pushes: Pushes,
        high_bytes: int,
        low_bytes: int,
        close_frame: Callable[[str, str], tuple[int, str]] = close_frame,
    ) -> None:
        self._socket = socket
        self._pushes = pushes
        self._close_frame = close_frame
        self._high_bytes = high_bytes
        self._low_bytes = low_bytes
        self._waiting: list[bytes] = []
        self._buffered_bytes = 0
        self._is_over = False
        self.on_drained: Callable[[], None] | None = None

    @property
    def buffered_bytes(self) -> int:
        """Handed to ``send`` and not yet taken by the kernel's socket buffer."""
        return self._buffered_bytes

    def send(self, frame: bytes) -> None:
        """Queue one binary frame; never blocks, never raises. After the close it does nothing."""
        if not self._waiting:
            self._pushes.add(self)
        self._waiting.append(frame)
        self._buffered_bytes += len(frame)
        if self._buffered_bytes > self._high_bytes:
            self._is_over = True

    def push(self) -> None:
        """Give the socket what waits, in one system call if it takes it; the stream gets the rest.

        ``write_message`` would make a task of each frame, the stream makes a future and a callback of each write.
        """
        frames, self._waiting = self._waiting, []
        size_bytes = sum(map(len, frames))
        connection = self._socket.ws_connection
        stream = None if connection is None or connection.is_closing() else connection.stream
        if stream is None or not frames:
            self._taken(size_bytes, is_told=False)
            return
        is_direct = type(stream) in _PLAIN and not stream.writing() and hasattr(stream.socket, "sendmsg")
        if len(frames) == 1 and len(frames[0]) < SHARED_FROM_BYTES:
            buffers = [self._pushes.wire(frames[0])]
        else:
            buffers = [buffer for frame in frames for buffer in (_frame_header(len(frame)), frame)]
        rest = _rest_of(stream.socket, buffers) if is_direct else _joined(buffers)
        left_bytes = min(size_bytes, sum(map(len, rest)))  # headers are not counted
        self._taken(size_bytes - left_bytes)
        taken: asyncio.Future[None] | None = None
        try:
            for buffer in rest:
                taken = stream.write(buffer)
                taken.add_done_callback(_fetch)
        except StreamClosedError:
            self._taken(left_bytes, is_told=False)
            return
        if taken is not None:
            taken.add_done_callback(partial(self._on_taken, left_bytes))

    def _on_taken(self, size_bytes: int, taken: asyncio.Future[None]) -> None:
        # A socket that closed under the write tells so through on_close.
        is_broken = taken.cancelled() or taken.exception() is not None
        self._taken(size_bytes, is_told=not is_broken)

    def _taken(self, size_bytes: int, is_told: bool = True) -> None:
        self._buffered_bytes -= size_bytes
        if is_told and self._is_over and self._buffered_bytes <= self._low_bytes:
            self._is_over = False
            if self.on_drained is not None:
                self.on_drained()

    def abort(self) -> None:
        """Close without a word."""
        connection = self._socket.ws_connection
        if connection is not None and connection.stream is not None:
            connection.stream.close()

    def close(self, code: str, reason: str) -> None:
        """Close after what was sent; a peer that does not answer is cut off by Tornado after five seconds."""
        self.push()
        close_code, text = self._close_frame(code, reason)
        # Cutting bytes may cut a character in two; the half is dropped, since a close reason must be UTF-8.
        cut = text.encode("utf-8", "replace")[:_REASON_BYTES_MAX].decode("utf-8", "ignore")
        self._socket.close(close_code, cut)


def _frame_header(size_bytes: int) -> bytes:
    """A server's header of one whole, unmasked binary message (RFC 6455, 5.2): FIN and opcode 2, then the length."""
    if size_bytes < 126:
        return bytes((0x82, size_bytes))
    if size_bytes < 1 << 16:
        return b"\x82\x7e" + size_bytes.to_bytes(2)
    return b"\x82\x7f" + size_bytes.to_bytes(8)


def _rest_of(to: socket.socket, buffers: list[bytes]) -> list[bytes | memoryview]:
    """Give the socket what it takes now of some bytes, and return the rest; a broken one takes nothing."""
    try:
        sent = to.send(buffers[0]) if len(buffers) == 1 else to.sendmsg(buffers[:BUFFERS_MAX])
    except OSError:
        return list(buffers)
    for at, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[at + 1 :]]
        sent -= len(buffer)
    return []


def _joined(buffers: list[bytes]) -> list[bytes]:
    """Small pieces together, for a stream makes a write of each, with TLS a record; large ones are not copied."""
    joined: list[bytes] = []
    small: list[bytes] = []
    for buffer in buffers:
        if len(buffer) < SHARED_FROM_BYTES:
            small.append(buffer)
        else:
            joined += [b"".join(small), buffer] if small else [buffer]
            small = []
    return [*joined, b"".join(small)] if small else joined


def _fetch(taken: asyncio.Future[None]) -> None:
    """Look at a failure of the stream, so that asyncio does not complain: ``on_close`` tells of it."""
    if not taken.cancelled():
        taken.exception()
