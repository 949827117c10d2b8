"""Decides an append: what each envelope of a batch gets, and which rows are written. Pure; the same for every storage.

A storage locks the rooms of the batch, reads their heads and sites, lets ``plan_append`` decide, answers from its log
what the plan leaves open (``AppendPlan.unanswered``), and writes ``rows`` and ``heads``, all in one transaction.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import NamedTuple

from collabkernel.errors import MovedError
from collabkernel.limits import COUNTER_MAX, INT_MAX, SITE_MAX
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, OpRow, Refusal


class RoomHead(NamedTuple):
    """The end of a room's log."""

    seq: int
    hlc: int
    is_moved: bool = False
    """Its truth is in another database, where its log goes on."""
    purged_seq: int = 0
    """Of its last purge."""


class SiteHead(NamedTuple):
    """How far a site has come."""

    epoch: int
    last_counter: int
    """The last counter stored or finally refused."""
    closed: bool


SiteKey = tuple[str, int]
"""Room id and site."""


@dataclass(slots=True)
class AppendPlan:
    """What one append transaction does."""

    answers: list[Appended | NotAppended | None] = field(default_factory=list)
    """One a request; None until it is answered from the log."""
    rows: dict[str, list[OpRow]] = field(default_factory=dict)
    """By room id; in seq order."""
    heads: dict[str, RoomHead] = field(default_factory=dict)
    """By room id: the new head of each room that grows."""

    unanswered: dict[int, int] = field(default_factory=dict)
    """Requests whose first counter the site has used already, by index: the log or a refusal has the answer. Each with
    the site's last counter when its turn came, this batch counted."""


def plan_append(
    batch: Sequence[AppendRequest], rooms: Mapping[str, RoomHead], sites: Mapping[SiteKey, SiteHead]
) -> AppendPlan:
    """The plan for a batch.

    Args:
        batch: Envelopes, in the order of their seqs to be.
        rooms: The rooms that exist, of those in the batch.
        sites: The sites that exist, of those in the batch.
    """
    planner = _Planner(rooms, sites)
    for request in batch:
        planner.plan.answers.append(planner.answer(request))
    return planner.plan


def answer_from_log(
    request: AppendRequest, found: Appended | Refusal | None, last_counter: int
) -> Appended | NotAppended:
    """The answer to a request whose first counter its site has used already.

    Args:
        request: The request.
        found: What the log or the refusals have at its first counter.
        last_counter: The site's last counter.
    """
    match found:
        case Appended() if request.counter + len(request.ops) - 1 <= last_counter:
            return replace(found, hlc=found.hlc or request.hlc, duplicate=True)
        case Refusal():
            return NotAppended(found.code, found.reason)
    return _gap(last_counter + 1, request.counter)


def fault_in(request: AppendRequest) -> str | None:
    """What no database could take in this request, or None."""
    if not request.ops:
        return "an envelope without operations"
    last = len(request.ops) - 1
    if not (1 <= request.counter <= COUNTER_MAX - last and 1 <= request.site <= SITE_MAX):
        return f"site {request.site} or counter {request.counter} out of range"
    if not (0 <= request.hlc <= INT_MAX - last and 0 <= request.base <= COUNTER_MAX):
        return f"hlc {request.hlc} or base {request.base} out of range"
    if not (is_storable_text(request.room_id) and is_storable_text(request.actor)):
        return "room id or actor is no valid UTF-8, or has a NUL in it"
    return None


def is_storable_text(text: str) -> bool:
    """Whether every database takes this text: PostgreSQL has no NUL, and none has lone surrogates."""
    return "\0" not in text and (text.isascii() or text.encode("utf-8", "ignore").decode() == text)


def storable_refusal(refusal: Refusal) -> Refusal:
    """The refusal with a reason that every database takes; reasons may quote what a client sent."""
    reason = refusal.reason.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return replace(refusal, reason=reason)


class _Planner:
    """Goes through a batch; knows what the requests before it have changed."""

    def __init__(self, rooms: Mapping[str, RoomHead], sites: Mapping[SiteKey, SiteHead]) -> None:
        self.plan = AppendPlan()
        self._rooms = rooms
        self._sites = sites
        self._last_counters: dict[SiteKey, int] = {}
        """Of the sites that the batch has advanced."""
        self._stored: dict[SiteKey, list[tuple[int, Appended]]] = {}
        """What this batch stores, each with its first counter; those rise."""

    def answer(self, request: AppendRequest) -> Appended | NotAppended | None:
        """The answer to the next request; None if the log has it."""
        if (fault := fault_in(request)) is not None:
            return NotAppended("invalid-operation", fault)
        if request.room_id not in self._rooms:
            return NotAppended("room-not-found", f"there is no room {request.room_id!r}")
        if self._rooms[request.room_id].is_moved:
            return NotAppended(MovedError.code, MovedError(f"room {request.room_id!r}").told)
        key = (request.room_id, request.site)
        site = self._sites.get(key)
        if site is None or site.closed or site.epoch != request.epoch:
            return NotAppended("fenced", _why_fenced(request, site))
        last = self._last_counters.get(key, site.last_counter)
        if request.counter > last + 1:
            return _gap(last + 1, request.counter)
        if request.counter <= last:
            earlier = self._stored_earlier(key, request.counter)
            if earlier is not None:
                return answer_from_log(request, earlier, last)
            self.plan.unanswered[len(self.plan.answers)] = last
            return None
        return self._store(request)

    def _store(self, request: AppendRequest) -> Appended | NotAppended:
        head = self.plan.heads.get(request.room_id) or self._rooms[request.room_id]
        if request.purged_seq != head.purged_seq:  # it may name what is gone, and another server could not tell
            return NotAppended("room-reset", f"this was judged before what was purged at {head.purged_seq} had gone")
        ops_count = len(request.ops)
        seq, site, counter, hlc = head.seq + 1, request.site, request.counter, request.hlc
        self.plan.rows.setdefault(request.room_id, []).extend(
            OpRow(seq + i, site, counter + i, counter, request.base, hlc + i, request.actor, kind, payload)
            for i, (kind, payload) in enumerate(request.ops)
        )
        last_seq = head.seq + ops_count
        self.plan.heads[request.room_id] = head._replace(
            seq=last_seq,
            hlc=max(head.hlc, hlc + ops_count - 1),
            purged_seq=last_seq if request.is_purge else head.purged_seq,
        )
        self._last_counters[request.room_id, site] = counter + ops_count - 1
        appended = Appended(seq, hlc)
        self._stored.setdefault((request.room_id, site), []).append((counter, appended))
        return appended

    def _stored_earlier(self, key: SiteKey, counter: int) -> Appended | None:
        """What this batch stores at a used counter, as the log will have it: in the middle of an envelope too."""
        stored = self._stored.get(key, [])
        i = bisect_right(stored, counter, key=itemgetter(0)) - 1
        if i < 0:
            return None
        first, appended = stored[i]
        return Appended(appended.seq + counter - first, appended.hlc + counter - first)


def _gap(expected: int, got: int) -> NotAppended:
    return NotAppended("counter-gap", f"expected counter {expected}, got {got}; send again from {expected}")


def _why_fenced(request: AppendRequest, site: SiteHead | None) -> str:
    if site is None:
        return f"site {request.site} is unknown in this room"
    if site.closed:
        return f"site {request.site} is closed"
    return f"site {request.site} was resumed by another connection: epoch {request.epoch}, stored {site.epoch}"
