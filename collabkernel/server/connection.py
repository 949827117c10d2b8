"""One socket at one room: the way of its frames to the room's inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from collabkernel import metrics
from collabkernel.errors import RemoteProtocolError
from collabkernel.limits import Limits
from collabkernel.room.events import FrameReceived, HelloDue, SessionClosed, SessionDrained
from collabkernel.room.quota import TokenBucket
from collabkernel.server.runner import Runner
from collabkernel.server.transport import Transport
from collabkernel.wire.codec import decode_client_message
from collabkernel.wire.messages import ClientMessage, Submit

DECODE_INLINE_BYTES = 16 << 10
"""Larger frames are read in a thread: one of a megabyte holds 40,000 operations, up to a second of work."""
ENVELOPES_PER_EVENT = 256
"""A frame with more envelopes is cut into events of so many: each is its own admission, in about 40 us."""


class Connection:
    """One socket at one room. Made by ``Hub.open_session``."""

    def __init__(self, session_id: int, runner: Runner, transport: Transport, limits: Limits) -> None:
        self._id = session_id
        self._runner = runner
        self._transport = transport
        self._limits = limits
        self._is_closed = False
        self._drained = asyncio.Event()
        self._receiving = asyncio.Lock()
        self._loop = loop = asyncio.get_running_loop()
        self._frames = TokenBucket(limits.frames_per_s, max(1, limits.frames_per_s // 2), self._now_ms())
        self._bytes = TokenBucket(limits.frame_bytes_per_s, 2 * limits.frame_bytes_per_s, self._now_ms())
        self._hello_timer = loop.call_later(limits.hello_timeout_ms / 1000, runner.post, HelloDue(session_id))

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    async def receive(self, frame: bytes) -> None:
        """Take one binary frame; waits while the room is busy, this socket does not take its answers, or sends a flood.

        So a flood is slowed where it comes from, by TCP, rather than read and refused.
        """
        metrics.count_frame_in(len(frame))
        async with self._receiving:  # frames keep their order, also behind a large one
            await self._allowance(len(frame))
            while self._transport.buffered_bytes > self._limits.session_queue_bytes and not self._is_closed:
                self._drained.clear()
                await self._drained.wait()
            if len(frame) <= DECODE_INLINE_BYTES or len(frame) > self._limits.frame_bytes:
                await self._runner.put(FrameReceived(self._id, frame), len(frame))
                return
            for event, size_bytes in await self._read(frame):
                await self._runner.put(event, size_bytes)

    async def _allowance(self, size_bytes: int) -> None:
        for bucket, tokens in ((self._frames, 1), (self._bytes, size_bytes)):
            while not self._is_closed and (wait_ms := bucket.take(tokens, self._now_ms())):  # noqa: ASYNC110  # a time
                await asyncio.sleep(wait_ms / 1000)

    async def _read(self, frame: bytes) -> list[tuple[FrameReceived, int]]:
        """A large frame as events; one that is no message is left to the room to refuse."""
        try:
            message = await asyncio.to_thread(decode_client_message, frame, self._limits)
        except RemoteProtocolError as error:
            return [(FrameReceived(self._id, frame, error), len(frame))]
        parts = list(_parts(message))
        size_bytes = len(frame) // len(parts)
        return [(FrameReceived(self._id, b"" if i else frame, part), size_bytes) for i, part in enumerate(parts)]

    def drained(self) -> None:
        """The socket took what was sent, down to the low mark."""
        self._drained.set()
        self._runner.post(SessionDrained(self._id))

    async def close(self) -> None:
        """The socket is gone."""
        if self._is_closed:
            return
        self._is_closed = True
        self._hello_timer.cancel()
        self._drained.set()
        self._runner.detach(self._id)
        self._runner.post(SessionClosed(self._id))


def _parts(message: ClientMessage) -> Iterator[ClientMessage]:
    if not isinstance(message, Submit) or len(message.envelopes) <= ENVELOPES_PER_EVENT:
        yield message
        return
    for start in range(0, len(message.envelopes), ENVELOPES_PER_EVENT):
        yield Submit(message.envelopes[start : start + ENVELOPES_PER_EVENT])
