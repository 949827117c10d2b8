"""The bus of servers that share nothing but their database: it carries no messages, and looks at the heads of the logs.

A server with a room loaded is told by ``on_gap`` when the room's log has grown beyond what it published itself, and
reads what is new. One query a poll for all its rooms, and none while the database says that nobody else has written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from collabkernel.bus.base import OpsStoredMessage, Subscription
from collabkernel.errors import ClosedError, MalformedFrameError, StorageError

POLL_MS = 200
"""Between two looks: what another server stored is shown in half of it on average."""
UNMARKED_POLLS_MAX = 25
"""After so many polls without a mark of change the heads are looked at all the same, every five seconds: a mark that a
database got wrong delays, and loses nothing."""
NO_ROOM = -1
"""In place of the head of a room that does not exist."""

_log = logging.getLogger(__name__)


class Log(Protocol):
    """What is looked at; a ``Storage`` has it."""

    async def heads(self, room_ids: Sequence[str]) -> dict[str, int]:
        """Heads of the logs of the rooms that exist."""

    async def change_mark(self) -> Hashable:
        """Differs from what it was before when another server may have written something."""


class PollingBus:
    """A ``Bus`` for servers on one database; ``base.Bus`` has the promises. All messages are lost, and told as gaps."""

    def __init__(self, log: Log, interval_ms: int = POLL_MS) -> None:
        """Look at a log; it is open whenever this is.

        Args:
            log: The storage of this server, and of no other in its process: its own writes need make no mark.
            interval_ms: Between two looks.
        """
        self._storage = log
        self._interval_s = interval_ms / 1000
        self._grace_s = 0.0
        self._subscriptions: dict[str, set[Subscription]] = {}
        """By room id; rooms without subscribers are not kept."""
        self._head_by_room: dict[str, int] = {}
        """As far as the subscribers know."""
        self._has_rooms = asyncio.Event()
        self._look_now = asyncio.Event()
        self._mark: Hashable = None
        self._unmarked_polls = 0
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="polling bus")

    async def close(self) -> None:
        """End all subscriptions."""
        task, self._task = self._task, None
        self._subscriptions.clear()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def publish(self, room_id: str, message: bytes) -> None:
        """Note what this server has stored itself, so that it is not told of it."""
        self._check_open()
        told = _told(message)
        head = self._head_by_room.get(room_id)
        if head is not None and told is not None and told.first_seq <= head + 1:
            self._head_by_room[room_id] = max(head, told.last_seq)

    def hear(self, room_id: str, message: bytes) -> None:
        """Note what subscribers were told otherwise; of what is before that and was not told, they know by its seq."""
        self._check_open()
        told = _told(message)
        head = self._head_by_room.get(room_id)
        if head is not None and told is not None:
            self._head_by_room[room_id] = max(head, told.last_seq)

    async def subscribe(
        self, room_id: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """Subscribe to a room: what is stored from now on is told.

        Raises:
            StorageError: If the head of its log cannot be read.
        """
        self._check_open()
        heads = await self._storage.heads([room_id])
        self._check_open()
        subscription = Subscription(room_id, on_message, on_gap)
        self._subscriptions.setdefault(room_id, set()).add(subscription)
        self._head_by_room.setdefault(room_id, heads.get(room_id, NO_ROOM))
        self._mark = None  # a mark of before may cover what is in that head, or may not
        self._has_rooms.set()
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        room_id = subscription.room_id
        others = self._subscriptions.get(room_id, set())
        others.discard(subscription)
        if not others:
            self._subscriptions.pop(room_id, None)
            self._head_by_room.pop(room_id, None)
        if not self._subscriptions:
            self._has_rooms.clear()

    def look_every(self, interval_ms: int, grace_ms: int = 0) -> None:
        """Look so often from now on; who looked less often looks at once.

        Args:
            interval_ms: Between two looks.
            grace_ms: What is seen may be on its way to the subscribers: it is told when they do not have it after this.
        """
        self._grace_s = grace_ms / 1000
        is_sooner, self._interval_s = interval_ms / 1000 < self._interval_s, interval_ms / 1000
        if is_sooner:
            self._look_now.set()

    def _check_open(self) -> None:
        if self._task is None:
            raise ClosedError("this bus is not open; call open() first, and nothing after close()")

    async def _run(self) -> None:
        while True:
            await self._has_rooms.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._look_now.wait()
            self._look_now.clear()
            try:
                await self._poll()
            except StorageError as error:
                self._mark = None
                if not self._is_failing:
                    _log.warning("The log cannot be looked at; other servers' work is shown when it can: %s", error)
                self._is_failing = True
            else:
                self._is_failing = False

    async def _poll(self) -> None:
        mark = await self._storage.change_mark()
        self._unmarked_polls += 1
        if mark == self._mark and self._unmarked_polls < UNMARKED_POLLS_MAX:
            return
        known = dict(self._head_by_room)
        heads = await self._storage.heads(list(known))
        self._mark, self._unmarked_polls = mark, 0
        if self._grace_s and any(head > known[room_id] for room_id, head in heads.items()):
            await asyncio.sleep(self._grace_s)
        for room_id, before in known.items():
            head = heads.get(room_id, NO_ROOM)
            # Below what was known before the query: the room was deleted. Below what is known now: published meanwhile.
            if head < before or head > self._head_by_room.get(room_id, head):
                self._head_by_room[room_id] = head
                self._tell(room_id)

    def _tell(self, room_id: str) -> None:
        for subscription in tuple(self._subscriptions.get(room_id, ())):
            try:
                subscription.on_gap()
            except Exception:  # noqa: BLE001  # the edge: a subscriber's fault is its own, and the log has it all
                _log.exception("a subscriber of room %r failed", room_id)


def _told(message: bytes) -> OpsStoredMessage | None:
    """What it tells of the log; None of one that tells nothing of it."""
    try:
        return OpsStoredMessage.decode(message)
    except MalformedFrameError:
        return None
