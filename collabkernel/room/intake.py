"""Taking envelopes in: each is admitted, handed to the log, and answered when the log has it.

A site's envelopes come in the order of its counters. One that is refused for now (rate) makes those after it wait for
it to be sent again (go-back-N), so that nothing overtakes. One that is refused for good uses up its counters: the
refusal is stored, and answered the same at every resend.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.document.operations import Envelope, Op, Purge, StoredEnvelope
from collabkernel.document.room_state import RoomState
from collabkernel.errors import (
    CollabKernelError,
    CounterGapError,
    PurgedError,
    RateError,
    ReadOnlyError,
    RoomResetError,
)
from collabkernel.limits import Limits
from collabkernel.room.admission import LOST, REFUSALS, apply_envelope, check_limits, lower_stamp
from collabkernel.room.effects import Append, CountReject, Effect, FindEnvelope, Refuse, Send
from collabkernel.room.session import Session
from collabkernel.room.text_work import WALKED_PER_TOKEN, WORK_PER_TOKEN, TextSizes, waking, work
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, Refusal
from collabkernel.wire.frames import acks_part, rejects_part
from collabkernel.wire.messages import Ack, Reject, Role, Submit
from collabkernel.wire.ops import encode_op, op_kind

IN_FLIGHT_RETRY_MS = 500
"""Who finds the log behind comes again after this."""
PURGE_RETRY_MS = 50
"""Who comes while a purge is being stored comes again after this: a commit or two."""
OP_OVERHEAD_BYTES = 512
"""What an operation on its way to the log takes in memory beside its contents, about."""
READ_ONLY = ReadOnlyError("you may read this room but not write to it; ask its owner for the right to write")


class InFlight(NamedTuple):
    """An admitted envelope that the log has not answered for yet."""

    site: int
    actor: str
    envelope: Envelope
    payloads: list[bytes]
    """The encoded operations: made once, for the log and for everybody's frame."""
    is_lowered: bool


class Shown(NamedTuple):
    """A stored envelope on its way to the sessions."""

    stored: StoredEnvelope
    payloads: list[bytes]


class Intake:
    """The way of envelopes from sessions to the log and back as acks."""

    __slots__ = (
        "_answered_seq",
        "_came_back",
        "_in_flight",
        "_in_flight_by_site",
        "_in_flight_bytes",
        "_is_durable",
        "_is_purging",
        "_limits",
        "_outcomes",
        "_requests",
        "_room_id",
        "_sizes",
        "_state",
        "admitted",
        "answered",
        "head",
        "hlc",
    )

    def __init__(self, room_id: str, state: RoomState, head: int, hlc: int, limits: Limits, is_durable: bool) -> None:
        self._room_id = room_id
        self._state = state
        self._sizes = TextSizes(state)
        self._limits = limits
        self._is_durable = is_durable
        self.head = head
        """The last stored seq."""
        self.hlc = hlc
        """The highest stamp admitted."""
        self.admitted = 0
        """Envelopes taken into the state so far ..."""
        self.answered = 0
        """... and how many of them the log has answered for; in the same order."""
        self._in_flight: deque[InFlight] = deque()
        self._in_flight_by_site: dict[int, dict[int, InFlight]] = {}
        """The same by site and first counter, in the order of these."""
        self._came_back: set[tuple[int, int]] = set()
        """Site and counter of those in flight that the log has told of before its answer came."""
        self._in_flight_bytes = 0
        self._is_purging = False
        """A purge is in flight: what is admitted now could name what will be gone before it is stored."""
        self._outcomes: deque[Appended | NotAppended] = deque()
        """Answers of the log that wait for what other servers stored before them; for the first of ``_in_flight``."""
        self._answered_seq = head
        """How far the log goes at least, by its answers."""
        self._requests: list[AppendRequest] = []

    @property
    def is_settled(self) -> bool:
        """The log has answered for all that was admitted: the tree is what the log says."""
        return not self._in_flight

    def submit(self, session: Session, submit: Submit, wait_ms: int, now_ms: int) -> list[Effect]:
        """Take a session's envelopes; ``wait_ms`` is what another allowance has to wait for."""
        if session.principal.role is not Role.WRITER:
            return self._refuse_reader(session, submit, wait_ms, now_ms)
        effects: list[Effect] = []
        rejects: list[Reject] = []
        for envelope in submit.envelopes:
            counter, expected = envelope.counter, session.next_counter
            if counter >= expected and session.is_held:
                session.is_dropping = True
                continue
            if counter > expected:
                if not session.is_dropping:
                    session.is_dropping = True
                    rejects.append(rejected(expected, CounterGapError(expected, counter), final=False))
                continue
            wait_ms = wait_ms or self._meter(session, envelope, now_ms)
            if counter == expected:
                session.is_dropping = wait_ms > 0
            if wait_ms:  # the rest of this frame comes again behind it
                rejects.append(rejected(counter, RateError(self._limits.ops_per_s, wait_ms), final=False))
                break
            if counter < expected:
                effects += self._resent(session, envelope)
                continue
            effects += self._admit(session, envelope, now_ms)
            if session.lacks_purge:
                break
        return effects + told_of(session, rejects)

    def _refuse_reader(self, session: Session, submit: Submit, wait_ms: int, now_ms: int) -> list[Effect]:
        rejects: list[Reject] = []
        for envelope in submit.envelopes:
            wait_ms = wait_ms or session.ops.take(self._limits.refused_ops, now_ms)
            if wait_ms:
                error = RateError(self._limits.ops_per_s, wait_ms)
                rejects.append(rejected(envelope.counter, error, final=False))
                break
            rejects.append(rejected(envelope.counter, READ_ONLY, final=True))
        return told_of(session, rejects)

    def _meter(self, session: Session, envelope: Envelope, now_ms: int) -> int:
        """Charge an envelope; the milliseconds to wait when there is nothing left, or the log takes nothing."""
        limits = self._limits
        if envelope.counter < session.next_counter:
            return session.ops.take(limits.resent_ops, now_ms)
        if self._is_purging:
            return PURGE_RETRY_MS
        if self._in_flight_bytes > limits.in_flight_bytes:
            return IN_FLIGHT_RETRY_MS
        text_ops = work(self._state, envelope) // WORK_PER_TOKEN + waking(self._state, envelope)
        return session.ops.take(len(envelope.ops) + text_ops, now_ms)

    def release(self, session: Session) -> list[Effect]:
        """Go on with a session that was held back: ask again for what was dropped meanwhile."""
        was_dropping, session.is_held = session.is_held and session.is_dropping, False
        if not was_dropping:
            return []
        reason = "another connection asked for this site, and did not get it; send again from here"
        return told_of(session, [Reject(session.next_counter, CounterGapError.code, reason, False)])

    def take_append(self) -> list[Effect]:
        """All that was admitted since the last call, as one ``Append``."""
        requests, self._requests = self._requests, []
        return [Append(tuple(requests))] if requests else []

    def runs_of(self, outcomes: Sequence[Appended | NotAppended]) -> list[list[Shown]]:
        """What new answers of the log say was stored from here, in stretches without a gap. Before ``stored``."""
        runs: list[list[Shown]] = []
        for item, outcome in zip(islice(self._in_flight, len(self._outcomes), None), outcomes, strict=False):
            if isinstance(outcome, NotAppended) or outcome.duplicate or outcome.hlc != item.envelope.hlc:
                continue
            shown = Shown(StoredEnvelope(outcome.seq, item.site, item.actor, item.envelope), item.payloads)
            if runs and runs[-1][-1].stored.last_seq + 1 == outcome.seq:
                runs[-1].append(shown)
            else:
                runs.append([shown])
        return runs

    def stored(
        self, outcomes: tuple[Appended | NotAppended, ...], session_by_site: dict[int, Session]
    ) -> tuple[list[Shown], list[Effect]]:
        """The log's answer: what may be shown, and the acks.

        An outcome behind a seq that this server has not seen waits (``is_missing``) until ``take_foreign`` brought it.

        Raises:
            RoomResetError: The log did not take what the room has.
        """
        for item, answer in zip(islice(self._in_flight, len(self._outcomes), None), outcomes, strict=False):
            if isinstance(answer, Appended):
                self._answered_seq = max(self._answered_seq, answer.seq + len(item.envelope.ops) - 1)
        self._outcomes.extend(outcomes)
        shown: list[Shown] = []
        acks_by_site: dict[int, list[Ack]] = {}
        while self._outcomes and not self.is_missing:
            outcome = self._outcomes.popleft()
            site, actor, envelope, payloads, is_lowered = self._take_in_flight()
            assert isinstance(outcome, Appended)
            if outcome.hlc != envelope.hlc:
                raise RoomResetError("room-reset", "the log stamped an envelope otherwise than this room")
            is_back = (site, envelope.counter) in self._came_back
            self._came_back.discard((site, envelope.counter))
            if outcome.seq > self.head:
                stored = StoredEnvelope(outcome.seq, site, actor, envelope)
                self.head = stored.last_seq
                self._state.judge_all(stored)
                shown.append(Shown(stored, payloads))
            elif not (is_back or outcome.duplicate):
                raise RoomResetError("room-reset", "the log has gone back behind what this room has of it")
            ack = Ack(envelope.counter, outcome.seq, envelope.hlc if is_lowered else None, not self._is_durable)
            acks_by_site.setdefault(site, []).append(ack)
        sends: list[Effect] = [
            Send((session_by_site[site].id,), acks_part(acks))
            for site, acks in acks_by_site.items()
            if site in session_by_site
        ]
        return shown, sends

    def _take_in_flight(self) -> InFlight:
        """The first that the log has to answer for, which it has."""
        first = self._in_flight.popleft()
        self._is_purging = self._is_purging and not _is_purge(first.envelope)
        of_site = self._in_flight_by_site[first.site]
        del of_site[first.envelope.counter]
        if not of_site:
            del self._in_flight_by_site[first.site]
        self._in_flight_bytes -= _in_flight_bytes(first.payloads)
        self.answered += 1
        return first

    @property
    def is_missing(self) -> bool:
        """The next outcome is behind operations of another server that are not here yet.

        Or the log was read, and that ended within the envelope: it stays in flight until the rest has come back too.

        Raises:
            RoomResetError: The log did not take what the room has.
        """
        if not self._outcomes:
            return False
        outcome = self._outcomes[0]
        if isinstance(outcome, NotAppended):
            raise RoomResetError(outcome.code, outcome.reason)
        last_seq = outcome.seq + len(self._in_flight[0].envelope.ops) - 1
        return outcome.seq > self.head + 1 or outcome.seq <= self.head < last_seq

    @property
    def waiting_for(self) -> int:
        """The seq that the log is known to have reached by its answers."""
        return max(self._answered_seq, self.head) if self._outcomes else self.head

    def take_foreign(self, shown: Sequence[Shown]) -> list[Shown]:
        """Apply what another server stored; what is returned was not here yet, and may be shown."""
        fresh = [item for item in shown if item.stored.seq > self.head]
        for stored, _ in fresh:
            if stored.seq != self.head + 1:
                raise RoomResetError("room-reset", "the log has a gap")
            if not self._has_applied(stored):
                apply_envelope(self._state, self._sizes, stored.site, stored.envelope)
                self._sizes.rest()
            self._state.judge_all(stored)
            self.head = stored.last_seq
            self.hlc = max(self.hlc, stored.envelope.hlc + len(stored.envelope.ops) - 1)
        return fresh

    def _has_applied(self, stored: StoredEnvelope) -> bool:
        """Whether this is an envelope in flight here: the log has told of it before its answer came.

        It was stored from here, or its author has gone on at another server meanwhile and sent it again there.

        Raises:
            RoomResetError: The room that stored it has stamped it otherwise.
        """
        in_flight = self._in_flight_at(stored.site, stored.envelope.counter)
        if in_flight is None:
            return False
        sent, envelope = stored.envelope, in_flight.envelope
        if sent.hlc - envelope.hlc != sent.counter - envelope.counter:
            raise RoomResetError("room-reset", "another server stamped an envelope otherwise than this room")
        self._came_back.add((stored.site, envelope.counter))
        return True

    def _in_flight_at(self, site: int, counter: int) -> InFlight | None:
        """The envelope in flight that has the operation with this counter: the log may be read from within one."""
        of_site = self._in_flight_by_site.get(site)
        if not of_site or next(reversed(of_site.values())).envelope.last_counter < counter:
            return None
        within = [first for first in of_site if first <= counter] if counter not in of_site else [counter]
        return of_site[within[-1]] if within and counter <= of_site[within[-1]].envelope.last_counter else None

    def refused(self, session: Session | None, refusal: Refusal) -> list[Effect]:
        """A refusal is stored: answer it, if its site is here."""
        reject = Reject(refusal.counter, refusal.code, refusal.reason, final=True)
        return [CountReject(refusal.code)] if session is None else told_of(session, [reject])

    def found(self, session: Session, counter: int, found: Appended | Refusal | None) -> list[Effect]:
        """What the log says of a resent envelope."""
        if isinstance(found, Appended):
            ack = Ack(counter, found.seq, found.hlc or None, not self._is_durable)
            return [Send((session.id,), acks_part([ack]))]
        if found is None:
            reason = f"counter {counter} is inside an envelope of the log, not its beginning"
            found = Refusal(counter, 1, "invalid-operation", reason)
        return self.refused(session, found)

    def _resent(self, session: Session, envelope: Envelope) -> list[Effect]:
        if envelope.counter in self._in_flight_by_site.get(session.site, ()):
            return []  # its ack is under way, and goes to whoever holds the site then
        return [FindEnvelope(session.id, session.site, envelope.counter)]

    def _admit(self, session: Session, sent: Envelope, now_ms: int) -> list[Effect]:
        site, actor = session.site, session.principal.actor
        session.next_counter = sent.last_counter + 1
        walked = self._sizes.walked
        try:
            check_limits(sent, self._state, self.head, self._limits)
            envelope = lower_stamp(sent, self.hlc, now_ms, self._limits.stamp_ahead_ms)
            apply_envelope(self._state, self._sizes, site, envelope)
        except REFUSALS as error:
            session.ops.charge(self._limits.refused_ops, now_ms)
            if sent.base < self._state.purged_seq and isinstance(error, LOST):
                return self._lacks_purge(session, sent, str(error))
            refusal = Refusal(sent.counter, len(sent.ops), error.code, str(error))
            return [*self.take_append(), Refuse(site, session.epoch, refusal)]  # behind what is admitted, in its order
        finally:
            session.ops.charge((self._sizes.walked - walked) // WALKED_PER_TOKEN, now_ms)
        self._send_off(site, session.epoch, actor, envelope, is_lowered=envelope is not sent)
        return []

    def _lacks_purge(self, session: Session, sent: Envelope, reason: str) -> list[Effect]:
        """Answer what names something that was purged: it is made again, and all behind it, as another site.

        All before it is stored by then: while some of it is in flight, and may be refused by the log, it comes again.
        """
        if session.site in self._in_flight_by_site:
            session.next_counter, session.is_dropping = sent.counter, True
            error: CollabKernelError = RateError(self._limits.ops_per_s, PURGE_RETRY_MS)
        else:
            session.lacks_purge, error = True, PurgedError(reason)
        return told_of(session, [rejected(sent.counter, error, final=False)])

    def mend(self, site: int, epoch: int, counter: int, actor: str, ops: Sequence[Op], now_ms: int) -> bool:
        """Take an envelope of the keeper, who alone may rekey and purge; False when it does not fit now."""
        if self._in_flight_bytes > self._limits.in_flight_bytes:
            return False
        envelope = Envelope(counter, self.head, max(hlc_from_ms(now_ms), self.hlc + 1), tuple(ops))
        try:
            check_limits(envelope, self._state, self.head, self._limits, is_keeper=True)
            apply_envelope(self._state, self._sizes, site, envelope)
        except REFUSALS:
            return False  # such as in a room that is full
        self._send_off(site, epoch, actor, envelope, is_lowered=False)
        return True

    def _send_off(self, site: int, epoch: int, actor: str, envelope: Envelope, *, is_lowered: bool) -> None:
        """Hand an envelope that is applied to the log."""
        self._sizes.rest()
        self.hlc = max(self.hlc, envelope.hlc + len(envelope.ops) - 1)
        payloads = [encode_op(op) for op in envelope.ops]
        in_flight = InFlight(site, actor, envelope, payloads, is_lowered)
        self._in_flight.append(in_flight)
        self._in_flight_by_site.setdefault(site, {})[envelope.counter] = in_flight
        self.admitted += 1
        self._in_flight_bytes += _in_flight_bytes(payloads)
        ops = tuple(zip(map(op_kind, envelope.ops), payloads, strict=True))
        is_purge = _is_purge(envelope)
        self._is_purging = self._is_purging or is_purge
        counter, base, hlc, purged_seq = envelope.counter, envelope.base, envelope.hlc, self._state.purged_seq
        self._requests.append(
            AppendRequest(self._room_id, site, epoch, counter, base, hlc, actor, ops, purged_seq, is_purge)
        )


def _is_purge(envelope: Envelope) -> bool:
    return any(op.__class__ is Purge for op in envelope.ops)


def rejected(counter: int, error: CollabKernelError, *, final: bool) -> Reject:
    """The refusal of an envelope."""
    return Reject(counter, error.code, str(error), final, error.retry_after_ms or 0)


def told_of(session: Session, rejects: Sequence[Reject]) -> list[Effect]:
    """One frame, however many envelopes were refused: what comes in one frame is answered in one."""
    if not rejects:
        return []
    return [*[CountReject(reject.code) for reject in rejects], Send((session.id,), rejects_part(rejects))]


def _in_flight_bytes(payloads: Sequence[bytes]) -> int:
    return sum([len(payload) + OP_OVERHEAD_BYTES for payload in payloads])
