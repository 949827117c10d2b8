"""A room driven by hand: sessions that speak the real wire, and a log that answers when it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapSet, Op
from collabkernel.document.room_state import RoomState
from collabkernel.limits import Limits
from collabkernel.room.effects import Append, Close, Effect, FindEnvelope, GrantSite, ReadCatchUp, Refuse, Send, Unload
from collabkernel.room.events import (
    AppendFailed,
    CatchUpRead,
    EnvelopeFound,
    Event,
    FrameReceived,
    OpsStored,
    RefusalStored,
    SessionOpened,
    SiteGranted,
)
from collabkernel.room.room import Room
from collabkernel.room.session import Principal
from collabkernel.storage.base import Appended, NotAppended, SiteRow
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import (
    ClientMessage,
    Hello,
    Resume,
    Role,
    ServerMessage,
    SessionKind,
    Submit,
)

T0_MS = 1_800_000_000_000
HLC0 = T0_MS << 16


def envelope(counter: int, *ops: Op, base: int = 0, hlc: int = HLC0) -> Envelope:
    """An envelope; by default it sets the key ``k`` of the root."""
    return Envelope(counter, base, hlc + counter, ops or (MapSet(ROOT, "k", counter),))


@dataclass
class Driver:
    """One room, its sessions' received messages, and what it asked of the log."""

    limits: Limits = field(default_factory=Limits)
    now_ms: int = T0_MS
    answers_log: bool = True
    state: RoomState = field(default_factory=RoomState)
    head: int = 0
    hlc: int = 0
    has_peers: bool = False
    flush_ms: int = 0

    def __post_init__(self) -> None:
        self.room = Room(
            "board", self.state, self.head, self.hlc, 0, self.limits, self.now_ms, has_peers=self.has_peers
        )
        self.effects: list[Effect] = []
        self.received: dict[int, list[ServerMessage]] = {}
        self.closed: dict[int, str] = {}
        self.pending: list[Append | Refuse] = []
        self.unloaded = ""
        self.row_by_site: dict[int, SiteRow] = {}
        self._sessions = 0

    def feed(self, *events: Event) -> list[Effect]:
        """Give events to the room, and keep and answer what it wants."""
        effects = self.room.handle_all(events, self.now_ms, self.flush_ms)
        self.effects += effects
        for effect in effects:
            self._take(effect)
        if self.answers_log:
            self.answer_log()
        return effects

    def _take(self, effect: Effect) -> None:
        match effect:
            case Send():
                for session_id in effect.session_ids:
                    message = decode_server_message(effect.frame, self.limits)
                    self.received.setdefault(session_id, []).append(message)
            case Close():
                self.closed[effect.session_id] = effect.code
            case Append() | Refuse():
                self.pending.append(effect)
            case Unload():
                self.unloaded = effect.reason
            case _:
                pass

    def answer_log(self) -> None:
        """Store what waits, in order."""
        while self.pending:
            job = self.pending.pop(0)
            if isinstance(job, Refuse):
                self.feed(RefusalStored(job.site, job.refusal, is_stored=True))
                continue
            outcomes: list[Appended | NotAppended] = []
            for request in job.requests:
                outcomes.append(Appended(self.head + 1, request.hlc))
                self.head += len(request.ops)
            self.feed(OpsStored(tuple(outcomes)))

    def fail_log(self) -> None:
        """The database does not take what waits."""
        self.pending.pop(0)
        self.feed(AppendFailed("disk full"))

    def open(self, actor: str = "ann", role: Role = Role.WRITER) -> int:
        """Open a session that has said nothing yet."""
        self._sessions += 1
        self.feed(SessionOpened(self._sessions, Principal(actor, actor.title(), "#112233", role)))
        return self._sessions

    def join(
        self,
        actor: str = "ann",
        role: Role = Role.WRITER,
        resume: Resume | None = None,
        kind: SessionKind = SessionKind.SCRIPT,
    ) -> int:
        """Open a session and take it through Hello and its catch-up."""
        session_id = self.open(actor, role)
        self.hello(session_id, resume, kind=kind)
        return session_id

    def hello(
        self,
        session_id: int,
        resume: Resume | None = None,
        log_agrees: bool = True,
        kind: SessionKind = SessionKind.SCRIPT,
    ) -> None:
        """Say Hello and grant what is asked."""
        effects = self.send(session_id, Hello(kind, "test 1", resume))
        (grant,) = [effect for effect in effects if isinstance(effect, GrantSite)]
        if resume is None:
            row = SiteRow("board", 100 + session_id, grant.actor, grant.kind, 1, b"h" * 32, 0)
            secret = b"s" * 16
        else:
            old = self.row_by_site[resume.site]
            row = SiteRow("board", old.site, old.actor, old.kind, old.epoch + 1, old.secret_hash, old.last_counter)
            secret = b""
        self.row_by_site[row.site] = row
        self.catch_up(self.feed(SiteGranted(session_id, row, secret, log_agrees)))

    def catch_up(self, effects: list[Effect], *parts: bytes) -> None:
        """Answer reads of the log with an empty stretch that reaches its head."""
        for effect in effects:
            if isinstance(effect, ReadCatchUp):
                self.feed(CatchUpRead(effect.session_id, parts, effect.head))

    def send(self, session_id: int, message: ClientMessage) -> list[Effect]:
        """Send a message as the session."""
        return self.feed(FrameReceived(session_id, encode_client_message(message)))

    def submit(self, session_id: int, *envelopes: Envelope) -> list[Effect]:
        """Submit envelopes as the session."""
        return self.send(session_id, Submit(envelopes))

    def found(self, session_id: int, counter: int, found: Appended | None) -> None:
        """Answer the look-up of a resent envelope."""
        assert any(isinstance(effect, FindEnvelope) and effect.counter == counter for effect in self.effects)
        self.feed(EnvelopeFound(session_id, counter, found))

    def take(self, session_id: int) -> list[ServerMessage]:
        """What a session received since the last call."""
        return self.received.pop(session_id, [])

    def acks(self, session_id: int) -> list[tuple[int, int]]:
        """(counter, seq) of what a session was acknowledged since the last ``take``."""
        return [(ack.counter, ack.seq) for m in self.received.get(session_id, []) for ack in m.acks]

    def rejects(self, session_id: int) -> list[tuple[int, str, bool]]:
        """(counter, code, final) of what a session was refused since the last ``take``."""
        return [(r.counter, r.code, r.final) for m in self.received.get(session_id, []) for r in m.rejects]

    def shown(self, session_id: int) -> list[int]:
        """Seqs that a session was shown since the last ``take``."""
        return [stored.seq for m in self.received.get(session_id, []) for stored in m.ops]
