"""The replica of one room at one site: the tree, the edits that are not confirmed, and what the server is owed.

Rules (docs/PROTOCOL.md has the server's half):

- Own and remote operations go into one tree, since live values commute. An own envelope that comes back in the log's
  order is confirmed, not applied again.
- ``through`` is the seq up to which the log is applied, without gaps. After a gap, a lowered stamp or a final refusal
  the replica asks for a *resync*: a snapshot, with the log behind it up to what was shown before (``incoming.py``),
  replaces the tree, and what is pending is put on it again.
- Envelopes leave in counter order and are sent again on every new connection until they are answered.
- With a viewport the log comes filtered; an own envelope is confirmed when ``through`` has passed it (``sight.py``).
- When the server no longer knows the site, the replica joins as a new one and makes again what the room does not have
  (``reissue.py``).

Pure: messages and times in, frames and notifications out. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from collabkernel.client.applying import apply_stored, put_on
from collabkernel.client.attendance import Attendance
from collabkernel.client.edit import Edit, EditTarget
from collabkernel.client.incoming import Incoming, Joining, Resyncing, read_snapshot
from collabkernel.client.notifications import (
    CaughtUp,
    Changed,
    Dismissed,
    EventReceived,
    Noticed,
    Notification,
    PresenceChanged,
    Refused,
    Reset,
    Welcomed,
)
from collabkernel.client.own_blocks import OwnBlocks
from collabkernel.client.pending import PendingEnvelope, PendingQueue
from collabkernel.client.purges import is_purge, purge
from collabkernel.client.reissue import Orphans, adopt, changed_containers
from collabkernel.client.sight import Sight, loaded_since, merged
from collabkernel.client.site import Committed, SiteLostError, StoredSite, check_counters, client_limits
from collabkernel.client.site_clock import SiteClock, is_decided_by_stamps
from collabkernel.crdt.ids import OpId
from collabkernel.document.live_tree import Change, LiveTree
from collabkernel.document.operations import Envelope, StoredEnvelope, made_by
from collabkernel.document.room_state import RoomState
from collabkernel.errors import (
    ClosedError,
    CounterGapError,
    LimitError,
    RateError,
    ReadOnlyError,
    RejectedError,
    RemoteProtocolError,
    TooManyError,
)
from collabkernel.limits import Limits
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import (
    Ack,
    ClientMessage,
    Hello,
    Reject,
    Resume,
    Resync,
    Role,
    ServerMessage,
    SessionKind,
    Snapshot,
    Welcome,
)
from collabkernel.wire.ops import envelope_bytes


class Replica:
    """One room at one site.

    Invariants: ``site`` is 0 until the first Welcome, and then the tree's Yjs client id; while an edit is open,
    messages wait in ``_deferred``; ``_through_op`` is the operation at ``through``, None when that is 0.
    """

    def __init__(
        self,
        kind: SessionKind,
        client: str,
        limits: Limits | None = None,
        stored: StoredSite | None = None,
        *,
        is_lazy: bool = False,
    ) -> None:
        """Make a replica that knows nothing, or resumes a stored site.

        Args:
            kind: Who edits here.
            client: Name and version for the server's operators.
            limits: What holds until the server has told its own.
            stored: A site from an on-disk queue; its envelopes are sent, and shown when the room's state has come.
            is_lazy: Whether to begin with nothing of what is in blocks, until some are looked at.
        """
        self.sight = Sight(is_lazy)
        self.kind, self.client = kind, client
        self.is_watched: Callable[[], bool] = lambda: True
        """Whether anybody asks what others change in live values, texts and properties; see ``Changed``."""
        self.site, self.secret = (stored.site, stored.secret) if stored else (0, b"")
        self._take_empty_state()
        self.through, self.role = 0, Role.WRITER
        self.actor = self.name = self.color = ""
        limits = limits or Limits()
        self.limits = client_limits(limits)
        self.is_connected = False
        """Welcomed on the present connection."""
        self.is_caught_up = self.is_degraded = False
        self.is_buffered = False
        """The newest Ack was for an envelope that is stored, but not yet safe from a power cut."""
        self._has_state = False
        """Caught up once, on whatever connection."""
        self.attendance = Attendance()
        self.pending = PendingQueue(stored.envelopes[0].counter if stored and stored.envelopes else 1)
        self._pending_max = limits.pending_envelopes
        self.clock = SiteClock()
        self._through_op: OpId | None = None
        self._goal_seq = 0
        self._resync = Resyncing()
        self._is_rejoining, self._joining = False, Joining()
        self._orphans: Orphans | None = None
        self._edit: Edit | None = None
        self._deferred: list[tuple[ServerMessage, int]] = []
        if stored is not None:
            for envelope in stored.envelopes:
                self.pending.add(envelope, envelope_bytes(envelope), is_applied=False)
                self.clock.stamps.observe(envelope.hlc + len(envelope.ops), 0)
            self.pending.next_counter = max(self.pending.next_counter, stored.next_counter)

    def _take_empty_state(self) -> None:
        self.state = self.sight.seen(RoomState(LiveTree(self.site)))
        self.own_blocks = OwnBlocks(self.state, self.site)

    @property
    def tree(self) -> LiveTree:
        """The live values."""
        return self.state.tree

    # -- connecting

    def opening(self) -> list[ClientMessage]:
        """The first messages on a new connection: Hello, and before it what is looked at."""
        # What is made again under a new site is compared with the room first, so all of that has to be here.
        is_making_again = self._is_rejoining and (self.pending.unanswered_count > 0 or self._orphans is not None)
        return [*self.sight.open(is_making_again), self.hello()]

    def hello(self) -> Hello:
        """The first message on a new connection."""
        self.disconnected()
        if not self.site or self._is_rejoining:
            return Hello(self.kind, self.client)
        return Hello(self.kind, self.client, Resume(self.site, self.secret, self.through, self._through_op))

    def disconnected(self) -> None:
        """The connection is gone; edits go on and wait."""
        self.is_connected = self.is_caught_up = False
        self._joining.start_over()

    def rejoin(self) -> None:
        """Say Hello as a new site next time, since the server does not let this one resume."""
        self._is_rejoining = True

    # -- editing

    @property
    def is_editing(self) -> bool:
        """Whether an edit is open."""
        return self._edit is not None

    @property
    def edit(self) -> Edit:
        """The open edit."""
        assert self._edit is not None, "there is no edit open"
        return self._edit

    def begin(self, now_ms: int, is_batch: bool = False, hlc: int | None = None) -> Edit:
        """Open an edit; close it by ``commit`` or ``roll_back``.

        Args:
            now_ms: Local wall clock, milliseconds since the Unix epoch.
            is_batch: Whether several operations may follow.
            hlc: The first stamp's, for an edit that is made again.

        Raises:
            ReadOnlyError: This session may only read.
            ClosedError: The room was never joined.
            TooManyError: The queue of unanswered envelopes is full.
        """
        assert self._edit is None, "edits do not nest here"
        # Before the state has come, "make a list where there is none" would hide the list that is there.
        if not self._has_state:
            raise ClosedError("the room was not joined yet: edit after connect() has returned")
        if self.role is not Role.WRITER:
            raise ReadOnlyError("you may read this room but not write to it; ask its owner for the right to write")
        if self.pending.unanswered_count >= self._pending_max:
            raise TooManyError("unanswered edits; wait until the server is back", self._pending_max, 1000)
        target = EditTarget(self.state, self.own_blocks, self.through)
        counter, now_ms = self.pending.next_counter, self.clock.now_ms(now_ms)
        self._edit = Edit(target, self.clock.stamps, counter, self.limits, now_ms, is_batch, hlc)
        return self._edit

    def commit(self) -> Committed | None:
        """Make the open edit an envelope; None when it is empty."""
        edit = self._edit
        assert edit is not None, "there is no edit to commit"
        self._edit = None
        if not edit.done:
            return None
        base, ops = self._resync.base(self.through), tuple([done.op for done in edit.done])
        envelope = Envelope(edit.counter, base, edit.hlc, ops)
        entry = self.pending.add(envelope, envelope_bytes(envelope, edit.encoded))
        self.own_blocks.wrote(envelope.last_counter, edit.written())
        self.sight.add([made for done in edit.done if (made := made_by(done.op_id, done.op)) is not None])
        return Committed(entry, tuple(edit.done), edit.moved())

    def roll_back(self) -> None:
        """Take the open edit back, exactly."""
        edit = self._edit
        assert edit is not None, "there is no edit to roll back"
        self._edit = None
        edit.roll_back()

    # -- receiving

    def receive(self, message: ServerMessage, now_ms: int) -> list[Notification]:
        """Take a message of the server. While an edit is open it waits; see ``receive_deferred``."""
        if self._edit is not None or self._deferred:
            self._deferred.append((message, now_ms))
            return []
        return self._receive(message, now_ms)

    def receive_deferred(self) -> list[Notification]:
        """Take the messages that came while an edit was open."""
        deferred, self._deferred = ([], self._deferred) if self.is_editing else (self._deferred, [])
        return [told for message, now_ms in deferred for told in self._receive(message, now_ms)]

    def _receive(self, message: ServerMessage, now_ms: int) -> list[Notification]:
        taken = self._joining.take(message, now_ms, self.site)
        return [told for each, at_ms in taken for told in self._take(each, at_ms)]

    def _take(self, message: ServerMessage, now_ms: int) -> list[Notification]:
        told: list[Notification] = []
        if message.welcome is not None:
            told.extend(self._on_welcome(message.welcome, now_ms))
        if message.snapshot is not None:
            told.extend(self._on_snapshot(message.snapshot, now_ms))
        if message.contents or message.filtered or message.through_op is not None:
            told.extend(self._on_filtered(message, now_ms))
        for stored in message.ops:
            told.extend(self._on_stored(stored, now_ms))
        told.extend(self.own_blocks.confirm(self.clock.now_ms(now_ms), not self.is_caught_up))
        told.extend(self._take_incoming())
        for ack in message.acks:
            self._on_ack(ack, now_ms)
        for reject in message.rejects:
            told.extend(self._on_reject(reject, now_ms))
        if message.presence or message.moves or message.clusters or message.is_presence_whole:
            changed = self.attendance.take(message, self.site, self.sight.named or ())
            told.append(PresenceChanged(tuple(sorted(changed))))
        told.extend(EventReceived(event) for event in message.events)
        for notice in message.notices:
            if notice.code == RateError.code:
                self._resync.refused(now_ms + notice.retry_after_ms)
                self.sight.put_off(now_ms + notice.retry_after_ms)
            told.append(Noticed(notice))
        if message.degraded is not None:
            self.is_degraded = message.degraded
            if not message.degraded:
                self.pending.start_over()
        if message.through > (self._resync.incoming or self).through:
            self._resync.want()
        if self.is_connected and not self.is_caught_up:
            told.extend(self._check_caught_up(now_ms))
        if message.bye is not None:
            told.append(Dismissed(message.bye))
        return told

    def _on_welcome(self, welcome: Welcome, now_ms: int) -> Iterable[Notification]:
        if welcome.site != self.site:
            self._take_new_site(welcome)
        elif welcome.secret:
            raise RemoteProtocolError("the server gave a secret for a site that was resumed")
        else:
            check_counters(self.pending, welcome.next_counter)
        self.role, self.limits = welcome.role, welcome.limits
        self.actor, self.name, self.color = welcome.actor, welcome.name, welcome.color
        self.clock.welcomed(welcome.server_time_ms, now_ms)
        self._goal_seq = self._joining.goal(welcome)
        self.is_connected, self.is_degraded = True, False
        self._resync.connected(is_sent=welcome.resync)
        if self.state.is_partial and not self.sight.is_partial:
            self._resync.want()
        if welcome.resync:
            self.through = min(self.through, welcome.seq)
            if not welcome.seq:
                self._replace_state(Incoming(self.sight.seen(RoomState(LiveTree(self.site))), 0, None, self.site, 0))
        self.attendance.clear()
        self.pending.start_over()
        return (Welcomed(welcome),)

    def _take_new_site(self, welcome: Welcome) -> None:
        if len(welcome.secret) == 0:
            raise RemoteProtocolError("the server gave a new site without a secret")
        if self.site:
            self._orphans = Orphans.join(self._orphans, self.state, self.site, self.pending)
        self.site, self.secret, self._is_rejoining = welcome.site, welcome.secret, False
        self._take_empty_state()
        self.through, self._through_op = 0, None
        self._resync.came()
        self.pending = PendingQueue(welcome.next_counter)

    def _check_caught_up(self, now_ms: int) -> Iterable[Notification]:
        if self.through < self._goal_seq or self._resync.is_under_way:
            return
        self.is_caught_up = self._has_state = True
        for entry in self.pending:
            if not entry.is_applied:
                put_on(self.state, self.own_blocks, entry)
        if self._orphans is not None:
            orphans, self._orphans = self._orphans, None
            yield from adopt(self, orphans, now_ms)
        yield CaughtUp()

    # -- the log

    def _on_stored(self, stored: StoredEnvelope, now_ms: int) -> Iterable[Notification]:
        incoming = self._resync.incoming
        shown = incoming or self
        if self._resync.ignores_log or stored.last_seq <= shown.through:
            return
        if stored.seq != shown.through + 1:
            self._resync.want()
            return
        envelope = stored.envelope
        self.clock.observe(envelope.hlc + len(envelope.ops) - 1, now_ms)
        entry = self.pending.confirm(envelope.counter, stored.seq) if stored.site == self.site else None
        if incoming is None:
            self.through, self._through_op = stored.last_seq, OpId(stored.site, envelope.last_counter)
        yield from self._apply(stored, entry, now_ms, incoming)
        if incoming is None and entry is not None and entry.is_applied:
            self._restamp(entry, envelope.hlc)

    def _apply(
        self, stored: StoredEnvelope, own: PendingEnvelope | None, now_ms: int, incoming: Incoming | None = None
    ) -> Iterable[Notification]:
        changes: tuple[Change, ...] = ()
        try:
            if incoming is not None:
                incoming.take(stored)
                return
            if own is None or not own.is_applied:
                changes = apply_stored(self.state, stored, is_told=self.is_watched())
        except (RemoteProtocolError, LimitError):
            self._resync.want()  # the server has judged this envelope, so it is our state that is wrong
            return
        self.own_blocks.log(stored, stored.actor)
        if is_purge(stored):
            yield from self.own_blocks.confirm(self.clock.now_ms(now_ms), not self.is_caught_up)
            if not purge(self.state, self.own_blocks, stored, self.pending):
                self._resync.want(purged_at=stored.seq)
        if changes:
            yield Changed(changes, stored.actor, stored.site, is_remote=True)

    def _on_filtered(self, message: ServerMessage, now_ms: int) -> Iterable[Notification]:
        """Take what a session with a viewport needs of the log, and the contents of what has come into sight."""
        if self._resync.is_under_way:
            return
        found = self.sight.take(message.contents, self.state, self.own_blocks.inserted())
        for entry in self.pending if found.loaded else ():
            put_on(self.state, self.own_blocks, entry, frozenset(found.loaded))
        if found.loaded or found.unloaded:
            yield found
        for run in merged(message.filtered):
            if run.seq > self.through:
                self.clock.observe(run.envelope.hlc + len(run.envelope.ops) - 1, now_ms)
                own = self.pending.find(run.envelope.counter) if run.site == self.site else None
                yield from self._apply(run, own, now_ms)
        if message.through_op is not None and message.through > self.through:
            self.through, self._through_op = message.through, message.through_op
            for entry in self.pending.confirm_through(self.through):
                self.own_blocks.stored(entry, self.clock.now_ms(now_ms))

    # -- resync

    def _on_snapshot(self, snapshot: Snapshot, now_ms: int) -> Iterable[Notification]:
        incoming, hlc = read_snapshot(snapshot, self.site, self.sight, self.state.blocks, self.through)
        self.clock.observe(hlc, now_ms)
        self._resync.came(incoming)
        yield from self._take_incoming()

    def _take_incoming(self) -> Iterable[Notification]:
        """Show the state that has come, when it has all that was shown before."""
        incoming = self._resync.incoming
        if incoming is not None and incoming.is_complete:
            is_first = not (self.through or len(self.tree.nodes) > 1 or len(self.pending))
            old = self.state
            changed = self._replace_state(incoming)
            if is_first or self._orphans is not None:
                return
            if changed:
                yield Reset(changed)
            found = loaded_since(old, self.state)
            if found.loaded or found.unloaded:
                yield found

    def _replace_state(self, new: Incoming) -> tuple[OpId, ...]:
        old = self.state
        self.state, self.own_blocks = new.state, new.own_blocks
        self.through, self._through_op = new.through, new.through_op
        self._resync.came()
        self.pending.confirm_through(self.through)
        for entry in self.pending:
            put_on(self.state, self.own_blocks, entry)
        self.pending.note_places(old)
        return changed_containers(old, self.state)

    # -- answers

    def _on_ack(self, ack: Ack, now_ms: int) -> None:
        self.is_buffered = ack.buffered
        entry = self.pending.acknowledge(ack.counter, ack.seq)
        if entry is None:
            return
        is_lowered = self._restamp(entry, ack.hlc)
        self.clock.answered(entry.envelope, is_lowered, self.pending.unanswered_count == 0, now_ms)
        if ack.seq <= self.through:  # a snapshot had it: it is no longer on top
            self.pending.confirm(ack.counter, ack.seq)
            if ack.seq < self.state.purged_seq:  # what it made may have gone since, and was put on all the same
                self._resync.want()
            self.own_blocks.drop(entry.op_id(self.site, i) for i in range(len(entry.envelope.ops)))

    def _restamp(self, entry: PendingEnvelope, hlc: int | None) -> bool:
        """Take the stamps that the log has; whether they are others. What they decide is in the server's state."""
        if hlc is None or hlc == entry.envelope.hlc:
            return False
        entry.envelope = replace(entry.envelope, hlc=hlc)
        if is_decided_by_stamps(entry.envelope):
            self._resync.want()
        return True

    def _on_reject(self, reject: Reject, now_ms: int) -> Iterable[Notification]:
        if not reject.final:
            first = self.pending.first_unanswered()
            if reject.code == CounterGapError.code and first is not None and reject.counter < first.envelope.counter:
                raise SiteLostError(f"the server wants counter {reject.counter}, which was answered here; joining anew")
            self.pending.go_back(reject.counter, now_ms + reject.retry_after_ms)
            self._joining.note_taken(reject, self.pending, self.site, self.through)
            return
        entry = self.pending.refuse(reject.counter)
        if entry is None:
            return
        self._resync.want()
        error = RejectedError(reject.code, reject.reason, reject.retry_after_ms or None)
        yield Refused(error, reject.counter, tuple(dict.fromkeys(op.target for op in entry.envelope.ops)))

    # -- sending

    def outgoing(self, now_ms: int) -> list[bytes]:
        """Frames to send now, each within the server's limit; noted as sent on this connection."""
        if not self.is_connected:
            return []
        frames: list[bytes] = []
        if self._resync.take_request(now_ms):
            frames.append(encode_client_message(Resync()))
        viewport = self.sight.take_due(now_ms) if self.is_caught_up else None
        if viewport is not None:
            frames.append(encode_client_message(viewport))
        if self.is_degraded:
            return frames
        return frames + self.pending.take_frames(self.limits.frame_bytes, self.limits.ops_per_s, now_ms)

    def wake_ms(self, now_ms: int) -> int | None:
        """When to ask ``outgoing`` again, if nothing happens before; None for not at all."""
        resync_ms = self._resync.not_before_ms if self._resync.is_wanted else None
        times = (self.pending.resume_sending_at_ms, resync_ms, self.sight.due_ms)
        return min([time_ms for time_ms in times if time_ms is not None and time_ms > now_ms], default=None)

    def goal(self) -> tuple[int, int]:
        """What ``is_settled`` needs to tell later whether all that is pending now was judged."""
        return self.site, self.pending.next_counter - 1

    def is_settled(self, goal: tuple[int, int]) -> bool:
        """Whether the server has judged all that was pending when ``goal`` was asked for."""
        site, counter = goal
        if self._orphans is not None:
            return False
        # After joining anew the old counters mean nothing; then all that is pending counts.
        return self.pending.is_settled(counter) if site == self.site else self.is_saved

    @property
    def is_saved(self) -> bool:
        """Whether the server has answered everything."""
        return self.pending.unanswered_count == 0 and self._orphans is None
