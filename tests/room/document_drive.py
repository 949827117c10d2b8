"""A document's room driven by hand: clients with real Yjs documents, and a log that answers when it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pycrdt import Doc, Map, Text

from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.limits import Limits
from collabkernel.room.document_room import DocumentRoom
from collabkernel.room.effects import Append, Ban, Close, CountReject, Effect, GrantSite, ReadMissing, Send, Unload
from collabkernel.room.events import (
    AppendFailed,
    Event,
    FrameReceived,
    MissingRead,
    OpsStored,
    SessionClosed,
    SessionOpened,
    SiteGranted,
    Ticked,
)
from collabkernel.room.session import Principal
from collabkernel.storage.base import Appended, OpRow, SiteRow
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import Awareness, SyncStep1, SyncUpdate, YMessage, state_json

T0_MS = 1_800_000_000_000
ROOM = "text:file:1"
OWN_SITE = 77


class Page:
    """A client's document, as a browser holds it."""

    def __init__(self, client_id: int) -> None:
        self.doc: Doc[Any] = Doc(client_id=client_id)
        self.source = self.doc.get("source", type=Text)
        self.state = self.doc.get("state", type=Map)
        self.step_2s = 0
        self.asked: list[bytes] = []
        """State vectors that the room asked with and that were not answered."""

    @property
    def text(self) -> str:
        return str(self.source)

    def type(self, text: str) -> bytes:
        """Type at the end; the update."""
        before = self.doc.get_state()
        self.source += text
        return self.doc.get_update(before)

    def take(self, message: YMessage) -> None:
        if isinstance(message, SyncUpdate):
            self.step_2s += message.is_step_2
            self.doc.apply_update(message.update)
        elif isinstance(message, SyncStep1):
            self.asked.append(message.state_vector)


@dataclass
class DocumentDriver:
    """One room, its pages, and what it asked of the log."""

    limits: Limits = field(default_factory=Limits)
    answers_log: bool = True
    has_peers: bool = False
    answers_reads: bool = True
    now_ms: int = T0_MS

    def __post_init__(self) -> None:
        document = YDocument(FILE_POLICY, 999)
        self.room = DocumentRoom(ROOM, document, {}, 0, 0, self.limits, self.now_ms, self.has_peers)
        self.page_by_session: dict[int, Page] = {}
        self.frames: dict[int, list[bytes]] = {}
        self.awareness: dict[int, dict[int, Any]] = {}
        self.effects: list[Effect] = []
        self.pending: list[Append] = []
        self.rows: list[OpRow] = []
        self.reads: list[ReadMissing] = []
        self.closed: dict[int, str] = {}
        self.unloaded = ""
        self._sessions = 0

    def feed(self, *events: Event) -> list[Effect]:
        effects = self.room.handle_all(events, self.now_ms)
        self.effects += effects
        for effect in effects:
            self._take(effect)
        if self.answers_log:
            self.answer_log()
        return effects

    def answer_reads(self) -> None:
        """The log answers all that is asked of it."""
        while self.reads:
            after = self.reads.pop(0).after_seq
            self.feed(MissingRead(tuple([row for row in self.rows if row.seq > after])))

    def _take(self, effect: Effect) -> None:
        match effect:
            case Send():
                for session_id in effect.session_ids:
                    self._deliver(session_id, effect.frame)
            case GrantSite():
                self.feed(SiteGranted(0, SiteRow(ROOM, OWN_SITE, effect.actor, 2, 1, bytes(32), 0), b"s", True))
            case Append():
                self.pending.append(effect)
            case ReadMissing():
                self.reads.append(effect)
                if self.answers_reads:
                    self.answer_reads()
            case Close():
                self.closed[effect.session_id] = effect.code
            case Unload():
                self.unloaded = effect.reason
            case _:
                pass

    def _deliver(self, session_id: int, frame: bytes) -> None:
        self.frames.setdefault(session_id, []).append(frame)
        message = y_protocol.decode_y_message(frame, self.limits)
        if isinstance(message, Awareness):
            seen = self.awareness.setdefault(session_id, {})
            seen.update({entry.client: entry.state for entry in message.entries})
        elif session_id in self.page_by_session:
            self.page_by_session[session_id].take(message)

    def answer_log(self) -> None:
        while self.pending:
            self.store_next()

    def store_next(self) -> None:
        """The log takes the next ``Append``."""
        outcomes = []
        for request in self.pending.pop(0).requests:
            self.rows.append(_row(len(self.rows) + 1, request.site, request.counter, request.actor, request.ops[0][1]))
            outcomes.append(Appended(len(self.rows), request.hlc))
        self.feed(OpsStored(tuple(outcomes)))

    def fail_log(self) -> None:
        """The log takes nothing."""
        self.pending.pop(0)
        self.feed(AppendFailed("disk full"))

    def store_elsewhere(self, update: bytes, actor: str = "eve") -> OpRow:
        """Another server stores an update."""
        self.rows.append(_row(len(self.rows) + 1, 55, len(self.rows) + 1, actor, update))
        return self.rows[-1]

    def enter(
        self,
        actor: str = "ann",
        role: Role = Role.WRITER,
        identity: dict[str, Any] | None = None,
        *,
        is_service: bool = False,
    ) -> int:
        """Open a socket that has said nothing yet."""
        self._sessions += 1
        self.page_by_session[self._sessions] = Page(100 + self._sessions)
        principal = Principal(actor, actor.title(), "", role, identity or {}, is_service)
        self.feed(SessionOpened(self._sessions, principal))
        return self._sessions

    def join(self, actor: str = "ann", role: Role = Role.WRITER, identity: dict[str, Any] | None = None) -> int:
        """Open a socket and sync, as stock clients do."""
        session_id = self.enter(actor, role, identity)
        self.step_1(session_id)
        return session_id

    def page(self, session_id: int) -> Page:
        return self.page_by_session[session_id]

    def step_1(self, session_id: int) -> list[Effect]:
        return self.say(session_id, y_protocol.encode_step_1(self.page(session_id).doc.get_state()))

    def say(self, session_id: int, frame: bytes) -> list[Effect]:
        return self.feed(FrameReceived(session_id, frame))

    def type(self, session_id: int, text: str) -> bytes:
        """Type at the end of a page, and send it."""
        update = self.page(session_id).type(text)
        self.say(session_id, y_protocol.encode_update(update))
        return update

    def show(self, session_id: int, client: int, clock: int, state: dict[str, Any] | None) -> None:
        """Send an awareness state."""
        self.say(session_id, y_protocol.encode_awareness([(client, clock, state_json(state))]))

    def leave(self, session_id: int) -> None:
        self.feed(SessionClosed(session_id))

    def pass_ms(self, ms: int) -> list[Effect]:
        """Let time pass, and wake the room."""
        self.now_ms += ms
        return self.feed(Ticked())

    def updates(self, session_id: int) -> list[bytes]:
        """Edits that a session was sent since the last call."""
        messages = [y_protocol.decode_y_message(frame, self.limits) for frame in self.frames.pop(session_id, [])]
        return [message.update for message in messages if isinstance(message, SyncUpdate) and not message.is_step_2]

    def rejects(self) -> list[str]:
        """Codes of what was counted as refused."""
        return [effect.code for effect in self.effects if isinstance(effect, CountReject)]

    def bans(self) -> list[str]:
        """Actors who are kept out."""
        return [effect.actor for effect in self.effects if isinstance(effect, Ban)]


def _row(seq: int, site: int, counter: int, actor: str, update: bytes) -> OpRow:
    return OpRow(seq, site, counter, counter, 0, T0_MS << 16, actor, 64, update)
