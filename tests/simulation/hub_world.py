"""A hub whose database fails at random, and clients whose lines are cut, doubled and late; one seed, one history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import Envelope, MapSet, Op
from collabkernel.errors import CollabKernelError, DegradedError, StorageError
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub, wall_clock_ms
from collabkernel.storage.base import (
    Appended,
    AppendRequest,
    Lease,
    NotAppended,
    OpRow,
    Refusal,
    RoomRow,
    SiteRow,
    SnapshotRow,
)
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Hello, Resume, Resync, SessionKind, Submit
from collabkernel.wire.state import decode_state
from tests.server.raw import RawClient, enter

T = TypeVar("T")

ROOM = "board"
LIMITS = replace(
    Limits(),
    ops_per_s=10**6,
    ops_burst=10**6,
    frames_per_s=10**6,
    joins_burst=10**6,
    resyncs_per_minute=10**6,
    snapshot_ops=15,
    snapshot_min_interval_ms=0,
    ring_bytes=2000,
    catch_up_ops=20,
    storage_retry_min_ms=0,
    storage_retry_max_ms=0,
)


class FaultyStorage(MemoryStorage):
    """A real storage that is slow, and fails: before it has done anything, or after it has done everything."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.fault_odds = 0.0
        self.is_away = False
        """Nothing is answered; what was under way may be done all the same."""

    async def _fail_or_wait(self) -> None:
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)
        if self.is_away:
            raise DegradedError("the disk is away")
        if self.rng.random() < self.fault_odds:
            raise self.rng.choice((StorageError, DegradedError))("the disk has failed")

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        await self._fail_or_wait()
        return await super().acquire_lease(name, holder, ttl_ms)

    async def head(self, room_id: str) -> RoomRow | None:
        if self.is_away:
            raise DegradedError("the disk is away")
        return await super().head(room_id)

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        await self._fail_or_wait()
        outcomes = await super().append(batch)
        await self._fail_or_wait()  # the outcome is not known to who asked
        return outcomes

    async def refuse(self, room_id: str, site: int, epoch: int, refusal: Refusal) -> bool:
        await self._fail_or_wait()
        is_stored = await super().refuse(room_id, site, epoch, refusal)
        await self._fail_or_wait()
        return is_stored

    async def resume_site(self, room_id: str, site: int, now_ms: int) -> SiteRow | None:
        await self._fail_or_wait()
        row = await super().resume_site(room_id, site, now_ms)
        await self._fail_or_wait()
        return row

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        await self._fail_or_wait()
        return await super().find_envelope(room_id, site, counter)

    async def latest_snapshot(self, room_id: str, wanted: Sequence[str] | None = None) -> SnapshotRow | None:
        await self._fail_or_wait()
        return await super().latest_snapshot(room_id, wanted)

    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        await self._fail_or_wait()
        await super().save_snapshot(snapshot, now_ms)

    async def read_ops(
        self, room_id: str, after_seq: int, upto_seq: int | None = None
    ) -> AsyncIterator[Sequence[OpRow]]:
        await self._fail_or_wait()
        async for rows in super().read_ops(room_id, after_seq, upto_seq):
            yield rows


@dataclass
class Author:
    """One replica: what it has made, what it was told of that, and what it was shown."""

    hub: Hub
    name: str
    rng: random.Random
    sockets: list[RawClient] = field(default_factory=list)
    """The newest last; older ones may go on sending."""
    read_of: dict[int, int] = field(default_factory=dict)
    """Messages taken from each socket, by its place."""
    site: int = 0
    secret: bytes = b""
    made: dict[int, Envelope] = field(default_factory=dict)
    next_counter: int = 1
    seq_by_acked: dict[int, int] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    tree: LiveTree = field(default_factory=LiveTree)
    through: int = 0
    through_op: OpId | None = None

    # -- making

    def make(self) -> None:
        """One more envelope; some make no sense, and are refused for good."""
        rng, counter = self.rng, self.next_counter
        ops: tuple[Op, ...] = tuple(
            [MapSet(ROOT, f"{self.name}-{rng.randrange(5)}", counter * 10 + n) for n in range(rng.randrange(1, 4))]
        )
        if rng.random() < 0.1:
            ops = (*ops, MapSet(OpId(9, 9), "k", counter))
        self.made[counter] = Envelope(counter, self.through, wall_clock_ms() << 16, ops)
        self.next_counter += len(ops)

    @property
    def unanswered(self) -> list[Envelope]:
        return [e for c, e in sorted(self.made.items()) if c not in self.seq_by_acked and c not in self.refused]

    async def send(self, client: RawClient) -> None:
        """Send some of what is not answered, from its first on; sometimes what is answered too."""
        first = 0 if self.rng.random() < 0.2 else (self.unanswered or [Envelope(10**6, 0, 1, ())])[0].counter
        envelopes = [e for c, e in sorted(self.made.items()) if c >= first][: self.rng.randrange(1, 20)]
        if envelopes and self.is_mine(client):
            await client.say(Submit(tuple(envelopes)))

    def is_mine(self, client: RawClient) -> bool:
        """Whether it is welcomed, at this author's site."""
        return client.welcome is not None and client.welcome.site == self.site

    # -- lines

    async def connect(self) -> None:
        """A new socket for this site; the old one may stay, unheard."""
        if not self.site and any(client.closed is None for client in self.sockets):
            return  # its site is on the way
        try:
            client = await enter(self.hub, ROOM, self.name)
        except CollabKernelError:
            return
        resume = Resume(self.site, self.secret, self.through, self.through_op) if self.site else None
        self.sockets.append(client)
        await client.say(Hello(SessionKind.SCRIPT, "simulated", resume))

    def take(self) -> None:
        """Take what came on all sockets; the log only from the newest, as a client that has let go of the others."""
        for place, client in enumerate(self.sockets):
            start = self.read_of.get(place, 0)
            self.read_of[place] = len(client.messages)
            for message in client.messages[start:]:
                if message.welcome is not None and not self.site:
                    self.site, self.secret = message.welcome.site, message.welcome.secret
                self.seq_by_acked.update({ack.counter: ack.seq for ack in message.acks})
                self.refused |= {reject.counter for reject in message.rejects if reject.final}
                if place == len(self.sockets) - 1:
                    self._show(message)

    def _show(self, message: object) -> None:
        if message.snapshot is not None:  # type: ignore[attr-defined]  # a ServerMessage
            snapshot = message.snapshot  # type: ignore[attr-defined]
            self.tree, self.through, _ = decode_state(snapshot.state, client_id=None)
            self.through_op = snapshot.op
        for stored in message.ops:  # type: ignore[attr-defined]
            assert stored.seq == self.through + 1, f"{self.name} was shown {stored.seq} after {self.through}"
            for i, op in enumerate(stored.envelope.ops):
                self.tree.apply(stored.op_id(i), stored.stamp(i), op)
            self.through = stored.last_seq
            self.through_op = stored.op_id(len(stored.envelope.ops) - 1)

    async def step(self) -> None:
        """Do one thing at random."""
        self.take()
        rng = self.rng
        live = [client for client in self.sockets if client.closed is None]
        if not live or self.sockets[-1].closed is not None or rng.random() < 0.05:
            await self.connect()
            return
        roll = rng.random()
        if roll < 0.5:
            self.make()
            await self.send(live[-1])
        elif roll < 0.65:
            await self.send(rng.choice(live))
        elif roll < 0.7:
            left = rng.choice(live)
            await left.leave()
            left.closed = ("left", "")
        elif roll < 0.75 and live[-1].welcome is not None:
            await live[-1].say(Resync())
        else:
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """After the faults: one good line, everything answered."""
        while True:
            self.take()
            if not self.sockets or self.sockets[-1].closed is not None:
                await self.connect()
            elif self.unanswered and self.is_mine(self.sockets[-1]):
                await self.sockets[-1].say(Submit(tuple(self.unanswered)))
            elif not self.unanswered:
                return
            for _ in range(20):
                await asyncio.sleep(0)
