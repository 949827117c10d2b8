"""Real clients on a hub in this process: each is a room of the asyncio face, whose line the test can cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from collabkernel.client.actors import Authors
from collabkernel.client.async_room import AsyncRoom
from collabkernel.client.past import When
from collabkernel.client.replica import Replica
from collabkernel.client.servers import Servers
from collabkernel.client.transport import LinkError
from collabkernel.crdt.ids import OpId
from collabkernel.errors import InvalidValueError
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.connection import Connection
from collabkernel.server.hub import Hub, wall_clock_ms
from collabkernel.wire.messages import Role, SessionKind
from tests.bounds import HANG_S

LIMITS = Limits(reconnect_min_ms=1, reconnect_max_ms=5)


class HubLine:
    """A line to a hub; also what the hub sends to."""

    buffered_bytes = 0

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.connection: Connection
        self.side = _HubSide(self)

    async def send(self, frame: bytes) -> None:
        await self.connection.receive(frame)

    async def receive(self) -> bytes:
        frame = await self.frames.get()
        if frame is None:
            self.frames.put_nowait(None)
            raise LinkError("closed")
        return frame

    async def close(self) -> None:
        self.frames.put_nowait(None)
        await self.connection.close()


class _HubSide:
    buffered_bytes = 0

    def __init__(self, line: HubLine) -> None:
        self._line = line

    def send(self, frame: bytes) -> None:
        self._line.frames.put_nowait(frame)

    def close(self, code: str, reason: str) -> None:
        del code, reason
        self._line.frames.put_nowait(None)


class HubConnector:
    """Opens lines to one room of a hub, unless it is down."""

    def __init__(self, hub: Hub, room_id: str, actor: str) -> None:
        self.servers = Servers(["hub://"], random.Random())
        self.hub = hub
        self.is_down = False
        self.line: HubLine | None = None
        self._room_id = room_id
        self._principal = Principal(actor, actor.title(), "", Role.WRITER)

    async def open(self) -> HubLine:
        if self.is_down:
            raise LinkError("the test has cut it")
        line = HubLine()
        line.connection = await self.hub.open_session(self._room_id, self._principal, line.side)
        self.line = line
        return line

    async def ticket(self, origin: str = "") -> dict[str, str]:
        raise InvalidValueError(f"no tickets for {origin}")

    async def past(self, when: When) -> bytes:
        return await self.hub.past.state_at(self._room_id, seq=when.seq, at_ms=when.at_ms)

    async def authors(self, ops: Sequence[OpId], sites: Sequence[int]) -> Authors:
        raise InvalidValueError(f"nobody asks who made {ops} and {sites}")


class Person:
    """Somebody at a room."""

    def __init__(self, hub: Hub, actor: str, room_id: str = "board") -> None:
        self.connector = HubConnector(hub, room_id, actor)
        replica = Replica(SessionKind.SCRIPT, "test", LIMITS)
        self.room = AsyncRoom(room_id, replica, self.connector, LIMITS, random.Random(actor), wall_clock_ms)
        self.doc: Any = None

    async def join(self) -> Any:
        """Come, and open the document."""
        await self.room.join(HANG_S)
        self.doc = self.room.doc("body")
        await self.room.flush()
        return self.doc

    async def go_offline(self) -> None:
        """From here on nothing is sent or received."""
        self.connector.is_down = True
        assert self.connector.line is not None
        await self.connector.line.close()
        await until(lambda: self.room.status != "live")

    async def come_back(self, hub: Hub | None = None) -> None:
        """Connect again, perhaps to another server."""
        self.connector.hub = hub or self.connector.hub
        self.connector.is_down = False
        await until(lambda: self.room.status == "live")

    @property
    def texts(self) -> list[str]:
        return [block.text for block in self.doc]


async def people(hub: Hub, *actors: str) -> list[Person]:
    """Several, each with the document open."""
    found = [Person(hub, actor) for actor in actors]
    for person in found:
        await person.join()
    return found


async def until(is_there: Callable[[], Any]) -> Any:
    """Wait until something is true of the clients."""
    async with asyncio.timeout(HANG_S):
        while not (found := is_there()):  # noqa: ASYNC110  # what is waited for has no one event
            await asyncio.sleep(0.005)
    return found


async def leave(everybody: Sequence[Person]) -> None:
    """All close their rooms."""
    for person in everybody:
        await person.room.close()
