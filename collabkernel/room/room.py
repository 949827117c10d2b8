"""The room: a plain function of its past. Events come in, effects go out; it reads no clock and does no I/O.

The life of an envelope here: it is admitted (limits, order, applied to the tree), handed to the log (``Append``), and
when it is stored acknowledged to its author at once and shown to everybody at the next flush. Nothing that is not
stored is ever sent. When the log did not take what the tree already has, the room ends (``Unload``) and is loaded again
from the log; its sessions are told to come back (docs/decisions/0002).

Every session has a *cursor*: the seq up to which its socket was given the log. A flush moves on those who are at the
last flush, by one frame that all of them share; whoever is behind is caught up from the ring or the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import Envelope, StoredEnvelope
from collabkernel.errors import (
    CollabKernelError,
    CounterGapError,
    FrameTooLargeError,
    RateError,
    ReadOnlyError,
    RemoteProtocolError,
    TooLargeError,
)
from collabkernel.limits import Limits
from collabkernel.room.admission import apply_envelope, check_limits, lower_stamp
from collabkernel.room.effects import (
    Append,
    Close,
    Count,
    Effect,
    FindEnvelope,
    GrantSite,
    ReadCatchUp,
    Refuse,
    Send,
    TellState,
    Unload,
    WakeAt,
    WriteSnapshot,
)
from collabkernel.room.events import (
    AppendFailed,
    CatchUpRead,
    EnvelopeFound,
    Event,
    FrameReceived,
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
from collabkernel.room.ring import Ring, RingEntry
from collabkernel.room.session import Session
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, Refusal
from collabkernel.wire import frames, messages
from collabkernel.wire.codec import decode_client_message
from collabkernel.wire.messages import Ack, Bye, Notice, Reject, Role, RoomEvent
from collabkernel.wire.ops import encode_op, op_kind

RESET_RETRY_MS = 200
"""After a reset clients wait this long: about what loading a room takes."""
FLUSH_MS_PER_SESSION = 0.12
"""The flush tick grows by this with each session: a frame out costs about 30 us, so sending takes a quarter of it."""


class InFlight(NamedTuple):
    """An admitted envelope that the log has not answered for yet."""

    site: int
    actor: str
    envelope: Envelope
    is_lowered: bool


class Room:
    """One room. ``handle`` is its only door."""

    def __init__(
        self, room_id: str, tree: LiveTree, seq: int, hlc: int, snapshot_seq: int, limits: Limits, now_ms: int
    ) -> None:
        self.room_id = room_id
        self.tree = tree
        tree.depth_max = limits.depth
        self.head = seq
        """The last stored seq."""
        self.flushed = seq
        """The last seq that was shown."""
        self.hlc = hlc
        """The highest stamp admitted."""
        self.limits = limits
        self.session_by_id: dict[int, Session] = {}
        self._session_by_site: dict[int, Session] = {}
        self._in_flight: deque[InFlight] = deque()
        self._requests: list[AppendRequest] = []
        self._unflushed: list[StoredEnvelope] = []
        self._ring = Ring(limits.ring_bytes)
        self._snapshot_seq = snapshot_seq
        self._snapshot_at_ms = now_ms
        self._is_snapshotting = False
        self._presence_dirty: dict[int, Session] = {}
        self._presence_left: list[messages.PresenceEntry] = []
        self._presence_at_ms = 0
        self._state_requests: list[int] = []
        self._flushed_at_ms = 0
        self._flush_due_ms: int | None = None
        self._idle_since_ms: int | None = now_ms
        self._wake_at_ms: int | None = None
        self._stop: StopAsked | None = None
        self._is_ended = False
        self._effects: list[Effect] = []

    @property
    def in_flight_ops(self) -> int:
        """Operations admitted and not yet stored."""
        return sum([len(item.envelope.ops) for item in self._in_flight])

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Take one event and say what follows from it, in order."""
        return self.handle_all((event,), now_ms)

    def handle_all(self, events: Iterable[Event], now_ms: int) -> list[Effect]:
        """Take events that came together: what they store becomes one ``Append``."""
        for event in events:
            if not self._is_ended:
                self._on_event(event, now_ms)
        if self._requests:
            self._effects.append(Append(tuple(self._requests)))
            self._requests = []
        self._run_due(now_ms)
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
                self._drop_session(event.session_id, now_ms)
            case SiteGranted():
                self._on_site(event, now_ms)
            case CatchUpRead():
                self._on_catch_up(event, now_ms)
            case SessionBlocked():
                self._on_blocked(event, now_ms)
            case SessionDrained():
                self._on_drained(event, now_ms)
            case EnvelopeFound():
                self._on_found(event)
            case RefusalStored():
                self._on_refusal(event)
            case AppendFailed():
                self._reset("storage-error", event.reason)
            case SnapshotSaved():
                self._is_snapshotting = False
                self._snapshot_seq = max(self._snapshot_seq, event.seq)
            case StateAsked():
                self._state_requests.append(event.request_id)
            case StopAsked():
                self._stop = event
            case Ticked():
                self._wake_at_ms = None

    # -- sessions

    def _on_opened(self, event: SessionOpened, now_ms: int) -> None:
        session = Session(event.session_id, event.principal, self.limits, now_ms)
        self.session_by_id[session.id] = session
        self._idle_since_ms = None

    def _on_frame(self, event: FrameReceived, now_ms: int) -> None:
        session = self.session_by_id.get(event.session_id)
        if session is None or self._stop is not None:
            return
        wait_ms = session.frames.take(1, now_ms)
        try:
            message = decode_client_message(event.frame, self.limits)
        except (RemoteProtocolError, FrameTooLargeError) as error:
            if not wait_ms:
                self._notice(session, error)
            return
        if isinstance(message, messages.Hello):
            self._on_hello(session, message)
        elif not session.is_live:
            self._notice(session, RemoteProtocolError("say Hello first, and wait for Welcome"))
        elif isinstance(message, messages.Submit):
            self._on_submit(session, message, wait_ms, now_ms)
        elif wait_ms:
            self._notice(session, RateError(self.limits.frames_per_s, wait_ms))
        elif isinstance(message, messages.Resync):
            self._on_resync(session, now_ms)
        else:
            self._on_ephemeral(session, message, now_ms)

    def _notice(self, session: Session, error: CollabKernelError) -> None:
        self._effects.append(Count("rejects", 1, error.code))
        part = frames.notices_part([Notice(error.code, str(error), error.retry_after_ms or 0)])
        self._effects.append(Send((session.id,), part))

    def _on_hello(self, session: Session, hello: messages.Hello) -> None:
        if session.is_live or session.is_asking_site:
            self._notice(session, RemoteProtocolError("Hello was said already"))
            return
        session.is_asking_site = True
        session.kind = hello.kind
        if hello.resume is not None:
            session.cursor = hello.resume.through
        self._effects.append(GrantSite(session.id, session.principal.actor, int(hello.kind), hello.resume))

    def _on_site(self, event: SiteGranted, now_ms: int) -> None:
        session = self.session_by_id.get(event.session_id)
        if session is None:
            return
        session.is_asking_site = False
        row = event.site
        if row is None:
            self._end_session(session, Bye("bad-resume", "this site cannot be resumed; join as a new one"), now_ms)
            return
        older = self._session_by_site.get(row.site)
        if older is not None:
            self._end_session(older, Bye("superseded", "this site was resumed by another connection"), now_ms)
        session.site, session.epoch, session.next_counter = row.site, row.epoch, row.last_counter + 1
        session.is_live = True
        self._session_by_site[row.site] = session
        is_resumed = not event.secret and event.log_agrees and session.cursor <= self.flushed
        if not is_resumed:
            session.cursor = 0
        self._welcome(session, event.secret, resync=not event.secret and not is_resumed, now_ms=now_ms)
        self._presence_dirty[session.id] = session
        if is_resumed:
            self._catch_up(session)
        elif self.flushed:
            self._read_catch_up(session, with_snapshot=True)

    def _welcome(self, session: Session, secret: bytes, resync: bool, now_ms: int) -> None:
        limits, who = self.limits, session.principal
        welcome = messages.Welcome(
            site=session.site,
            secret=secret,
            seq=self.head,
            server_time_ms=now_ms,
            role=who.role,
            actor=who.actor,
            name=who.name,
            color=who.color,
            limits=messages.ClientLimits(
                limits.frame_bytes,
                limits.key_bytes,
                limits.value_bytes,
                limits.envelope_ops,
                limits.depth,
                limits.presence_bytes,
                limits.ops_per_s,
            ),
            next_counter=session.next_counter,
            resync=resync,
        )
        others = [other.entry() for other in self._session_by_site.values() if other is not session]
        frame = frames.welcome_part(welcome) + (frames.presence_part(others) if others else b"")
        self._effects.append(Send((session.id,), frame))

    def _end_session(self, session: Session, bye: Bye, now_ms: int) -> None:
        self._effects.append(Send((session.id,), frames.bye_part(bye)))
        self._effects.append(Close(session.id, bye.code, bye.reason))
        self._drop_session(session.id, now_ms)

    def _drop_session(self, session_id: int, now_ms: int) -> None:
        session = self.session_by_id.pop(session_id, None)
        if session is None:
            return
        self._presence_dirty.pop(session_id, None)
        if self._session_by_site.get(session.site) is session:
            del self._session_by_site[session.site]
            self._presence_left.append(session.entry(left=True))
        if not self.session_by_id:
            self._idle_since_ms = now_ms

    # -- envelopes

    def _on_submit(self, session: Session, submit: messages.Submit, wait_ms: int, now_ms: int) -> None:
        if session.principal.role is not Role.WRITER:
            error = ReadOnlyError("you may read this room but not write to it; ask its owner for the right to write")
            for envelope in submit.envelopes:
                self._reject(session.site, envelope.counter, error.code, str(error), final=True)
            return
        for envelope in submit.envelopes:
            if envelope.counter < session.next_counter:
                self._on_resent(session, envelope)
            elif envelope.counter > session.next_counter:
                if not session.is_dropping:
                    session.is_dropping = True
                    gap = CounterGapError(session.next_counter, envelope.counter)
                    self._reject(session.site, session.next_counter, gap.code, str(gap), final=False)
            else:
                wait_ms = wait_ms or session.ops.take(len(envelope.ops), now_ms)
                session.is_dropping = wait_ms > 0
                if session.is_dropping:
                    rate = RateError(self.limits.ops_per_s, wait_ms)
                    self._reject(session.site, envelope.counter, rate.code, str(rate), final=False, retry_ms=wait_ms)
                else:
                    self._admit(session, envelope, now_ms)

    def _on_resent(self, session: Session, envelope: Envelope) -> None:
        if any(item.site == session.site and item.envelope.counter == envelope.counter for item in self._in_flight):
            return  # its ack is under way, and goes to whoever holds the site then
        self._effects.append(FindEnvelope(session.id, session.site, envelope.counter))

    def _admit(self, session: Session, envelope: Envelope, now_ms: int) -> None:
        site, sent = session.site, envelope
        try:
            check_limits(envelope, self.tree, self.head, self.limits)
            envelope = lower_stamp(envelope, self.hlc, now_ms, self.limits.stamp_ahead_ms)
            apply_envelope(self.tree, site, envelope)
        except (RemoteProtocolError, TooLargeError) as error:
            self._refuse(session, sent, error)
            return
        session.next_counter = envelope.last_counter + 1
        self.hlc = max(self.hlc, envelope.hlc + len(envelope.ops) - 1)
        actor = session.principal.actor
        self._in_flight.append(InFlight(site, actor, envelope, envelope is not sent))
        ops = tuple([(op_kind(op), encode_op(op)) for op in envelope.ops])
        self._requests.append(
            AppendRequest(self.room_id, site, session.epoch, envelope.counter, envelope.base, envelope.hlc, actor, ops)
        )

    def _refuse(self, session: Session, envelope: Envelope, error: CollabKernelError) -> None:
        """Refuse for good. The refusal is stored behind what this site has in flight, then answered."""
        session.next_counter = envelope.last_counter + 1
        refusal = Refusal(envelope.counter, len(envelope.ops), error.code, str(error))
        if self._requests:  # keep the site's order in the log
            self._effects.append(Append(tuple(self._requests)))
            self._requests = []
        self._effects.append(Refuse(session.site, session.epoch, refusal))

    def _reject(self, site: int, counter: int, code: str, reason: str, *, final: bool, retry_ms: int = 0) -> None:
        self._effects.append(Count("rejects", 1, code))
        session = self._session_by_site.get(site)
        if session is not None:
            part = frames.rejects_part([Reject(counter, code, reason, final, retry_ms)])
            self._effects.append(Send((session.id,), part))

    def _on_refusal(self, event: RefusalStored) -> None:
        if not event.is_stored:
            self._reset("fenced", "a site of this room was resumed at another server")
            return
        refusal = event.refusal
        self._reject(event.site, refusal.counter, refusal.code, refusal.reason, final=True)

    def _on_found(self, event: EnvelopeFound) -> None:
        session = self.session_by_id.get(event.session_id)
        if session is None:
            return
        match event.found:
            case Appended():
                part = frames.acks_part([Ack(event.counter, event.found.seq, event.found.hlc)])
                self._effects.append(Send((session.id,), part))
            case Refusal():
                self._reject(session.site, event.counter, event.found.code, event.found.reason, final=True)
            case None:
                reason = f"counter {event.counter} is inside an envelope of the log, not its beginning"
                self._reject(session.site, event.counter, "invalid-operation", reason, final=True)

    def _on_stored(self, event: OpsStored, now_ms: int) -> None:
        acks_by_site: dict[int, list[Ack]] = {}
        for outcome in event.outcomes:
            item = self._in_flight.popleft()
            if isinstance(outcome, NotAppended):
                code = "room-deleted" if outcome.code == "room-not-found" else outcome.code
                self._reset(code, outcome.reason)
                return
            if outcome.seq != self.head + 1 or outcome.hlc != item.envelope.hlc:
                self._reset("room-reset", "another server wrote to this room")
                return
            self.head = outcome.seq + len(item.envelope.ops) - 1
            self._unflushed.append(StoredEnvelope(outcome.seq, item.site, item.actor, item.envelope))
            ack = Ack(item.envelope.counter, outcome.seq, item.envelope.hlc if item.is_lowered else None)
            acks_by_site.setdefault(item.site, []).append(ack)
        for site, acks in acks_by_site.items():
            session = self._session_by_site.get(site)
            if session is not None:
                self._effects.append(Send((session.id,), frames.acks_part(acks)))
        self._plan_flush(now_ms)

    # -- showing

    def _plan_flush(self, now_ms: int) -> None:
        if self._flush_due_ms is None:
            tick_ms = min(self.limits.flush_tick_max_ms, int(len(self.session_by_id) * FLUSH_MS_PER_SESSION))
            self._flush_due_ms = max(now_ms, self._flushed_at_ms + max(tick_ms, self.limits.flush_tick_min_ms))

    def _flush(self, now_ms: int) -> None:
        self._flush_due_ms = None
        self._flushed_at_ms = now_ms
        if not self._unflushed:
            return
        part = frames.ops_part(self._unflushed)
        before, self.flushed = self.flushed, self._unflushed[-1].last_seq
        self._ring.add(RingEntry(before + 1, self.flushed, part))
        self._unflushed = []
        ready = []
        behind = []
        for session in self._session_by_site.values():
            if session.is_reading or session.is_blocked:
                continue
            if session.cursor == before:
                session.cursor = self.flushed
                ready.append(session.id)
            elif session.cursor < self.flushed:
                behind.append(session)
        if ready:
            self._effects.append(Send(tuple(ready), part + frames.through_part(self.flushed)))
        for session in behind:
            self._catch_up(session)

    def _catch_up(self, session: Session) -> None:
        """Give a session that is behind what follows its cursor, as long as its socket takes it."""
        if session.is_reading or session.is_blocked:
            return
        if session.cursor >= self.flushed:
            self._effects.append(Send((session.id,), frames.through_part(self.flushed))) if self.flushed else None
            return
        found = self._ring.since(session.cursor, self.limits.session_queue_low_bytes)
        if found is None:
            self._read_catch_up(session, with_snapshot=self.flushed - session.cursor > self.limits.catch_up_ops)
            return
        parts, session.cursor = found
        self._effects.append(Send((session.id,), b"".join(parts) + frames.through_part(session.cursor)))
        if session.cursor < self.flushed and self._flush_due_ms is None:
            self._flush_due_ms = self._flushed_at_ms  # the rest with the next tick

    def _read_catch_up(self, session: Session, with_snapshot: bool) -> None:
        session.is_reading = True
        self._effects.append(ReadCatchUp(session.id, session.cursor, self.flushed, with_snapshot))

    def _on_catch_up(self, event: CatchUpRead, now_ms: int) -> None:
        session = self.session_by_id.get(event.session_id)
        if session is None:
            return
        session.is_reading = False
        session.cursor = event.through
        self._effects.append(Send((session.id,), b"".join(event.parts) + frames.through_part(event.through)))
        if session.cursor < self.flushed:
            self._catch_up(session)
        if session.is_presence_stale and not session.is_blocked:
            self._refresh_presence(session, now_ms)

    def _on_resync(self, session: Session, now_ms: int) -> None:
        wait_ms = session.resyncs.take(1, now_ms)
        if wait_ms:
            self._notice(session, RateError(self.limits.resyncs_per_minute, wait_ms))
        elif not session.is_reading:
            session.cursor = 0
            self._read_catch_up(session, with_snapshot=True)

    def _on_blocked(self, event: SessionBlocked, now_ms: int) -> None:
        session = self.session_by_id.get(event.session_id)
        if session is not None and session.blocked_since_ms is None:
            session.blocked_since_ms = now_ms
            self._wake(now_ms + self.limits.lagging_max_ms)

    def _on_drained(self, event: SessionDrained, now_ms: int) -> None:
        session = self.session_by_id.get(event.session_id)
        if session is None or session.blocked_since_ms is None:
            return
        session.blocked_since_ms = None
        if session.is_live:
            if session.cursor < self.flushed:
                self._catch_up(session)
            if session.is_presence_stale:
                self._refresh_presence(session, now_ms)

    # -- presence and broadcasts

    def _on_ephemeral(self, session: Session, message: messages.Presence | messages.Event, now_ms: int) -> None:
        content = message.state_json if isinstance(message, messages.Presence) else message.payload_json
        size_bytes = len(content.encode())
        wait_ms = session.events.take(1, now_ms)
        if size_bytes > self.limits.presence_bytes:
            self._notice(session, TooLargeError("presence or event", size_bytes, self.limits.presence_bytes))
        elif wait_ms:
            self._notice(session, RateError(self.limits.events_per_s, wait_ms))
        elif isinstance(message, messages.Presence):
            session.presence_json = content
            self._presence_dirty[session.id] = session
        else:
            event = RoomEvent(session.site, session.principal.actor, message.name, content)
            ids = [s.id for s in self._session_by_site.values() if s is not session and not s.is_blocked]
            if ids:
                self._effects.append(Send(tuple(ids), frames.events_part([event])))

    def _send_presence(self, now_ms: int) -> None:
        entries = self._presence_left + [session.entry() for session in self._presence_dirty.values()]
        self._presence_left = []
        self._presence_dirty = {}
        self._presence_at_ms = now_ms
        ids = []
        for session in self._session_by_site.values():
            if session.is_blocked:
                session.is_presence_stale = True
            else:
                ids.append(session.id)
        if ids:
            self._effects.append(Send(tuple(ids), frames.presence_part(entries)))

    def _refresh_presence(self, session: Session, now_ms: int) -> None:
        """Tell a session that missed some everybody's presence; who left meanwhile is told as gone by absence."""
        session.is_presence_stale = False
        entries = [other.entry() for other in self._session_by_site.values()]
        self._effects.append(Send((session.id,), frames.presence_part(entries)))
        self._wake(now_ms)

    # -- time

    def _wake(self, at_ms: int) -> None:
        if self._wake_at_ms is None or at_ms < self._wake_at_ms:
            self._wake_at_ms = at_ms
            self._effects.append(WakeAt(at_ms))

    def _run_due(self, now_ms: int) -> None:
        if self._is_ended:
            return
        if self._flush_due_ms is not None:
            if self._flush_due_ms <= now_ms:
                self._flush(now_ms)
            else:
                self._wake(self._flush_due_ms)
        if self._presence_dirty or self._presence_left:
            due_ms = self._presence_at_ms + self.limits.presence_tick_ms
            if due_ms <= now_ms:
                self._send_presence(now_ms)
            else:
                self._wake(due_ms)
        if self._state_requests and not self._in_flight:
            self._tell_state()
        self._close_laggards(now_ms)
        self._plan_snapshot(now_ms)
        self._end_if_due(now_ms)

    def _tell_state(self) -> None:
        sessions = [
            {"site": s.site, "actor": s.principal.actor, "name": s.principal.name, "kind": s.kind.name.lower()}
            for s in self._session_by_site.values()
        ]
        state = {"room": self.room_id, "seq": self.head, "state": self.tree.to_json(), "sessions": sessions}
        self._effects.extend([TellState(request_id, state) for request_id in self._state_requests])
        self._state_requests = []

    def _close_laggards(self, now_ms: int) -> None:
        late = [
            session
            for session in self.session_by_id.values()
            if session.blocked_since_ms is not None and now_ms - session.blocked_since_ms >= self.limits.lagging_max_ms
        ]
        for session in late:
            reason = f"this connection took nothing for {self.limits.lagging_max_ms} ms; it may resume"
            self._end_session(session, Bye("slow-consumer", reason), now_ms)

    def _plan_snapshot(self, now_ms: int) -> None:
        behind = self.head - self._snapshot_seq
        since_ms = now_ms - self._snapshot_at_ms
        if self._is_snapshotting or not behind:
            return
        is_old = since_ms >= self.limits.snapshot_age_ms
        if is_old or (behind >= self.limits.snapshot_ops and since_ms >= self.limits.snapshot_min_interval_ms):
            self._is_snapshotting = True
            self._snapshot_at_ms = now_ms
            self._effects.append(WriteSnapshot(self.head))

    def _end_if_due(self, now_ms: int) -> None:
        if self._in_flight:
            return
        if self._stop is not None:
            self._flush(now_ms)
            self._end(Bye(self._stop.code, self._stop.reason, self._stop.retry_after_ms))
        elif self._idle_since_ms is not None:
            due_ms = self._idle_since_ms + self.limits.room_idle_ms
            if self._is_snapshotting or self._state_requests:
                return
            if due_ms > now_ms:
                self._wake(due_ms)
            elif self.head - self._snapshot_seq >= self.limits.snapshot_ops:
                self._is_snapshotting = True
                self._effects.append(WriteSnapshot(self.head))
            else:
                self._end(Bye("idle", "nobody is here"))

    def _reset(self, code: str, reason: str) -> None:
        """The tree holds what the log does not: start again from the log."""
        self._end(Bye(code, reason, RESET_RETRY_MS))

    def _end(self, bye: Bye) -> None:
        self._is_ended = True
        ids = tuple(self.session_by_id)
        if ids:
            self._effects.append(Send(ids, frames.bye_part(bye)))
            self._effects.extend([Close(session_id, bye.code, bye.reason) for session_id in ids])
        self.session_by_id = {}
        self._session_by_site = {}
        self._effects.append(Unload(f"{bye.code}: {bye.reason}"))
