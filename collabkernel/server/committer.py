"""Group commit: what rooms want of the log, in as few transactions as can be.

Work that waits while a commit is under way shares the next one, so an idle server commits at once and a busy one
commits many envelopes together. Everything that depends on what a site has stored (a resume, a refusal, the look-up of
a resent envelope) stands in one line with its room's appends, so it sees all that was asked before it.

Rooms take turns. In a round every room has its appends committed, and one thing of another kind done: one that floods
its own line keeps nobody else waiting. For those who come only their own line waits, and no round: a crowd keeps nobody
from writing. When an envelope was not stored, its line is *broken*: the room will start again from the log, and what it
has asked for since was admitted on top of that envelope and must not be stored without it.

While the database does not answer (``outage.py``), all of that stays in its place, but for those who want a site: they
are told to come back. What was asked and not answered may be stored all the same, and is asked again: the storage reads
the log before it writes, and answers what is there. That is also how the database is tried: by what waits for it, once
for the whole server; by a row of its own when nothing does.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from collabkernel import metrics
from collabkernel.crdt.ids import KEEPER_SITE, OpId
from collabkernel.errors import DegradedError, RoomNotFoundError, StorageError, TooManyError
from collabkernel.limits import SITE_MAX, Limits
from collabkernel.room.effects import Append, FindEnvelope, GrantSite, Refuse
from collabkernel.room.events import (
    AppendFailed,
    AskFailed,
    EnvelopeFound,
    Event,
    OpsStored,
    RefusalStored,
    SiteGranted,
)
from collabkernel.server.flag import Flag
from collabkernel.server.outage import AWAY, Outage
from collabkernel.server.pace import Pace
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, Refusal, SiteRow, Storage

log = logging.getLogger(__name__)

Job = Append | Refuse | FindEnvelope | GrantSite
SITE_TRIES = 8
"""Draws of a new site number; at a million sites a room, one collides with odds of 1 in 4,000."""
SITE_UNUSED_MS = 3_600_000
"""A site that wrote nothing may be dropped this long after it was entered or resumed, when a room has no place left."""
SITES_RETRY_MS = 60_000
"""Who finds no place comes again after this."""
FINDS_AT_ONCE = 32
"""Look-ups of one room in one round: a resend of hundreds of envelopes takes few rounds, and no reader long."""
GRANTS_AT_ONCE = 8
"""Who comes to one room at one time: a crowd whose server died is in within few turns. Each is a transaction of a
millisecond or less, and on SQLite a commit may stand behind them."""
LINES_AT_ONCE = 64
"""Lines that have something done in one round, beside the appends of all; and as many to which somebody comes."""
BROKEN = "an envelope before this was not stored"
PROBE_LEASE_MS = 1
"""Of the lease that is taken to see whether the database takes a row; nobody else wants it."""


class Asked(NamedTuple):
    """One thing that a room wants of the log."""

    job: Job
    asked_ms: int


class Line:
    """Part of what one loaded room wants of the log, in the order it asked."""

    __slots__ = ("answer", "asked", "is_broken", "is_closed", "is_waiting", "room_id", "sites_free")

    def __init__(self, room_id: str, answer: Callable[[Event], None]) -> None:
        self.room_id = room_id
        self.answer = answer
        self.asked: list[Asked] = []
        self.is_broken = False
        """An envelope of it was not stored."""
        self.is_closed = False
        """Its room is gone, and its authors have what was not stored."""
        self.is_waiting = False
        """The committer has it among those with something in them."""
        self.sites_free = 0
        """Sites that may be entered before the log is asked again how many."""

    def put_back(self, asked: Sequence[Asked]) -> None:
        """What was not answered waits, before all that was asked after it."""
        if not self.is_closed:
            self.asked[:0] = asked

    def close(self) -> None:
        """Forget what was not answered."""
        self.is_closed = True
        self.asked.clear()

    def is_next(self, *kinds: type[Job]) -> bool:
        """Whether the first thing asked is one of these."""
        return bool(self.asked) and isinstance(self.asked[0].job, kinds)


class RoomLines:
    """The two lines of a loaded room: a new site depends on nothing, so a crowd that joins holds up nobody's edits."""

    def __init__(self, work: Line, joins: Line, ask: Callable[[Line, Job], None]) -> None:
        self._work = work
        self._joins = joins
        self._ask = ask

    def ask(self, job: Job) -> None:
        """Queue a job; the room is told its outcome. Bounded by what the room has in flight."""
        is_join = isinstance(job, GrantSite) and job.resume is None
        self._ask(self._joins if is_join else self._work, job)

    def close(self) -> None:
        """The room is gone: what it has asked and was not answered is not stored any more."""
        self._work.close()
        self._joins.close()


class Committer:
    """The one writer of a server. Start ``run`` in a task of its own."""

    def __init__(
        self,
        storage: Storage,
        limits: Limits,
        now_ms: Callable[[], int],
        outage: Outage | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._storage = storage
        self._limits = limits
        self._now_ms = now_ms
        self._outage = outage or Outage(limits, now_ms)
        self._pace = pace or Pace(limits)
        self._outage.on_suspected = self._on_suspected
        self._slow_s = limits.storage_slow_ms / 1000
        self._probe_name = f"probe:{secrets.token_hex(8)}"
        self._lines: deque[Line] = deque()
        """Those with something in them, who has waited longest first."""
        self._entering: dict[asyncio.Task[None], None] = {}
        """Of lines to which somebody comes, in that order; they are not among those meanwhile."""
        self._fault: BaseException | None = None
        """What ended one of them, and ends all."""
        self._entering_at_once = asyncio.Semaphore(LINES_AT_ONCE)
        self._wake = Flag()
        self._stopped = asyncio.Event()

    def lines(self, room_id: str, answer: Callable[[Event], None]) -> RoomLines:
        """Open the lines of a room that was just loaded; ``answer`` is called with each outcome."""
        return RoomLines(Line(room_id, answer), Line(room_id, answer), self._ask)

    def _ask(self, line: Line, job: Job) -> None:
        if isinstance(job, GrantSite) and self._outage.is_on:
            line.answer(_turned_away(job))
            return
        line.asked.append(Asked(job, self._now_ms()))
        if not line.is_waiting:
            line.is_waiting = True
            self._lines.append(line)
        self._wake.set()

    def _on_suspected(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """End ``run`` once all that was asked is done; at once if the database does not answer."""
        self._stopped.set()
        self._wake.set()

    async def run(self) -> None:
        """Do the work, until ``stop``."""
        try:
            await self._go_round()
        finally:  # nobody waits any more for those whom the database does not answer
            entering = list(self._entering)
            for task in entering:
                task.cancel()
            await asyncio.gather(*entering, return_exceptions=True)

    async def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if self._fault is not None:
                raise self._fault
            if self._outage.is_on and not await self._is_retry_due():
                return
            if not self._lines and not self._outage.is_on and not self._outage.is_suspected:
                if self._stopped.is_set() and not self._entering:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            began_s = loop.time()
            slow = f"A commit takes over {self._slow_s:g} s."
            watch = loop.call_later(self._slow_s, self._outage.begin, slow)
            try:
                if self._outage.is_on or self._outage.is_suspected:
                    await self._ask_again()
                else:
                    await self._round()
            finally:
                watch.cancel()
            rest_s = began_s + self._pace.commit_ms / 1000 - loop.time()
            if rest_s > 0:  # a busy server: what comes meanwhile is stored together
                await asyncio.sleep(rest_s)

    # -- a database that does not answer

    async def _is_retry_due(self) -> bool:
        """Send away who wants a site, and wait; False when the server stops meanwhile."""
        for line in self._lines:
            waiting = [asked for asked in line.asked if not isinstance(asked.job, GrantSite)]
            refused = [asked.job for asked in line.asked if isinstance(asked.job, GrantSite)]
            line.asked[:] = waiting
            for job in refused:
                line.answer(_turned_away(job))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), self._outage.next_retry_ms() / 1000)
        return not self._stopped.is_set()  # asked of the event itself: a wait of 0 s ends before it has looked

    async def _ask_again(self) -> None:
        """Try what waits for the database; if nothing does, a row of our own."""
        if any(line.is_next(Append) and not line.is_broken for line in self._lines):
            await self._round()
            return
        try:
            await self._storage.acquire_lease(self._probe_name, self._probe_name, PROBE_LEASE_MS)
        except Exception as error:
            # Whatever is wrong with it, it takes no edits. What is no DegradedError needs a person, who reads the log.
            if not isinstance(error, DegradedError):
                log.exception("The database takes no row")
            self._outage.begin(str(error))
        else:
            self._outage.end()

    # -- its work

    async def _round(self) -> None:
        lines = list(self._lines)
        self._lines.clear()
        taken = self._take_appends(lines)
        if taken:
            await self._commit(taken)
        ready: list[Line] = []
        if not self._outage.is_on:
            entering = dict.fromkeys([line for line in lines if line.is_next(GrantSite)])
            for line in entering:
                self._begin_to_enter(line)
            lines = [line for line in lines if line not in entering]
            ready = [line for line in lines if line.is_next(Refuse, FindEnvelope)][:LINES_AT_ONCE]
        if ready:
            # Taken before anything is waited for, in which a room may end and its line be emptied.
            await asyncio.gather(*[self._serve(line, _take_other(line)) for line in ready])
        had_turn = {*ready, *[line for line, _, _ in taken]}
        self._lines.extendleft(reversed([line for line in lines if line.asked and line not in had_turn]))
        for line in lines:
            line.is_waiting = bool(line.asked)
            if line.asked and line in had_turn:
                self._lines.append(line)

    def _take_appends(self, lines: Sequence[Line]) -> list[tuple[Line, Append, int]]:
        """The appends at the heads of the lines, one after the other of each, as many as one commit may have."""
        limits = self._limits
        taken: list[tuple[Line, Append, int]] = []
        ops_count = size_bytes = 0
        while lines := [line for line in lines if line.is_next(Append)]:
            for line in lines:
                job, asked_ms = line.asked.pop(0)
                assert isinstance(job, Append)
                if line.is_broken:
                    line.answer(AppendFailed(BROKEN))
                    continue
                taken.append((line, job, asked_ms))
                ops_count += sum([len(request.ops) for request in job.requests])
                size_bytes += sum([len(payload) for request in job.requests for _, payload in request.ops])
                if ops_count >= limits.commit_batch_ops or size_bytes >= limits.commit_batch_bytes:
                    return taken
        return taken

    async def _commit(self, taken: Sequence[tuple[Line, Append, int]]) -> None:
        batch: list[AppendRequest] = [request for _, job, _ in taken for request in job.requests]
        try:
            outcomes = await self._storage.append(batch)
        except DegradedError as error:
            _put_back(taken)
            self._outage.begin(str(error))
            return
        except StorageError as error:
            log.exception("The log took none of %d envelopes", len(batch))
            _break_all(taken, error.told)
            return
        except Exception as error:
            # The edge of every room's writing: what one room asks for must not keep the others from being stored.
            log.exception("%d envelopes could not be stored together", len(batch))
            lines = list(dict.fromkeys([line for line, _, _ in taken]))
            if len(lines) == 1:
                _break_all(taken, f"the log failed: {type(error).__name__}")
                return
            for line in lines:
                await self._commit([item for item in taken if item[0] is line])
            return
        unanswered = self._answer(taken, outcomes)
        if unanswered:  # it went away in between
            _put_back(unanswered)
            self._outage.begin("It answered for some rooms, and not for others.")
        else:
            self._outage.end()  # behind the answers: who hears of it has had them

    def _answer(
        self, taken: Sequence[tuple[Line, Append, int]], outcomes: Sequence[Appended | NotAppended]
    ) -> list[tuple[Line, Append, int]]:
        """Tell rooms what became of their appends; returns those that were not answered."""
        now_ms = self._now_ms()
        start = 0
        unanswered = []
        for line, job, asked_ms in taken:
            end = start + len(job.requests)
            answers = outcomes[start:end]
            start = end
            if any(isinstance(outcome, NotAppended) and outcome.code == DegradedError.code for outcome in answers):
                unanswered.append((line, job, asked_ms))
                continue
            metrics.storage_op_rtt_ms.observe(now_ms - asked_ms)
            metrics.count_stored(line.room_id, _stored_ops(job, answers))
            line.is_broken = line.is_broken or any(isinstance(outcome, NotAppended) for outcome in answers)
            line.answer(OpsStored(tuple(answers)))
        return unanswered

    def _begin_to_enter(self, line: Line) -> None:
        task = asyncio.get_running_loop().create_task(self._enter(line))
        self._entering[task] = None
        task.add_done_callback(partial(self._end_to_enter, line))

    def _end_to_enter(self, line: Line, task: asyncio.Task[None]) -> None:
        del self._entering[task]
        if not task.cancelled() and task.exception() is not None:
            self._fault = task.exception()
        line.is_waiting = bool(line.asked)
        if line.is_waiting:
            self._lines.append(line)
        self._wake.set()

    async def _enter(self, line: Line) -> None:
        """Let in who is next in a line."""
        async with self._entering_at_once:
            if not line.asked or self._outage.is_on:  # its room has ended meanwhile, or the database is gone
                return
            watch = asyncio.get_running_loop().call_later(self._slow_s, self._outage.suspect)
            try:
                await self._serve(line, _take_other(line))
            finally:
                watch.cancel()

    async def _serve(self, line: Line, asked: Sequence[Asked]) -> None:
        """Do what was taken from a line."""
        if line.is_broken:
            line.answer(AppendFailed(BROKEN))
            return
        events = await asyncio.gather(*[self._outcome_or_fault(line, each.job) for each in asked])
        for i, event in enumerate(events):
            if event is None:
                line.put_back(asked[i:])
                return
            line.answer(event)

    async def _outcome_or_fault(self, line: Line, job: Job) -> Event | None:
        """The answer; None when the database does not answer, and it is to be asked again."""
        try:
            return await self._outcome(line, job)
        except DegradedError as error:
            if isinstance(job, GrantSite):
                self._outage.suspect()
                return AskFailed(job.session_id, error.told, error.code, error.retry_after_ms or 0)
            self._outage.begin(str(error))
            return None
        except TooManyError as error:
            assert isinstance(job, GrantSite)
            return AskFailed(job.session_id, error.told, error.code, error.retry_after_ms or 0)
        except Exception as error:
            # The edge of every room's writing, as above.
            log.exception("The log did not answer room %s", line.room_id)
            reason = error.told if isinstance(error, StorageError) else f"the log failed: {type(error).__name__}"
            if isinstance(job, GrantSite | FindEnvelope) and not isinstance(error, RoomNotFoundError):
                return AskFailed(job.session_id, reason)
            line.is_broken = True
            return AppendFailed(reason)

    async def _outcome(self, line: Line, job: Job) -> Event:
        storage, room_id = self._storage, line.room_id
        match job:
            case Refuse():
                is_stored = await storage.refuse(room_id, job.site, job.epoch, job.refusal)
                return RefusalStored(job.site, job.refusal, is_stored)
            case FindEnvelope():
                found = await storage.find_envelope(room_id, job.site, job.counter)
                assert found is None or not isinstance(found, Refusal) or found.counter == job.counter
                return EnvelopeFound(job.session_id, job.counter, found)
            case GrantSite() if job.resume is None:
                return await self._new_site(line, job)
            case GrantSite():
                return await self._resume_site(room_id, job)
            case Append():
                raise AssertionError("appends go through _commit")

    async def _new_site(self, line: Line, job: GrantSite) -> SiteGranted:
        room_id, sites_max = line.room_id, self._limits.sites_per_room
        if line.sites_free == 0:
            line.sites_free = await self._storage.free_sites(room_id, sites_max, self._now_ms() - SITE_UNUSED_MS)
            if line.sites_free == 0:
                raise TooManyError("sites in this room", sites_max, SITES_RETRY_MS)
        line.sites_free -= 1
        secret = secrets.token_bytes(16)
        digest = sha256(secret).digest()
        for _ in range(SITE_TRIES):
            site = secrets.randbelow(SITE_MAX - KEEPER_SITE) + KEEPER_SITE + 1
            if await self._storage.new_site(room_id, site, job.actor, job.kind, digest, self._now_ms()):
                row = SiteRow(room_id, site, job.actor, job.kind, 1, digest, 0)
                return SiteGranted(job.session_id, row, secret, log_agrees=True)
        raise StorageError(f"no free site number was found in {SITE_TRIES} draws")

    async def _resume_site(self, room_id: str, job: GrantSite) -> SiteGranted:
        """Check the secret and the actor, then raise the epoch; the older connection is fenced from here on."""
        resume = job.resume
        assert resume is not None
        refused = SiteGranted(job.session_id, None, b"", log_agrees=False)
        row = await self._storage.site(room_id, resume.site)
        if row is None or row.actor != job.actor:
            return refused
        if not hmac.compare_digest(row.secret_hash, sha256(resume.secret).digest()):
            return refused
        row = await self._storage.resume_site(room_id, resume.site, self._now_ms())
        if row is None:
            return refused
        # The head is asked for now that the site can store nothing elsewhere any more.
        agrees = self._log_agrees(room_id, resume.through, resume.through_op)
        log_agrees, room = await asyncio.gather(agrees, self._storage.head(room_id))
        return SiteGranted(job.session_id, row, b"", log_agrees, room.seq if room is not None else 0)

    async def _log_agrees(self, room_id: str, through: int, through_op: OpId | None) -> bool:
        if through == 0:
            return True
        known = await self._storage.op_at(room_id, through)
        return known is not None and (known.site, known.counter) == through_op


def _take_other(line: Line) -> list[Asked]:
    """The first thing in a line, which is no append; of look-ups, and of those who come, several."""
    taken = [line.asked.pop(0)]
    while line.asked and _goes_along(line, line.asked[0].job, [each.job for each in taken]):
        taken.append(line.asked.pop(0))
    return taken


def _goes_along(line: Line, job: Job, taken: Sequence[Job]) -> bool:
    """Whether a job may be done beside those that were taken: none of them depends on another."""
    first = taken[0]
    if isinstance(first, FindEnvelope):
        return isinstance(job, FindEnvelope) and len(taken) < FINDS_AT_ONCE
    if not isinstance(first, GrantSite) or not isinstance(job, GrantSite) or len(taken) >= GRANTS_AT_ONCE:
        return False
    if first.resume is None:
        return job.resume is None and len(taken) < line.sites_free
    resumed = {each.resume.site for each in taken if isinstance(each, GrantSite) and each.resume is not None}
    return job.resume is not None and job.resume.site not in resumed


def _put_back(taken: Sequence[tuple[Line, Append, int]]) -> None:
    """Each line has what it asked in the order it asked."""
    for line, job, asked_ms in reversed(taken):
        line.put_back([Asked(job, asked_ms)])


def _break_all(taken: Sequence[tuple[Line, Append, int]], reason: str) -> None:
    for line, _, _ in taken:
        line.is_broken = True
        line.answer(AppendFailed(reason))


def _turned_away(job: GrantSite) -> AskFailed:
    """The answer to who wants a site while the database does not answer."""
    return AskFailed(job.session_id, AWAY, DegradedError.code, DegradedError.retry_after_ms, was_tried=False)


def _stored_ops(job: Append, outcomes: Sequence[Appended | NotAppended]) -> int:
    """Operations that were written now: not the refused ones, nor those that were in the log already."""
    pairs = zip(job.requests, outcomes, strict=True)
    return sum([len(r.ops) for r, outcome in pairs if isinstance(outcome, Appended) and not outcome.duplicate])
