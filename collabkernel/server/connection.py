"""One socket at one room: the way of its frames to the room's inbox."""

from __future__ import annotations

import asyncio

from collabkernel import metrics
from collabkernel.limits import Limits
from collabkernel.room.events import HelloDue, SessionClosed, SessionDrained
from collabkernel.room.quota import TokenBucket
from collabkernel.server.flag import Flag
from collabkernel.server.runner import Runner
from collabkernel.server.transport import Transport


class Connection:
    """One socket at one room. Made by ``Hub.open_session`` and ``Hub.open_document``."""

    __slots__ = (
        "_bytes",
        "_drained",
        "_frames",
        "_hello_timer",
        "_id",
        "_is_closed",
        "_limits",
        "_loop",
        "_on_worked",
        "_receiving",
        "_runner",
        "_transport",
        "_work_ms",
    )

    def __init__(
        self, session_id: int, runner: Runner, transport: Transport, limits: Limits, is_service: bool = False
    ) -> None:
        self._id = session_id
        self._runner = runner
        self._transport = transport
        self._limits = limits
        self._is_closed = False
        self._drained = Flag()
        self._receiving = asyncio.Lock()
        self._loop = loop = asyncio.get_running_loop()
        self._frames = TokenBucket(limits.frames_per_s, max(1, limits.frames_per_s // 2), self._now_ms())
        bytes_per_s, hello_timeout_ms = runner.kind.bytes_per_s, runner.kind.hello_timeout_ms
        self._bytes = TokenBucket(bytes_per_s, 2 * bytes_per_s, self._now_ms())
        work_ms_per_s = None if is_service else runner.kind.work_ms_per_s
        self._work_ms = (
            None if work_ms_per_s is None else TokenBucket(work_ms_per_s, limits.document_work_burst_ms, self._now_ms())
        )
        self._on_worked = None if work_ms_per_s is None else self._worked
        self._hello_timer = (
            None
            if hello_timeout_ms is None
            else loop.call_later(hello_timeout_ms / 1000, runner.post, HelloDue(session_id))
        )

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    async def receive(self, frame: bytes) -> None:
        """Take one binary frame; waits while the room is busy, this socket does not take its answers, or sends a flood.

        So a flood is slowed where it comes from, by TCP, rather than read and refused.
        """
        if self.take(frame):
            return
        metrics.count_frame_in(len(frame))
        kind, on_worked = self._runner.kind, self._on_worked
        async with self._receiving:  # frames keep their order, also behind a large one
            await self.allowance(len(frame))
            event = kind.event(self._id, frame)
            events = [(event, len(frame))] if event is not None else await kind.events(self._id, frame)
            for event, size_bytes in events:
                await self._runner.put(event, size_bytes, on_worked)

    def take(self, frame: bytes) -> bool:
        """Take one binary frame if nothing is in the way; otherwise it has to be ``receive``d.

        Tornado makes a task for a frame that is waited for: 150 us of each.
        """
        if self._receiving.locked() or self._transport.buffered_bytes > self._limits.session_queue_bytes:
            return False
        event = self._runner.kind.event(self._id, frame)
        if event is None or not self._runner.has_space(self._id) or not self._may_send(len(frame)):
            return False
        metrics.count_frame_in(len(frame))
        self._runner.take(event, len(frame), self._on_worked)
        return True

    async def handed_on(self) -> None:
        """Wait until the room has all that this socket sent, ahead of what anybody sends from then on."""
        await self._runner.handed_on(self._id)

    def _may_send(self, size_bytes: int) -> bool:
        """Charge for a frame, if it need not wait."""
        now_ms = self._now_ms()
        if (self._work_ms is not None and self._work_ms.take(0, now_ms)) or self._frames.take(1, now_ms):
            return False
        if self._bytes.take(size_bytes, now_ms):
            self._frames.charge(-1, now_ms)
            return False
        return True

    def _worked(self, seconds: float) -> None:
        """A frame of this socket was handled."""
        assert self._work_ms is not None
        self._work_ms.charge(seconds * 1000, self._now_ms())

    async def allowance(self, size_bytes: int) -> None:
        """Wait until this socket may send a frame of that size, and takes its answers, or is closed."""
        for bucket, tokens in ((self._work_ms, 0), (self._frames, 1), (self._bytes, size_bytes)):
            while bucket is not None and not self._is_closed and (wait_ms := bucket.take(tokens, self._now_ms())):  # noqa: ASYNC110  # a time
                await asyncio.sleep(wait_ms / 1000)
        while self._transport.buffered_bytes > self._limits.session_queue_bytes and not self._is_closed:
            self._drained.clear()
            await self._drained.wait()

    def drained(self) -> None:
        """The socket took what was sent, down to the low mark."""
        self._drained.set()
        self._runner.post(SessionDrained(self._id))

    async def close(self) -> None:
        """The socket is gone."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self._drained.set()
        self._runner.detach(self._id)
        self._runner.post(SessionClosed(self._id))
