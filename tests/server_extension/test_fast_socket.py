"""Frames arrive whole, however the network cuts them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
from collabkernel_server.fast_socket import AHEAD_BYTES, FastSocketProtocol
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler, WebSocketProtocol

pytestmark = pytest.mark.anyio
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Echo(WebSocketHandler):
    """Says how many bytes it was sent, and the first of them."""

    max_message_size = 1 << 20

    def get_websocket_protocol(self) -> WebSocketProtocol:
        plain = super().get_websocket_protocol()
        return FastSocketProtocol(self, plain.params)  # type: ignore[union-attr]  # it is Tornado's own

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        assert isinstance(message, bytes)
        return self.write_message(struct.pack("!I", len(message)) + message[:1], binary=True)


def framed(payload: bytes, opcode: int = 2, is_last: bool = True) -> bytes:
    """A client's frame, masked with zeros."""
    head = bytes(((0x80 if is_last else 0) | opcode,))
    if len(payload) < 126:
        return head + bytes((0x80 | len(payload),)) + bytes(4) + payload
    return head + b"\xff" + struct.pack("!Q", len(payload)) + bytes(4) + payload


async def told(talk: Callable[[IOStream], Awaitable[None]], count: int) -> list[tuple[int, bytes]]:
    """(size, first byte) of so many messages that the server got."""
    (listener,) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([("/", Echo)]))
    server.add_socket(listener)
    stream = IOStream(socket.socket())
    await stream.connect(listener.getsockname())
    stream.set_nodelay(True)
    try:
        await stream.write(UPGRADE)
        await stream.read_until(b"\r\n\r\n")
        await talk(stream)
        found = []
        for _ in range(count):
            _, length = await stream.read_bytes(2)
            answer = await stream.read_bytes(length)
            found.append((int.from_bytes(answer[:4]), answer[4:]))
        return found
    finally:
        stream.close()
        server.stop()
        await server.close_all_connections()


async def test_many_frames_in_one_packet():
    async def talk(stream: IOStream) -> None:
        await stream.write(b"".join([framed(bytes((i,)) * i) for i in range(100)]))

    assert await told(talk, 100) == [(i, bytes((i,)) if i else b"") for i in range(100)]


async def test_a_frame_byte_by_byte():
    async def talk(stream: IOStream) -> None:
        for byte in framed(b"ab" * 100) + framed(b"c"):
            await stream.write(bytes((byte,)))

    assert await told(talk, 2) == [(200, b"a"), (1, b"c")]


@pytest.mark.parametrize("size", [AHEAD_BYTES - 14, AHEAD_BYTES, 20 * AHEAD_BYTES])
async def test_a_large_frame_and_the_one_behind_it(size: int):
    async def talk(stream: IOStream) -> None:
        await stream.write(framed(b"x" * size) + framed(b"y") + framed(b"z" * size))

    assert await told(talk, 3) == [(size, b"x"), (1, b"y"), (size, b"z")]


async def test_a_message_in_fragments_with_a_ping_between():
    async def talk(stream: IOStream) -> None:
        whole = framed(b"one", is_last=False) + framed(b"", opcode=9) + framed(b"two", opcode=0)
        await stream.write(whole)
        assert await stream.read_bytes(2) == b"\x8a\x00"

    assert await told(talk, 1) == [(6, b"o")]
