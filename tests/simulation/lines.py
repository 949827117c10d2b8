"""The lines of a simulated cluster from clients to servers: as TCP has it, in order, late, and cut with a lost tail."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from collabkernel.client.servers import Servers
from collabkernel.client.transport import LinkError
from collabkernel.errors import CollabKernelError
from collabkernel.server.flag import Flag
from collabkernel.server.transport import Transport
from tests.simulation.chronicle import Chronicle
from tests.simulation.loop import Process, SimulatedLoop

CONNECT_S = 10.0
"""Until a client gives up a server that does not answer, as ``Limits.connect_timeout_ms`` has it."""
RETRY_MS = 1000
"""Asked of a client where a server does not say."""
LEARN_S = (0.0, 0.1, 30.0)
"""Until one end of a line learns that it is cut: told by the network, or by its own pings."""


class Session(Protocol):
    """What a hub gives for a socket."""

    async def receive(self, frame: bytes) -> None:
        """Take a frame."""

    def drained(self) -> None:
        """The socket took what was sent."""

    async def close(self) -> None:
        """The socket is gone."""


class Door(Protocol):
    """A server, as clients see it."""

    process: Process
    is_serving: bool

    async def enter(self, actor: str, transport: Transport) -> Session:
        """Open a session.

        Raises:
            CollabKernelError: It will not.
        """

    def sends(self, line: Line, frame: bytes) -> None:
        """A frame is about to be sent."""


class _Pipe:
    """One direction: what is put in comes out in order, each a while later; None is the end."""

    def __init__(self, line: Line, reader: Process) -> None:
        self._line = line
        self._reader = reader
        self._last_s = 0.0
        self._arrived: deque[bytes | None] = deque()
        self._has_any = Flag()
        self.size_bytes = 0
        """Put in and not taken out."""

    def put(self, frame: bytes | None) -> None:
        """Send a frame, or the end."""
        self.size_bytes += len(frame or b"")
        loop, rng = self._line.loop, self._line.rng
        self._last_s = max(self._last_s, loop.time() + rng.expovariate(1 / self._line.delay_s))
        loop.call_at(self._last_s, self._arrive, frame, context=self._reader.context)

    def end(self, after_s: float) -> None:
        """Let the reader learn that nothing more comes."""
        self._line.loop.call_later(after_s, self._push, None, context=self._reader.context)

    def _arrive(self, frame: bytes | None) -> None:
        if not self._line.is_lost(self):
            self._push(frame)

    def _push(self, frame: bytes | None) -> None:
        self._arrived.append(frame)
        self._has_any.set()

    async def take(self) -> bytes | None:
        """The next frame; None at the end, and from then on."""
        while not self._arrived:
            self._has_any.clear()
            await self._has_any.wait()
        if self._arrived[0] is None:
            return None
        frame = self._arrived.popleft()
        self.size_bytes -= len(frame or b"")
        return frame


class Line:
    """One connection: the client's ``Link``, and the server's ``Transport``."""

    def __init__(
        self,
        loop: SimulatedLoop,
        chronicle: Chronicle,
        door: Door,
        client: Process,
        actor: str,
        delay_s: float,
        low_bytes: int,
    ) -> None:
        self.loop = loop
        self.rng = chronicle.rng
        self.chronicle = chronicle
        self.door = door
        self.client = client
        self.actor = actor
        self.delay_s = delay_s
        self._low_bytes = low_bytes
        self.site = 0
        """Of its session, once it is welcomed."""
        self.on_sent: Callable[[bytes], None] = lambda _: None
        """Told of each frame that the client sends."""
        self.is_cut = False
        self._is_up_lost = False
        self._is_closed = False
        """By its client."""
        self._server = door.process
        self._up = _Pipe(self, door.process)
        self._down = _Pipe(self, client)
        self._session: Session | None = None
        self._is_full = False

    def is_lost(self, pipe: _Pipe) -> bool:
        """Whether what arrives now does not arrive."""
        return self.is_cut and (pipe is self._down or self._is_up_lost)

    def cut(self) -> None:
        """Lose the line: what is on its way down, and perhaps what is on its way up."""
        if not self.is_cut:
            self.is_cut, self._is_up_lost = True, self.rng.random() < 0.5
            self._down.end(self.rng.choice(LEARN_S))
            self._up.end(1.0 + self.rng.choice(LEARN_S))

    # -- the client's end

    async def open(self) -> None:
        """Have the server open a session.

        Raises:
            LinkError: It does not answer, or will not.
        """
        answer = self.loop.create_future()
        self.loop.call_later(self.rng.expovariate(1 / self.delay_s), self._knock, answer, context=self.loop.world)
        try:
            async with asyncio.timeout(CONNECT_S):
                await answer
        except TimeoutError:
            self.cut()
            raise LinkError("the server does not answer") from None

    def _knock(self, answer: asyncio.Future[None]) -> None:
        if self.is_cut:
            return
        if self.door.is_serving and self.door.process is self._server:
            self._server.spawn(self._serve(answer))
        elif self.rng.random() < 0.7 and not answer.done():
            answer.set_exception(LinkError("connection refused"))

    async def send(self, frame: bytes) -> None:
        """Send a frame."""
        if self.is_cut and self.rng.random() < 0.5:
            raise LinkError("broken pipe")
        self.put(frame)

    def put(self, frame: bytes) -> None:
        """Send a frame, as far as this end knows."""
        self.on_sent(frame)
        if not self.is_cut:
            self._up.put(frame)

    async def receive(self) -> bytes:
        """The next frame of the server."""
        frame = await self._down.take()
        if frame is None:
            raise LinkError("closed")
        if self._is_full and self._down.size_bytes == 0 and self._session is not None:
            self._is_full = False
            self.loop.call_soon(self._session.drained, context=self._server.context)
        return frame

    async def close(self) -> None:
        """Hang up."""
        if not self._is_closed:
            self._is_closed = True
            self._up.put(None)

    # -- the server's end, in its process

    async def _serve(self, answer: asyncio.Future[None]) -> None:
        try:
            session = await self.door.enter(self.actor, ServerEnd(self))
        except CollabKernelError as error:
            refusal = LinkError(str(error), getattr(error, "retry_after_ms", None) or RETRY_MS)
            self._later(lambda: answer.done() or answer.set_exception(refusal))
            return
        self._session = session
        self._later(lambda: answer.done() or answer.set_result(None))
        while (frame := await self._up.take()) is not None:
            await session.receive(frame)
        await session.close()

    def _later(self, tell: Callable[[], object]) -> None:
        self.loop.call_later(self.rng.expovariate(1 / self.delay_s), self._tell, tell, context=self.loop.world)

    def _tell(self, tell: Callable[[], object]) -> None:
        if not self.is_cut:
            tell()

    def send_down(self, frame: bytes | None) -> None:
        """Send the client a frame, or the end of the line after all that was sent."""
        if frame is None:
            self._up.end(0)
        else:
            self.door.sends(self, frame)
        self._down.put(frame)
        self._is_full = self._is_full or self._down.size_bytes > self._low_bytes

    @property
    def down_bytes(self) -> int:
        """What the client has not taken."""
        return self._down.size_bytes


class ServerEnd:
    """The ``Transport`` of a line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def send(self, frame: bytes) -> None:
        """Send one binary frame."""
        self._line.send_down(frame)

    @property
    def buffered_bytes(self) -> int:
        """What the client has not taken."""
        return self._line.down_bytes

    def close(self, code: str, reason: str) -> None:
        """Close after what was sent."""
        del reason
        self._line.chronicle.note("closed", self._line.actor, code)
        self._line.send_down(None)


class Connector:
    """A client's way to the servers."""

    def __init__(self, names: list[str], open_line: Callable[[str], Line], chronicle: Chronicle) -> None:
        self.servers = Servers(names, chronicle.rng)
        self._open_line = open_line

    async def open(self) -> Line:
        """A new line to the server that it is at."""
        line = self._open_line(self.servers.url)
        await line.open()
        return line
