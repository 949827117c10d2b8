"""The transport counts what the socket has not taken, tells when it has drained, and closes with our codes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from collabkernel_server.transport import SocketTransport
from tornado.websocket import WebSocketClosedError


class Socket:
    """The two methods of a WebSocketHandler that a transport calls; the test says when the wire takes a frame."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.writes: list[tuple[bytes, asyncio.Future[None]]] = []
        self.closed_with: tuple[int, str] | None = None

    def write_message(self, frame: bytes, binary: bool) -> asyncio.Future[None]:
        assert binary
        if self.closed_with is not None:
            raise WebSocketClosedError
        future = self.loop.create_future()
        self.writes.append((frame, future))
        return future

    def close(self, code: int, reason: str) -> None:
        self.closed_with = code, reason

    def take(self, settle: Callable[[asyncio.Future[None]], None]) -> None:
        _, future = self.writes.pop(0)
        settle(future)
        self.loop.run_until_complete(asyncio.wait([future]))


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def drained() -> list[str]:
    return []


@pytest.fixture
def transport(socket: Socket, drained: list[str]) -> SocketTransport:
    transport = SocketTransport(socket, high_bytes=10, low_bytes=4)  # type: ignore[arg-type]  # the part it uses
    transport.on_drained = lambda: drained.append("drained")
    return transport


def test_buffered_bytes_are_those_not_taken(transport: SocketTransport, socket: Socket) -> None:
    transport.send(b"12345")
    transport.send(b"678")
    assert transport.buffered_bytes == 8

    socket.take(lambda future: future.set_result(None))
    assert transport.buffered_bytes == 3


def test_drained_is_told_once_at_the_low_mark_and_only_after_the_high_one(
    transport: SocketTransport, socket: Socket, drained: list[str]
) -> None:
    transport.send(b"1234")
    socket.take(lambda future: future.set_result(None))
    assert drained == []

    for _ in range(3):
        transport.send(b"1234")
    for _ in range(3):
        socket.take(lambda future: future.set_result(None))
    assert drained == ["drained"]


def test_socket_that_closes_under_a_write_is_quiet(
    transport: SocketTransport, socket: Socket, drained: list[str]
) -> None:
    transport.send(b"x" * 20)
    socket.take(lambda future: future.set_exception(WebSocketClosedError()))

    assert transport.buffered_bytes == 0
    assert drained == []


def test_send_after_close_is_nothing(transport: SocketTransport) -> None:
    transport.close("server-stopping", "bye")
    transport.send(b"x")

    assert transport.buffered_bytes == 0


@pytest.mark.parametrize(
    ("code", "status"),
    [("server-stopping", 1012), ("slow-consumer", 1013), ("superseded", 4001), ("room-deleted", 4004), ("what", 1008)],
)
def test_close_status(transport: SocketTransport, socket: Socket, code: str, status: int) -> None:
    transport.close(code, "why")

    assert socket.closed_with == (status, f"{code}: why")


def test_long_reason_is_cut_to_what_a_close_frame_holds(transport: SocketTransport, socket: Socket) -> None:
    transport.close("what", "é" * 200)

    assert socket.closed_with is not None
    assert 120 <= len(socket.closed_with[1].encode()) <= 123
