"""This server among others: what it stores is told over the bus, and what they store comes to its rooms."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from collabkernel.bus.base import Bus, DeletedMessage, EphemeralMessage, OpsStoredMessage, Subscription, decode_message
from collabkernel.room.effects import Publish, PublishEphemeral
from collabkernel.room.events import BusLost, EphemeralPublished, Event, OpsPublished


class Peers:
    """The rooms' end of a bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._origin = secrets.token_bytes(16)

    async def open(self) -> None:
        """Connect."""
        await self._bus.open()

    async def close(self) -> None:
        """Disconnect."""
        await self._bus.close()

    async def join(self, room_id: str, post: Callable[[Event], None]) -> Subscription:
        """Bring a room what the others store, from now on; the next room of this name has a subscription of its own."""

        def on_message(message: bytes) -> None:
            told = decode_message(message)
            if told.origin == self._origin:
                return
            if isinstance(told, DeletedMessage):
                post(BusLost())  # the room looks into the database, and is not there
            elif isinstance(told, OpsStoredMessage):
                post(OpsPublished(told.first_seq, told.last_seq, told.parts))
            else:
                post(EphemeralPublished(told.origin, told.parts, told.is_asking))

        return await self._bus.subscribe(room_id, on_message, lambda: post(BusLost()))

    async def leave(self, subscription: Subscription) -> None:
        """The room is unloaded."""
        await self._bus.unsubscribe(subscription)

    def tell_deleted(self, room_id: str) -> None:
        """Tell the others that a room was deleted here: another of that name is not the one that they have."""
        self._bus.publish(room_id, DeletedMessage(self._origin).encode())

    def publish(self, room_id: str, news: Publish | PublishEphemeral) -> None:
        """Tell the others what this server has stored, or what its sessions show."""
        message: OpsStoredMessage | EphemeralMessage
        if isinstance(news, Publish):
            message = OpsStoredMessage(self._origin, news.first_seq, news.last_seq, news.parts)
        else:
            message = EphemeralMessage(self._origin, news.is_asking, news.parts)
        self._bus.publish(room_id, message.encode())
