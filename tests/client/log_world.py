"""A world of replicas around one ordered log, as small as it can be: what a server does to replicas, without a server.

The log judges and stores envelopes whole, gives them seqs, and answers resends; every replica has a line to it that
may be cut, and messages wait on the line until the test delivers them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from collabkernel.client.replica import Replica
from collabkernel.client.room_base import RoomBase
from collabkernel.client.site import StoredSite
from collabkernel.crdt.ids import OpId
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import Envelope, StoredEnvelope
from collabkernel.document.room_state import RoomState
from collabkernel.errors import CollabKernelError
from collabkernel.limits import Limits
from collabkernel.room.admission import apply_envelope
from collabkernel.room.fold import Fold
from collabkernel.room.text_work import TextSizes
from collabkernel.storage.base import OpRow
from collabkernel.wire.codec import decode_client_message
from collabkernel.wire.messages import (
    Ack,
    ClientLimits,
    Hello,
    Reject,
    Resync,
    Role,
    ServerMessage,
    SessionKind,
    Snapshot,
    Submit,
    Welcome,
)
from collabkernel.wire.ops import encode_op, op_kind
from collabkernel.wire.room_state import encode_parts, join_parts
from collabkernel.wire.state import encode_state

NOW_MS = 1_700_000_000_000
LIMITS = Limits()
CLIENT_LIMITS = ClientLimits(
    LIMITS.frame_bytes,
    LIMITS.key_bytes,
    LIMITS.value_bytes,
    LIMITS.envelope_ops,
    LIMITS.depth,
    LIMITS.presence_bytes,
    LIMITS.ops_per_s,
)


class Log:
    """The room at the server: its tree, its envelopes, its verdicts."""

    def __init__(self) -> None:
        self.state = RoomState()
        self.state.tell(False)
        self.stored: list[StoredEnvelope] = []
        self.refused: dict[tuple[int, int], Reject] = {}
        self.refuse_counters: set[tuple[int, int]] = set()
        """(site, counter) of envelopes to be refused for good."""
        self.next_counter: dict[int, int] = {}
        self.head = 0
        self.hlc = 0
        self.lower_to: int | None = None
        """Lower the next envelope's stamp to this."""
        self.kept: Snapshot | None = None
        """The newest stored snapshot, if it is not made anew for each who asks."""

    @property
    def tree(self) -> LiveTree:
        """The live values."""
        return self.state.tree

    def fold(self) -> Fold:
        """The state as a server that starts again reads it from the log."""
        rows = [
            OpRow(
                stored.seq + i,
                stored.site,
                stored.envelope.counter + i,
                stored.envelope.counter,
                stored.envelope.base,
                stored.envelope.hlc + i,
                stored.actor,
                op_kind(op),
                encode_op(op),
            )
            for stored in self.stored
            for i, op in enumerate(stored.envelope.ops)
        ]
        half = len(rows) // 2
        fold = Fold()
        fold.apply_rows(rows[:half])
        fold.settle()
        fold = Fold.from_parts(fold.to_parts())
        fold.apply_rows(rows[half:])
        fold.settle()
        assert not fold.skipped
        return fold

    def restart(self) -> None:
        """The server forgets what it holds, and reads it from its log."""
        self.state = self.fold().state

    def submit(self, site: int, envelope: Envelope) -> Ack | Reject:
        """Store an envelope, or answer as before."""
        for stored in self.stored:
            if stored.site == site and stored.envelope.counter == envelope.counter:
                return Ack(envelope.counter, stored.seq, stored.envelope.hlc)
        if (site, envelope.counter) in self.refused:
            return self.refused[site, envelope.counter]
        expected = self.next_counter.setdefault(site, 1)
        if envelope.counter != expected:
            return Reject(expected, "counter-gap", f"expected {expected}", final=False)
        self.next_counter[site] = envelope.last_counter + 1
        if self.lower_to is not None:
            envelope, self.lower_to = replace(envelope, hlc=self.lower_to), None
        try:
            if (site, envelope.counter) in self.refuse_counters:
                raise CollabKernelError("refused by the test")
            apply_envelope(self.state, TextSizes(self.state), site, envelope)
        except CollabKernelError as error:
            refusal = Reject(envelope.counter, error.code, str(error), final=True)
            self.refused[site, envelope.counter] = refusal
            return refusal
        stored = StoredEnvelope(self.head + 1, site, f"user{site}", envelope)
        self.state.judge_all(stored)
        self.stored.append(stored)
        self.head = stored.last_seq
        self.hlc = max(self.hlc, envelope.hlc + len(envelope.ops) - 1)
        return Ack(envelope.counter, stored.seq, envelope.hlc)

    def snapshot(self) -> Snapshot:
        """What a joiner begins with; what follows it is to be sent behind."""
        if self.kept is not None:
            return self.kept
        op = self.op_at(self.head) if self.head else None
        return Snapshot(self.head, join_parts(encode_parts(self.state, self.head, self.hlc)), op)

    def op_at(self, seq: int) -> OpId:
        """The operation at ``seq``."""
        stored = next(stored for stored in self.stored if stored.seq <= seq <= stored.last_seq)
        return stored.op_id(seq - stored.seq)


class Line:
    """A connection of one room to the log; what travels waits in ``up`` and ``down``."""

    def __init__(self, log: Log, room: RoomBase, site: int) -> None:
        self.log = log
        self.room = room
        self.new_site = site
        self.site = 0
        self.is_up = False
        self.cursor = 0
        self.up: deque[bytes] = deque()
        self.down: deque[ServerMessage] = deque()
        self.role = Role.WRITER
        self.now_ms = NOW_MS

    def connect(self) -> None:
        hello = self.room.replica.hello()
        self.is_up = True
        self.up.clear()
        self.down.clear()
        self._welcome(hello)

    def _welcome(self, hello: Hello) -> None:
        is_resumed = hello.resume is not None
        self.site = hello.resume.site if hello.resume is not None else self.new_site
        self.cursor = hello.resume.through if hello.resume is not None else 0
        if hello.resume is not None and hello.resume.through:
            assert hello.resume.through_op == self.log.op_at(hello.resume.through)
        welcome = Welcome(
            site=self.site,
            secret=b"" if is_resumed else b"s" * 16,
            seq=self.log.head,
            server_time_ms=self.now_ms,
            role=self.role,
            actor=f"user{self.site}",
            name=f"User {self.site}",
            color="",
            limits=CLIENT_LIMITS,
            next_counter=self.log.next_counter.get(self.site, 1),
        )
        self.down.append(ServerMessage(welcome=welcome))
        if not is_resumed and self.log.head:
            self._start_over()
        self.flush()

    def _start_over(self) -> None:
        snapshot = self.log.snapshot()
        self.down.append(ServerMessage(snapshot=snapshot))
        self.cursor = snapshot.seq

    def cut(self) -> None:
        self.is_up = False
        self.up.clear()
        self.down.clear()
        self.room.replica.disconnected()

    def lose_site(self, new_site: int) -> None:
        """Cut the line; the server will not let the site resume, and gives a new one."""
        self.cut()
        self.new_site = new_site
        self.room.replica.rejoin()

    def flush(self) -> None:
        """Show the session what the log has beyond its cursor."""
        ops = tuple(stored for stored in self.log.stored if stored.seq > self.cursor)
        if self.is_up and ops:
            self.cursor = ops[-1].last_seq
            self.down.append(ServerMessage(ops=ops, through=self.cursor))

    def send(self) -> None:
        """Put what the replica wants to send on the line."""
        if self.is_up:
            self.up.extend(self.room.replica.outgoing(self.now_ms))

    def serve_one(self) -> None:
        """Let the log take one frame."""
        if not self.up:
            return
        match decode_client_message(self.up.popleft(), LIMITS):
            case Submit() as submit:
                for envelope in submit.envelopes:
                    answer = self.log.submit(self.site, envelope)
                    part = {"acks": (answer,)} if isinstance(answer, Ack) else {"rejects": (answer,)}
                    self.down.append(ServerMessage(**part))
            case Resync():
                self.flush()
                self._start_over()

    def deliver_one(self) -> None:
        """Give the replica one message, as a connection does."""
        if not self.down:
            return
        with self.room.lock:
            self.room.receive_message(self.down.popleft())


def make_room(stored: StoredSite | None = None, now_ms: Callable[[], int] = lambda: NOW_MS) -> RoomBase:
    """A room that has not joined."""
    replica = Replica(SessionKind.SCRIPT, "test", LIMITS, stored)
    return RoomBase("test", replica, LIMITS, now_ms)


class World:
    """Some rooms and their log."""

    def __init__(self, count: int) -> None:
        self.log = Log()
        self.now_ms = NOW_MS
        self.rooms = [make_room(now_ms=lambda: self.now_ms) for _ in range(count)]
        self.lines = [Line(self.log, room, 101 + i) for i, room in enumerate(self.rooms)]
        for line in self.lines:
            line.connect()
        self.settle()

    def pass_time(self, ms: int) -> None:
        """All clocks go on."""
        self.now_ms += ms
        for line in self.lines:
            line.now_ms += ms

    def settle(self) -> None:
        """Connect everybody and let everything arrive."""
        for line in self.lines:
            if not line.is_up:
                line.connect()
        for _ in range(1000):
            for line in self.lines:
                line.send()
                line.flush()
            if not any(line.up or line.down for line in self.lines):
                return
            for line in self.lines:
                while line.up:
                    line.serve_one()
                line.flush()
                while line.down:
                    line.deliver_one()
        raise AssertionError("the world does not come to rest")

    def states(self) -> list[bytes]:
        """The encoded state of each replica, without what differs on purpose (seq, clock)."""
        return [encode_state(room.replica.tree, 0, 0) for room in self.rooms]
