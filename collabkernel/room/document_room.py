"""The room of a Yjs document, as stock JupyterLab speaks to it: a plain function of its past, like ``room.Room``.

The life of an update here: it is admitted (``document_intake``: who may, judged, applied), handed to the log
(``Append``), and when it is stored shown to everybody at the next flush, its author too: that echo is his
acknowledgement. Nothing that is not stored is ever sent: also a state that is asked for waits until all of it is
(``document_fanout``). A gap is answered with a step 1, never refused. Decision 0008 says why documents are rooms of
their own kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.text_edits import edits_text
from collabkernel.errors import (
    CollabKernelError,
    DegradedError,
    InvalidYjsUpdateError,
    LimitError,
    MalformedFrameError,
    ReadOnlyError,
    RemoteProtocolError,
    RoomResetError,
    ServerDrainingError,
    YjsGapError,
)
from collabkernel.limits import Limits
from collabkernel.room.alarm import Alarm
from collabkernel.room.audience import Audience
from collabkernel.room.degraded import Degraded, PutOffQuestions
from collabkernel.room.document_doubts import Doubt, Doubts
from collabkernel.room.document_fanout import DocumentFanOut, flush_tick_ms
from collabkernel.room.document_intake import UNACCEPTABLE, DocumentIntake
from collabkernel.room.document_log import DocumentLog, StoredUpdate, bytes_of, decode_published, publications
from collabkernel.room.document_session import DocumentSession
from collabkernel.room.effects import Ban, CountReject, Effect, Publish, Send, TellState, Unload, WriteSnapshot
from collabkernel.room.events import (
    AppendFailed,
    AskFailed,
    BusLost,
    DatabaseBack,
    DatabaseLost,
    EphemeralPublished,
    Event,
    FrameReceived,
    LeaveAsked,
    MissingRead,
    OpsPublished,
    OpsStored,
    SessionBlocked,
    SessionClosed,
    SessionDrained,
    SessionOpened,
    SiteGranted,
    SnapshotSaved,
    StateAsked,
    StopAsked,
    Ticked,
)
from collabkernel.room.leaving import Leaving
from collabkernel.room.log_reading import LogReading
from collabkernel.room.quota import TokenBucket
from collabkernel.room.snapshots import SnapshotClock
from collabkernel.room.stale_pages import CLOSE_CODE, StalePages, is_hostile, reason_of
from collabkernel.wire import y_protocol
from collabkernel.wire.y_protocol import Awareness, QueryAwareness, SyncStep1, SyncUpdate, YMessage

GAP_RETRY_MS = 1_000
"""A session whose updates leave a gap is asked for what we lack no more often than this."""


class DocumentRoom:
    """One document. ``handle`` is its only door."""

    def __init__(
        self,
        room_id: str,
        document: YDocument,
        actor_by_client: dict[int, str],
        seq: int,
        snapshot_seq: int,
        limits: Limits,
        now_ms: int,
        has_peers: bool = False,
        log_bytes: int = 0,
    ) -> None:
        """Go on from a state.

        Args:
            room_id: The document's id.
            document: Its state at ``seq``; the room's own from now on.
            actor_by_client: Whose each Yjs client id is.
            seq: Head of its log.
            snapshot_seq: Seq of its newest snapshot.
            limits: What it allows.
            now_ms: Server's clock.
            has_peers: Whether other servers are to be told what this one stores.
            log_bytes: What the log behind that snapshot takes, about.
        """
        self.room_id = room_id
        self.limits = limits
        self._log = DocumentLog(room_id, seq)
        self._intake = DocumentIntake(document, actor_by_client, self._log, limits)
        self._fanout = DocumentFanOut(limits)
        self._audience = Audience(limits, now_ms, has_peers)
        self._sessions = self._audience.sessions
        self._alarm = Alarm()
        self._snapshots = SnapshotClock(snapshot_seq, limits, now_ms, log_bytes)
        self._has_peers = has_peers
        self._doubts = Doubts()
        self._stale = StalePages()
        self._has_asked_site = False
        self._reading = LogReading()
        self._degraded = Degraded()
        """While the log does not answer, what it was asked waits, and updates are dropped until it has answered."""
        self._put_off = PutOffQuestions()
        """By session: steps 1 to answer then, since the state holds what is not stored, or lacks what was dropped."""
        self._stop: StopAsked | None = None
        self._leaving = Leaving()
        self._is_ended = False
        self._flush_ms = 0
        self._effects: list[Effect] = []

    @property
    def head(self) -> int:
        """Everything up to this seq is in the document."""
        return self._log.head

    @property
    def lag_ops(self) -> int:
        """Rows that the log is known to have and this room has not."""
        return self._log.lag_ops

    @property
    def size_bytes(self) -> int:
        """About how large the document is."""
        return self._intake.document.size_bytes

    def described_sessions(self) -> list[dict[str, str | int]]:
        """Who is here."""
        return self._audience.described()

    def encode_state(self) -> bytes:
        """The document with all that was admitted, as one Yjs update."""
        return self._intake.document.encode_state()

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Take one event and say what follows from it, in order."""
        return self.handle_all((event,), now_ms)

    def handle_all(self, events: Iterable[Event], now_ms: int, flush_ms: int = 0, shows: bool = True) -> list[Effect]:
        """Take events that came together: what they store becomes one ``Append``."""
        self._flush_ms = flush_ms
        try:
            for event in events:
                if not self._is_ended:
                    self._on_event(event, now_ms)
            if not self._is_ended:
                self._append()
                if shows:
                    self._run_due(now_ms)
        except RoomResetError as error:
            self._end("room-deleted" if error.code == "room-not-found" else error.code, str(error))
        effects, self._effects = self._effects, []
        return effects

    def _on_event(self, event: Event, now_ms: int) -> None:
        match event:
            case FrameReceived():
                self._on_frame(event, now_ms)
            case OpsStored():
                self._on_stored(event, now_ms)
            case SessionOpened():
                self._on_opened(event, now_ms)
            case SessionClosed():
                self._audience.drop(event.session_id, now_ms)
            case SessionBlocked():
                self._sessions.block(event.session_id, self._fanout.flushed, now_ms)
            case SessionDrained():
                self._effects += self._audience.unblock(event.session_id, now_ms)
            case SiteGranted():
                assert event.site is not None, "a new site is never refused"
                self._log.granted(event.site)
            case OpsPublished():
                self._on_published(event, now_ms)
            case EphemeralPublished():
                self._effects += self._audience.hear_peer(event, now_ms)
            case BusLost():
                self._read_missing()
            case MissingRead():
                self._on_missing(event, now_ms)
            case AppendFailed():
                raise RoomResetError("storage-error", event.reason)
            case AskFailed():
                raise RoomResetError(event.code, event.reason)
            case DatabaseLost():
                self._degraded.begin()
            case DatabaseBack():
                self._degraded.back()
            case SnapshotSaved():
                self._snapshots.saved(event.seq)
            case StateAsked():
                self._effects.append(TellState(event.request_id, self._described()))
            case StopAsked():
                self._stop = event
            case LeaveAsked():
                self._leaving.ask(event, self._fanout.admitted)
            case Ticked():
                self._alarm.rang()
            case _:
                raise AssertionError(f"a document asks for no {type(event).__name__}")

    def _described(self) -> dict[str, object]:
        return {"room": self.room_id, "seq": self.head, "state": {}, "sessions": self.described_sessions()}

    # -- sessions

    def _on_opened(self, event: SessionOpened, now_ms: int) -> None:
        session = self._audience.open(event.session_id, event.principal)
        if not self._has_asked_site:
            self._has_asked_site = True
            self._effects.append(self._log.ask_site())
            if self._has_peers and self.head:
                # What the room before this one stored without learning of it was told to nobody.
                self._effects.append(Publish(self.head, self.head, b""))
        if session.is_writer:
            self._ask_for_missing(session)
        self._effects += self._audience.tell_all(session, now_ms)

    def _ask_for_missing(self, session: DocumentSession) -> None:
        self._effects.append(Send((session.id,), y_protocol.encode_step_1(self._intake.document.state_vector())))

    # -- what they say

    def _on_frame(self, event: FrameReceived, now_ms: int) -> None:
        session = self._sessions.get(event.session_id)
        if session is None or self._stop is not None or self._leaving.holds(session.id):
            return
        try:
            # The server's own clients bring files as large as they are, in one update.
            bytes_max = len(event.frame) if session.principal.is_service else None
            self._on_message(session, y_protocol.decode_y_message(event.frame, self.limits, bytes_max), now_ms)
        except (RemoteProtocolError, LimitError) as error:
            self._on_fault(session, error, now_ms)

    def _on_fault(self, session: DocumentSession, error: CollabKernelError, now_ms: int) -> None:
        if isinstance(error, (*UNACCEPTABLE, LimitError)):
            self._stop_taking(session, error, now_ms)
            if is_hostile(error):
                self._effects.append(Ban(session.principal.actor, error.code))
        else:
            self._effects += self._audience.close(session, error.code, str(error), now_ms)

    def _on_message(self, session: DocumentSession, message: YMessage, now_ms: int) -> None:
        match message:
            case SyncUpdate() if self._degraded.is_on:
                self._effects.append(CountReject(DegradedError.code))  # asked for again, by a step 1
            case SyncStep1() if self._degraded.is_on and (session.principal.is_service or not self._log.is_settled):
                self._put_off.add(session.id, message, is_service=session.principal.is_service)
            case SyncUpdate() | SyncStep1() if self._doubts.holds(session, message):
                self._doubt(session, message, now_ms)
            case SyncUpdate():
                self._on_update(session, message, now_ms)
            case SyncStep1():
                self._on_step_1(session, message, now_ms)
            case Awareness():
                if session.page_client is None and message.entries:
                    session.page_client = message.entries[0].client
                self._effects += self._audience.hear(session, message, now_ms)
            case QueryAwareness():
                self._effects += self._audience.tell_all(session, now_ms, is_asked=True)
            case _:
                pass  # RAW is for who has the file

    def _on_step_1(self, session: DocumentSession, step_1: SyncStep1, now_ms: int) -> None:
        rate = self.limits.document_answers_bytes_per_s
        if session.answers is None:
            session.answers = TokenBucket(rate, self.limits.document_frame_bytes, now_ms)
        if not session.principal.is_service and session.answers.take(0, now_ms):
            reason = f"this connection asked for over {rate} bytes/s of what it has"
            self._effects += self._audience.close(session, "quota-exceeded", reason, now_ms)
            return
        before = session.answered_bytes
        self._effects += self._fanout.answer(session, self._sessions, step_1.state_vector, self._intake.document)
        session.answers.charge(session.answered_bytes - before, now_ms)

    def _on_update(self, session: DocumentSession, message: SyncUpdate, now_ms: int) -> None:
        if message.update == y_protocol.EMPTY_UPDATE:
            return
        if session.is_receive_only or not session.is_writer:
            self._effects.append(CountReject("read-only"))
            if not session.is_writer:
                self._on_readers_edit(session, message.update, now_ms)
            return
        self._judge(session, message, now_ms, is_sure=not self._has_peers)

    def _on_readers_edit(self, session: DocumentSession, update: bytes, now_ms: int) -> None:
        """Tell somebody who types what he may only read; not what his page notes by itself, as all pages do."""
        actor, client = session.principal.actor, session.page_client
        if client is None or self._stale.is_told(actor, client):
            return
        try:
            is_typed = edits_text(update, self._intake.document.policy)
        except InvalidYjsUpdateError:
            is_typed = True
        if is_typed:
            self._tell(session, ReadOnlyError("a reader's edit"), now_ms)

    def _judge(self, session: DocumentSession, message: SyncUpdate, now_ms: int, is_sure: bool) -> None:
        if not (is_sure or session.has_edited):  # its client id has no owner here yet: the judgement would not hold
            self._doubt(session, message, now_ms)
            return
        try:
            is_new = self._intake.admit(session, message.update, now_ms, is_sure)
        except UNACCEPTABLE as error:
            if not is_sure:
                self._doubt(session, message, now_ms)
            elif isinstance(error, YjsGapError):
                self._on_gap(session, error, now_ms)
            else:
                raise
        else:
            session.has_edited = True
            if is_new:
                self._fanout.admit()
            else:  # he waits for his echo
                self._effects += self._fanout.send_when_stored(session, y_protocol.encode_update(message.update))

    def _doubt(self, session: DocumentSession, message: SyncUpdate | SyncStep1, now_ms: int) -> None:
        """Let a message wait for a reading of the log; when too much waits already, its sender comes back later."""
        if self._doubts.is_full and not session.principal.is_service:
            self._effects += self._audience.close(session, "quota-exceeded", "too much waits for the log", now_ms)
            return
        self._doubts.add(session, message)

    def _on_gap(self, session: DocumentSession, error: YjsGapError, now_ms: int) -> None:
        self._effects.append(CountReject(error.code))
        if session.stepped_at_ms is None or now_ms >= session.stepped_at_ms + GAP_RETRY_MS:
            session.stepped_at_ms = now_ms
            self._ask_for_missing(session)

    def _stop_taking(self, session: DocumentSession, error: CollabKernelError, now_ms: int) -> None:
        """Take no more edits of a session: what it sends next builds on what was refused."""
        session.is_receive_only = True
        self._effects.append(CountReject(error.code))
        if self._stale.is_told(session.principal.actor, session.page_client):
            return  # it has come back, with the same edit
        if self._intake.notice(session, error, now_ms):
            self._fanout.admit()
        self._tell(session, error, now_ms)

    def _tell(self, session: DocumentSession, error: CollabKernelError, now_ms: int) -> None:
        """Have a page say that it holds what nobody else will; once. Scripts find the notice in the document."""
        client = session.page_client
        is_here = self._sessions.get(session.id) is session
        if client is None or not is_here or not self._stale.tell(session.principal.actor, client):
            return
        self._effects += self._audience.close(session, CLOSE_CODE, reason_of(error), now_ms)

    # -- the log

    def _append(self) -> None:
        for append in self._log.take_append():
            self._doubts.append_begins(len(append.requests))
            self._effects.append(append)
        if self._doubts.need_reading:
            self._read_missing()

    def _on_stored(self, event: OpsStored, now_ms: int) -> None:
        stored = self._log.stored(event.outcomes)
        self._snapshots.grew(bytes_of(stored))
        if self._has_peers:
            self._effects += publications(stored)
        self._effects += self._fanout.stored([item.update for item in stored], self._tick_ms, now_ms)
        for doubt in self._doubts.append_ended(len(stored), is_whole=self.lag_ops <= 0):
            self._settle(doubt, now_ms)
        if self.lag_ops > 0:
            self._read_missing()

    def _on_published(self, event: OpsPublished, now_ms: int) -> None:
        is_next = self._log.is_next(event.first_seq, event.last_seq)
        if self.lag_ops <= 0 or self._reading.is_under_way:
            return
        if not is_next or not event.parts:
            self._read_missing()
            return
        try:
            told = decode_published(event.first_seq, event.last_seq, event.parts)
        except MalformedFrameError:
            self._read_missing()
            return
        self._take_foreign(self._log.take_told(told), now_ms)

    def _on_missing(self, event: MissingRead, now_ms: int) -> None:
        self._reading.ended(event.is_cut)
        settled = [] if event.is_cut else self._doubts.reading_ended()
        self._take_foreign(self._log.take_rows(event.rows), now_ms)
        for doubt in settled:
            self._settle(doubt, now_ms)

    def _settle(self, doubt: Doubt, now_ms: int) -> None:
        session, message, _ = doubt
        try:
            if isinstance(message, SyncUpdate):
                if not session.is_receive_only:
                    self._judge(session, message, now_ms, is_sure=True)
            elif self._sessions.get(session.id) is session:
                self._on_step_1(session, message, now_ms)
        except (RemoteProtocolError, LimitError) as error:
            self._on_fault(session, error, now_ms)

    def _take_foreign(self, stored: Sequence[StoredUpdate], now_ms: int) -> None:
        if stored:
            self._snapshots.grew(bytes_of(stored))
            self._intake.take_foreign(stored)
            self._fanout.show([item.update for item in stored], self._tick_ms, now_ms)
        if self.lag_ops > 0 or self._reading.is_log_longer:
            self._read_missing()

    def _read_missing(self) -> None:
        if read := self._reading.ask(self.head):
            self._doubts.reading_begins()
            self._effects += read

    @property
    def _tick_ms(self) -> int:
        return max(flush_tick_ms(len(self._sessions), self.limits), self._flush_ms)

    # -- time

    def _run_due(self, now_ms: int) -> None:
        if self._degraded.end(self._log.is_settled):
            self._make_up(now_ms)
        self._flush(now_ms)
        for session_id in self._leaving.take(self._fanout.stored_count):
            if (session := self._sessions.get(session_id)) is not None:
                self._effects += self._audience.close(session, ServerDrainingError.code, self._leaving.reason, now_ms)
        self._effects += self._audience.run_due(now_ms)
        if self._snapshots.is_due(self.head, now_ms, self.size_bytes) and not self._degraded.is_on:
            self._write_snapshot(now_ms)
        idle_due_ms = self._end_if_due(now_ms)
        if not self._is_ended:
            snapshot_due_ms = None if self._degraded.is_on else self._snapshots.due_ms(self.head, self.size_bytes)
            times_ms = (self._fanout.due_ms(), self._audience.due_ms(), snapshot_due_ms, idle_due_ms)
            self._effects += self._alarm.set(*times_ms)

    def _make_up(self, now_ms: int) -> None:
        """Ask for what was dropped, and answer who asked."""
        put_off = self._put_off.take()
        for session in self._sessions:
            if session.is_writer:
                self._ask_for_missing(session)
            for step_1 in put_off.get(session.id, ()):
                self._on_step_1(session, step_1, now_ms)

    def _flush(self, now_ms: int) -> None:
        due_ms = self._fanout.due_ms()
        if due_ms is not None and due_ms <= now_ms:
            sends = self._fanout.send(self._sessions, now_ms)
            if sends:
                self._sessions.said(now_ms)
            self._effects += sends
        self._effects += self._fanout.catch_up(self._sessions, self._intake.document)

    def _write_snapshot(self, now_ms: int) -> None:
        self._snapshots.begin(now_ms)
        self._effects.append(WriteSnapshot(self.head))

    def _end_if_due(self, now_ms: int) -> int | None:
        """End the room when it was asked to or nobody is here; return when that is due."""
        if self._stop is not None:
            if self._log.is_settled or self._degraded.is_on:  # then its authors have what is not stored
                self._effects += self._fanout.send(self._sessions, now_ms)
                self._end(self._stop.code, self._stop.reason)
            return None
        idle_since_ms = self._sessions.idle_since_ms
        if idle_since_ms is None or self._snapshots.is_writing or not self._log.is_settled:
            return None
        due_ms = idle_since_ms + self.limits.room_idle_ms
        if due_ms > now_ms:
            return due_ms
        if self._snapshots.is_worth_it(self.head, state_bytes=self.size_bytes):
            self._write_snapshot(now_ms)
        else:
            self._end("idle", "nobody is here")
        return None

    def _end(self, code: str, reason: str) -> None:
        self._is_ended = True
        self._effects += self._sessions.close_all(code, reason)
        self._effects.append(Unload(f"{code}: {reason}"))
