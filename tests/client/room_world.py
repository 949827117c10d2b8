"""Replicas on lines to a real room, with a log that is a list: what a server does to them, sockets and disk left out.

The lines may be cut and are as slow as the test wants; the server may start again, and then reads its log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from collabkernel.client.replica import Replica
from collabkernel.client.room_base import RoomBase
from collabkernel.crdt.ids import KEEPER_SITE, OpId
from collabkernel.limits import Limits
from collabkernel.room.effects import Append, AskKeeping, Effect, FindEnvelope, GrantSite, ReadCatchUp, Refuse
from collabkernel.room.events import (
    CatchUpRead,
    EnvelopeFound,
    FrameReceived,
    Keeping,
    KeepingAnswered,
    OpsStored,
    RefusalStored,
    SessionClosed,
    SiteGranted,
)
from collabkernel.room.fold import Fold, part_of_rows
from collabkernel.room.room import Room
from collabkernel.storage.base import Appended, NotAppended, OpRow, Refusal, SiteRow
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.frames import snapshot_part
from collabkernel.wire.messages import ServerMessage, SessionKind
from collabkernel.wire.room_state import PLACES, join_parts
from tests.room.drive import T0_MS, Driver

LIMITS = Limits()


class RoomServer(Driver):
    """A room and its log."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.rows: list[OpRow] = []
        self.refused: dict[tuple[int, int], Refusal] = {}
        self.snapshot_part = 2
        """The newest snapshot has at most the log's head divided by this."""
        self.keepings = 0
        self.asked: list[GrantSite | FindEnvelope | ReadCatchUp | AskKeeping] = []
        super().__init__(limits)

    def _take(self, effect: Effect) -> None:
        super()._take(effect)
        if isinstance(effect, GrantSite | FindEnvelope | ReadCatchUp | AskKeeping):
            self.asked.append(effect)

    def answer_log(self) -> None:
        """Store what waits, and answer what was asked, until nothing is left."""
        while self.pending or self.asked:
            while self.pending:
                job = self.pending.pop(0)
                self._refuse(job) if isinstance(job, Refuse) else self._store(job)
            if self.asked:
                self._answer(self.asked.pop(0))

    def _refuse(self, job: Refuse) -> None:
        self.refused[job.site, job.refusal.counter] = job.refusal
        self.feed(RefusalStored(job.site, job.refusal, is_stored=True))

    def _store(self, job: Append) -> None:
        outcomes: list[Appended | NotAppended] = []
        for each in job.requests:
            outcomes.append(Appended(self.head + 1, each.hlc))
            for i, (kind, payload) in enumerate(each.ops):
                counter, hlc = each.counter + i, each.hlc + i
                row = (self.head + 1, each.site, counter, each.counter, each.base, hlc, each.actor, kind, payload)
                self.rows.append(OpRow(*row))
                self.head += 1
        self.feed(OpsStored(tuple(outcomes)))

    def _answer(self, asked: GrantSite | FindEnvelope | ReadCatchUp | AskKeeping) -> None:
        match asked:
            case GrantSite():
                self.feed(SiteGranted(asked.session_id, *self._site(asked), log_agrees=True))
            case FindEnvelope():
                self.feed(EnvelopeFound(asked.session_id, asked.counter, self._find(asked.site, asked.counter)))
            case AskKeeping():
                self.feed(KeepingAnswered(self._keep()))
            case ReadCatchUp():
                self.feed(CatchUpRead(asked.session_id, tuple(self._read(asked)), asked.head))

    def _site(self, asked: GrantSite) -> tuple[SiteRow, bytes]:
        if asked.resume is None:
            site = 101 + len(self.row_by_site)
            row = SiteRow("board", site, asked.actor, asked.kind, 1, b"h" * 32, 0)
        else:
            old = self.row_by_site[asked.resume.site]
            counters = [row.counter for row in self.rows if row.site == old.site]
            last = max([0, *counters, *[counter for site, counter in self.refused if site == old.site]])
            row = SiteRow("board", old.site, old.actor, old.kind, old.epoch + 1, old.secret_hash, last)
        self.row_by_site[row.site] = row
        return row, b"" if asked.resume is not None else b"s" * 16

    def _keep(self) -> Keeping:
        self.keepings += 1
        counters = [row.counter for row in self.rows if row.site == KEEPER_SITE]
        until_ms = self.now_ms + 60_000
        return Keeping(self.keepings, self.keepings, max([0, *counters]) + 1, self.head, until_ms)

    def _find(self, site: int, counter: int) -> Appended | Refusal | None:
        if (site, counter) in self.refused:
            return self.refused[site, counter]
        found = [row for row in self.rows if (row.site, row.counter) == (site, counter)]
        return Appended(found[0].seq, found[0].hlc, duplicate=True) if found else None

    def _read(self, asked: ReadCatchUp) -> Iterable[bytes]:
        after = asked.after_seq
        if asked.with_snapshot:
            ends = {(row.site, row.first_counter): row.seq for row in self.rows[: asked.head]}
            seq = max([0, *[end for end in ends.values() if end <= asked.head // self.snapshot_part]])
            parts = self.fold(seq).to_parts()
            state = join_parts({name: parts[name] for name in parts if name in PLACES or not asked.is_partial})
            yield snapshot_part(seq, state, self.op_at(seq) if seq else None)
            after = seq
        if after < asked.head:
            yield part_of_rows(self.rows[after : asked.head])

    def op_at(self, seq: int) -> OpId:
        """The operation at ``seq``."""
        return OpId(self.rows[seq - 1].site, self.rows[seq - 1].counter)

    def fold(self, seq: int | None = None) -> Fold:
        """The state at a seq, or at the head, as a server reads it from the log."""
        fold = Fold()
        fold.apply_rows(self.rows[:seq])
        fold.settle()
        assert not fold.skipped
        return fold

    def restart(self) -> None:
        """The server loses what it holds, and reads its log; all sessions are gone."""
        assert not self.pending
        assert not self.asked
        fold = self.fold()
        self.state = fold.state
        self.room = Room("board", fold.state, self.head, fold.hlc, self.head, self.limits, self.now_ms)


class RoomLine:
    """A connection of one replica to the room; what travels waits in ``up`` and ``down``."""

    def __init__(self, server: RoomServer, room: RoomBase) -> None:
        self.server = server
        self.room = room
        self.session = 0
        self.is_up = False
        self.up: deque[bytes] = deque()
        self.down: deque[ServerMessage] = deque()

    def connect(self) -> None:
        """A new line, over which the replica says Hello."""
        self.session = self.server.open(f"user{id(self.room)}")
        self.is_up = True
        self.up.extend(encode_client_message(message) for message in self.room.replica.opening())

    def cut(self) -> None:
        """What is under way is lost."""
        if self.is_up:
            self.server.feed(SessionClosed(self.session))
        self.server.take(self.session)
        self.is_up = False
        self.up.clear()
        self.down.clear()
        self.room.replica.disconnected()

    def lose_site(self) -> None:
        """Cut the line; the server will not let the site resume."""
        self.cut()
        self.room.replica.rejoin()

    def send(self) -> None:
        """Put what the replica wants to send on the line."""
        if self.is_up and self.room.replica.sight.wants_new_connection:
            self.cut()
        if self.is_up:
            self.up.extend(self.room.replica.outgoing(self.server.now_ms))

    def serve_one(self) -> None:
        """Let the room take one frame."""
        if self.up:
            self.server.feed(FrameReceived(self.session, self.up.popleft()))

    def flush(self) -> None:
        """What the room has sent is on its way."""
        self.down.extend(self.server.take(self.session))

    def deliver_one(self) -> None:
        """Give the replica one message, as a connection does."""
        if not self.down:
            return
        message = self.down.popleft()
        with self.room.lock:
            self.room.receive_message(message)
        if message.bye is not None:
            self.cut()
            if message.bye.code in ("bad-resume", "purged"):
                self.room.replica.rejoin()


class RoomWorld:
    """A room, and replicas with and without a viewport.

    Args:
        lazy: For each replica whether it begins with nothing in sight.
    """

    def __init__(self, *lazy: bool, limits: Limits = LIMITS) -> None:
        self.server = RoomServer(limits)
        self.rooms = [self._make_room(is_lazy) for is_lazy in lazy]
        self.lines = [RoomLine(self.server, room) for room in self.rooms]
        self.settle()

    def _make_room(self, is_lazy: bool) -> RoomBase:
        replica = Replica(SessionKind.SCRIPT, "test", LIMITS, is_lazy=is_lazy)
        return RoomBase("test", replica, LIMITS, lambda: self.server.now_ms)

    def add(self, is_lazy: bool) -> RoomBase:
        """One more replica, which joins now."""
        self.rooms.append(self._make_room(is_lazy))
        self.lines.append(RoomLine(self.server, self.rooms[-1]))
        self.settle()
        return self.rooms[-1]

    def restart(self) -> None:
        """The server starts again."""
        for line in self.lines:
            line.cut()
        self.server.restart()

    def settle(self) -> None:
        """Connect everybody and let everything arrive."""
        quiet = 0
        for _ in range(3000):
            self.server.now_ms += 1000
            self.server.feed()
            for line in self.lines:
                if not line.is_up:
                    line.connect()
                line.send()
                while line.up:
                    line.serve_one()
            for line in self.lines:
                line.flush()
                quiet = 0 if line.down else quiet
                while line.down:
                    line.deliver_one()
            quiet += 1
            if quiet > 7:  # longer than a session is not told how far it is complete
                return
        raise AssertionError("the world does not come to rest")


__all__ = ["LIMITS", "T0_MS", "RoomLine", "RoomServer", "RoomWorld"]
