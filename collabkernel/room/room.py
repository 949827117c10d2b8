"""The room: a plain function of its past. Events come in, effects go out; it reads no clock and does no I/O.

The life of an envelope here: it is admitted (``intake``: limits, order, applied to the tree), handed to the log
(``Append``), and when it is stored acknowledged to its author at once and shown to everybody at the next flush
(``fanout``). Nothing that is not stored is ever sent. When the log did not take what the tree already has, the room
ends (``Unload``) and is loaded again from the log; its sessions are told to come back (docs/decisions/0002). While the
log does not answer at all, what it was asked waits, and the room goes on without it (``degraded``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collabkernel.document.room_state import RoomState
from collabkernel.errors import RateError, RemoteProtocolError, RoomResetError, ServerDrainingError, TooLargeError
from collabkernel.limits import Limits
from collabkernel.room import busy, degraded
from collabkernel.room.alarm import Alarm
from collabkernel.room.boards import Boards
from collabkernel.room.broadcasts import Broadcasts
from collabkernel.room.busy import Busy
from collabkernel.room.degraded import Degraded, told
from collabkernel.room.early_news import EarlyNews
from collabkernel.room.effects import (
    CountReject,
    Effect,
    Publish,
    PublishEphemeral,
    TellState,
    Unload,
    WriteSnapshot,
)
from collabkernel.room.events import (
    AppendFailed,
    AskFailed,
    BusLost,
    CatchUpRead,
    DatabaseBack,
    DatabaseLost,
    EnvelopeFound,
    EphemeralPublished,
    Event,
    FrameReceived,
    HelloDue,
    KeepingAnswered,
    LeaveAsked,
    MissingRead,
    OpsPublished,
    OpsStored,
    PurgeAsked,
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
from collabkernel.room.joins import RESET_RETRY_MS, Joins, notice
from collabkernel.room.keeper import Keeper
from collabkernel.room.leaving import Leaving
from collabkernel.room.log_reading import LogReading
from collabkernel.room.presence import PresenceBoard
from collabkernel.room.session import Session
from collabkernel.room.snapshots import SnapshotClock
from collabkernel.room.view import View
from collabkernel.room.viewport import Viewports
from collabkernel.storage.base import Appended, NotAppended
from collabkernel.wire import frames, messages
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.messages import Bye, RoomEvent, ServerMessage
from collabkernel.wire.ops import encode_op


class Room:
    """One room. ``handle`` is its only door."""

    def __init__(
        self,
        room_id: str,
        state: RoomState,
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
            state: What it holds at ``seq``; the room's own from now on.
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
        self._state = state
        state.tree.depth_max = limits.depth
        self._intake = Intake(room_id, state, seq, hlc, limits, is_durable)
        viewports = Viewports(state)
        self._fanout = FanOut(seq, limits, self._intake, viewports)
        self._busy = Busy(limits)
        self._presence = PresenceBoard(self._busy, viewports, has_peers)
        self._broadcasts = Broadcasts()
        self._boards = Boards(self._fanout, self._presence, self._broadcasts)
        self._has_peers = has_peers
        self._reading = LogReading()
        self._news = EarlyNews()
        self._was_missing = False
        """Whether the log was known to have more when the last read of it began."""
        self._published = seq
        """The highest seq that another server has told of."""
        self._degraded = Degraded()
        self._joins = Joins(self._intake, self._fanout, self._presence, self._degraded, limits, now_ms)
        self._snapshots = SnapshotClock(snapshot_seq, limits, now_ms)
        self._fanout.snapshot_seq = snapshot_seq
        self._keeper = Keeper(state, seq, hlc, limits, now_ms)
        self._state_requests: list[int] = []
        self._alarm = Alarm()
        self._stop: StopAsked | None = None
        self._leaving = Leaving()
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
        return self._state.size_bytes

    def described_sessions(self) -> list[dict[str, str | int]]:
        """Who is here."""
        return [session.described() for session in self._joins.by_site.values()]

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Take one event and say what follows from it, in order."""
        return self.handle_all((event,), now_ms)

    def handle_all(self, events: Iterable[Event], now_ms: int, flush_ms: int = 0, shows: bool = True) -> list[Effect]:
        """Take events that came together: what they store becomes one ``Append``."""
        self._busy.note(flush_ms, len(self._joins.by_site))
        try:
            for event in events:
                if not self._is_ended:
                    self._on_event(event, now_ms)
            while not self._reading.is_under_way and (early := self._news.next(self.head)) is not None:
                self._on_published(early, now_ms)
            if not self._is_ended:
                self._effects += self._intake.take_append()
                if shows:
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
                self._joins.open(event, now_ms)
            case SessionClosed():
                self._joins.drop(event.session_id, now_ms)
            case SiteGranted():
                self._effects += self._joins.site_granted(event, now_ms)
                self._published = max(self._published, event.head)
                if event.head > self.head:  # somebody waits for that, and nobody may ever tell it
                    self._read_missing()
            case AskFailed():
                self._effects += self._joins.ask_failed(event, now_ms)
            case SessionBlocked():
                self._joins.blocked(event.session_id, now_ms)
            case HelloDue():
                self._effects += self._joins.hello_due(event, now_ms)
            case CatchUpRead() | SessionDrained() | EnvelopeFound():
                session = self._joins.by_id.get(event.session_id)
                if session is not None:
                    self._on_answer(session, event)
            case OpsPublished():
                self._on_published(event, now_ms)
            case EphemeralPublished():
                self._on_ephemeral_published(event, now_ms)
            case BusLost():
                self._news.lose()
                self._read_missing()
            case MissingRead():
                self._on_missing(event, now_ms)
            case RefusalStored():
                self._on_refusal(event)
            case AppendFailed():
                raise RoomResetError("storage-error", event.reason)
            case DatabaseLost():
                if self._degraded.begin():
                    self._effects += told(self._joins.by_site.values(), is_on=True)
            case DatabaseBack():
                self._degraded.back()
            case SnapshotSaved():
                self._snapshots.saved(event.seq)
                self._fanout.snapshot_seq = self._snapshots.seq
            case KeepingAnswered():
                self._keeper.answered(event.keeping, now_ms)
            case PurgeAsked():
                self._keeper.purger.ask(event.ops, event.seq)
            case StateAsked():
                self._state_requests.append(event.request_id)
            case StopAsked():
                self._stop = event
            case LeaveAsked():
                self._leaving.ask(event, self._intake.admitted)
            case Ticked():
                self._alarm.rang()

    # -- sessions

    def _on_frame(self, event: FrameReceived, now_ms: int) -> None:
        session = self._joins.by_id.get(event.session_id)
        if session is None or self._stop is not None or self._leaving.holds(session.id):
            return
        wait_ms = session.frames.take(1, now_ms) if event.frame else 0  # else the rest of one that was metered
        try:
            message = event.read(self.limits)
        except RemoteProtocolError as error:
            if not wait_ms:
                self._effects += notice(session, error)
            return
        if isinstance(message, messages.Hello):
            self._effects += self._joins.hello(session, message, now_ms)
        elif isinstance(message, messages.Viewport):
            self._on_viewport(session, message, wait_ms, now_ms)
        elif not session.is_live:
            self._effects += notice(session, RemoteProtocolError("say Hello first, and wait for Welcome"))
        elif isinstance(message, messages.Submit) and self._degraded.is_on:
            self._effects += degraded.put_off(session, message)
        elif isinstance(message, messages.Submit) and self._busy.puts_off(session):
            self._effects += busy.put_off(session, message)
        elif isinstance(message, messages.Submit):
            self._effects += self._joins.submit(session, message, wait_ms, now_ms)
        elif wait_ms:
            self._effects += notice(session, RateError(self.limits.frames_per_s, wait_ms))
        elif isinstance(message, messages.Resync):
            self._on_resync(session, now_ms)
        else:
            self._on_ephemeral(session, message, now_ms)

    # -- answers

    def _on_answer(self, session: Session, event: CatchUpRead | SessionDrained | EnvelopeFound) -> None:
        match event:
            case EnvelopeFound():
                self._effects += self._intake.found(session, event.counter, event.found)
            case CatchUpRead():
                self._effects += self._fanout.on_read(session, event.parts, event.through)
            case SessionDrained():
                self._joins.drained(session)
                if session.is_live:
                    self._effects += self._fanout.catch_up(session)
                    self._effects += self._presence.make_up(session)

    def _on_stored(self, outcomes: tuple[Appended | NotAppended, ...], now_ms: int) -> None:
        for run in self._intake.runs_of(outcomes) if self._has_peers else ():
            # At once: what is shown here only when others have told theirs would else never be told by either.
            parts = frames.ops_part([item.stored for item in run], [item.payloads for item in run])
            self._effects.append(Publish(run[0].stored.seq, run[-1].stored.last_seq, parts))
        shown, acks = self._intake.stored(outcomes, self._joins.by_site)
        self._effects += acks
        self._show(shown, now_ms)
        self._effects += self._fanout.release(self._joins.by_id)
        if self._intake.is_missing:
            self._get_missing(now_ms)

    def _show(self, shown: Sequence[Shown], now_ms: int) -> None:
        for item in shown:
            self._fanout.add(*item)
            self._keeper.note(item.stored, now_ms)
        if shown:
            self._fanout.plan(self._tick_ms, now_ms)

    # -- other servers

    def _on_published(self, event: OpsPublished, now_ms: int) -> None:
        self._published = max(self._published, event.last_seq)
        self._news.hear()
        if self.lag_ops <= 0:
            return
        if self._reading.is_under_way or event.first_seq > self.head + 1:
            if not self._news.hold(event, now_ms) and not self._reading.is_under_way:
                self._read_missing()
            return
        told = self._told(event.parts)
        if told is None:
            self._read_missing()
            return
        shown = [Shown(item, [encode_op(op) for op in item.envelope.ops]) for item in told.ops]
        self._take_foreign(shown, now_ms)

    def _on_ephemeral_published(self, event: EphemeralPublished, now_ms: int) -> None:
        told = self._told(event.parts)
        if told is not None:
            self._presence.hear(event.origin, told.presence, event.is_asking, now_ms)
            for broadcast in told.events:
                self._broadcasts.add(broadcast, self._broadcast_tick_ms, now_ms)

    def _told(self, parts: bytes) -> ServerMessage | None:
        """What another server tells; None, and counted, when it is no message."""
        try:
            return decode_server_message(parts, self.limits)
        except RemoteProtocolError as error:
            self._effects.append(CountReject(error.code))
            return None

    def _on_missing(self, event: MissingRead, now_ms: int) -> None:
        self._reading.ended(event.is_cut)
        if event.is_dropped:  # answers that wait for it would wait for ever
            raise RoomResetError("room-reset", "this server was behind; the room is loaded again")
        if self._intake.is_missing and self._was_missing and not (event.rows or self._reading.is_log_longer):
            raise RoomResetError("room-reset", "the log has a gap")
        self._take_foreign([Shown(*item) for item in zip(*envelopes_of_rows(event.rows), strict=True)], now_ms)

    def _take_foreign(self, shown: Sequence[Shown], now_ms: int) -> None:
        self._show(self._intake.take_foreign(shown), now_ms)
        self._on_stored((), now_ms)
        if self._reading.is_log_longer:
            self._read_missing()
        elif self.lag_ops > 0:
            self._get_missing(now_ms)

    def _get_missing(self, now_ms: int) -> None:
        """Wait for what others are about to tell, or read it."""
        if not self._news.wait(now_ms):
            self._read_missing()

    def _read_missing(self) -> None:
        if not self._reading.is_under_way:
            self._was_missing = self._intake.is_missing
        self._effects += self._reading.ask(self.head)

    def _on_refusal(self, event: RefusalStored) -> None:
        if not event.is_stored:
            raise RoomResetError("fenced", "a site of this room was resumed at another server")
        self._effects += self._intake.refused(self._joins.by_site.get(event.site), event.refusal)

    def _on_resync(self, session: Session, now_ms: int) -> None:
        wait_ms = session.resyncs.take(1, now_ms)
        if wait_ms:
            self._effects += notice(session, RateError(self.limits.resyncs_per_minute, wait_ms))
        else:
            self._effects += self._fanout.resync(session)

    def _on_viewport(self, session: Session, message: messages.Viewport, wait_ms: int, now_ms: int) -> None:
        wait_ms = wait_ms or session.viewports.take(1 + len(message.blocks), now_ms)
        if wait_ms:
            self._effects += notice(session, RateError(self.limits.viewport_blocks_per_s, wait_ms))
            return
        session.view = session.view or View()
        session.view.name(message.blocks)
        if session.is_live:
            self._fanout.plan(self._tick_ms, now_ms)

    def _on_ephemeral(self, session: Session, message: messages.Presence | messages.Event, now_ms: int) -> None:
        content = message.state_json if isinstance(message, messages.Presence) else message.name + message.payload_json
        size_bytes = len(content.encode())
        wait_ms = session.events.take(1, now_ms)
        if size_bytes > self.limits.presence_bytes:
            self._effects += notice(session, TooLargeError("presence or event", size_bytes, self.limits.presence_bytes))
        elif wait_ms:
            self._effects += notice(session, RateError(self.limits.events_per_s, wait_ms))
        elif isinstance(message, messages.Presence):
            session.presence_json, session.place = content, message.block
            self._presence.show(session)
        else:
            event = RoomEvent(session.site, session.principal.actor, message.name, message.payload_json)
            if self._broadcasts.add(event, self._broadcast_tick_ms, now_ms):
                self._effects += [PublishEphemeral(frames.events_part([event]))] if self._has_peers else []
            else:
                self._effects += notice(session, RateError(self.limits.events_per_s, self.limits.flush_tick_max_ms))

    @property
    def _tick_ms(self) -> int:
        return max(self._fanout.tick_ms(len(self._joins.by_id)), self._busy.flush_ms)

    @property
    def _broadcast_tick_ms(self) -> int:
        everybody = len(self._joins.by_id)
        return max(self._fanout.tick_ms(everybody, told=everybody), self._busy.flush_ms)

    # -- time

    def _run_due(self, now_ms: int) -> None:
        sessions = self._joins.by_site.values()
        self._boards.hold(self._busy.flush_ms > 0, self._intake.is_settled, self._intake.answered)
        self._effects += self._boards.send_due(sessions, now_ms)
        self._effects += self._fanout.looks.send(now_ms)
        self._effects += self._joins.shown(now_ms)
        if self._degraded.end(self._intake.is_settled):
            self._effects += told(sessions, is_on=False)
        if self._state_requests and self._intake.is_settled:
            self._tell_state()
        self._let_leave(now_ms)
        news_due_ms = self._look_for_news(now_ms)
        self._effects += self._joins.end_laggards(now_ms)
        if self._snapshots.is_due(self.head, now_ms) and not self._degraded.is_on:
            self._write_snapshot(now_ms)
        keeper_due_ms = self._keep(now_ms)
        idle_due_ms = self._end_if_due(now_ms)
        if not self._is_ended:
            boards_due_ms = self._boards.due_ms(), self._fanout.looks.due_ms()
            times_ms = (*boards_due_ms, self._joins.laggard_due_ms(), idle_due_ms, keeper_due_ms, news_due_ms)
            self._effects += self._alarm.set(*times_ms)

    def _keep(self, now_ms: int) -> int | None:
        """Let the keeper mend what is due; return when more will be."""
        keeper = self._keeper
        if self._stop is not None or self._degraded.is_on:
            return None
        due_ms = keeper.due_ms()
        if due_ms is not None and due_ms <= now_ms:
            self._effects += keeper.work(self._intake, now_ms)
        if keeper.is_behind and self._intake.is_settled and not self._reading.is_under_way:
            self._read_missing()  # what the keeper before this one has stored
        return keeper.due_ms()

    def _tell_state(self) -> None:
        sessions = self.described_sessions()
        state = {"room": self.room_id, "seq": self.head, "state": self._state.tree.to_json(), "sessions": sessions}
        self._effects += [TellState(request_id, state) for request_id in self._state_requests]
        self._state_requests = []

    def _look_for_news(self, now_ms: int) -> int | None:
        """Read what was waited for and has not been told; return until when the rest is waited for."""
        if self.lag_ops <= 0:
            self._news.settled()
        due_ms = self._news.due_ms()
        if self._reading.is_under_way:
            return None  # its answer may have it
        if due_ms is not None and due_ms <= now_ms:
            self._news.give_up()
            self._read_missing()
        return self._news.due_ms()

    def _let_leave(self, now_ms: int) -> None:
        """Send those to another server whose envelopes the log has answered for."""
        bye = Bye(ServerDrainingError.code, self._leaving.reason)
        for session_id in self._leaving.take(self._intake.answered):
            if (session := self._joins.by_id.get(session_id)) is not None:
                self._effects += self._joins.end(session, bye, now_ms)

    def _write_snapshot(self, now_ms: int) -> None:
        self._snapshots.begin(now_ms)
        self._effects.append(WriteSnapshot(self.head))

    def _end_if_due(self, now_ms: int) -> int | None:
        """End the room when it was asked to or nobody is here; return when that is due."""
        if self._stop is not None:
            if self._intake.is_settled or self._degraded.is_on:  # then its authors have what is not stored
                self._effects += self._fanout.send(self._joins.by_site.values(), now_ms)
                self._end(Bye(self._stop.code, self._stop.reason, self._stop.retry_after_ms))
            return None
        if self._joins.idle_since_ms is None or self._snapshots.is_writing or not self._intake.is_settled:
            return None
        due_ms = self._joins.idle_since_ms + self.limits.room_idle_ms
        if due_ms > now_ms:
            return due_ms
        if self._snapshots.is_worth_it(self.head, purged_seq=self._state.purged_seq):
            self._write_snapshot(now_ms)
        else:
            self._end(Bye("idle", "nobody is here"))
        return None

    def _end(self, bye: Bye) -> None:
        self._is_ended = True
        self._effects += self._joins.end_all(bye)
        self._effects.append(Unload(f"{bye.code}: {bye.reason}"))
