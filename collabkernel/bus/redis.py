"""The bus over Redis or Valkey: what one server has stored reaches the others within a round trip.

Redis carries nothing that must not be lost. The heads of the logs are looked at as well (``polling``): seldom while the
connection stands, which finds what another server could not publish, and as often as without Redis while it does not.

Rooms are channels. On one Redis, or one that Sentinels watch over, all of them go over one link; in a Cluster each room
is a sharded channel, and goes over the link of the node that has its slot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Set

from redis.exceptions import RedisError

from collabkernel.bus import DEFAULT_PREFIX
from collabkernel.bus.base import Subscription
from collabkernel.bus.memory import MemoryBus
from collabkernel.bus.outbox import OUTBOX_MESSAGES_MAX, Outbox
from collabkernel.bus.polling import POLL_MS, Log, PollingBus
from collabkernel.bus.redis_link import Listener, RedisLink
from collabkernel.bus.redis_servers import servers_at
from collabkernel.errors import ClosedError

CALM_POLL_MS = 2_000
"""Between two looks at the log while Redis answers: what was stored by a server that has lost Redis is shown in it."""
CALM_GRACE_MS = 500
"""What is in the log and has not been heard of may be on its way for so long, on a busy server."""
LOOK_AGAIN_S = 0.2
"""Between two questions where the channels of a Cluster are."""

_log = logging.getLogger(__name__)


class RedisBus:
    """A ``Bus`` between servers that share a database and a Redis; ``base.Bus`` has the promises."""

    def __init__(self, url: str, log: Log, *, prefix: str = DEFAULT_PREFIX, poll_ms: int = POLL_MS) -> None:
        """Prepare.

        Args:
            url: As ``redis_servers.servers_at`` takes it.
            log: The storage of this server, and of no other in its process.
            prefix: Of all channels.
            poll_ms: Between two looks at the log while Redis does not answer.

        Raises:
            ValueError: If the URL names no Redis.
        """
        self._servers = servers_at(url)
        self._prefix = f"{prefix}:".encode()
        self._local = MemoryBus()
        self._polling = PollingBus(log, poll_ms)
        self._poll_ms = poll_ms
        self._polled: dict[Subscription, Subscription] = {}
        self._links: dict[str, RedisLink] = {}
        """By node."""
        self._node_by_room: dict[str, str] = {}
        """Where each room is listened to."""
        self._unrouted = Outbox()
        """What no node is known for."""
        self._look_again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether messages go over Redis now; else the log is looked at."""
        return bool(self._links) and all(link.is_connected for link in self._links.values())

    async def open(self) -> None:
        """Begin; whether Redis answers or not."""
        await self._local.open()
        await self._polling.open()
        self._look_again.set()
        self._task = asyncio.create_task(self._keep_routes(), name="redis bus, routes")

    async def close(self) -> None:
        """End all subscriptions and disconnect."""
        task, self._task = self._task, None
        await self._local.close()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        links, self._links = self._links, {}
        for link in links.values():
            await link.close()
        await self._polling.close()
        await self._servers.close()

    def publish(self, room_id: str, message: bytes) -> None:
        """Hand a message to every subscriber of the room."""
        self._check_open()
        self._polling.hear(room_id, message)
        self._publish(room_id, message)

    async def subscribe(
        self, room_id: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """Subscribe to a room. While Redis does not answer this goes on without it.

        Raises:
            StorageError: If the head of its log cannot be read.
        """
        self._check_open()
        link = self._link_of(room_id)
        if link is not None:
            await link.published()  # what was published before is not for this one
        subscription = await self._local.subscribe(room_id, on_message, on_gap)
        try:
            self._polled[subscription] = await self._polling.subscribe(
                room_id, _ignore, lambda: self._local.tell_gap(room_id)
            )
            link = await self._listen_to(room_id, is_new=True)
            if link is not None:
                await link.heard(room_id)
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
        if not self._local.has_subscribers(subscription.room_id):
            await self._leave(subscription.room_id)

    def _publish(self, room_id: str, message: bytes) -> None:
        link = self._link_of(room_id)
        if link is not None:
            link.publish(room_id, message)
        else:
            self._unrouted.put(room_id, message)

    def _check_open(self) -> None:
        if self._task is None:
            raise ClosedError("this bus is not open; call open() first, and nothing after close()")

    # -- routes

    def _node_of(self, room_id: str) -> str | None:
        return self._servers.node_of(self._prefix + room_id.encode()) if self._links else None

    def _link_of(self, room_id: str) -> RedisLink | None:
        return self._links.get(self._node_of(room_id) or "")

    async def _listen_to(self, room_id: str, *, is_new: bool) -> RedisLink | None:
        node = self._node_of(room_id)
        link = self._links.get(node or "")
        if link is not None and node is not None:
            self._node_by_room[room_id] = node
            await link.listen(room_id, is_new=is_new)
        return link

    async def _leave(self, room_id: str) -> None:
        node = self._node_by_room.pop(room_id, None)
        if node in self._links:
            await self._links[node].leave(room_id)

    async def _keep_routes(self) -> None:
        """Find out where rooms are, when the bus opens and whenever one is not where it was."""
        while True:
            await self._look_again.wait()
            self._look_again.clear()
            try:
                await self._route(await self._servers.look())
            except (RedisError, OSError) as error:
                _log.debug("the nodes of Redis are not known: %s", error)
                self._look_again.set()
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _route(self, nodes: Set[str]) -> None:
        """Have a link to each node, and what waits published and every room listened to where it is now."""
        gone = [self._links.pop(node) for node in self._links.keys() - nodes]
        waiting = self._unrouted.take(OUTBOX_MESSAGES_MAX)
        for link in (*gone, *self._links.values()):
            waiting += link.take_unpublished()
        for node in nodes - self._links.keys():
            self._links[node] = self._new_link(node)
        for room_id, message in waiting:
            self._publish(room_id, message)
        for room_id in self._local.rooms():
            if self._node_by_room.get(room_id) != self._node_of(room_id):
                await self._leave(room_id)
                await self._listen_to(room_id, is_new=False)
        self._on_state()
        for link in gone:
            try:
                await link.close()
            except (RedisError, OSError) as error:  # its node may not answer any more
                _log.debug("a link to a node of Redis that is gone was not closed: %s", error)

    def _new_link(self, node: str) -> RedisLink:
        listener = Listener(self._on_message, self._local.tell_gap, self._on_state, self._look_again.set)
        return RedisLink(self._servers.client(node), self._prefix, listener, is_sharded=self._servers.is_sharded)

    # -- what links tell

    def _on_message(self, room_id: str, message: bytes) -> None:
        self._polling.hear(room_id, message)
        self._local.publish(room_id, message)

    def _on_state(self) -> None:
        if self.is_connected:
            self._polling.look_every(CALM_POLL_MS, CALM_GRACE_MS)
        else:
            self._polling.look_every(self._poll_ms)


def _ignore(_message: bytes) -> None:
    """Polling brings no messages."""
