"""A server in virtual time: the pure room, the real reader and the memory twin of the log, with a shell of its own.

The shell does what ``server/runner.py`` and ``server/committer.py`` do, with the delays, failures and site numbers of
one seed instead of a database's and a machine's: effects are carried out, what depends on the log stands in one line.
While the database is away, what was asked waits, and is asked again when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, Protocol, TypeVar, cast

from collabkernel.errors import DegradedError
from collabkernel.limits import SITE_MAX, Limits
from collabkernel.room.effects import (
    Append,
    AskKeeping,
    Close,
    CountReject,
    Effect,
    FindEnvelope,
    GrantSite,
    ReadCatchUp,
    Refuse,
    Send,
    Unload,
    WakeAt,
    WriteSnapshot,
)
from collabkernel.room.events import (
    AppendFailed,
    AskFailed,
    CatchUpRead,
    DatabaseBack,
    DatabaseLost,
    EnvelopeFound,
    Event,
    FrameReceived,
    KeepingAnswered,
    OpsStored,
    RefusalStored,
    SessionClosed,
    SessionOpened,
    SiteGranted,
    SnapshotSaved,
    Ticked,
)
from collabkernel.room.session import Principal
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.server.kinds import LiveKind, LoadedRoom
from collabkernel.server.reader import Reader
from collabkernel.storage.base import OpRow
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Resume, Role
from tests.simulation.clockwork import Clockwork

ROOM = "board"
Job = Append | Refuse | FindEnvelope | GrantSite


class Socket(Protocol):
    """The client's end of a line, as the server sees it."""

    def put(self, frame: bytes) -> None:
        """A frame is sent to the client."""

    def hang_up(self, code: str) -> None:
        """The line ends, after what was sent."""


T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of a coroutine that waits for nothing, as those of the memory twin do."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    raise AssertionError(f"{work} waits for something")


class RoomServer:
    """One server after the other, on one storage."""

    def __init__(self, clockwork: Clockwork, loop: asyncio.Runner, limits: Limits) -> None:
        self.clockwork = clockwork
        self.rng = clockwork.rng
        self.limits = limits
        self.storage = MemoryStorage()
        self.fault_odds = 0.0
        """Of a job of the log: to fail, before or after it was done."""
        self.starts = 0
        self.outages = 0
        """Times that a room was told that its database is away."""
        self.resets = 0
        """Rooms that ended because an append failed."""
        self.rejected: list[str] = []
        """Codes of refusals and notices."""
        self._loop = loop
        # One holder for all: the leases of the memory twin go by the machine's clock.
        leases = KeeperLeases(self.storage, "the server", limits, lambda: self._now_ms)
        self._kind = LiveKind(Reader(self.storage), leases, limits, lambda: self._now_ms)
        self._room: LoadedRoom | None = None
        self._is_down = False
        self._is_away = False
        """The database answers nothing ..."""
        self._is_known = False
        """... and this server has noticed."""
        self._put_off: list[Callable[[], None]] = []
        """Reads that wait for it."""
        self._sockets: dict[int, Socket] = {}
        self._sessions_count = 0
        self._skew_ms = 0
        self._asked: list[Job] = []
        self._is_asking = False
        self._timer: object = None
        at_once(self.storage.open())
        at_once(self.storage.create_room(ROOM, clockwork.now_ms))

    @property
    def _now_ms(self) -> int:
        return self.clockwork.now_ms + self._skew_ms

    @property
    def head(self) -> int:
        """The last seq of the log."""
        row = at_once(self.storage.head(ROOM))
        assert row is not None
        return row.seq

    def rows(self) -> list[OpRow]:
        """The whole log."""

        async def read() -> list[OpRow]:
            return [row async for rows in self.storage.read_ops(ROOM, 0) for row in rows]

        return at_once(read())

    # -- its life

    def crash(self, down_ms: int) -> None:
        """Everything in memory is gone, and so are the lines; what the log was not given yet was never stored."""
        self._end("server-stopping")
        self._is_down = True
        self.clockwork.after(down_ms, self._come_back)

    def _come_back(self) -> None:
        self._is_down = False

    def lose_database(self, away_ms: int) -> None:
        """The database answers nothing for a while; of what is under way it may be the answer alone that is lost."""
        if not self._is_away:
            self._is_away = True
            self.clockwork.after(away_ms, self._find_database)

    def _find_database(self) -> None:
        self._is_away = False
        if self._is_known:
            self._is_known = False
            self.feed(DatabaseBack())
            put_off, self._put_off = self._put_off, []
            for read in put_off:
                read()
            self._ask_next()

    def _notice(self) -> None:
        """Something was not answered: tell the room, and send away who wants a site."""
        if self._is_known:
            return
        self._is_known = True
        self.outages += 1
        wanting = [job for job in self._asked if isinstance(job, GrantSite)]
        self._asked = [job for job in self._asked if not isinstance(job, GrantSite)]
        self.feed(DatabaseLost())
        for job in wanting:
            self.feed(_turned_away(job))

    def _end(self, code: str) -> None:
        self._room, self._asked, self._is_asking, self._timer = None, [], False, None
        self._is_known, self._put_off = False, []
        sockets, self._sockets = self._sockets, {}
        for socket in sockets.values():
            socket.hang_up(code)

    def _load(self) -> None:
        self.starts += 1
        self._skew_ms = self.rng.randint(-30_000, 30_000)  # of another machine
        self._room = self._loop.run(self._kind.load(ROOM, has_peers=False))

    # -- lines

    def open(self, actor: str, socket: Socket) -> int | None:
        """A client has connected; None while nobody answers."""
        if self._is_down or self._is_known or (self._is_away and self._room is None):
            return None
        if self._room is None:
            self._load()
        self._sessions_count += 1
        self._sockets[self._sessions_count] = socket
        self.feed(SessionOpened(self._sessions_count, Principal(actor, actor, "", Role.WRITER)))
        return self._sessions_count

    def receive(self, session_id: int, frame: bytes) -> None:
        """A frame of a client has arrived."""
        if session_id in self._sockets:
            self.feed(FrameReceived(session_id, frame))

    def closed(self, session_id: int) -> None:
        """The server learns that a line has ended."""
        if self._sockets.pop(session_id, None) is not None:
            self.feed(SessionClosed(session_id))

    # -- the room

    def feed(self, event: Event) -> None:
        """Let the room handle an event, and do what it wants."""
        if self._room is None:
            return
        for effect in self._room.handle_all((event,), self._now_ms):
            self._carry_out(effect)

    def _later(self, mean_ms: int, what: Callable[[], Event | None]) -> None:
        """Do something for this very room, and tell it the outcome; each of the two after a while."""
        room = self._room

        def do() -> None:
            if self._room is not room:
                return
            if self._is_away:
                self._notice()
                self._put_off.append(do)
                return
            event = what()
            self.clockwork.soon(mean_ms, lambda: self.feed(event) if event and self._room is room else None)

        self.clockwork.soon(mean_ms, do)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                for session_id in effect.session_ids:
                    if session_id in self._sockets:
                        self._sockets[session_id].put(effect.frame)
            case GrantSite() if self._is_known:
                room = self._room
                self.clockwork.soon(1, lambda: self.feed(_turned_away(effect)) if self._room is room else None)
            case Append() | Refuse() | FindEnvelope() | GrantSite():
                self._asked.append(effect)
                self._ask_next()
            case ReadCatchUp():
                self._later(
                    30, lambda: CatchUpRead(effect.session_id, *self._loop.run(self._kind.catch_up(ROOM, effect)))
                )
            case WriteSnapshot():
                self._later(300, lambda: self._write_snapshot(effect.seq))
            case AskKeeping():
                self._later(5, lambda: KeepingAnswered(at_once(self._kind.take_keeping(ROOM))))
            case WakeAt():
                self._wake_at(effect.at_ms)
            case Close():
                socket = self._sockets.pop(effect.session_id, None)
                if socket is not None:
                    socket.hang_up(effect.code)
            case CountReject():
                self.rejected.append(effect.code)
            case Unload():
                self.resets += not effect.reason.startswith("idle")
                self._end("room-reset")
            case _:
                raise AssertionError(f"nobody carries out {effect}")

    def _wake_at(self, at_ms: int) -> None:
        self._timer = timer = object()
        wake = lambda: self.feed(Ticked()) if self._timer is timer else None  # noqa: E731  # a closure of this timer
        self.clockwork.at(at_ms - self._skew_ms, wake)

    def _write_snapshot(self, seq: int) -> Event:
        self._loop.run(self._kind.write_snapshot(ROOM, seq, self._now_ms))
        return SnapshotSaved(seq)

    # -- the log: one thing after the other

    def _ask_next(self) -> None:
        if self._is_asking or self._is_known or not self._asked:
            return
        self._is_asking = True
        room, job = self._room, self._asked.pop(0)

        def do() -> None:
            if self._room is room and self._is_away:
                self._lose(job)
            elif self._room is room:
                event = self._outcome_or_fault(job)
                self.clockwork.soon(5, lambda: answer(event))

        def answer(event: Event) -> None:
            if self._room is room:
                self._is_asking = False
                self.feed(event)
                self._ask_next()

        self.clockwork.soon(5, do)

    def _lose(self, job: Job) -> None:
        """A job was not answered; the first of an outage may have been done."""
        if not self._is_known and self.rng.random() < 0.5:
            at_once(self._outcome(job))
        self._is_asking = False
        if isinstance(job, GrantSite):
            self.feed(AskFailed(job.session_id, "away", DegradedError.code, DegradedError.retry_after_ms))
        else:
            self._asked.insert(0, job)
        self._notice()

    def _outcome_or_fault(self, job: Job) -> Event:
        roll = self.rng.random()
        if roll < self.fault_odds / 2:  # before it has done anything
            return _fault(job)
        event = at_once(self._outcome(job))
        return _fault(job) if roll < self.fault_odds else event  # after it has done everything

    async def _outcome(self, job: Job) -> Event:
        storage = self.storage
        match job:
            case Append():
                return OpsStored(tuple(await storage.append(job.requests)))
            case Refuse():
                is_stored = await storage.refuse(ROOM, job.site, job.epoch, job.refusal)
                return RefusalStored(job.site, job.refusal, is_stored)
            case FindEnvelope():
                found = await storage.find_envelope(ROOM, job.site, job.counter)
                return EnvelopeFound(job.session_id, job.counter, found)
            case GrantSite() if job.resume is None:
                return await self._new_site(job)
            case GrantSite():
                return await self._resumed(job, job.resume)

    async def _new_site(self, job: GrantSite) -> SiteGranted:
        site, secret = self.rng.randint(1, SITE_MAX), self.rng.randbytes(16)
        digest = sha256(secret).digest()
        assert await self.storage.new_site(ROOM, site, job.actor, job.kind, digest, self._now_ms)
        row = await self.storage.site(ROOM, site)
        return SiteGranted(job.session_id, row, secret, log_agrees=True)

    async def _resumed(self, job: GrantSite, resume: Resume) -> SiteGranted:
        known = await self.storage.site(ROOM, resume.site)
        assert known is not None
        assert known.secret_hash == sha256(resume.secret).digest()
        row = await self.storage.resume_site(ROOM, resume.site, self._now_ms)
        at = await self.storage.op_at(ROOM, resume.through) if resume.through else None
        log_agrees = not resume.through or (at is not None and (at.site, at.counter) == resume.through_op)
        return SiteGranted(job.session_id, row, b"", log_agrees)


def _turned_away(job: GrantSite) -> Event:
    return AskFailed(job.session_id, "away", DegradedError.code, DegradedError.retry_after_ms, was_tried=False)


def _fault(job: Job) -> Event:
    if isinstance(job, GrantSite | FindEnvelope):
        return AskFailed(job.session_id, "the disk is away")
    return AppendFailed("the disk is away")
