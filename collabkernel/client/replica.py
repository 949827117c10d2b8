"""The replica of one room at one site: the tree, the edits that are not confirmed, and what the server is owed.

Rules (docs/PROTOCOL.md has the server's half):

- Own and remote operations go into one tree, since live values commute. An own envelope that comes back in the log's
  order is confirmed, not applied again.
- ``through`` is the seq up to which the log is applied, without gaps. After a gap, a lowered stamp or a final refusal
  the replica asks for a *resync*: a snapshot replaces the tree, and what is pending is put on it again.
- Envelopes leave in counter order and are sent again on every new connection until they are answered.
- When the server no longer knows the site, the replica joins as a new one and makes again what the room does not have
  (``reissue.py``).

Pure: messages and times in, frames and notifications out. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from collabkernel.client.edit import Edit
from collabkernel.client.notifications import (
    CaughtUp,
    Changed,
    Dismissed,
    EventReceived,
    Noticed,
    Notification,
    PresenceChanged,
    Refused,
    Renamed,
    Reset,
    Welcomed,
)
from collabkernel.client.pending import PendingEnvelope, PendingQueue
from collabkernel.client.reissue import Orphans, changed_containers, reissue
from collabkernel.client.site import Committed, SiteLostError, StoredSite, client_limits
from collabkernel.crdt.clock import HybridLogicalClock
from collabkernel.crdt.ids import OpId
from collabkernel.document.live_tree import LiveTree, TextNode
from collabkernel.document.operations import Envelope, Op, StoredEnvelope, TextEdit
from collabkernel.errors import (
    ClosedError,
    CollabKernelError,
    CounterGapError,
    LimitError,
    ReadOnlyError,
    RejectedError,
    RemoteProtocolError,
    TooManyError,
)
from collabkernel.limits import Limits
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import (
    Ack,
    Hello,
    PresenceEntry,
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
from collabkernel.wire.state import decode_state
from collabkernel.wire.writer import field_bytes


class Replica:
    """One room at one site.

    Invariants: ``site`` is 0 until the first Welcome, and then the tree's Yjs client id; while an edit is open,
    messages wait in ``_deferred``; ``_through_op`` is the operation at ``through``, None when that is 0.
    """

    def __init__(
        self, kind: SessionKind, client: str, limits: Limits | None = None, stored: StoredSite | None = None
    ) -> None:
        """Make a replica that knows nothing, or resumes a stored site.

        Args:
            kind: Who edits here.
            client: Name and version for the server's operators.
            limits: What holds until the server has told its own.
            stored: A site from an on-disk queue; its envelopes are sent, and shown when the room's state has come.
        """
        self.kind = kind
        self.client = client
        self.site = stored.site if stored else 0
        self.secret = stored.secret if stored else b""
        self.tree = LiveTree(self.site)
        self.through = 0
        self.role = Role.WRITER
        self.actor = ""
        self.name = ""
        self.color = ""
        limits = limits or Limits()
        self.limits = client_limits(limits)
        self.is_connected = False
        """Welcomed on the present connection."""
        self.is_caught_up = False
        self.is_degraded = False
        self.is_buffered = False
        """The newest Ack was for an envelope that is stored, but not yet safe from a power cut."""
        self._has_state = False
        """Caught up once, on whatever connection."""
        self.server_offset_ms = 0
        """Server time minus local time."""
        self.presence_by_site: dict[int, PresenceEntry] = {}
        self.pending = PendingQueue(stored.envelopes[0].counter if stored and stored.envelopes else 1)
        self._pending_max = limits.pending_envelopes
        self._clock = HybridLogicalClock()
        self._through_op: OpId | None = None
        self._goal_seq = 0
        self._is_resync_wanted = False
        self._is_awaiting_snapshot = False
        self._is_rejoining = False
        self._orphans: Orphans | None = None
        self._edit: Edit | None = None
        self._deferred: list[tuple[ServerMessage, int]] = []
        if stored is not None:
            for envelope in stored.envelopes:
                self.pending.add(envelope, envelope_bytes(envelope), is_applied=False)
                self._clock.observe(envelope.hlc + len(envelope.ops), 0)
            self.pending.next_counter = max(self.pending.next_counter, stored.next_counter)

    # -- connecting

    def hello(self) -> Hello:
        """The first message on a new connection."""
        self.is_connected = self.is_caught_up = False
        if not self.site or self._is_rejoining:
            return Hello(self.kind, self.client)
        return Hello(self.kind, self.client, Resume(self.site, self.secret, self.through, self._through_op))

    def disconnected(self) -> None:
        """The connection is gone; edits go on and wait."""
        self.is_connected = self.is_caught_up = False

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
        now_ms = max(0, now_ms + self.server_offset_ms)
        self._edit = Edit(self.tree, self._clock, self.pending.next_counter, self.limits, now_ms, is_batch, hlc)
        return self._edit

    def commit(self) -> Committed | None:
        """Make the open edit an envelope; None when it is empty."""
        edit = self._edit
        assert edit is not None, "there is no edit to commit"
        self._edit = None
        if not edit.done:
            return None
        ops: tuple[Op, ...] = tuple([done.op for done in edit.done])
        envelope = Envelope(edit.counter, self.through, edit.hlc, ops)
        entry = self.pending.add(envelope, envelope_bytes(envelope, edit.encoded))
        return Committed(entry, tuple(edit.done))

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
        if self._edit is not None:
            return []
        deferred, self._deferred = self._deferred, []
        return [told for message, now_ms in deferred for told in self._receive(message, now_ms)]

    def _receive(self, message: ServerMessage, now_ms: int) -> list[Notification]:
        told: list[Notification] = []
        if message.welcome is not None:
            told.extend(self._on_welcome(message.welcome, now_ms))
        if message.snapshot is not None:
            told.extend(self._on_snapshot(message.snapshot, now_ms))
        for stored in message.ops:
            told.extend(self._on_stored(stored, now_ms))
        for ack in message.acks:
            self._on_ack(ack)
        for reject in message.rejects:
            told.extend(self._on_reject(reject, now_ms))
        if message.presence:
            told.append(self._on_presence(message.presence))
        told.extend(EventReceived(event) for event in message.events)
        told.extend(Noticed(notice) for notice in message.notices)
        if message.degraded is not None:
            self.is_degraded = message.degraded
            if not message.degraded:
                self.pending.start_over()
        if message.through > self.through:
            self._want_resync()
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
            self._check_counters(welcome)
        self.role, self.limits = welcome.role, welcome.limits
        self.actor, self.name, self.color = welcome.actor, welcome.name, welcome.color
        self.server_offset_ms = welcome.server_time_ms - now_ms
        self._goal_seq = welcome.seq
        self.is_connected, self.is_degraded = True, False
        # A resync that was wanted on an older connection is wanted still: what is wrong is in the tree.
        self._is_resync_wanted = self._is_resync_wanted or self._is_awaiting_snapshot
        self._is_awaiting_snapshot = False
        if welcome.resync:
            self._is_resync_wanted, self._is_awaiting_snapshot = False, welcome.seq > 0
            if not welcome.seq:
                self._replace_tree(LiveTree(self.site), 0, None)
        self.presence_by_site.clear()
        self.pending.start_over()
        return (Welcomed(welcome),)

    def _take_new_site(self, welcome: Welcome) -> None:
        if len(welcome.secret) == 0:
            raise RemoteProtocolError("the server gave a new site without a secret")
        if self.site:
            self._orphans = Orphans.join(self._orphans, self.tree, self.site, self.pending)
        self._is_rejoining = False
        self.site, self.secret = welcome.site, welcome.secret
        self.tree = LiveTree(self.site)
        self.through, self._through_op = 0, None
        self._is_resync_wanted = self._is_awaiting_snapshot = False
        self.pending = PendingQueue(welcome.next_counter)

    def _check_counters(self, welcome: Welcome) -> None:
        """See whether the server's log and our queue belong together; after a restored backup they may not."""
        first = self.pending.first_unanswered()
        ours = self.pending.next_counter if first is None else first.envelope.counter
        if welcome.next_counter > self.pending.next_counter and not len(self.pending):
            self.pending.next_counter = welcome.next_counter
        elif welcome.next_counter < ours or welcome.next_counter > self.pending.next_counter:
            raise SiteLostError(
                f"the server expects counter {welcome.next_counter} of this site, which is at {ours}; joining anew"
            )

    def _check_caught_up(self, now_ms: int) -> Iterable[Notification]:
        if self.through < self._goal_seq or self._is_awaiting_snapshot or self._is_resync_wanted:
            return
        self.is_caught_up = self._has_state = True
        for entry in self.pending:
            if not entry.is_applied:
                self._put_on(entry)
        if self._orphans is not None:
            orphans, self._orphans = self._orphans, None
            yield from self._adopt(orphans, now_ms)
        yield CaughtUp()

    # -- the log

    def _on_stored(self, stored: StoredEnvelope, now_ms: int) -> Iterable[Notification]:
        if self._is_awaiting_snapshot or self._is_resync_wanted or stored.last_seq <= self.through:
            return
        if stored.seq != self.through + 1:
            self._want_resync()
            return
        envelope = stored.envelope
        self.through = stored.last_seq
        self._through_op = OpId(stored.site, envelope.last_counter)
        self._clock.observe(envelope.hlc + len(envelope.ops) - 1, max(0, now_ms + self.server_offset_ms))
        if stored.site == self.site and envelope.counter in self.pending:
            entry = self.pending.confirm(envelope.counter, stored.seq)
            if entry is not None and entry.is_applied:
                if entry.envelope.hlc != envelope.hlc:
                    self._want_resync()
                return
        changed = self._apply(stored)
        if changed is not None:
            yield changed

    def _apply(self, stored: StoredEnvelope) -> Changed | None:
        changes = []
        try:
            for i, op in enumerate(stored.envelope.ops):
                if isinstance(op, TextEdit) and self._is_known_text(op, stored.site):
                    continue
                change = self.tree.apply(stored.op_id(i), stored.stamp(i), op)
                if change is not None:
                    changes.append(change)
        except (RemoteProtocolError, LimitError):
            # The server has judged this envelope, so it is our state that is wrong: take the server's.
            self._want_resync()
        if not changes:
            return None
        return Changed(tuple(changes), stored.actor, stored.site, is_remote=True)

    def _is_known_text(self, op: TextEdit, site: int) -> bool:
        node = self.tree.nodes.get(op.target)
        return isinstance(node, TextNode) and node.rope.covers(op.update, site)

    # -- resync

    def _want_resync(self) -> None:
        if not self._is_awaiting_snapshot:
            self._is_resync_wanted = True

    def _on_snapshot(self, snapshot: Snapshot, now_ms: int) -> Iterable[Notification]:
        tree, seq, hlc = decode_state(snapshot.state, self.site)
        if seq != snapshot.seq:
            raise RemoteProtocolError(f"a snapshot at {snapshot.seq} holds a state at {seq}")
        self._clock.observe(hlc, max(0, now_ms + self.server_offset_ms))
        is_first = not self.through and len(self.tree.nodes) == 1 and not len(self.pending)
        changed = self._replace_tree(tree, seq, snapshot.op)
        if changed and not is_first and self._orphans is None:
            yield Reset(changed)

    def _replace_tree(self, tree: LiveTree, seq: int, op: OpId | None) -> tuple[OpId, ...]:
        old = self.tree
        self.tree = tree
        self.through, self._through_op = seq, op
        self._is_awaiting_snapshot = self._is_resync_wanted = False
        self.pending.confirm_through(seq)
        for entry in self.pending:
            self._put_on(entry)
        return changed_containers(old, tree)

    def _put_on(self, entry: PendingEnvelope) -> None:
        """Apply a pending envelope to a new tree. What does not fit it is not shown; the server's verdict is coming."""
        entry.is_applied = True
        for i, op in enumerate(entry.envelope.ops):
            if isinstance(op, TextEdit) and self._is_known_text(op, self.site):
                continue
            try:
                self.tree.apply(entry.op_id(self.site, i), entry.stamp(self.site, i), op)
            except (RemoteProtocolError, LimitError):
                entry.is_applied = False

    def _adopt(self, orphans: Orphans, now_ms: int) -> Iterable[Notification]:
        """Make again, under this site, what the server did not store of the old one."""
        before = orphans.tree
        if self.role is Role.WRITER:
            new_id_by_old: dict[OpId, OpId] = {}
            for plan in reissue(orphans, self.tree):
                self.begin(now_ms, is_batch=True, hlc=plan.hlc)
                try:
                    plan.make(self.edit, new_id_by_old)
                except CollabKernelError as error:
                    self.roll_back()
                    yield Refused(RejectedError(error.code, str(error)), plan.counter, plan.targets)
                else:
                    self.commit()
            if new_id_by_old:
                yield Renamed(new_id_by_old)
        else:
            for entry in orphans.entries:
                refusal = RejectedError(ReadOnlyError.code, "you may no longer write to this room")
                yield Refused(refusal, entry.envelope.counter, tuple({op.target for op in entry.envelope.ops}))
        changed = changed_containers(before, self.tree)
        if changed:
            yield Reset(changed)

    # -- answers

    def _on_ack(self, ack: Ack) -> None:
        self.is_buffered = ack.buffered
        entry = self.pending.acknowledge(ack.counter, ack.seq)
        if entry is None:
            return
        if ack.hlc is not None and ack.hlc != entry.envelope.hlc:
            entry.envelope = replace(entry.envelope, hlc=ack.hlc)
            self._want_resync()
        if ack.seq <= self.through:
            self.pending.confirm(ack.counter, ack.seq)

    def _on_reject(self, reject: Reject, now_ms: int) -> Iterable[Notification]:
        if not reject.final:
            first = self.pending.first_unanswered()
            if reject.code == CounterGapError.code and first is not None and reject.counter < first.envelope.counter:
                raise SiteLostError(f"the server wants counter {reject.counter}, which was answered here; joining anew")
            self.pending.go_back(reject.counter, now_ms + reject.retry_after_ms)
            return
        entry = self.pending.refuse(reject.counter)
        if entry is None:
            return
        self._want_resync()
        error = RejectedError(reject.code, reject.reason, reject.retry_after_ms or None)
        yield Refused(error, reject.counter, tuple(dict.fromkeys(op.target for op in entry.envelope.ops)))

    def _on_presence(self, entries: Iterable[PresenceEntry]) -> PresenceChanged:
        sites = []
        for entry in entries:
            sites.append(entry.site)
            if entry.left:
                self.presence_by_site.pop(entry.site, None)
            elif entry.site != self.site:
                self.presence_by_site[entry.site] = entry
        return PresenceChanged(tuple(sites))

    # -- sending

    def outgoing(self, now_ms: int) -> list[bytes]:
        """Frames to send now, each within the server's limit; noted as sent on this connection."""
        if not self.is_connected:
            return []
        frames: list[bytes] = []
        if self._is_resync_wanted:
            self._is_resync_wanted, self._is_awaiting_snapshot = False, True
            frames.append(encode_client_message(Resync()))
        if self.is_degraded:
            return frames
        for group in self.pending.take_to_send(self.limits.frame_bytes, self.limits.ops_per_s, now_ms):
            frames.append(field_bytes(2, b"".join([field_bytes(1, entry.payload) for entry in group])))
        return frames

    @property
    def send_at_ms(self) -> int:
        """Not before this time will ``outgoing`` give envelopes; 0 for at once."""
        return self.pending.resume_sending_at_ms

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
