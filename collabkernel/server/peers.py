"""This server among others: what it stores is told over the bus, and what they store comes to its rooms."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from collabkernel.bus.base import Bus, OpsStoredMessage, Subscription
from collabkernel.room.effects import Publish
from collabkernel.room.events import BusLost, Event, OpsPublished


class Peers:
    """The rooms' end of a bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._origin = secrets.token_bytes(16)
        self._subscription_by_room: dict[str, Subscription] = {}

    async def open(self) -> None:
        """Connect."""
        await self._bus.open()

    async def close(self) -> None:
        """Disconnect."""
        await self._bus.close()

    async def join(self, room_id: str, post: Callable[[Event], None]) -> None:
        """Bring a room what the others store, from now on."""

        def on_message(message: bytes) -> None:
            told = OpsStoredMessage.decode(message)
            if told.origin != self._origin:
                post(OpsPublished(told.first_seq, told.last_seq, told.parts))

        await self.leave(room_id)
        self._subscription_by_room[room_id] = await self._bus.subscribe(room_id, on_message, lambda: post(BusLost()))

    async def leave(self, room_id: str) -> None:
        """The room is unloaded."""
        subscription = self._subscription_by_room.pop(room_id, None)
        if subscription is not None:
            await self._bus.unsubscribe(subscription)

    async def publish(self, room_id: str, stored: Publish) -> None:
        """Tell the others what this server has stored."""
        message = OpsStoredMessage(self._origin, stored.first_seq, stored.last_seq, stored.parts)
        await self._bus.publish(room_id, message.encode())
