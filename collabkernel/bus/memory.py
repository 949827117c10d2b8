"""The bus of one process: the twin of a bus between servers, and all that a single server needs."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from collabkernel.bus.base import Subscription
from collabkernel.errors import ClosedError

QUEUE_MESSAGES_MAX = 1024
"""Messages waiting for one subscriber: ten seconds of a room at 100 commits a second. Over it they are dropped, and it
reads the log."""
_TURN_MESSAGES_MAX = 64
"""Messages handed to one subscriber in one turn of the loop, so that others get theirs."""

_log = logging.getLogger(__name__)


class MemoryBus:
    """A ``Bus`` for everything that shares this object; ``base.Bus`` has the promises."""

    def __init__(self, queue_messages_max: int = QUEUE_MESSAGES_MAX) -> None:
        self._queue_messages_max = queue_messages_max
        self._mailboxes: dict[str, dict[Subscription, _Mailbox]] = {}
        """By room id; rooms without subscribers are not kept."""
        self._is_open = False

    async def open(self) -> None:
        """Begin."""
        self._is_open = True

    async def close(self) -> None:
        """End all subscriptions."""
        self._is_open = False
        for mailboxes in self._mailboxes.values():
            for mailbox in mailboxes.values():
                mailbox.close()
        self._mailboxes.clear()

    def publish(self, room_id: str, message: bytes) -> None:
        """Hand a message to every subscriber of the room."""
        self._check_open()
        for mailbox in self._mailboxes.get(room_id, {}).values():
            mailbox.put(message)

    def tell_gap(self, room_id: str) -> None:
        """Tell every subscriber of the room that messages were lost on the way here."""
        for mailbox in self._mailboxes.get(room_id, {}).values():
            mailbox.lose()

    def rooms(self) -> list[str]:
        """Those that somebody is to be told of."""
        return list(self._mailboxes)

    def has_subscribers(self, room_id: str) -> bool:
        """Whether anybody is to be told of this room."""
        return room_id in self._mailboxes

    async def subscribe(
        self, room_id: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """Subscribe to a room."""
        self._check_open()
        subscription = Subscription(room_id, on_message, on_gap)
        self._mailboxes.setdefault(room_id, {})[subscription] = _Mailbox(subscription, self._queue_messages_max)
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        mailboxes = self._mailboxes.get(subscription.room_id, {})
        mailbox = mailboxes.pop(subscription, None)
        if mailbox is not None:
            mailbox.close()
        if not mailboxes:
            self._mailboxes.pop(subscription.room_id, None)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError("this bus is not open; call open() first, and nothing after close()")


class _Mailbox:
    """Messages on their way to one subscriber."""

    def __init__(self, subscription: Subscription, messages_max: int) -> None:
        self._subscription = subscription
        self._messages: deque[bytes] = deque()
        self._messages_max = messages_max
        self._has_gap = False
        """Messages were dropped, and the subscriber has not been told yet; the queue is empty until then."""
        self._turn: asyncio.Handle | None = None

    def put(self, message: bytes) -> None:
        """Queue a message; in a full queue drop all: one gap costs the subscriber as much as many."""
        if len(self._messages) >= self._messages_max:
            self.lose()
        elif not self._has_gap:
            self._messages.append(message)
            self._schedule()

    def lose(self) -> None:
        """Drop what waits, and tell of a gap in its place."""
        self._messages.clear()
        self._has_gap = True
        self._schedule()

    def close(self) -> None:
        """Deliver nothing any more."""
        self._messages.clear()
        self._has_gap = False
        if self._turn is not None:
            self._turn.cancel()

    def _schedule(self) -> None:
        if self._turn is None and (self._messages or self._has_gap):
            self._turn = asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._turn = None
        if self._has_gap:
            self._has_gap = False
            self._subscription.on_gap()
        for _ in range(min(len(self._messages), _TURN_MESSAGES_MAX)):
            if not self._messages:  # a callback may have ended this subscription
                break
            self._hand_over(self._messages.popleft())
        self._schedule()

    def _hand_over(self, message: bytes) -> None:
        try:
            self._subscription.on_message(message)
        except Exception:  # noqa: BLE001  # the edge: a subscriber's fault is its own, and the log has the message
            _log.exception("a subscriber of room %r failed; it is told to read the log", self._subscription.room_id)
            self.lose()
