"""The bus over Redis or Valkey: what one server has stored reaches the others within a round trip.

Redis carries nothing that must not be lost. The heads of the logs are looked at as well (``polling``): seldom while the
connection stands, which finds what another server could not publish, and as often as without Redis while it does not.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from collabkernel.bus import DEFAULT_PREFIX
from collabkernel.bus.base import Subscription
from collabkernel.bus.memory import MemoryBus
from collabkernel.bus.outbox import GAP, Outbox
from collabkernel.bus.polling import POLL_MS, Log, PollingBus
from collabkernel.errors import ClosedError

CALM_POLL_MS = 2_000
"""Between two looks at the log while Redis answers: what was stored by a server that has lost Redis is shown in it."""
BATCH_MESSAGES_MAX = 128
"""Published in one round trip."""
ANSWER_S = 5.0
"""A connection without a sign of life for this long, or half of it after being asked, is given up."""
RETRY_S_MIN, RETRY_S_MAX = 0.1, 5.0
"""Between two attempts to connect: doubled each time, and spread, so that servers do not come all at once."""

_log = logging.getLogger(__name__)


class RedisBus:
    """A ``Bus`` between servers that share a database and a Redis; ``base.Bus`` has the promises."""

    def __init__(self, url: str, log: Log, *, prefix: str = DEFAULT_PREFIX, poll_ms: int = POLL_MS) -> None:
        """Prepare.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py takes it.
            log: The storage of this server, and of no other in its process.
            prefix: Of all channels.
            poll_ms: Between two looks at the log while Redis does not answer.
        """
        retry = Retry(NoBackoff(), 0)  # what a silent reconnect would hide is a gap
        self._redis = Redis.from_url(url, retry=retry, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S)
        self._prefix = f"{prefix}:".encode()
        self._local = MemoryBus()
        self._polling = PollingBus(log, poll_ms)
        self._poll_ms = poll_ms
        self._polled: dict[Subscription, Subscription] = {}
        self._outbox = Outbox()
        self._has_out, self._is_out = asyncio.Event(), asyncio.Event()
        self._pubsub: PubSub | None = None
        """While connected."""
        self._confirmed: dict[bytes, asyncio.Event] = {}
        """Channels that are subscribed to; set when Redis has said so."""
        self._awaited: set[bytes] = set()
        """Those whose subscribers have nothing yet that could have a gap."""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_connected(self) -> bool:
        """Whether messages go over Redis now; else the log is looked at."""
        return self._pubsub is not None

    async def open(self) -> None:
        """Begin; whether Redis answers or not."""
        await self._local.open()
        await self._polling.open()
        self._tasks = [
            asyncio.create_task(self._stay_subscribed(), name="redis bus, in"),
            asyncio.create_task(self._publish_all(), name="redis bus, out"),
        ]

    async def close(self) -> None:
        """End all subscriptions and disconnect."""
        tasks, self._tasks = self._tasks, []
        await self._local.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._polling.close()
        await self._redis.aclose()

    def publish(self, room_id: str, message: bytes) -> None:
        """Hand a message to every subscriber of the room."""
        self._check_open()
        self._polling.publish(room_id, message)
        self._outbox.put(room_id, message)
        self._is_out.clear()
        self._has_out.set()

    async def subscribe(
        self, room_id: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """Subscribe to a room. While Redis does not answer this goes on without it.

        Raises:
            StorageError: If the head of its log cannot be read.
        """
        self._check_open()
        if self.is_connected:
            await _within(self._is_out if self._outbox else None)  # what was published before is not for this one
        subscription = await self._local.subscribe(room_id, on_message, on_gap)
        try:
            self._polled[subscription] = await self._polling.subscribe(
                room_id, _ignore, lambda: self._local.tell_gap(room_id)
            )
            await self._listen_to(self._channel(room_id))
        except BaseException:
            await self.unsubscribe(subscription)
            raise
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        await self._local.unsubscribe(subscription)
        polled = self._polled.pop(subscription, None)
        if polled is not None:
            await self._polling.unsubscribe(polled)
        channel = self._channel(subscription.room_id)
        if not self._local.has_subscribers(subscription.room_id) and self._confirmed.pop(channel, None) is not None:
            await self._tell_redis(lambda pubsub: pubsub.unsubscribe(channel))

    # -- in

    async def _listen_to(self, channel: bytes) -> None:
        confirmed = self._confirmed.get(channel)
        if confirmed is None:
            confirmed = self._confirmed[channel] = asyncio.Event()
            self._awaited.add(channel)
            await self._tell_redis(lambda pubsub: pubsub.subscribe(channel))
        if self.is_connected:
            await _within(confirmed)
        self._awaited.discard(channel)

    async def _tell_redis(self, command: Callable[[PubSub], Any]) -> None:
        if self._pubsub is not None:
            try:
                await command(self._pubsub)
            except (RedisError, OSError) as error:
                _log.debug("the connection to Redis is lost: %s", error)  # whoever reads from it finds out, and tells

    async def _stay_subscribed(self) -> None:
        wait_s, is_failing = RETRY_S_MIN, False
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    # A channel of its own, since one that listens to nothing has no connection.
                    await pubsub.subscribe(self._prefix, *self._confirmed)
                    self._on_connected(pubsub)
                    wait_s, is_failing = RETRY_S_MIN, False
                    await self._read(pubsub)
            except (RedisError, OSError) as error:
                if not is_failing:
                    _log.warning("Redis does not answer; other servers' work is looked up in the database: %s", error)
                is_failing = True
            finally:
                self._on_disconnected()
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, RETRY_S_MAX)

    def _on_connected(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._polling.look_every(CALM_POLL_MS)
        self._has_out.set()

    def _on_disconnected(self) -> None:
        self._pubsub = None
        self._polling.look_every(self._poll_ms)
        for channel, confirmed in self._confirmed.items():
            confirmed.clear()
            self._local.tell_gap(self._room_id(channel))

    async def _read(self, pubsub: PubSub) -> None:
        is_asked = False
        while True:
            message = await pubsub.get_message(timeout=ANSWER_S / 2)
            if message is None:
                if is_asked:
                    raise TimeoutError(f"nothing heard for {ANSWER_S:g} s")
                await pubsub.ping()
            elif message["type"] == "subscribe":
                self._on_confirmed(message["channel"])
            elif message["type"] == "message" and message["channel"] != self._prefix:
                self._on_message(self._room_id(message["channel"]), message["data"])
            is_asked = message is None

    def _on_confirmed(self, channel: bytes) -> None:
        confirmed = self._confirmed.get(channel)
        if confirmed is not None and not confirmed.is_set():
            confirmed.set()
            if channel not in self._awaited:
                self._local.tell_gap(self._room_id(channel))  # what was published while nobody listened

    def _on_message(self, room_id: str, message: bytes) -> None:
        if message == GAP:
            self._local.tell_gap(room_id)
        else:
            self._polling.publish(room_id, message)
            self._local.publish(room_id, message)

    # -- out

    async def _publish_all(self) -> None:
        while True:
            await self._has_out.wait()
            self._has_out.clear()
            while self._outbox and self._pubsub is not None:
                batch = self._outbox.take(BATCH_MESSAGES_MAX)
                try:
                    await self._publish(batch)
                except (RedisError, OSError) as error:
                    self._outbox.lose(batch)
                    _log.debug("not published: %s", error)
                    await asyncio.sleep(RETRY_S_MIN)
            if not self._outbox:
                self._is_out.set()

    async def _publish(self, batch: list[tuple[str, bytes]]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for room_id, message in batch:
                pipeline.publish(self._channel(room_id), message)
            await pipeline.execute()

    def _channel(self, room_id: str) -> bytes:
        return self._prefix + room_id.encode()

    def _room_id(self, channel: bytes) -> str:
        return channel.removeprefix(self._prefix).decode()

    def _check_open(self) -> None:
        if not self._tasks:
            raise ClosedError("this bus is not open; call open() first, and nothing after close()")


def _ignore(_message: bytes) -> None:
    """Polling brings no messages."""


async def _within(event: asyncio.Event | None) -> None:
    """Wait for Redis, as long as it may take to answer."""
    if event is not None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await event.wait()
        except TimeoutError:
            _log.debug("Redis is slow")
