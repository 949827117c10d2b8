"""Tornado's WebSocket, whose frames are read where asyncio's transport delivers them.

Tornado reads a frame's header, mask and payload each by itself, with a future, a turn of the event loop and an attempt
at the socket that finds nothing: 60 us of the processor a frame, and a keystroke's way through its room is no longer.
Here Tornado reads what came before a socket is open; then that goes over to asyncio's own transport, and a frame of the
common kind (whole, binary, masked) is handed on in the turn in which it came. All others are read by Tornado from what
has come, so what frames mean stays Tornado's affair. TLS, which Tornado does itself, stays on Tornado's stream.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import Any, cast

from tornado.iostream import IOStream, StreamClosedError
from tornado.util import _websocket_mask
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

AHEAD_BYTES = 16 << 10
"""What is read at a time before the socket goes over."""
READ_BYTES = 64 << 10
"""What one read takes at most."""
WRITE_BYTES = 64 << 10
"""What asyncio is given at a time: it copies what a socket does not take, and a snapshot of 10 MB that waits for 1,000
slow sockets is one."""
FRAMES_AT_ONCE = 256
"""Frames of one socket that are handed on in one turn of the event loop: a read may hold 10,000 empty ones."""
_of_thread = threading.local()
"""Its ``buffer`` is for the reads of all sockets of an event loop: what came is taken out of it in the same turn."""
_WHOLE_BINARY = 0x82
_IS_MASKED = 0x80
_IS_CONTROL = 0x08


class FastSocketProtocol(WebSocketProtocol13):
    """The server's end of one connection."""

    # Slots: Python shares the keys of up to 30 attributes; one more than Tornado's own took each socket 1.5 KB.
    __slots__ = ("_ahead", "_slow")

    def __init__(self, handler: WebSocketHandler, params: Any) -> None:
        super().__init__(handler, False, params)
        self._ahead = bytearray()
        """Read, and not yet taken."""
        self._slow: asyncio.Future[Awaitable[None]]
        """Has what must be waited for before the next frame is taken. Made when the socket goes over."""

    async def _receive_frame_loop(self) -> None:
        try:
            while not self.client_terminated and not self._may_go_over():
                await self._receive_frame()
                await asyncio.sleep(0)  # a frame that was read already lets nobody else have a turn
            if not self.client_terminated:
                await self._go_over()
            while not self.client_terminated:
                await (await self._slow)
                await asyncio.sleep(0)
                self._go_on()
        except StreamClosedError:
            self._abort()
        finally:
            self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    def _may_go_over(self) -> bool:
        stream = self.stream
        if isinstance(asyncio.get_running_loop(), getattr(asyncio, "ProactorEventLoop", ())):
            return False
        is_plain = type(stream) is IOStream and not stream.closed()
        # An idle stream reads what comes, to see a close: that would be gone with it.
        return is_plain and not stream.writing() and not stream._read_buffer_size

    async def _go_over(self) -> None:
        loop, stream = asyncio.get_running_loop(), self.stream
        self._slow = loop.create_future()
        direct = DirectStream(self, stream)
        self.stream = direct  # type: ignore[assignment]  # it has what is used of one
        stream.close()  # its descriptor alone
        await loop.connect_accepted_socket(lambda: direct, direct.socket)
        if not self._slow.done():  # else something came meanwhile that has to be waited for
            self.received(memoryview(b""))

    def _go_on(self) -> None:
        """Take more frames, now that nothing has to be waited for."""
        if self.client_terminated:
            return
        if self.stream.closed():
            raise StreamClosedError
        self._slow = asyncio.get_running_loop().create_future()
        self.received(memoryview(b""))
        if not self._slow.done():
            self.stream.resume_reading()  # type: ignore[attr-defined]  # it is a DirectStream

    async def _read_bytes(self, n: int) -> bytes:
        ahead = self._ahead
        while len(ahead) < n:
            missing = n - len(ahead)
            is_large = missing > AHEAD_BYTES
            more = await self.stream.read_bytes(missing if is_large else AHEAD_BYTES, partial=not is_large)
            ahead += more
        found = bytes(memoryview(ahead)[:n])
        del ahead[:n]
        self._wire_bytes_in += n
        return found

    def received(self, more: memoryview) -> None:
        """Take what has come, as far as it is whole frames of the common kind and nothing has to be waited for."""
        ahead = self._ahead
        if ahead or self._slow.done():
            ahead += more
            if not self._slow.done():
                del ahead[: self._take(ahead)]
        else:
            ahead += more[self._take(more) :]

    def _take(self, data: memoryview | bytearray) -> int:
        """Take frames, and return how many bytes they are."""
        at, end, size_max, count = 0, len(data), self.params.max_message_size, 0
        while end - at >= 2 and not self.client_terminated and not self._slow.done():
            size, start = data[at + 1] & 0x7F, at + 2
            if size > 125:
                start = at + (4 if size == 126 else 10)
                size = int.from_bytes(data[at + 2 : start])
            is_refused = size > size_max or (size > 125 and data[at] & _IS_CONTROL)  # for its header alone
            is_masked = data[at + 1] & _IS_MASKED
            if is_masked and not is_refused:
                start += 4
            if start > end or (start + size > end and not is_refused):
                break
            slow: Awaitable[None] | None
            if is_masked and data[at] == _WHOLE_BINARY and self._fragmented_message_buffer is None and not is_refused:
                at = start + size
                payload = _websocket_mask(bytes(data[start - 4 : start]), bytes(data[start:at]))
                slow = self._run_callback(self.handler.on_message, payload)
                count += 1
                if slow is None and count == FRAMES_AT_ONCE:
                    slow = asyncio.sleep(0)
            else:
                slow = self._receive_frame()
            if slow is not None and not self._slow.done():
                self._slow.set_result(slow)
                self.stream.pause_reading()  # type: ignore[attr-defined]  # it is a DirectStream
        return at

    def lost(self) -> None:
        """The socket is closed."""
        if not self._slow.done():
            self._slow.set_exception(StreamClosedError())
            self._slow.exception()  # nobody waits for it any more when a handler has failed
        else:  # what is waited for may wait for what is told of the close
            told = self.handler.on_ws_connection_close
            asyncio.get_running_loop().call_soon(told, self.close_code, self.close_reason)


class DirectStream(asyncio.BufferedProtocol):
    """What a WebSocket uses of Tornado's stream, on asyncio's transport."""

    __slots__ = ("_buffer", "_is_closed", "_protocol", "_transport", "_waiting", "io_loop", "socket")

    def __init__(self, protocol: FastSocketProtocol, stream: IOStream) -> None:
        """Take the socket of a stream in which nothing waits, which is to be closed then."""
        self._protocol = protocol
        self._buffer = thread_buffer()
        self.socket = stream.socket.dup()
        self.io_loop = stream.io_loop
        self._transport: asyncio.Transport | None = None
        self._waiting: list[tuple[memoryview, asyncio.Future[None]]] = []
        """What the socket has not taken, each with whom to tell when it has. Few have any: a deque takes 760 bytes."""
        self._is_closed = False

    def closed(self) -> bool:
        """Whether nothing comes or goes any more."""
        return self._is_closed or (self._transport is not None and self._transport.is_closing())

    def writing(self) -> bool:
        """Whether something waits to be written: then what is written to the socket itself would come before it."""
        return self._transport is None or bool(self._waiting) or self._transport.get_write_buffer_size() > 0

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Write all of it, later if need be.

        Raises:
            StreamClosedError: The socket is closed; the future has it when it is closed meanwhile.
        """
        if self.closed():
            raise StreamClosedError
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        taken.add_done_callback(lambda taken: taken.cancelled() or taken.exception())  # on_close tells of it
        self._waiting.append((memoryview(data), taken))
        self.resume_writing()
        return taken

    def pause_reading(self) -> None:
        """Take nothing more for now."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close it, with what waits."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or end if it was closed meanwhile."""
        self._transport = cast(asyncio.Transport, transport)
        if self._is_closed:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=0)
        self.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's name
        """Where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Something was read."""
        self._protocol.received(self._buffer[:nbytes])

    def eof_received(self) -> None:
        """The peer sends nothing more; one that reads nothing either would be waited for without an end."""
        self.close()

    def resume_writing(self) -> None:
        """Give asyncio what it can take."""
        transport, waiting = self._transport, self._waiting
        given = 0
        while (
            given < len(waiting)
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            data, taken = waiting[given]
            if data:
                waiting[given] = data[WRITE_BYTES:], taken
                transport.write(data[:WRITE_BYTES])
            else:
                given += 1
                if not taken.done():
                    taken.set_result(None)
        del waiting[:given]  # one by one a hundred thousand small ones would take seconds

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's name
        """The socket is gone."""
        self._end()

    def _end(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        for _, taken in self._waiting:
            if not taken.done():
                taken.set_exception(StreamClosedError())
        self._waiting.clear()
        self._protocol.lost()


def thread_buffer() -> memoryview:
    """The buffer of this thread, which runs at most one event loop."""
    found: memoryview | None = getattr(_of_thread, "buffer", None)
    if found is None:
        found = _of_thread.buffer = memoryview(bytearray(READ_BYTES))
    return found
