"""One Redis server as the bus sees it: a connection that listens to channels, one that publishes, and their losses."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError

from collabkernel.bus.outbox import GAP, OUTBOX_MESSAGES_MAX, Outbox
from collabkernel.bus.redis_servers import ANSWER_S

BATCH_MESSAGES_MAX = 128
"""Published in one round trip."""
RETRY_S_MIN, RETRY_S_MAX = 0.1, 5.0
"""Between two attempts to connect: doubled each time, and spread, so that servers do not come all at once."""

_log = logging.getLogger(__name__)


class Listener(NamedTuple):
    """Who is told of what."""

    on_message: Callable[[str, bytes], None]
    """Room and message."""
    on_gap: Callable[[str], None]
    """A room of which messages may have been lost."""
    on_state: Callable[[], None]
    """The connection is there, or is gone."""
    on_moved: Callable[[], None]
    """The server is gone, or one of its channels is no longer there."""


class RedisLink:
    """The connections to one server. A room's messages come in order and once, or their loss is told."""

    def __init__(self, redis: Redis, prefix: bytes, listener: Listener, *, is_sharded: bool) -> None:
        """Begin, whether the server answers or not.

        Args:
            redis: A client of this server alone; the link closes it.
            prefix: Of all channels. Nobody publishes to the one that is named so; it is listened to since a connection
                that listens to nothing is none.
            listener: Who is told.
            is_sharded: Rooms are sharded channels (``SSUBSCRIBE``, Redis 7). One that moves is a gap for all.
        """
        self._redis = redis
        self._prefix = prefix
        self._listener = listener
        self._is_sharded = is_sharded
        self._outbox = Outbox()
        self._has_out, self._is_out = asyncio.Event(), asyncio.Event()
        self._pubsub: PubSub | None = None
        """While connected."""
        self._confirmed: dict[str, asyncio.Event] = {}
        """Rooms that are listened to; set when Redis has said so."""
        self._awaited: set[str] = set()
        """Those whose subscribers have nothing yet that could have a gap."""
        self._left: Counter[str] = Counter()
        """Rooms that Redis was asked to end, until it says so; what it ends unasked has moved."""
        self._is_closing = False
        self._tasks = [
            asyncio.create_task(self._stay_subscribed(), name="redis link, in"),
            asyncio.create_task(self._publish_all(), name="redis link, out"),
        ]

    @property
    def is_connected(self) -> bool:
        """Whether messages go over this server now."""
        return self._pubsub is not None

    async def close(self) -> None:
        """Disconnect."""
        self._is_closing = True  # redis-py takes a cancellation at times for a lost connection, and goes on
        self._has_out.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._redis.aclose()

    # -- in

    async def listen(self, room_id: str, *, is_new: bool) -> None:
        """Listen to a room.

        Args:
            room_id: The room.
            is_new: Its subscribers have nothing yet that could have a gap.
        """
        if room_id not in self._confirmed:
            self._confirmed[room_id] = asyncio.Event()
            if is_new:
                self._awaited.add(room_id)
            await self._tell_redis(lambda pubsub: self._subscribe(pubsub, room_id))

    async def heard(self, room_id: str) -> None:
        """Return when nothing of the room is missed any more, or the server does not answer."""
        confirmed = self._confirmed.get(room_id)
        if self.is_connected and confirmed is not None:
            await _within(confirmed)
        self._awaited.discard(room_id)

    async def leave(self, room_id: str) -> None:
        """Listen to a room no longer."""
        if self._confirmed.pop(room_id, None) is not None and self.is_connected:
            self._left[room_id] += 1
            await self._tell_redis(lambda pubsub: self._unsubscribe(pubsub, room_id))

    def _subscribe(self, pubsub: PubSub, *room_ids: str) -> Any:
        channels = [self._channel(room_id) for room_id in room_ids]
        return pubsub.ssubscribe(*channels) if self._is_sharded else pubsub.subscribe(*channels)

    def _unsubscribe(self, pubsub: PubSub, room_id: str) -> Any:
        channel = self._channel(room_id)
        return pubsub.sunsubscribe(channel) if self._is_sharded else pubsub.unsubscribe(channel)

    async def _tell_redis(self, command: Callable[[PubSub], Any]) -> None:
        if self._pubsub is not None:
            try:
                await command(self._pubsub)
            except (RedisError, OSError) as error:
                _log.debug("the connection to Redis is lost: %s", error)  # whoever reads from it finds out, and tells

    async def _stay_subscribed(self) -> None:
        wait_s, is_failing = RETRY_S_MIN, False
        while not self._is_closing:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._prefix)
                    await self._subscribe_all(pubsub)
                    self._on_connected(pubsub)
                    wait_s, is_failing = RETRY_S_MIN, False
                    await self._read(pubsub)
            except (RedisError, OSError) as error:
                if not is_failing:
                    _log.warning("Redis does not answer; other servers' work is looked up in the database: %s", error)
                is_failing = True
            finally:
                self._on_disconnected()
            self._listener.on_moved()
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, RETRY_S_MAX)

    async def _subscribe_all(self, pubsub: PubSub) -> None:
        asked: set[str] = set()
        while rooms := [room_id for room_id in self._confirmed if room_id not in asked]:  # some come meanwhile
            asked.update(rooms)
            if self._is_sharded:
                for room_id in rooms:  # one command may name channels of one slot alone
                    await self._subscribe(pubsub, room_id)
            else:
                await self._subscribe(pubsub, *rooms)

    def _on_connected(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._has_out.set()
        self._listener.on_state()

    def _on_disconnected(self) -> None:
        self._pubsub = None
        self._left.clear()
        self._listener.on_state()
        for room_id, confirmed in self._confirmed.items():
            confirmed.clear()
            self._listener.on_gap(room_id)

    async def _read(self, pubsub: PubSub) -> None:
        is_asked = False
        while not self._is_closing:
            message = await pubsub.get_message(timeout=ANSWER_S / 2)
            if message is None:
                if is_asked:
                    raise TimeoutError(f"nothing heard for {ANSWER_S:g} s")
                await pubsub.ping()
            elif message["channel"] not in (None, self._prefix):
                self._on_told(message["type"], self._room_id(message["channel"]), message["data"])
            is_asked = message is None

    def _on_told(self, kind: str, room_id: str, data: Any) -> None:
        match kind:
            case "subscribe" | "ssubscribe":
                self._on_confirmed(room_id)
            case "unsubscribe" | "sunsubscribe":
                self._on_ended(room_id)
            case "message" | "smessage" if data == GAP:
                self._listener.on_gap(room_id)
            case "message" | "smessage":
                self._listener.on_message(room_id, data)

    def _on_ended(self, room_id: str) -> None:
        if not self._left[room_id]:
            raise ResponseError("a channel has moved to another node")
        self._left[room_id] -= 1
        if not self._left[room_id]:
            del self._left[room_id]

    def _on_confirmed(self, room_id: str) -> None:
        confirmed = self._confirmed.get(room_id)
        if confirmed is not None and not confirmed.is_set():
            confirmed.set()
            if room_id not in self._awaited:
                self._listener.on_gap(room_id)  # what was published while nobody listened

    # -- out

    def publish(self, room_id: str, message: bytes) -> None:
        """Queue a message."""
        self._outbox.put(room_id, message)
        self._is_out.clear()
        self._has_out.set()

    async def published(self) -> None:
        """Return when what is queued is published, or the server does not answer."""
        if self.is_connected and self._outbox:
            await _within(self._is_out)

    def take_unpublished(self) -> list[tuple[str, bytes]]:
        """Take out what is queued, as rooms and messages."""
        return self._outbox.take(OUTBOX_MESSAGES_MAX)

    async def _publish_all(self) -> None:
        while not self._is_closing:
            await self._has_out.wait()
            self._has_out.clear()
            while self._outbox and self._pubsub is not None and not self._is_closing:
                batch = self._outbox.take(BATCH_MESSAGES_MAX)
                try:
                    await self._publish(batch)
                except (RedisError, OSError) as error:
                    self._outbox.lose(batch)
                    _log.debug("not published: %s", error)
                    self._listener.on_moved()
                    await asyncio.sleep(RETRY_S_MIN)
            if not self._outbox:
                self._is_out.set()

    async def _publish(self, batch: list[tuple[str, bytes]]) -> None:
        command = "SPUBLISH" if self._is_sharded else "PUBLISH"
        async with self._redis.pipeline(transaction=False) as pipeline:
            for room_id, message in batch:
                pipeline.execute_command(command, self._channel(room_id), message)
            await pipeline.execute()

    def _channel(self, room_id: str) -> bytes:
        return self._prefix + room_id.encode()

    def _room_id(self, channel: bytes) -> str:
        return channel.removeprefix(self._prefix).decode()


async def _within(event: asyncio.Event) -> None:
    """Wait for Redis, as long as it may take to answer."""
    try:
        async with asyncio.timeout(ANSWER_S):
            await event.wait()
    except TimeoutError:
        _log.debug("Redis is slow")
