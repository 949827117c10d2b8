"""The room: a plain function of its past. Events come in, effects go out; it reads no clock and does no I/O.

The life of an envelope here: it is admitted (``intake``: limits, order, applied to the tree), handed to the log
(``Append``), and when it is stored acknowledged to its author at once and shown to everybody at the next flush
(``fanout``). Nothing that is not stored is ever sent. When the log did not take what the tree already has, the room
ends (``Unload``) and is loaded again from the log; its sessions are told to come back (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collabkernel.document.live_tree import LiveTree
from collabkernel.errors import CollabKernelError, RateError, RemoteProtocolError, RoomResetError, TooLargeError
from collabkernel.limits import Limits
from collabkernel.room.broadcasts import Broadcasts
from collabkernel.room.effects import (
    Close,
    CountReject,
    Effect,
    GrantSite,
    Publish,
    ReadMissing,
    Send,
    TellState,
    Unload,
    WakeAt,
    WriteSnapshot,
)
from collabkernel.room.events import (
    AppendFailed,
    AskFailed,
    BusLost,
    CatchUpRead,
    EnvelopeFound,
    Event,
    FrameReceived,
    HelloDue,
    MissingRead,
    OpsPublished,
    OpsStored,
    RefusalStored,
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
from collabkernel.room.fanout import FanOut
from collabkernel.room.fold import envelopes_of_rows
from collabkernel.room.intake import Intake, Shown
from collabkernel.room.presence import PresenceBoard
from collabkernel.room.session import Session
from collabkernel.room.snapshots import SnapshotClock
from collabkernel.storage.base import Appended, NotAppended
from collabkernel.wire import frames, messages
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.messages import Bye, Notice, RoomEvent
from collabkernel.wire.ops import encode_op

RESET_RETRY_MS = 200
"""After a reset clients wait this long: about what loading a room takes."""
BAD_RESUME = Bye("bad-resume", "this site cannot be resumed; join as a new one")


class Room:
    """One room. ``handle`` is its only door."""

    def __init__(
        self,
        room_id: str,
        tree: LiveTree,
        seq: int,
        hlc: int,
        snapshot_seq: int,
        limits: Limits,
        now_ms: int,
        is_durable: bool = True,
        has_peers: bool = False,
    ) -> None:
        """Go on from a state.

        Args:
            room_id: Its name.
            tree: Its state at ``seq``; the room's own from now on.
            seq: Head of its log.
            hlc: The highest stamp in its log.
            snapshot_seq: Seq of its newest snapshot.
            limits: What it allows.
            now_ms: Server's clock.
            is_durable: Whether what is stored survives a power cut; otherwise acks say ``buffered``.
            has_peers: Whether other servers are to be told what this one stores.
        """
        self.room_id = room_id
        self.limits = limits
        self._tree = tree
        tree.depth_max = limits.depth
        self._intake = Intake(room_id, tree, seq, hlc, limits, is_durable)
        self._fanout = FanOut(seq, limits)
        self._presence = PresenceBoard(limits.presence_tick_ms)
        self._broadcasts = Broadcasts()
        self._boards = (self._fanout, self._presence, self._broadcasts)
        self._has_peers = has_peers
        self._is_reading_missing = False
        self._published = seq
        """The highest seq that another server has told of."""
        self._session_by_id: dict[int, Session] = {}
        self._session_by_site: dict[int, Session] = {}
        self._resumes: dict[int, int] = {}
        """By session: the site that it has asked the log for, and not been answered yet."""
        self._snapshots = SnapshotClock(snapshot_seq, limits, now_ms)
        self._state_requests: list[int] = []
        self._idle_since_ms: int | None = now_ms
        self._wake_at_ms: int | None = None
        self._stop: StopAsked | None = None
        self._is_ended = False
        self._effects: list[Effect] = []

    @property
    def head(self) -> int:
        """The last stored seq."""
        return self._intake.head

    @property
    def lag_ops(self) -> int:
        """Operations that the log is known to have and this room has not applied."""
        return max(self._published, self._intake.waiting_for) - self.head

    @property
    def size_bytes(self) -> int:
        """What its contents are counted as."""
        return self._tree.size_bytes

    def described_sessions(self) -> list[dict[str, str | int]]:
        """Who is here."""
        return [session.described() for session in self._session_by_site.values()]

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Take one event and say what follows from it, in order."""
        return self.handle_all((event,), now_ms)

    def handle_all(self, events: Iterable[Event], now_ms: int) -> list[Effect]:
        """Take events that came together: what they store becomes one ``Append``."""
        try:
            for event in events:
                if not self._is_ended:
                    self._on_event(event, now_ms)
            self._effects += self._intake.take_append()
            if not self._is_ended:
                self._run_due(now_ms)
        except RoomResetError as error:
            code = "room-deleted" if error.code == "room-not-found" else error.code
            self._end(Bye(code, str(error), RESET_RETRY_MS))
        effects, self._effects = self._effects, []
        return effects

    def _on_event(self, event: Event, now_ms: int) -> None:
        match event:
            case FrameReceived():
                self._on_frame(event, now_ms)
            case OpsStored():
                self._on_stored(event.outcomes, now_ms)
            case SessionOpened():
                self._on_opened(event, now_ms)
            case SessionClosed():
                self._drop_session(event.session_id, now_ms)
            case SiteGranted():
                self._on_site(event, now_ms)
            case AskFailed():
                self._on_ask_failed(event, now_ms)
            case SessionBlocked():
                self._on_blocked(event, now_ms)
            case HelloDue():
                self._on_hello_due(event, now_ms)
            case CatchUpRead() | SessionDrained() | EnvelopeFound():
                session = self._session_by_id.get(event.session_id)
                if session is not None:
                    self._on_answer(session, event)
            case OpsPublished():
                self._on_published(event, now_ms)
            case BusLost():
                self._read_missing()
            case MissingRead():
                self._on_missing(event, now_ms)
            case RefusalStored():
                self._on_refusal(event)
            case AppendFailed():
                raise RoomResetError("storage-error", event.reason)
            case SnapshotSaved():
                self._snapshots.saved(event.seq)
            case StateAsked():
                self._state_requests.append(event.request_id)
            case StopAsked():
                self._stop = event
            case Ticked():
                self._wake_at_ms = None

    # -- sessions

    def _on_opened(self, event: SessionOpened, now_ms: int) -> None:
        session = Session(event.session_id, event.principal, self.limits, now_ms)
        self._session_by_id[session.id] = session
        self._idle_since_ms = None

    def _on_frame(self, event: FrameReceived, now_ms: int) -> None:
        session = self._session_by_id.get(event.session_id)
        if session is None or self._stop is not None:
            return
        wait_ms = session.frames.take(1, now_ms) if event.frame else 0  # else the rest of one that was metered
        try:
            message = event.read(self.limits)
        except RemoteProtocolError as error:
            if not wait_ms:
                self._notice(session, error)
            return
        if isinstance(message, messages.Hello):
            self._on_hello(session, message, now_ms)
        elif not session.is_live:
            self._notice(session, RemoteProtocolError("say Hello first, and wait for Welcome"))
        elif isinstance(message, messages.Submit):
            self._effects += self._intake.submit(session, message, wait_ms, now_ms)
        elif wait_ms:
            self._notice(session, RateError(self.limits.frames_per_s, wait_ms))
        elif isinstance(message, messages.Resync):
            self._on_resync(session, now_ms)
        else:
            self._on_ephemeral(session, message, now_ms)

    def _notice(self, session: Session, error: CollabKernelError) -> None:
        part = frames.notices_part([Notice(error.code, str(error), error.retry_after_ms or 0)])
        self._effects += [CountReject(error.code), Send((session.id,), part)]

    def _on_hello(self, session: Session, hello: messages.Hello, now_ms: int) -> None:
        if session.is_live or session.is_asking_site:
            self._notice(session, RemoteProtocolError("Hello was said already"))
            return
        session.is_asking_site = True
        session.kind = hello.kind
        if hello.resume is not None:
            session.cursor = hello.resume.through
            if not self._ask_to_resume(session, hello.resume.site):
                self._end_session(session, BAD_RESUME, now_ms)
                return
            self._effects += self._intake.take_append()  # behind what the older connection has sent, or it is fenced
        self._effects.append(GrantSite(session.id, session.principal.actor, int(hello.kind), hello.resume))

    def _on_hello_due(self, event: HelloDue, now_ms: int) -> None:
        session = self._session_by_id.get(event.session_id)
        if session is not None and not (session.is_live or session.is_asking_site):
            reason = f"no Hello within {self.limits.hello_timeout_ms} ms"
            self._end_session(session, Bye("hello-timeout", reason), now_ms)

    def _ask_to_resume(self, session: Session, site: int) -> bool:
        """Hold back whoever has the site here until the log has answered: what he sent now would be fenced by then.

        That others of his name can hold him back is no more than they may do anyway; strangers cannot.
        """
        older = self._session_by_site.get(site)
        if older is not None and older.principal.actor != session.principal.actor:
            return False
        self._resumes[session.id] = site
        if older is not None:
            older.is_held = True
        return True

    def _resume_answered(self, session_id: int) -> int:
        """The site that a session had asked for, or 0; who has it goes on if nobody else asks for it."""
        site = self._resumes.pop(session_id, 0)
        holder = self._session_by_site.get(site)
        if holder is not None and site not in self._resumes.values():
            self._effects += self._intake.release(holder)
        return site

    def _on_site(self, event: SiteGranted, now_ms: int) -> None:
        row = event.site
        older = self._session_by_site.get(row.site) if row is not None else None
        if older is not None:
            self._end_session(older, Bye("superseded", "this site was resumed by another connection"), now_ms)
        self._resume_answered(event.session_id)
        session = self._session_by_id.get(event.session_id)
        if session is None:
            return
        session.is_asking_site = False
        if row is None:
            self._end_session(session, BAD_RESUME, now_ms)
            return
        session.site, session.epoch, session.next_counter = row.site, row.epoch, row.last_counter + 1
        session.is_live = True
        session.is_held = row.site in self._resumes.values()
        self._session_by_site[row.site] = session
        is_resumed = not event.secret and event.log_agrees and session.cursor <= self._fanout.flushed
        if not is_resumed:
            session.cursor = 0
        self._welcome(session, event.secret, resync=not event.secret and not is_resumed, now_ms=now_ms)
        self._presence.show(session)
        if is_resumed:
            self._effects += self._fanout.catch_up(session)
        elif self._fanout.flushed or not event.secret:
            self._effects.append(self._fanout.read(session, with_snapshot=True))

    def _welcome(self, session: Session, secret: bytes, resync: bool, now_ms: int) -> None:
        welcome = session.welcome(secret, self._fanout.flushed, resync, self.limits, now_ms)
        others = [other.entry() for other in self._session_by_site.values() if other is not session]
        self._effects.append(Send((session.id,), frames.welcome_part(welcome) + frames.presence_part(others)))

    def _on_ask_failed(self, event: AskFailed, now_ms: int) -> None:
        """The log did not answer for one session: he comes back, and so does who has the site that he asked for.

        The epoch of that site may have been raised all the same.
        """
        site = self._resume_answered(event.session_id)
        for session in (self._session_by_id.get(event.session_id), self._session_by_site.get(site)):
            if session is not None:
                self._end_session(session, Bye("storage-error", event.reason, RESET_RETRY_MS), now_ms)

    def _end_session(self, session: Session, bye: Bye, now_ms: int) -> None:
        self._effects += [Send((session.id,), frames.bye_part(bye)), Close(session.id, bye.code, bye.reason)]
        self._drop_session(session.id, now_ms)

    def _drop_session(self, session_id: int, now_ms: int) -> None:
        session = self._session_by_id.pop(session_id, None)
        if session is None:
            return
        if self._session_by_site.get(session.site) is session:
            del self._session_by_site[session.site]
            self._presence.hide(session)
        if not self._session_by_id:
            self._idle_since_ms = now_ms

    def _on_blocked(self, event: SessionBlocked, now_ms: int) -> None:
        session = self._session_by_id.get(event.session_id)
        if session is not None and session.blocked_since_ms is None:
            session.blocked_since_ms = now_ms

    # -- answers

    def _on_answer(self, session: Session, event: CatchUpRead | SessionDrained | EnvelopeFound) -> None:
        match event:
            case EnvelopeFound():
                self._effects += self._intake.found(session, event.counter, event.found)
            case CatchUpRead():
                self._effects += self._fanout.on_read(session, event.parts, event.through)
            case SessionDrained():
                session.blocked_since_ms = None
                if session.is_live:
                    self._effects += self._fanout.catch_up(session)
                    self._effects += self._presence.make_up(session)

    def _on_stored(self, outcomes: tuple[Appended | NotAppended, ...], now_ms: int) -> None:
        shown, acks = self._intake.stored(outcomes, self._session_by_site)
        self._effects += acks
        if shown and self._has_peers:
            parts = frames.ops_part([item.stored for item in shown], [item.payloads for item in shown])
            self._effects.append(Publish(shown[0].stored.seq, shown[-1].stored.last_seq, parts))
        self._show(shown, now_ms)
        if self._intake.is_missing:
            self._read_missing()

    def _show(self, shown: Sequence[Shown], now_ms: int) -> None:
        for item in shown:
            self._fanout.add(*item)
        if shown:
            self._fanout.plan(self._tick_ms, now_ms)

    # -- other servers

    def _on_published(self, event: OpsPublished, now_ms: int) -> None:
        self._published = max(self._published, event.last_seq)
        if self.lag_ops <= 0 or self._is_reading_missing:
            return
        if event.first_seq > self.head + 1:
            self._read_missing()
            return
        envelopes = decode_server_message(event.parts, self.limits).ops
        self._take_foreign([Shown(item, [encode_op(op) for op in item.envelope.ops]) for item in envelopes], now_ms)

    def _on_missing(self, event: MissingRead, now_ms: int) -> None:
        self._is_reading_missing = False
        if self._intake.is_missing and not event.rows:
            raise RoomResetError("room-reset", "the log has a gap")
        self._take_foreign([Shown(*item) for item in zip(*envelopes_of_rows(event.rows), strict=True)], now_ms)

    def _take_foreign(self, shown: Sequence[Shown], now_ms: int) -> None:
        self._show(self._intake.take_foreign(shown), now_ms)
        self._on_stored((), now_ms)
        if self.lag_ops > 0:
            self._read_missing()

    def _read_missing(self) -> None:
        if not self._is_reading_missing:
            self._is_reading_missing = True
            self._effects.append(ReadMissing(self.head))

    def _on_refusal(self, event: RefusalStored) -> None:
        if not event.is_stored:
            raise RoomResetError("fenced", "a site of this room was resumed at another server")
        self._effects += self._intake.refused(self._session_by_site.get(event.site), event.refusal)

    def _on_resync(self, session: Session, now_ms: int) -> None:
        wait_ms = session.resyncs.take(1, now_ms)
        if wait_ms:
            self._notice(session, RateError(self.limits.resyncs_per_minute, wait_ms))
        else:
            self._effects += self._fanout.resync(session)

    def _on_ephemeral(self, session: Session, message: messages.Presence | messages.Event, now_ms: int) -> None:
        content = message.state_json if isinstance(message, messages.Presence) else message.name + message.payload_json
        size_bytes = len(content.encode())
        wait_ms = session.events.take(1, now_ms)
        if size_bytes > self.limits.presence_bytes:
            self._notice(session, TooLargeError("presence or event", size_bytes, self.limits.presence_bytes))
        elif wait_ms:
            self._notice(session, RateError(self.limits.events_per_s, wait_ms))
        elif isinstance(message, messages.Presence):
            session.presence_json = content
            self._presence.show(session)
        else:
            event = RoomEvent(session.site, session.principal.actor, message.name, message.payload_json)
            if not self._broadcasts.add(event, self._tick_ms, now_ms):
                self._notice(session, RateError(self.limits.events_per_s, self.limits.flush_tick_max_ms))

    @property
    def _tick_ms(self) -> int:
        return self._fanout.tick_ms(len(self._session_by_id))

    # -- time

    def _run_due(self, now_ms: int) -> None:
        sessions = self._session_by_site.values()
        for board in self._boards:
            due_ms = board.due_ms()
            if due_ms is not None and due_ms <= now_ms:
                self._effects += board.send(sessions, now_ms)
        if self._state_requests and self._intake.is_settled:
            self._tell_state()
        laggard_due_ms = self._close_laggards(now_ms)
        if self._snapshots.is_due(self.head, now_ms):
            self._write_snapshot(now_ms)
        idle_due_ms = self._end_if_due(now_ms)
        if not self._is_ended:
            self._wake_at_first(*[board.due_ms() for board in self._boards], laggard_due_ms, idle_due_ms)

    def _wake_at_first(self, *times_ms: int | None) -> None:
        first_ms = min([at_ms for at_ms in times_ms if at_ms is not None], default=None)
        if first_ms is not None and (self._wake_at_ms is None or first_ms < self._wake_at_ms):
            self._wake_at_ms = first_ms
            self._effects.append(WakeAt(first_ms))

    def _tell_state(self) -> None:
        sessions = self.described_sessions()
        state = {"room": self.room_id, "seq": self.head, "state": self._tree.to_json(), "sessions": sessions}
        self._effects += [TellState(request_id, state) for request_id in self._state_requests]
        self._state_requests = []

    def _close_laggards(self, now_ms: int) -> int | None:
        """Close who has been blocked for too long; return when the next one is due."""
        max_ms, sessions = self.limits.lagging_max_ms, self._session_by_id.values()
        bye = Bye("slow-consumer", f"this connection took nothing for {max_ms} ms; it may resume")
        blocked = [(session.blocked_since_ms, session) for session in sessions if session.blocked_since_ms is not None]
        for since_ms, session in blocked:
            if since_ms + max_ms <= now_ms:
                self._end_session(session, bye, now_ms)
        return min([since_ms + max_ms for since_ms, _ in blocked if since_ms + max_ms > now_ms], default=None)

    def _write_snapshot(self, now_ms: int) -> None:
        self._snapshots.begin(now_ms)
        self._effects.append(WriteSnapshot(self.head))

    def _end_if_due(self, now_ms: int) -> int | None:
        """End the room when it was asked to or nobody is here; return when that is due."""
        if self._stop is not None:
            if self._intake.is_settled:
                self._effects += self._fanout.send(self._session_by_site.values(), now_ms)
                self._end(Bye(self._stop.code, self._stop.reason, self._stop.retry_after_ms))
            return None
        if self._idle_since_ms is None or self._snapshots.is_writing or not self._intake.is_settled:
            return None
        due_ms = self._idle_since_ms + self.limits.room_idle_ms
        if due_ms > now_ms:
            return due_ms
        if self._snapshots.is_long(self.head):
            self._write_snapshot(now_ms)
        else:
            self._end(Bye("idle", "nobody is here"))
        return None

    def _end(self, bye: Bye) -> None:
        self._is_ended = True
        ids = tuple(self._session_by_id)
        if ids:
            self._effects.append(Send(ids, frames.bye_part(bye)))
            self._effects += [Close(session_id, bye.code, bye.reason) for session_id in ids]
        self._session_by_id = {}
        self._session_by_site = {}
        self._effects.append(Unload(f"{bye.code}: {bye.reason}"))
