"""Who comes to a simulated room: client replicas as scripts have them, and readers with viewports, on bad lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from collabkernel.client.replica import Replica
from collabkernel.client.room_base import RoomBase
from collabkernel.crdt.ids import OpId
from collabkernel.document.operations import document_id
from collabkernel.errors import DiscardedError
from collabkernel.limits import Limits
from collabkernel.room.events import SessionBlocked, SessionDrained
from collabkernel.wire.codec import decode_client_message, decode_server_message, encode_client_message
from collabkernel.wire.messages import ClientMessage, Hello, Resume, ServerMessage, SessionKind, Submit, Viewport
from collabkernel.wire.writer import field_bytes
from tests.room.onlooker import Onlooker
from tests.simulation.clockwork import Clockwork
from tests.simulation.ledger import Ledger, Typed
from tests.simulation.room_server import RoomServer

BODY = document_id("body")
FINE_BYES = {"server-stopping", "room-reset", "storage-error", "superseded", "idle", "slow-consumer", "degraded"}


class Listener(Protocol):
    """Who has a line."""

    def receive(self, message: ServerMessage) -> None:
        """A frame has come."""

    def hung_up(self, code: str) -> None:
        """The line has ended."""


class Line:
    """One connection: frames take their time, in order; a cut loses those on the way down, and perhaps those up."""

    def __init__(self, clockwork: Clockwork, server: RoomServer, listener: Listener, actor: str, delay_ms: int) -> None:
        self._clockwork = clockwork
        self._server = server
        self._listener = listener
        self._delay_ms = delay_ms
        self._up_ms = self._down_ms = 0
        self._is_up_lost = False
        self.is_open = True
        self.session_id = server.open(actor, self)

    def _arrival_ms(self, last_ms: int) -> int:
        return max(last_ms, self._clockwork.now_ms + int(self._clockwork.rng.expovariate(1 / self._delay_ms)))

    # -- the client's side

    def send(self, frame: bytes) -> None:
        """Send a frame to the server."""
        self._up_ms = self._arrival_ms(self._up_ms)
        self._clockwork.at(self._up_ms, lambda: self._arrive(frame))

    def _arrive(self, frame: bytes) -> None:
        if not self._is_up_lost and self.session_id is not None:
            self._server.receive(self.session_id, frame)

    def cut(self) -> None:
        """Lose the line. The server may hear what was sent before, and learns of the end much later."""
        rng = self._clockwork.rng
        self.is_open, self._is_up_lost = False, rng.random() < 0.5
        session_id = self.session_id
        if session_id is not None:
            self._clockwork.at(self._up_ms + rng.choice((0, 100, 40_000)), lambda: self._server.closed(session_id))

    # -- the server's side

    def put(self, frame: bytes) -> None:
        """A frame is sent to the client."""
        self._down_ms = self._arrival_ms(self._down_ms)
        self._clockwork.at(self._down_ms, lambda: self._deliver(frame))

    def _deliver(self, frame: bytes) -> None:
        if self.is_open:
            self._listener.receive(decode_server_message(frame, self._server.limits))

    def hang_up(self, code: str) -> None:
        """The line ends, after what was sent."""
        self.session_id = None
        self._down_ms = self._arrival_ms(self._down_ms)
        self._clockwork.at(self._down_ms, lambda: self._end(code))

    def _end(self, code: str) -> None:
        if self.is_open:
            self.is_open = False
            self._listener.hung_up(code)


class Person:
    """Somebody who has lines, one after the other."""

    def __init__(self, name: str, clockwork: Clockwork, server: RoomServer) -> None:
        self.name = name
        self.clockwork = clockwork
        self.rng = clockwork.rng
        self.server = server
        self.line: Line | None = None
        self.is_away = False
        """Offline for a while, and not coming back by itself."""

    def connect(self) -> None:
        """Open a line, or try again later."""
        if self.is_away or (self.line is not None and self.line.is_open):
            return
        delay_ms = self.rng.choice((2, 20, 200))
        self.line = Line(self.clockwork, self.server, self, self.name, delay_ms)
        if self.line.session_id is None:
            self.line = None
            self.clockwork.soon(1000, self.connect)
        else:
            self.greet()

    def say(self, message: ClientMessage) -> None:
        """Send a message, if there is a line."""
        if self.line is not None and self.line.is_open:
            self.line.send(encode_client_message(message))

    def cut(self, away_ms: int) -> None:
        """Lose the line, and come back after a while."""
        if self.line is not None and self.line.is_open:
            self.line.cut()
            self.lost()
        self.is_away = True
        self.clockwork.after(away_ms, self.come_back)

    def come_back(self) -> None:
        """Be online again."""
        self.is_away = False
        self.connect()

    def hung_up(self, code: str) -> None:
        """The server has ended the line."""
        assert code in FINE_BYES, f"{self.name} was sent away with {code}"
        self.lost()
        self.clockwork.soon(500, self.connect)

    def stall(self) -> None:
        """The socket is full for a while."""
        line = self.line
        if line is not None and line.session_id is not None:
            session_id = line.session_id
            self.server.feed(SessionBlocked(session_id))
            self.clockwork.soon(2000, lambda: self.server.feed(SessionDrained(session_id)))

    def greet(self) -> None:
        """Say Hello on a new line."""
        raise NotImplementedError

    def lost(self) -> None:
        """The line is gone."""
        raise NotImplementedError


class WriterRoom(RoomBase):
    """A room whose envelopes are noted as they are made, and sent when the line has time."""

    def __init__(
        self, name: str, limits: Limits, now_ms: Callable[[], int], committed: Callable[[bytes], None]
    ) -> None:
        super().__init__(name, Replica(SessionKind.SCRIPT, "simulated 1", limits), limits, now_ms)
        self._committed = committed

    def _on_committed(self, payload: bytes) -> None:
        self._committed(payload)


class Writer(Person):
    """A client replica with all that a script has, but for the socket and the clock."""

    def __init__(self, name: str, clockwork: Clockwork, server: RoomServer, ledger: Ledger) -> None:
        super().__init__(name, clockwork, server)
        self.ledger = ledger
        self.skew_ms = self.rng.randint(-30_000, 30_000)
        self.typed = Typed("", "")
        """By the envelope that was made last."""
        self.discarded = 0
        """Own edits of the tree that lost against others'."""
        self.refused: list[Exception] = []
        """Own edits that the server would not have: there should be none."""
        self.room = WriterRoom(name, server.limits, lambda: clockwork.now_ms + self.skew_ms, self._note)
        self.room.on_reject(self._rejected)
        self._is_sending = False

    @property
    def replica(self) -> Replica:
        """Its replica."""
        return self.room.replica

    def _note(self, payload: bytes) -> None:
        submit = decode_client_message(field_bytes(2, field_bytes(1, payload)), self.server.limits)
        assert isinstance(submit, Submit)
        (envelope,) = submit.envelopes
        assert envelope.base == self.replica.through, "an operation says what its author had seen"
        self.typed = self.ledger.note(self.replica.site, envelope)
        self.send_soon()

    def _rejected(self, error: Exception) -> None:
        if isinstance(error, DiscardedError):
            self.discarded += 1
        else:
            self.refused.append(error)

    def greet(self) -> None:
        assert self.line is not None
        self.line.send(encode_client_message(self.replica.hello()))

    def lost(self) -> None:
        self.replica.disconnected()

    def receive(self, message: ServerMessage) -> None:
        with self.room.lock:
            self.room.receive_message(message)
        self.send_soon()

    def send_soon(self) -> None:
        """Let the sender look for what there is to send."""
        if not self._is_sending:
            self._is_sending = True
            self.clockwork.after(0, self._send)

    def _send(self) -> None:
        self._is_sending = False
        if self.line is None or not self.line.is_open:
            return
        for frame in self.room.frames_to_send():
            self.line.send(frame)
        now_ms = self.clockwork.now_ms + self.skew_ms
        wake_ms = self.replica.wake_ms(now_ms)
        if wake_ms is not None:
            self.clockwork.after(max(wake_ms - now_ms, 1), self.send_soon)


class Reader(Person):
    """A session that looks at parts of the document, as docs/PROTOCOL.md has it."""

    def __init__(self, name: str, clockwork: Clockwork, server: RoomServer) -> None:
        super().__init__(name, clockwork, server)
        self.onlooker = Onlooker()
        self.blocks: tuple[OpId, ...] = ()
        self._resume: Resume | None = None

    def greet(self) -> None:
        self.onlooker.has.clear()  # it names anew what it looks at, and is sent that anew
        self.say(Viewport(()))
        self.say(Hello(SessionKind.PERSON, "simulated 1", self._resume))
        self.say(Viewport(self.blocks))

    def lost(self) -> None:
        pass

    def look(self, blocks: tuple[OpId, ...]) -> None:
        """Scroll there."""
        self.blocks = blocks
        self.say(Viewport(blocks))

    def receive(self, message: ServerMessage) -> None:
        if message.welcome is not None and message.welcome.secret:
            self._resume = Resume(message.welcome.site, message.welcome.secret, 0, None)
        before = self.onlooker.through
        self.onlooker.receive(message)
        if self.onlooker.through != before and self._resume is not None:
            self._resume = Resume(self._resume.site, self._resume.secret, self.onlooker.through, _op_at_end(message))


def _op_at_end(message: ServerMessage) -> OpId | None:
    """The operation at the seq that a message reaches."""
    if message.through_op is not None:
        return message.through_op
    shown = message.ops or message.filtered
    if shown:
        return shown[-1].op_id(len(shown[-1].envelope.ops) - 1)
    return message.snapshot.op if message.snapshot is not None else None
