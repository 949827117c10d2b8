"""Several servers on one storage, clients with Yjs documents, and lines that lose, delay, double and cut; one seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pycrdt import Doc, Text

from collabkernel.bus.base import Subscription
from collabkernel.bus.memory import MemoryBus
from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.errors import CollabKernelError, DegradedError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.connection import Connection
from collabkernel.server.hub import Hub
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
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import SyncStep1, SyncUpdate, YMessage

ROOM = "text:file:1"


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


class LossyBus(MemoryBus):
    """A bus that loses messages and tells so, delays them, and says some twice."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.fault_odds = 0.0

    async def subscribe(
        self, room_id: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        def deliver(message: bytes) -> None:
            roll = self.rng.random()
            if roll >= self.fault_odds:
                on_message(message)
            elif roll < self.fault_odds / 3:
                on_gap()
            elif roll < 2 * self.fault_odds / 3:
                on_message(message)
                on_message(message)
            else:
                asyncio.get_running_loop().call_later(0.001, on_message, message)

        return await super().subscribe(room_id, deliver, on_gap)


class Line:
    """One socket of a client: what either side says is lost only when it is cut, but may be late and doubled."""

    def __init__(self, client: SimulatedClient) -> None:
        self.client = client
        self.buffered_bytes = 0
        self.is_cut = False
        self.waiting: list[YMessage] = []
        self.connection: Connection

    def send(self, frame: bytes) -> None:
        """As a transport: the hub sends; it is taken later, and may never be."""
        if not self.is_cut:
            self.waiting.append(y_protocol.decode_y_message(frame, Limits()))

    def close(self, code: str, reason: str) -> None:
        """As a transport: the hub closes the socket."""
        del code, reason
        self.is_cut = True


class SimulatedClient:
    """A replica that types, deletes, loses its line, and comes back at any server with what it has."""

    def __init__(self, name: str, client_id: int, rng: random.Random) -> None:
        self.rng = rng
        self.principal = Principal(name, name, "", Role.WRITER)
        self.doc: Doc[Any] = Doc(client_id=client_id)
        self.source = self.doc.get("source", type=Text)
        self.echoed: Doc[Any] = Doc()
        """What servers have sent: none of it may ever be missing again."""
        self.lines: list[Line] = []
        self.is_synced = False

    @property
    def line(self) -> Line | None:
        """The newest line, if it is not cut."""
        return self.lines[-1] if self.lines and not self.lines[-1].is_cut else None

    async def connect(self, hub: Hub) -> None:
        """Come to a server; older lines stay, unheard, until somebody notices."""
        line = Line(self)
        try:
            line.connection = await hub.open_document(ROOM, self.principal, line, FILE_POLICY)
        except CollabKernelError:
            return
        self.lines.append(line)
        self.is_synced = False
        await line.connection.receive(y_protocol.encode_step_1(self.doc.get_state()))

    async def edit(self) -> None:
        """Type or delete something, and send it, perhaps twice, perhaps never."""
        before = self.doc.get_state()
        length = len(self.source)
        if length > 10 and self.rng.random() < 0.3:
            start = self.rng.randrange(length - 3)
            del self.source[start : start + 2]
        else:
            self.source.insert(self.rng.randrange(length + 1), self.rng.choice(["ab ", "x", "longer ", "?!"]))
        update = self.doc.get_update(before)
        line = self.line
        if line is None:
            return
        for _ in range(self.rng.choice([0, 1, 1, 1, 1, 2])):
            await line.connection.receive(y_protocol.encode_update(update))

    async def take(self) -> None:
        """Take what has come on the newest line."""
        line = self.line
        if line is None:
            return
        waiting, line.waiting = line.waiting, []
        for message in waiting:
            match message:
                case SyncUpdate():
                    self.doc.apply_update(message.update)
                    self.echoed.apply_update(message.update)
                    self.is_synced = self.is_synced or message.is_step_2
                case SyncStep1():
                    missing = self.doc.get_update(message.state_vector)
                    await line.connection.receive(y_protocol.encode_step_2(missing))

    async def cut(self) -> None:
        """Lose all lines, with whatever was on them."""
        for line in self.lines:
            line.is_cut = True
            await line.connection.close()
        self.lines = []

    async def step(self, hubs: list[Hub]) -> None:
        """Do one thing at random."""
        roll = self.rng.random()
        if self.line is None or roll < 0.03:
            await self.connect(self.rng.choice(hubs))
        elif roll < 0.06:
            await self.cut()
        elif roll < 0.6:
            await self.edit()
        await self.take()


async def breathe(turns: int = 20) -> None:
    """Let the servers work."""
    for _ in range(turns):
        await asyncio.sleep(0)
