"""Frames arrive whole, however the network cuts them, and all of what is written does."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from collabkernel_server.fast_socket import (
    AHEAD_BYTES,
    FRAMES_AT_ONCE,
    READ_BYTES,
    WRITE_BYTES,
    DirectStream,
    FastSocketProtocol,
    thread_buffer,
)
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, StreamClosedError
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
    is_quick: ClassVar[bool] = False
    """Whether it takes the next frame at once: else when the socket has taken its answer."""
    last: ClassVar[Echo]
    gate: ClassVar[asyncio.Event | None] = None

    def get_websocket_protocol(self) -> WebSocketProtocol:
        plain = super().get_websocket_protocol()
        return FastSocketProtocol(self, plain.params)  # type: ignore[union-attr]  # it is Tornado's own

    def open(self) -> None:
        self.over = asyncio.Event()
        self.got: list[bytes] = []
        Echo.last = self

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        assert isinstance(message, bytes)
        self.got.append(message)
        if self.gate is not None:
            return self.held(message)
        answered = self.answer(message)
        return None if self.is_quick else answered

    async def held(self, message: bytes) -> None:
        assert self.gate is not None
        await self.gate.wait()
        await self.answer(message)

    def answer(self, message: bytes) -> Awaitable[None]:
        return self.write_message(struct.pack("!I", len(message)) + message[:1], binary=True)

    def on_close(self) -> None:
        self.over.set()

    @property
    def stream(self) -> DirectStream:
        """What it writes to, once the socket has gone over."""
        stream = self.ws_connection.stream  # type: ignore[union-attr]  # it is open
        assert isinstance(stream, DirectStream)
        return stream


@pytest.fixture(autouse=True, params=[False, True], ids=["waits", "quick"])
def is_quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "is_quick", request.param)
    monkeypatch.delattr(Echo, "last", raising=False)


def framed(payload: bytes, opcode: int = 2, is_last: bool = True) -> bytes:
    """A client's frame, masked with zeros."""
    head = bytes(((0x80 if is_last else 0) | opcode,))
    if len(payload) < 126:
        return head + bytes((0x80 | len(payload),)) + bytes(4) + payload
    return head + b"\xff" + struct.pack("!Q", len(payload)) + bytes(4) + payload


async def told(
    talk: Callable[[IOStream], Awaitable[None]], count: int = 0, early: bytes = b""
) -> list[tuple[int, bytes]]:
    """(size, first byte) of so many messages that the server got."""
    (listener,) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([("/", Echo)]))
    server.add_socket(listener)
    stream = IOStream(socket.socket())
    await stream.connect(listener.getsockname())
    stream.set_nodelay(True)
    try:
        await stream.write(UPGRADE + early)
        await stream.read_until(b"\r\n\r\n")
        await talk(stream)
        found = []
        for _ in range(count):
            said = await answer(stream)
            found.append((int.from_bytes(said[:4]), said[4:]))
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


async def gone_over(stream: IOStream) -> Echo:
    """The server's end of a socket that asyncio reads."""
    await stream.write(framed(b"first"))
    await answer(stream)
    near = Echo.last
    while not isinstance(near.ws_connection.stream, DirectStream) or near.stream.writing():  # type: ignore[union-attr]  # noqa: ASYNC110  # it is open, and has no event for it
        await asyncio.sleep(0)
    return near


async def came(frame: bytes) -> None:
    """Wait until the server has a frame."""
    while not hasattr(Echo, "last") or frame not in Echo.last.got:  # noqa: ASYNC110  # it has no event for it
        await asyncio.sleep(0)


async def answer(stream: IOStream) -> bytes:
    _, length = await stream.read_bytes(2)
    return await stream.read_bytes(length)


async def test_what_comes_while_a_frame_is_waited_for_waits_and_keeps_its_order(monkeypatch: pytest.MonkeyPatch):
    async def talk(stream: IOStream) -> None:
        near = await gone_over(stream)
        gate = asyncio.Event()
        monkeypatch.setattr(Echo, "gate", gate)
        sizes = [5, READ_BYTES, 3 * READ_BYTES, 7]
        writing = asyncio.ensure_future(stream.write(b"".join([framed(b"x" * size) for size in sizes])))
        while len(near.got) < 2:  # noqa: ASYNC110  # it has no event for it
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(near.got) == 2, "the second is waited for"
        gate.set()
        await writing
        assert [int.from_bytes((await answer(stream))[:4]) for _ in sizes] == sizes

    await told(talk)


async def test_what_a_socket_does_not_take_is_shared_and_comes_in_order():
    """A snapshot that waits for a thousand slow sockets is in memory once."""

    async def talk(stream: IOStream) -> None:
        near = (await gone_over(stream)).stream
        large = bytes(range(256)) * (64 << 10)
        taken = [near.write(large), near.write(b"behind")]
        assert near.writing()
        assert near._transport.get_write_buffer_size() <= WRITE_BYTES  # type: ignore[union-attr]  # it has gone over
        assert not any(each.done() for each in taken)
        assert await stream.read_bytes(len(large) + 6) == large + b"behind"
        await asyncio.gather(*taken)
        assert not near.writing()

    await told(talk)


async def test_what_waits_when_a_socket_closes_is_told_of():
    async def talk(stream: IOStream) -> None:
        near = (await gone_over(stream)).stream
        waiting = near.write(bytes(16 << 20))
        near.close()
        with pytest.raises(StreamClosedError):
            await waiting
        with pytest.raises(StreamClosedError):
            near.write(b"more")
        await Echo.last.over.wait()

    await told(talk)


async def test_a_close_is_answered_and_told_of():
    async def talk(stream: IOStream) -> None:
        near = await gone_over(stream)
        await stream.write(framed(struct.pack("!H", 4321) + b"enough", opcode=8))
        assert await stream.read_until_close() == b"\x88\x02" + struct.pack("!H", 4321)
        await near.over.wait()
        assert (near.close_code, near.close_reason) == (4321, "enough")

    await told(talk)


async def test_who_is_gone_without_a_word_is_told_of():
    async def talk(stream: IOStream) -> None:
        near = await gone_over(stream)
        stream.close()
        await near.over.wait()

    await told(talk)


async def test_a_message_that_is_too_large_closes_before_it_is_read():
    async def talk(stream: IOStream) -> None:
        near = await gone_over(stream)
        await stream.write(b"\x82\xff" + struct.pack("!Q", Echo.max_message_size + 1))
        assert (await stream.read_bytes(4))[2:] == struct.pack("!H", 1009)
        await near.over.wait()

    await told(talk)


@pytest.mark.parametrize("garbage", [b"\xf2\x80" + bytes(4), b"\x80\x80" + bytes(4), b"\x89\xfe\x00\x7e" + bytes(4)])
async def test_frames_that_mean_nothing_close_the_socket(garbage: bytes):
    async def talk(stream: IOStream) -> None:
        near = await gone_over(stream)
        await stream.write(garbage + framed(b"more"))
        await near.over.wait()
        assert near.got == [b"first"]

    await told(talk)


async def test_a_handler_that_fails_loses_its_socket_alone(monkeypatch: pytest.MonkeyPatch):
    async def talk(stream: IOStream) -> None:
        near = await gone_over(stream)
        monkeypatch.setattr(Echo, "answer", lambda *_: 1 / 0)
        await stream.write(framed(b"second") + framed(b"third"))
        await near.over.wait()
        assert near.got == [b"first", b"second"]

    await told(talk)


async def test_what_comes_while_a_socket_goes_over_is_waited_for_too(monkeypatch: pytest.MonkeyPatch):
    loop, gate = asyncio.get_running_loop(), asyncio.Event()
    connect = loop.connect_accepted_socket

    async def slowly(*args: Any, **options: Any) -> Any:
        made = await connect(*args, **options)
        for _ in range(100):
            await asyncio.sleep(0)
        return made

    async def talk(stream: IOStream) -> None:
        monkeypatch.setattr(loop, "connect_accepted_socket", slowly)
        await stream.write(framed(b"first"))
        await answer(stream)
        near = Echo.last
        monkeypatch.setattr(Echo, "gate", gate)
        while not isinstance(near.ws_connection.stream, DirectStream):  # type: ignore[union-attr]  # noqa: ASYNC110  # see above
            await asyncio.sleep(0)
        await stream.write(framed(b"22") + framed(b"333"))
        for _ in range(300):
            await asyncio.sleep(0)
        assert near.got == [b"first", b"22"], "the second is waited for"
        gate.set()
        assert [int.from_bytes((await answer(stream))[:4]) for _ in range(2)] == [2, 3]

    await told(talk)


async def test_what_comes_while_a_frame_that_came_early_is_waited_for_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    """Tornado's stream reads it, to see whether the peer has gone."""
    gate = asyncio.Event()
    monkeypatch.setattr(Echo, "gate", gate)

    async def talk(stream: IOStream) -> None:
        await stream.write(framed(b"1")[3:])
        await came(b"1")
        near = Echo.last.ws_connection.stream  # type: ignore[union-attr]  # it is open
        assert type(near) is IOStream
        await stream.write(framed(b"22"))
        while not near._read_buffer_size:  # noqa: ASYNC110  # it has no event for it
            await asyncio.sleep(0)
        gate.set()
        assert [int.from_bytes((await answer(stream))[:4]) for _ in range(2)] == [1, 2]
        await gone_over(stream)

    await told(talk, early=framed(b"1")[:3])


@pytest.mark.parametrize("is_over", [False, True])
async def test_who_goes_while_his_frame_is_waited_for_is_told_of(monkeypatch: pytest.MonkeyPatch, is_over: bool):
    """What is waited for may be that he takes what he was sent."""

    async def talk(stream: IOStream) -> None:
        if is_over:
            await gone_over(stream)
        gate = asyncio.Event()
        monkeypatch.setattr(Echo, "gate", gate)
        await stream.write(framed(b"held"))
        await came(b"held")
        near = Echo.last
        if is_over:
            near.stream.close()
        else:
            stream.close()
            gate.set()
        await near.over.wait()
        gate.set()

    await told(talk)


async def test_who_reads_nothing_and_sends_nothing_more_is_told_of():
    async def talk(stream: IOStream) -> None:
        near = await gone_over(stream)
        near.stream.write(bytes(16 << 20))
        stream.socket.shutdown(socket.SHUT_WR)
        await near.over.wait()

    await told(talk)


@pytest.mark.parametrize("frame", [framed(b"", opcode=9), framed(b"")], ids=["pings", "empty"])
async def test_a_flood_of_small_frames_leaves_turns_to_others(frame: bytes, monkeypatch: pytest.MonkeyPatch):
    most = 0

    async def talk(stream: IOStream) -> None:
        nonlocal most
        near = await gone_over(stream)
        monkeypatch.setattr(Echo, "answer", lambda *_: None)
        count = 0
        take = FastSocketProtocol._handle_message

        def counted(self: FastSocketProtocol, opcode: int, data: bytes) -> Any:
            nonlocal count
            count += 1
            return take(self, opcode, data)

        monkeypatch.setattr(FastSocketProtocol, "_handle_message", counted)
        reading = asyncio.ensure_future(stream.read_until_close())
        await stream.write(frame * 2000)
        before, turns = 0, 0
        while before < 2000 and turns < 100_000:
            await asyncio.sleep(0)
            now = count + len(near.got) - 1
            most, before, turns = max(most, now - before), now, turns + 1
        near.stream.close()
        await reading

    await told(talk)
    assert 0 < most <= FRAMES_AT_ONCE


def test_two_event_loops_read_into_two_buffers():
    with ThreadPoolExecutor(1) as other:
        assert thread_buffer() is thread_buffer()
        assert other.submit(thread_buffer).result() is not thread_buffer()
