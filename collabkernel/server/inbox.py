"""What waits for a room's task: bounded in events and bytes, and shared by its sessions.

Answers and timers are taken at once, and come first: they are as many as what was asked. What sessions send waits for
space, and each has a share: one that sends faster than the room works waits for itself, and keeps nobody else waiting
long. Sessions have their turns by deficit round robin (Shreedhar & Varghese, "Efficient Fair Queuing Using Deficit
Round-Robin", 1995), counted in bytes: what a keystroke waits for is a ``QUANTUM_BYTES`` of each other session, not the
batches of fifty agents. Who comes when nothing of his was waiting goes first for such a quantum, then he stands behind
the others (as in FQ-CoDel, RFC 8290, section 4.2): else a keystroke would wait for all fifty batches once they have
saved up what they take. What one session sends keeps its order.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from collabkernel.limits import Limits
from collabkernel.room.events import BusLost, Event, FrameReceived, OpsPublished, SessionClosed
from collabkernel.server.flag import Flag

TURN_S = 0.01
"""A room's turn on the event loop, but for the event that ends it; then others have theirs."""
SESSION_EVENTS = 16
"""Events of one session that wait: a script that sends one by one does not wait for its answers."""
NEWS_MAX = 1000
"""Messages of other servers that wait: at 250 a second, which is much for a room, four seconds behind them."""
QUANTUM_BYTES = 1 << 10
"""What a session may have handled in its turn, and saves up while it waits with more: a few keystrokes and cursors."""


Worked: TypeAlias = Callable[[float], None]
"""Told how long an event has kept the processor, seconds."""


class _Waiting(NamedTuple):
    event: Event
    session_id: int
    size_bytes: int
    on_worked: Worked | None


class _Share:
    """What waits of one session."""

    __slots__ = ("deficit_bytes", "size_bytes", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.size_bytes = 0
        self.deficit_bytes = 0
        """What it may have handled before others have their turn."""


class Inbox:
    """Events, those of each session in the order they came."""

    def __init__(
        self, limits: Limits, alone_bytes: int | None = None, is_held: Callable[[], bool] = lambda: False
    ) -> None:
        """Prepare.

        Args:
            limits: The bounds.
            alone_bytes: Frames over this are not part of a turn, but taken by ``take_large``; None: there are none.
            is_held: Whether what sessions sent stays here for now. When it does not any more, something is posted.
        """
        self._limits = limits
        self._alone_bytes = alone_bytes
        self._is_held = is_held
        self._posted: deque[Event] = deque()
        self._news_count = 0
        """Of what other servers stored, in ``_posted``."""
        self._fresh: OrderedDict[int, _Share] = OrderedDict()
        """Of those who came when nothing of theirs was waiting, and have not used up a quantum: they go first."""
        self._shares: OrderedDict[int, _Share] = OrderedDict()
        """Of the others, in the order of their turns; one of whom nothing waits any more may be there until then."""
        self._count = 0
        self._size_bytes = 0
        self._is_closed = False
        self._has_events = Flag()
        self._has_space = Flag()

    def post(self, event: Event) -> None:
        """Take an event at once; that a session closed, behind what it has sent."""
        if self._is_closed:
            return
        if isinstance(event, SessionClosed) and self._has_from(event.session_id):
            self._wait(_Waiting(event, event.session_id, 0, None))
        elif isinstance(event, OpsPublished):
            self._hear(event)
        else:
            self._posted.append(event)
        self._has_events.set()

    def _hear(self, event: OpsPublished) -> None:
        """Take news of another server; when too much of it waits, it is read from the log instead."""
        self._news_count += 1
        if self._news_count <= NEWS_MAX:
            self._posted.append(event)
            return
        self._posted = deque(each for each in self._posted if not isinstance(each, OpsPublished))
        self._posted.append(BusLost())
        self._news_count = 0

    def _take_posted(self) -> Event:
        event = self._posted.popleft()
        self._news_count -= isinstance(event, OpsPublished)
        return event

    async def put(self, event: FrameReceived, size_bytes: int, on_worked: Worked | None = None) -> None:
        """Take an event of a session when there is space for it.

        Args:
            event: What it sent.
            size_bytes: Its size.
            on_worked: Told when it was handled.
        """
        while not self.take(event, size_bytes, on_worked):
            self._has_space.clear()
            await self._has_space.wait()

    def take(self, event: FrameReceived, size_bytes: int, on_worked: Worked | None = None) -> bool:
        """Take an event of a session, as ``put``, or say that there is no space for it."""
        if self._is_closed:
            return True
        if self.is_full_for(event.session_id):
            return False
        self._wait(_Waiting(event, event.session_id, size_bytes, on_worked))
        self._has_events.set()
        return True

    def _share_of(self, session_id: int) -> _Share | None:
        return self._fresh.get(session_id) or self._shares.get(session_id)

    def _has_from(self, session_id: int) -> bool:
        share = self._share_of(session_id)
        return share is not None and bool(share.waiting)

    def _wait(self, waiting: _Waiting) -> None:
        share = self._share_of(waiting.session_id)
        if share is None:
            share = self._fresh[waiting.session_id] = _Share()
            share.deficit_bytes = QUANTUM_BYTES
        share.waiting.append(waiting)
        share.size_bytes += waiting.size_bytes
        self._size_bytes += waiting.size_bytes
        self._count += 1

    def is_full_for(self, session_id: int) -> bool:
        """Whether an event of this session would have to wait."""
        limits, share = self._limits, self._share_of(session_id)
        if self._count >= limits.room_inbox_events or self._size_bytes >= limits.room_inbox_bytes:
            return True
        return share is not None and (len(share.waiting) >= SESSION_EVENTS or share.size_bytes >= limits.frame_bytes)

    async def handed_on(self, session_id: int) -> None:
        """Wait until nothing that a session sent is here: what others send from then on comes behind it."""
        while self._has_from(session_id):
            self._has_space.clear()
            await self._has_space.wait()

    @property
    def has_events(self) -> bool:
        """Whether something waits that may be taken now."""
        return bool(self._posted) or (self._count > 0 and not self._is_held())

    async def wait(self) -> None:
        """Wait until something is there."""
        while not self.has_events and not self._is_closed:
            self._has_events.clear()
            await self._has_events.wait()

    def turn(self, now_s: Callable[[], float]) -> Iterator[Event]:
        """Events for one turn: at least one, and more while it is not over."""
        until_s = now_s() + TURN_S
        while self.has_events:
            if self._posted:
                yield self._take_posted()
            elif self._is_large(self._next()):
                return
            else:
                waiting = self._pop()
                if waiting.on_worked is None:
                    yield waiting.event
                else:
                    began_s = time.thread_time()  # a system call
                    yield waiting.event
                    waiting.on_worked(time.thread_time() - began_s)
            if now_s() > until_s:
                return

    def take_large(self) -> tuple[Event, Worked | None] | None:
        """The next event if it is a frame to be handled alone; else None."""
        if self._posted or not self.has_events or not self._is_large(self._next()):
            return None
        waiting = self._pop()
        return waiting.event, waiting.on_worked

    def _is_large(self, waiting: _Waiting) -> bool:
        return self._alone_bytes is not None and waiting.size_bytes > self._alone_bytes

    def _next(self) -> _Waiting:
        """The event whose session has the turn: the first one that has saved up what its event takes."""
        shares = self._shares
        while True:
            line = self._fresh or shares
            session_id, share = next(iter(line.items()))
            if not share.waiting:
                del line[session_id]
            elif share.waiting[0].size_bytes <= share.deficit_bytes:
                return share.waiting[0]
            elif line is not shares:
                shares[session_id] = line.pop(session_id)
            elif len(shares) == 1:  # nobody else waits for a turn
                share.deficit_bytes = share.waiting[0].size_bytes
            else:
                share.deficit_bytes += QUANTUM_BYTES
                shares.move_to_end(session_id)

    def _pop(self) -> _Waiting:
        """Take what ``_next`` gives."""
        waiting = self._next()
        line = self._fresh or self._shares
        share = line[waiting.session_id]
        share.waiting.popleft()
        share.size_bytes -= waiting.size_bytes
        share.deficit_bytes -= waiting.size_bytes
        self._size_bytes -= waiting.size_bytes
        self._count -= 1
        if not self._count:
            self._fresh.clear()
            self._shares.clear()
        elif not share.waiting:
            del line[waiting.session_id]
            if line is not self._shares:  # who sends again before his turn is not fresh again, and keeps nobody waiting
                self._shares[waiting.session_id] = share
        self._has_space.set()
        return waiting

    def close(self) -> None:
        """Drop what is there and take nothing more; nobody waits any longer."""
        self._is_closed = True
        self._posted.clear()
        self._fresh.clear()
        self._shares.clear()
        self._count = self._size_bytes = 0
        self._has_events.set()
        self._has_space.set()
