"""The database of a simulated cluster, and each server's connection to it: slow, away, full, wrong, or out of reach.

What a server asks travels, is done, and is answered, each at its time. So what a server had under way when it stopped,
crashed or was cut off may be done all the same, and what failed may have been done before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from collabkernel.crdt.ids import KEEPER_SITE
from collabkernel.errors import ClosedError, CollabKernelError, DegradedError, StorageError
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, OpRow
from collabkernel.storage.memory import MemoryStorage
from tests.simulation.chronicle import Chronicle
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.room_server import at_once

WRITES = frozenset({
    "append", "refuse", "new_site", "resume_site", "create_room", "save_snapshot", "acquire_lease", "release_lease",
})  # fmt: skip
"""What a full disk does not take."""
CHUNK_ROWS = 40
"""A chunk of the log that is read."""
TRAVEL_S = 0.002
"""What a question or its answer takes on average."""
SILENCE_S = (0.05, 1.0, 7.0)
"""Until who is not answered knows."""


class Database:
    """One for all servers: the memory twin, on a clock of its own."""

    def __init__(self, loop: SimulatedLoop, chronicle: Chronicle) -> None:
        self.loop = loop
        self.rng = chronicle.rng
        self.chronicle = chronicle
        self._skew_s = self.rng.uniform(-30, 30)
        self.storage = MemoryStorage(self.now_ms)
        self.is_away = self.is_full = False
        self.slowness = 1.0
        self.fault_odds = 0.0
        """Of a question: to fail, before or after all of it was done."""
        self._log: list[OpRow] = []
        self._keeper: DatabaseConnection | None = None
        """That raised the epoch of the keeper's site last."""
        self._keeping_until_s: dict[DatabaseConnection, float] = {}
        """By whose server believes to be the keeper: until when, by a clock that is right."""
        at_once(self.storage.open())

    def now_ms(self) -> int:
        """Its clock."""
        return int((self.loop.time() + self._skew_s) * 1000)

    def travel_s(self) -> float:
        """One way, now."""
        return self.rng.expovariate(1 / (TRAVEL_S * self.slowness))

    def log(self) -> list[OpRow]:
        """All that was ever stored in the room."""
        return self._log

    def do(self, asker: DatabaseConnection, name: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Do what was asked.

        Raises:
            CollabKernelError: It cannot, or it fails: then it may have been done.
        """
        if self.is_full and name in WRITES:
            raise DegradedError("the disk is full")
        roll = self.rng.random()
        if roll < self.fault_odds / 2:
            self._fail("before")
        ask = self._chunk if name == "chunk" else getattr(self.storage, name)
        outcome = at_once(ask(*args, **options))
        self._watch(asker, name, args, outcome)
        if roll < self.fault_odds:
            self._fail("after")
        return outcome

    def _fail(self, when: str) -> None:
        kind = self.rng.choice((StorageError, DegradedError))
        self.chronicle.happened(f"database error {when} it was done")
        raise kind(f"the disk has failed {when} it was done")

    async def _chunk(self, room_id: str, after_seq: int, upto_seq: int | None) -> Sequence[OpRow]:
        upto_seq = min(after_seq + CHUNK_ROWS, after_seq + CHUNK_ROWS if upto_seq is None else upto_seq)
        async for rows in self.storage.read_ops(room_id, after_seq, upto_seq):
            return rows
        return ()

    def _watch(self, asker: DatabaseConnection, name: str, args: Sequence[Any], outcome: Any) -> None:
        if name == "append":
            self._watch_append(asker, args[0], outcome)
        elif name == "resume_site" and args[1] == KEEPER_SITE and outcome is not None:
            self._keeper = asker
        elif name == "acquire_lease" and args[0].startswith("keeper:") and outcome is not None:
            for holder, until_s in self._keeping_until_s.items():
                is_free = holder is asker or holder.is_gone or until_s <= self.loop.time()
                assert is_free, "two servers hold the lease of one room"
        elif name == "release_lease":
            self._keeping_until_s.pop(asker, None)

    def _watch_append(
        self, asker: DatabaseConnection, batch: Sequence[AppendRequest], answers: Sequence[Appended | NotAppended]
    ) -> None:
        """Only who raised the epoch of the keeper's site last stores as the keeper."""
        for request, answer in zip(batch, answers, strict=True):
            if request.site == KEEPER_SITE and isinstance(answer, Appended) and not answer.duplicate:
                assert asker is self._keeper, "two servers store as the keeper of one room"
                self.chronicle.count("envelopes of a keeper")
        for request in batch:
            while rows := at_once(self._chunk(request.room_id, len(self._log), None)):
                self._log += rows

    def believes(self, holder: DatabaseConnection, left_ms: int) -> None:
        """A server believes to be the keeper for so long."""
        self._keeping_until_s[holder] = self.loop.time() + left_ms / 1000
        self.chronicle.count("leases of a keeper")


class DatabaseConnection:
    """One server's: a ``Storage``."""

    is_durable = True

    def __init__(self, database: Database, process: Process) -> None:
        self._database = database
        self._process = process
        self.is_cut = False
        """Nothing gets through, either way."""

    def __getattr__(self, name: str) -> Any:
        assert not name.startswith("_"), name

        async def ask(*args: Any, **options: Any) -> Any:
            return await self._ask(name, args, options)

        return ask

    @property
    def is_gone(self) -> bool:
        """Its server has crashed."""
        return self._process.is_dead

    def believes(self, left_ms: int) -> None:
        """Its server believes to be the keeper for so long."""
        self._database.believes(self, left_ms)

    async def close(self) -> None:
        """Its server ends; the database goes on."""

    async def read_ops(
        self, room_id: str, after_seq: int, upto_seq: int | None = None
    ) -> AsyncIterator[Sequence[OpRow]]:
        """Operations in seq order, in chunks."""
        after_seq = max(after_seq, 0)
        while rows := await self._ask("chunk", (room_id, after_seq, upto_seq), {}):
            yield rows
            after_seq = rows[-1].seq

    async def _ask(self, name: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        database, loop = self._database, self._database.loop
        if self._process.is_dead:
            raise ClosedError("this server has crashed")
        reply: asyncio.Future[Any] = loop.create_future()
        loop.call_later(database.travel_s(), self._arrive, reply, name, args, options, context=loop.world)
        return await reply

    @property
    def _is_out_of_reach(self) -> bool:
        return self.is_cut or self._database.is_away

    def _arrive(self, reply: asyncio.Future[Any], name: str, args: Sequence[Any], options: dict[str, Any]) -> None:
        database = self._database
        if self._is_out_of_reach:
            self._keep_silent(reply)
            return
        outcome: Any = None
        error: CollabKernelError | None = None
        try:
            outcome = database.do(self, name, args, options)
        except CollabKernelError as failed:
            error = failed
        database.chronicle.note(database.loop.time(), self._process.name, name, type(error).__name__)
        loop = database.loop
        loop.call_later(database.travel_s(), self._answer, reply, outcome, error, context=loop.world)

    def _answer(self, reply: asyncio.Future[Any], outcome: Any, error: CollabKernelError | None) -> None:
        if self._is_out_of_reach:
            self._keep_silent(reply)
        elif not reply.done() and error is not None:
            reply.set_exception(error)
        elif not reply.done():
            reply.set_result(outcome)

    def _keep_silent(self, reply: asyncio.Future[Any]) -> None:
        database = self._database
        loop = database.loop
        error = DegradedError("the database does not answer")
        loop.call_later(database.rng.choice(SILENCE_S), _give_up, reply, error, context=loop.world)


def _give_up(reply: asyncio.Future[Any], error: DegradedError) -> None:
    if not reply.done():
        reply.set_exception(error)
