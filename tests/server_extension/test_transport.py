"""The transport counts what the socket has not taken, tells when it has drained, and closes with our codes."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar

import pytest
from collabkernel_server.transport import FEW, Pushes, SocketTransport
from tornado.iostream import IOStream

from tests.bounds import HANG_S

MEGABYTE = b"x" * (1 << 20)


class Connection:
    """The two things of Tornado's WebSocket protocol that a transport looks at, on a real stream."""

    def __init__(self, stream: IOStream) -> None:
        self.stream = stream

    def is_closing(self) -> bool:
        return self.stream.closed()


class Socket:
    """A WebSocket handler as far as a transport goes, on a real socket pair with ``far`` at the other end."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        self.ws_connection: Connection | None = Connection(IOStream(near))
        self.closed_with: tuple[int, str] | None = None

    def close(self, code: int, reason: str) -> None:
        self.closed_with = code, reason
        self.ws_connection = None


@asynccontextmanager
async def sockets(
    pushes: Pushes | None = None,
) -> AsyncIterator[tuple[Socket, IOStream, SocketTransport, asyncio.Event]]:
    near = Socket()
    stream = near.ws_connection.stream  # type: ignore[union-attr]  # it is open
    far = IOStream(near.far)
    transport = SocketTransport(near, pushes or Pushes(), high_bytes=2 << 20, low_bytes=1 << 20)  # type: ignore[arg-type]  # what it uses
    drained = asyncio.Event()
    transport.on_drained = drained.set
    try:
        yield near, far, transport, drained
    finally:
        far.close()
        stream.close()


async def taken(transport: SocketTransport) -> None:
    """Let the loop turn until the socket has taken everything, or is gone."""
    while transport.buffered_bytes:  # noqa: ASYNC110  # a transport has no event for it
        await asyncio.sleep(0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]  # each is a coroutine function


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "82 00"),
        (125, "82 7d"),
        (126, "82 7e 00 7e"),
        (65535, "82 7e ff ff"),
        (65536, "82 7f 00 00 00 00 00 01 00 00"),
    ],
)
def test_frame_is_one_unmasked_binary_message(size: int, header: str) -> None:
    async def scenario() -> None:
        async with sockets() as (_, far, transport, _):
            transport.send(b"x" * size)
            expected = bytes.fromhex(header) + b"x" * size
            assert await far.read_bytes(len(expected)) == expected
            assert transport.buffered_bytes == 0

    run(scenario)


def test_what_is_sent_in_one_turn_of_the_loop_is_one_write() -> None:
    async def scenario() -> None:
        async with sockets() as (_, _, transport, _):
            far = transport._socket.far  # type: ignore[attr-defined]  # ours
            far.setblocking(False)
            for frame in (b"one", b"x" * 5000, b"three"):
                transport.send(frame)
            assert transport.buffered_bytes == 5008
            with pytest.raises(BlockingIOError):
                far.recv(1)
            await asyncio.sleep(0)
            assert transport.buffered_bytes == 0
            assert far.recv(1 << 20) == b"\x82\x03one\x82\x7e\x13\x88" + b"x" * 5000 + b"\x82\x05three"

    run(scenario)


def test_many_are_written_to_in_pieces_and_who_is_answered_meanwhile_does_not_wait_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("collabkernel_server.transport.PIECE_S", 0.0)
    pushes = Pushes()

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            *readers, author = [(await stack.enter_async_context(sockets(pushes)))[2] for _ in range(FEW + 3)]
            for reader in readers:
                reader.send(b"shown")
            written: list[int] = []
            for _ in readers:
                await asyncio.sleep(0)
                written.append(sum([reader.buffered_bytes == 0 for reader in readers]))
                author.send(b"stored")
                await asyncio.sleep(0)
                written.append(sum([reader.buffered_bytes == 0 for reader in readers]))
                assert author.buffered_bytes == 0
            assert written[:4] == [1, 2, 3, 4]
            assert written[-1] == len(readers)

    run(scenario)


def test_a_push_that_fails_closes_its_socket_and_keeps_no_other_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        pushes = Pushes()
        async with sockets(pushes) as (broken, _, first, _), sockets(pushes) as (_, far, second, _):
            first._is_over, first.on_drained = True, lambda: 1 // 0  # whatever may break
            first.send(b"x")
            second.send(b"y")
            assert await asyncio.wait_for(far.read_bytes(3), HANG_S) == b"\x82\x01y"
            assert broken.ws_connection is not None
            assert broken.ws_connection.stream.closed()

    run(scenario)
    assert "could not be written to" in caplog.text


def test_a_stream_that_is_no_plain_socket_gets_small_frames_in_one_write() -> None:
    class Stream(IOStream):
        writes: ClassVar[list[int]] = []

        def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
            self.writes.append(len(data))
            return super().write(data)

    async def scenario() -> None:
        async with sockets() as (near, far, transport, _):
            near.ws_connection.stream.__class__ = Stream  # type: ignore[union-attr]  # such as one of TLS
            for size in (3, 4, 5000, 5):
                transport.send(b"x" * size)
            await far.read_bytes(5 + 6 + 5004 + 7)
            assert Stream.writes == [5 + 6 + 4, 5000, 7]

    run(scenario)


def test_what_waits_is_sent_before_the_close() -> None:
    async def scenario() -> None:
        async with sockets() as (_, far, transport, _):
            transport.send(b"bye")
            transport.close("server-stopping", "why")
            assert await far.read_bytes(5) == b"\x82\x03bye"
            await asyncio.sleep(0)
            assert transport.buffered_bytes == 0

    run(scenario)


def test_buffered_bytes_are_those_not_taken() -> None:
    async def scenario() -> None:
        async with sockets() as (_, far, transport, drained):
            for _ in range(4):
                transport.send(MEGABYTE)
            assert 3 << 20 <= transport.buffered_bytes <= 4 << 20
            await far.read_bytes(4 * (10 + len(MEGABYTE)))
            await drained.wait()
            assert transport.buffered_bytes <= 1 << 20

    run(scenario)


def test_small_frames_keep_their_order_behind_what_waits() -> None:
    async def scenario() -> None:
        async with sockets() as (_, far, transport, _):
            expected = bytearray()
            for number in range(2000):
                frame = b"%d" % number * 500
                transport.send(frame)
                expected += b"\x82\x7e" + len(frame).to_bytes(2) + frame
            assert transport.buffered_bytes > 0
            assert await far.read_bytes(len(expected)) == bytes(expected)
            transport.send(b"last")
            assert await far.read_bytes(6) == b"\x82\x04last"
            assert transport.buffered_bytes == 0

    run(scenario)


def test_a_small_frame_to_a_broken_socket_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with sockets() as (near, far, transport, _):
            far.close()
            for _ in range(3):
                transport.send(b"x")
                await taken(transport)
            assert near.ws_connection is not None
            assert near.ws_connection.stream.closed()

    run(scenario)
    assert caplog.text == ""


def test_drained_is_not_told_below_the_high_mark() -> None:
    async def scenario() -> None:
        async with sockets() as (_, far, transport, drained):
            transport.send(MEGABYTE)
            assert transport.buffered_bytes > 0
            await far.read_bytes(10 + len(MEGABYTE))
            await taken(transport)
            assert not drained.is_set()

    run(scenario)


def test_socket_that_breaks_under_a_write_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with sockets() as (_, far, transport, drained):
            for _ in range(4):
                transport.send(MEGABYTE)
            far.close()
            await taken(transport)
            transport.send(MEGABYTE)
            await taken(transport)
            assert not drained.is_set()

    run(scenario)
    assert caplog.text == ""


def test_send_after_close_is_nothing() -> None:
    async def scenario() -> None:
        async with sockets() as (_, _, transport, _):
            transport.close("server-stopping", "bye")
            transport.send(b"x")
            await asyncio.sleep(0)
            assert transport.buffered_bytes == 0

    run(scenario)


@pytest.mark.parametrize(
    ("code", "status"),
    [("server-stopping", 1012), ("slow-consumer", 1013), ("superseded", 4001), ("room-deleted", 4004), ("what", 1008)],
)
def test_close_status(code: str, status: int) -> None:
    async def scenario() -> None:
        async with sockets() as (near, _, transport, _):
            transport.close(code, "why")
            assert near.closed_with == (status, f"{code}: why")

    run(scenario)


def test_long_reason_is_cut_to_what_a_close_frame_holds() -> None:
    async def scenario() -> None:
        async with sockets() as (near, _, transport, _):
            transport.close("what", "é" * 200)
            assert near.closed_with is not None
            assert 120 <= len(near.closed_with[1].encode()) <= 123

    run(scenario)


def test_a_large_frame_that_waits_for_many_sockets_is_held_once() -> None:
    async def main() -> None:
        frame = bytes(8 << 20)
        before = sys.getrefcount(frame)
        async with sockets() as (_, far, transport, _), sockets() as (_, _, other, _):
            transport.send(frame)
            other.send(frame)
            assert sys.getrefcount(frame) >= before + 2
            header = await far.read_bytes(10)
            assert header == b"\x82\x7f" + len(frame).to_bytes(8)
            assert await far.read_bytes(len(frame)) == frame

    asyncio.run(main())
