"""Group commit: what rooms want of the log, in the order they asked, with as few transactions as can be.

Work that waits while a commit is under way shares the next one, so an idle server commits at once and a busy one
commits many envelopes together. Everything that depends on what a site has stored (a resume, a refusal, the look-up of
a resent envelope) goes through the same queue, so it sees all that was asked before it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from collabkernel import metrics
from collabkernel.crdt.ids import OpId
from collabkernel.errors import StorageError
from collabkernel.limits import SITE_MAX, Limits
from collabkernel.room.effects import Append, FindEnvelope, GrantSite, Refuse
from collabkernel.room.events import AppendFailed, EnvelopeFound, Event, OpsStored, RefusalStored, SiteGranted
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, Refusal, SiteRow, Storage

log = logging.getLogger(__name__)

Job = Append | Refuse | FindEnvelope | GrantSite
SITE_TRIES = 8
"""Draws of a new site number; at a million sites a room, one collides with odds of 1 in 4,000."""


@dataclass(frozen=True, slots=True)
class Work:
    """One thing that a room wants of the log."""

    room_id: str
    job: Job
    answer: Callable[[Event], None]
    asked_ms: int


class Committer:
    """The one writer of a server. Start ``run`` in a task of its own."""

    def __init__(self, storage: Storage, limits: Limits, now_ms: Callable[[], int]) -> None:
        self._storage = storage
        self._limits = limits
        self._now_ms = now_ms
        self._queue: deque[Work] = deque()
        self._wake = asyncio.Event()
        self._is_stopping = False

    def ask(self, room_id: str, job: Job, answer: Callable[[Event], None]) -> None:
        """Queue a job; ``answer`` is called with its outcome. Bounded by what the rooms have in flight."""
        self._queue.append(Work(room_id, job, answer, self._now_ms()))
        self._wake.set()

    def stop(self) -> None:
        """End ``run`` once all that was asked is done."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Do the work, until ``stop``."""
        while True:
            if not self._queue:
                if self._is_stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            if isinstance(self._queue[0].job, Append):
                await self._commit(self._take_appends())
            else:
                await self._do(self._queue.popleft())

    def _take_appends(self) -> list[tuple[Work, Append]]:
        taken: list[tuple[Work, Append]] = []
        ops_count = 0
        while self._queue and ops_count < self._limits.commit_batch_ops:
            job = self._queue[0].job
            if not isinstance(job, Append):
                break
            ops_count += sum([len(request.ops) for request in job.requests])
            taken.append((self._queue.popleft(), job))
        return taken

    async def _commit(self, taken: list[tuple[Work, Append]]) -> None:
        batch: list[AppendRequest] = [request for _, job in taken for request in job.requests]
        try:
            outcomes = await self._storage.append(batch)
        except StorageError as error:
            log.exception("The log took none of %d envelopes", len(batch))
            for work, _ in taken:
                work.answer(AppendFailed(str(error)))
            return
        now_ms = self._now_ms()
        start = 0
        for work, job in taken:
            end = start + len(job.requests)
            metrics.storage_op_rtt_ms.observe(now_ms - work.asked_ms)
            answers = outcomes[start:end]
            metrics.count_stored(work.room_id, _stored_ops(job, answers))
            work.answer(OpsStored(tuple(answers)))
            start = end

    async def _do(self, work: Work) -> None:
        try:
            event = await self._outcome(work)
        except StorageError as error:
            log.exception("The log did not answer room %s", work.room_id)
            event = AppendFailed(str(error))
        work.answer(event)

    async def _outcome(self, work: Work) -> Event:
        job, storage = work.job, self._storage
        match job:
            case Refuse():
                is_stored = await storage.refuse(work.room_id, job.site, job.epoch, job.refusal)
                return RefusalStored(job.site, job.refusal, is_stored)
            case FindEnvelope():
                found = await storage.find_envelope(work.room_id, job.site, job.counter)
                assert found is None or not isinstance(found, Refusal) or found.counter == job.counter
                return EnvelopeFound(job.session_id, job.counter, found)
            case GrantSite() if job.resume is None:
                return await self._new_site(work.room_id, job)
            case GrantSite():
                return await self._resume_site(work.room_id, job)
            case Append():
                raise AssertionError("appends go through _commit")

    async def _new_site(self, room_id: str, job: GrantSite) -> SiteGranted:
        secret = secrets.token_bytes(16)
        digest = sha256(secret).digest()
        for _ in range(SITE_TRIES):
            site = secrets.randbelow(SITE_MAX) + 1
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
        return SiteGranted(job.session_id, row, b"", await self._log_agrees(room_id, resume.through, resume.through_op))

    async def _log_agrees(self, room_id: str, through: int, through_op: OpId | None) -> bool:
        if through == 0:
            return True
        known = await self._storage.op_at(room_id, through)
        return known is not None and (known.site, known.counter) == through_op


def _stored_ops(job: Append, outcomes: list[Appended | NotAppended]) -> int:
    """Operations that were written now: not the refused ones, nor those that were in the log already."""
    pairs = zip(job.requests, outcomes, strict=True)
    return sum([len(r.ops) for r, outcome in pairs if isinstance(outcome, Appended) and not outcome.duplicate])
