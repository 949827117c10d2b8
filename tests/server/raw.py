"""A client with nothing between it and the hub: frames in, decoded messages out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import Envelope, MapSet, Op, StoredEnvelope
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.hub import Connection, Hub, wall_clock_ms
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import ClientMessage, Hello, Resume, Role, ServerMessage, SessionKind, Submit, Welcome
from tests.bounds import HANG_S


class RawClient:
    """One session at a hub; it is its own transport."""

    def __init__(self, hub: Hub, room: str, actor: str, role: Role) -> None:
        self.hub = hub
        self.room = room
        self.principal = Principal(actor, actor.title(), "#112233", role)
        self.messages: list[ServerMessage] = []
        self.closed: tuple[str, str] | None = None
        self.is_stuck = False
        """The socket takes nothing."""
        self.buffered_bytes = 0
        self.base = 0
        self.connection: Connection
        self._changed = asyncio.Event()

    def send(self, frame: bytes) -> None:
        """As a transport: decode what the hub sends."""
        if self.is_stuck:
            self.buffered_bytes += len(frame)
        self.messages.append(decode_server_message(frame, Limits()))
        self._changed.set()

    def close(self, code: str, reason: str) -> None:
        """As a transport: the hub closes the socket."""
        self.closed = (code, reason)
        self._changed.set()

    async def until(self, is_there: Callable[[], Any]) -> Any:
        """Wait until something is true of what was received."""
        async with asyncio.timeout(HANG_S):
            while not (found := is_there()):
                self._changed.clear()
                await self._changed.wait()
        return found

    async def say(self, message: ClientMessage) -> None:
        """Send a message."""
        await self.connection.receive(encode_client_message(message))

    async def submit(self, counter: int, *ops: Op) -> None:
        """Submit one envelope; by default it sets ``k`` of the root to its counter."""
        envelope = Envelope(counter, self.base, (wall_clock_ms() << 16) + counter, ops or (MapSet(ROOT, "k", counter),))
        await self.say(Submit((envelope,)))

    async def store(self, counter: int, *ops: Op) -> int:
        """Submit and wait for the ack: the seq of the first operation."""
        await self.submit(counter, *ops)
        return int(await self.until(lambda: self.acks.get(counter)))

    async def leave(self) -> None:
        """Close the socket."""
        await self.connection.close()

    @property
    def welcome(self) -> Welcome | None:
        """The Welcome, when it came."""
        return next((message.welcome for message in self.messages if message.welcome), None)

    @property
    def acks(self) -> dict[int, int]:
        """Counter to seq."""
        return {ack.counter: ack.seq for message in self.messages for ack in message.acks}

    @property
    def codes(self) -> list[str]:
        """Codes of all refusals, in order."""
        return [item.code for message in self.messages for item in (*message.rejects, *message.notices)]

    @property
    def bye(self) -> str | None:
        """The code of the Bye, when it came."""
        return next((message.bye.code for message in self.messages if message.bye), None)

    @property
    def envelopes(self) -> list[StoredEnvelope]:
        """All that was shown, in order."""
        return [stored for message in self.messages for stored in message.ops]

    @property
    def through(self) -> int:
        """The seq that it is complete up to."""
        return max((message.through for message in self.messages), default=0)

    def resume(self) -> Resume:
        """What to say to come back: what the last operation was, or else the snapshot's."""
        assert self.welcome is not None
        through, op = 0, None
        for message in self.messages:
            if message.snapshot is not None:
                through, op = message.snapshot.seq, message.snapshot.op
            for stored in message.ops:
                through, op = stored.last_seq, OpId(stored.site, stored.envelope.last_counter)
        return Resume(self.welcome.site, self.welcome.secret, through, op)


async def enter(hub: Hub, room: str = "board", actor: str = "ann", role: Role = Role.WRITER) -> RawClient:
    """Open a socket that has said nothing yet."""
    client = RawClient(hub, room, actor, role)
    client.connection = await hub.open_session(room, client.principal, client)
    return client


async def join(
    hub: Hub, room: str = "board", actor: str = "ann", role: Role = Role.WRITER, resume: Resume | None = None
) -> RawClient:
    """Enter a room and wait until all that was in it is there."""
    client = await enter(hub, room, actor, role)
    await client.say(Hello(SessionKind.SCRIPT, "raw 1", resume))
    await client.until(lambda: client.welcome or client.bye)
    if client.welcome is not None:
        seq = client.welcome.seq
        await client.until(lambda: client.through >= seq or (resume is not None and resume.through >= seq))
        client.base = seq
    return client


async def eventually(is_there: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Ask again and again, for what no message tells."""
    async with asyncio.timeout(HANG_S):
        while not (found := await is_there()):  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)
    return found


def run(scenario: Callable[[Hub], Coroutine[Any, Any, None]], hub: Hub) -> None:
    """Run a scenario on a hub that is started and stopped around it."""

    async def main() -> None:
        await hub.start()
        try:
            await scenario(hub)
        finally:
            await hub.stop()

    asyncio.run(main())
