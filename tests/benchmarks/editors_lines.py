"""A thousand WebSocket clients on one thread and one epoll, without a loop, a future or a callback for each.

A client here is a number. What comes is handed over as whole payloads, but for those over ``LARGE_BYTES``: of these
only the beginning and the length, since whoever measures how long 4 MB take has no use for 200 copies of them.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
READ_BYTES = 1 << 18
LARGE_BYTES = 1 << 20
HEAD_BYTES = 256
"""Of a large payload, what is handed over."""
LINES_AT_ONCE = 128
"""Sockets that are read until it is looked again whether something is to be sent."""
LOOK_S = 0.05
"""How often it is asked whether all is done, when nothing comes."""

OnFrame = Callable[[int, bytes], None]
OnLarge = Callable[[int, bytes, int], None]
Due = Iterable[tuple[float, Callable[[], None]]]


class LineError(Exception):
    """A server did not upgrade, or sent what no server here sends."""


class _Line:
    __slots__ = (
        "bytes_in",
        "closed",
        "head",
        "is_open",
        "large_bytes",
        "left_bytes",
        "number",
        "out",
        "rest",
        "socket",
    )

    def __init__(self, number: int, line: socket.socket) -> None:
        self.number = number
        self.socket = line
        self.rest = b""
        self.out = b""
        self.bytes_in = 0
        self.is_open = False
        self.head = b""
        self.large_bytes = 0
        self.left_bytes = 0
        """Of a large payload, what is still to come."""
        self.closed: int | None = None


class Lines:
    """All clients' sockets."""

    def __init__(self, url: str, headers: Mapping[str, str], on_frame: OnFrame, on_large: OnLarge) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._request = _request(parts.netloc, parts.path + (f"?{parts.query}" if parts.query else ""), headers)
        self._on_frame = on_frame
        self._on_large = on_large
        self._epoll = select.epoll()
        self._line_by_fd: dict[int, _Line] = {}
        self._line_by_number: dict[int, _Line] = {}
        self._into = bytearray(READ_BYTES)
        self._buffer = memoryview(self._into)
        self.stood_still_s = 0.0
        """The longest time in which this process did nothing at all: the machine, or somebody, had stopped it."""
        self.ended = 0
        """Lines that the server has closed."""
        self.on_open: Callable[[int], None] = lambda _: None

    def bytes_of(self, number: int) -> int:
        """What a client was sent so far."""
        return self._line_by_number[number].bytes_in

    def connect(self, number: int) -> None:
        """Begin a client's connection; ``on_open`` is called when it is upgraded."""
        line = _Line(number, socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if line.socket.connect_ex(self._address) not in (0, errno.EINPROGRESS):
            raise LineError(f"client {number} cannot connect")
        line.out = self._request
        self._line_by_fd[line.socket.fileno()] = self._line_by_number[number] = line
        self._epoll.register(line.socket, select.EPOLLIN | select.EPOLLOUT)

    def send(self, number: int, payload: bytes, opcode: int = BINARY) -> None:
        """Send one frame of a client; what its socket does not take waits."""
        line = self._line_by_number[number]
        if line.closed is None:
            self._write(line, _frame(payload, opcode))

    def close(self) -> None:
        """Cut all lines."""
        for line in self._line_by_number.values():
            line.socket.close()
        self._epoll.close()

    def run(self, until_s: float, is_done: Callable[[], bool], due: Due = ()) -> bool:
        """Serve the clients until all that is due was done and ``is_done`` says so; False when the time was up first.

        ``due`` are moments in their order with what is then to be done.
        """
        waiting: Iterator[tuple[float, Callable[[], None]]] = iter(due)
        following = next(waiting, None)
        before_s = time.perf_counter()
        while True:
            now_s = time.perf_counter()
            self.stood_still_s = max(self.stood_still_s, now_s - before_s)
            before_s = now_s
            while following is not None and following[0] <= now_s:
                following[1]()
                following = next(waiting, None)
            if following is None and is_done():
                return True
            if now_s >= until_s:
                return False
            wait_s = LOOK_S if following is None else min(LOOK_S, max(0.0, following[0] - now_s))
            for fd, events in self._epoll.poll(wait_s, LINES_AT_ONCE):
                line = self._line_by_fd.get(fd)
                if line is None:
                    continue
                if events & select.EPOLLOUT:
                    self._write(line, b"")
                if events & ~select.EPOLLOUT:
                    self._read(line)

    # ------------------------------------------------------------ one line

    def _write(self, line: _Line, data: bytes) -> None:
        data = line.out + data if line.out else data
        try:
            taken = line.socket.send(data) if data else 0
        except BlockingIOError:
            taken = 0
        except OSError as error:
            if not line.is_open:
                raise LineError(f"client {line.number}: {error}") from error
            self._end(line, 1006)
            return
        is_waiting, line.out = bool(line.out), data[taken:]
        if is_waiting or line.out:
            self._epoll.modify(line.socket, select.EPOLLIN | (select.EPOLLOUT if line.out else 0))

    def _read(self, line: _Line) -> None:
        try:
            if line.left_bytes:
                self._skip(line)
                return
            # Into one buffer: a new one of this size is mapped and unmapped by the kernel each time.
            data = self._buffer[: line.socket.recv_into(self._into)].tobytes()
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(line, 1006)
            return
        line.bytes_in += len(data)
        if line.rest:
            data = line.rest + data
        line.rest = self._take(line, data if line.is_open else self._answered(line, data))

    def _answered(self, line: _Line, data: bytes) -> bytes:
        """What follows the answer to the upgrade."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return data
        if not head.startswith(b"HTTP/1.1 101"):
            raise LineError(f"client {line.number} was answered {head[:200]!r}")
        line.is_open = True
        self.on_open(line.number)
        return rest

    def _take(self, line: _Line, data: bytes) -> bytes:
        """Hand over the whole frames; return the rest."""
        at, size = 0, len(data)
        while line.is_open and size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                if size - at < 10:
                    break
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            end = start + length
            if end > size:
                if length >= LARGE_BYTES and size - start >= HEAD_BYTES:
                    line.head, line.large_bytes, line.left_bytes = data[start : start + HEAD_BYTES], length, end - size
                    return b""
                break
            self._on_wire(line, data[at], data[start:end])
            at = end
        return data[at:] if at else data

    def _on_wire(self, line: _Line, first: int, payload: bytes) -> None:
        if first in (0x82, 0x81):
            if len(payload) < LARGE_BYTES:
                self._on_frame(line.number, payload)
            else:
                self._on_large(line.number, payload[:HEAD_BYTES], len(payload))
        elif first == 0x80 | PING:
            self._write(line, _frame(payload, PONG))
        elif first == 0x80 | CLOSE:
            self._write(line, _frame(payload[:2], CLOSE))
            self._end(line, int.from_bytes(payload[:2], "big"))
        elif first != 0x80 | PONG:
            raise LineError(f"client {line.number} was sent a frame that begins with {first:#x}")

    def _skip(self, line: _Line) -> None:
        """Read of a large frame what has come: each client is a machine of its own, and waits for no other to read."""
        while line.left_bytes:
            taken = line.socket.recv_into(self._into, min(READ_BYTES, line.left_bytes))
            if not taken:
                self._end(line, 1006)
                return
            line.bytes_in += taken
            line.left_bytes -= taken
        self._on_large(line.number, line.head, line.large_bytes)

    def _end(self, line: _Line, code: int) -> None:
        if line.closed is not None:
            return
        if not line.is_open:
            raise LineError(f"client {line.number} was left before the upgrade")
        line.closed, line.is_open = code, False
        self.ended += 1
        self._epoll.unregister(line.socket)
        del self._line_by_fd[line.socket.fileno()]
        line.socket.close()


def _request(host: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    } | dict(headers)
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"GET {target} HTTP/1.1\r\n{told}\r\n".encode()


def _frame(payload: bytes, opcode: int) -> bytes:
    """A client's frame, under a mask of zeros."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + b"\0\0\0\0" + payload
