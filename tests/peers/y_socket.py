"""A WebSocket client that costs little, so that hundreds of them in one process measure the server and not themselves.

It does what RFC 6455 asks of a client of these servers: the upgrade, masked frames (with a mask of zeros), unmasked and
fragmented ones in, pongs, the close. No extensions: what a server compresses by default would be its own loss.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from tests.bounds import HANG_S

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

OnFrame = Callable[["YSocket", bytes], None]
"""Called with the socket too: frames may come in one packet with the answer to the upgrade."""


class RefusedError(Exception):
    """The server did not upgrade."""

    def __init__(self, status: int, head: str) -> None:
        super().__init__(head)
        self.status = status


class YSocket(asyncio.Protocol):
    """One connection; whole binary messages go to ``on_frame`` as they come."""

    def __init__(self, on_frame: OnFrame) -> None:
        loop = asyncio.get_running_loop()
        self.on_frame = on_frame
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        """The close code that came; 1006 when the line just ended."""
        self.close_reason = ""
        self.frames_in = 0
        self.bytes_in = 0
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The TCP line; ``pause_reading`` on it makes a reader that no longer reads."""
        assert self._transport is not None
        return self._transport

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        """Queue one frame."""
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | opcode, 0x80 | length))
        elif length < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        self.transport.write(head + b"\0\0\0\0" + payload)

    async def close(self) -> None:
        """Say goodbye as a browser's tab does, and wait for the end."""
        if not self.closed.done() and self._transport is not None and not self._transport.is_closing():
            self.send(struct.pack("!H", 1000), CLOSE)
            try:
                await asyncio.wait_for(asyncio.shield(self.closed), 5)
            except TimeoutError:
                self.transport.abort()

    def abort(self) -> None:
        """Cut the line."""
        self.transport.abort()

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.opened.done() and not self._read_answer():
            return
        while self._read_frame():
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionResetError("the line ended before the upgrade"))
        if not self.closed.done():
            self.closed.set_result(1006)

    def _read_answer(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 4]
        status = int(head.split(" ", 2)[1])
        if status == 101:
            self.opened.set_result(None)
            return True
        self.opened.set_exception(RefusedError(status, head))
        self.transport.close()
        return False

    def _read_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        length, at = buffer[1] & 127, 2
        if length == 126:
            length, at = int.from_bytes(buffer[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < at + length:
            return False
        payload = bytes(buffer[at : at + length])
        first = buffer[0]
        del buffer[: at + length]
        self.bytes_in += at + length
        self._on_wire_frame(first & 15, bool(first & 128), payload)
        return True

    def _on_wire_frame(self, opcode: int, is_last: bool, payload: bytes) -> None:
        if opcode == PING:
            self.send(payload, PONG)
        elif opcode == CLOSE:
            self.close_reason = payload[2:].decode(errors="replace")
            if not self.closed.done():
                self.closed.set_result(int.from_bytes(payload[:2], "big") if payload else 1005)
            self.send(payload[:2], CLOSE)
            self.transport.close()
        elif opcode in (BINARY, TEXT, CONTINUATION):
            self._parts.append(payload)
            if is_last:
                whole = payload if len(self._parts) == 1 else b"".join(self._parts)
                self._parts.clear()
                self.frames_in += 1
                self.on_frame(self, whole)


async def open_socket(url: str, headers: Mapping[str, str], on_frame: OnFrame) -> YSocket:
    """Connect; raises ``RefusedError`` when the server answers anything but 101."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = {
        "Host": parts.netloc,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    } | dict(headers)
    request = f"GET {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    loop = asyncio.get_running_loop()
    transport, socket = await loop.create_connection(lambda: YSocket(on_frame), parts.hostname, parts.port)
    transport.write(request.encode())
    try:
        await asyncio.wait_for(asyncio.shield(socket.opened), HANG_S)
    except BaseException:
        socket.opened.cancel()
        transport.abort()
        raise
    return socket
