"""Showing the log to sessions: one frame a flush for all who are up to date, the ring or the log for who is behind.

Every session has a *cursor*: the seq up to which its socket was given the log. A flush moves on those whose cursor is
at the last flush. A session that is blocked, or whose catch-up is being read, is passed by: it costs nothing but its
cursor, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from collabkernel.document.operations import StoredEnvelope
from collabkernel.limits import Limits
from collabkernel.room.effects import Effect, ReadCatchUp, Send
from collabkernel.room.intake import Intake
from collabkernel.room.looks import Looks
from collabkernel.room.ring import Ring, RingEntry
from collabkernel.room.session import Session
from collabkernel.room.viewport import THROUGH_MS, Run, Viewports
from collabkernel.wire.frames import is_snapshot, ops_part, through_part

SHOWN_MS_PER_SESSION = 0.2
"""The flush tick grows by this with each session that the last one showed something: a frame of its own costs about 40
us, so they take a fifth of a core ..."""
LOOKED_AT_MS_PER_SESSION = 0.015
"""... and by this with each that it looked at, at 3 us."""
FLUSH_BYTES = 1 << 20
"""Contents of one frame of a flush, but for one envelope more: far under what a client takes (32 MiB)."""


def bounded_tick_ms(wanted_ms: float, limits: Limits) -> int:
    """A flush tick within its limits."""
    return max(min(int(wanted_ms), limits.flush_tick_max_ms), limits.flush_tick_min_ms)


class FanOut:
    """What is stored and not yet shown, and what was shown lately."""

    __slots__ = (
        "_due_ms",
        "_flushed_at_ms",
        "_intake",
        "_limits",
        "_payloads",
        "_ring",
        "_shown_to",
        "_stored",
        "_viewports",
        "flushed",
        "looks",
        "snapshot_seq",
    )

    def __init__(self, flushed: int, limits: Limits, intake: Intake, viewports: Viewports) -> None:
        self.flushed = flushed
        """The last seq that was shown."""
        self.snapshot_seq = 0
        """Of the newest snapshot that is known to be stored."""
        self._limits = limits
        self._intake = intake
        self._viewports = viewports
        self.looks = Looks(intake, viewports)
        """Those who look elsewhere."""
        self._stored: list[StoredEnvelope] = []
        self._payloads: list[list[bytes]] = []
        self._ring = Ring(limits.ring_bytes)
        self._flushed_at_ms = 0
        self._shown_to = 0
        """Frames of the last flush."""
        self._due_ms: int | None = None

    def add(self, envelope: StoredEnvelope, payloads: list[bytes]) -> None:
        """An envelope was stored, the next of the log; ``payloads`` are its encoded operations."""
        self._stored.append(envelope)
        self._payloads.append(payloads)

    def tick_ms(self, sessions_count: int, told: int | None = None) -> int:
        """How far apart flushes are: at once when idle, wider with more sessions that are told something.

        Args:
            sessions_count: All.
            told: How many of them are; None for as many as by the last flush.
        """
        told = self._shown_to if told is None else told
        wanted_ms = sessions_count * LOOKED_AT_MS_PER_SESSION + told * SHOWN_MS_PER_SESSION
        return bounded_tick_ms(wanted_ms, self._limits)

    def plan(self, tick_ms: int, now_ms: int) -> None:
        """Plan the flush of what was added."""
        self._plan_at(max(now_ms, self._flushed_at_ms + tick_ms))

    def _plan_at(self, due_ms: int) -> None:
        self._due_ms = due_ms if self._due_ms is None else min(self._due_ms, due_ms)

    def due_ms(self) -> int | None:
        """When to ``send``; None when nothing is planned."""
        return self._due_ms

    def early_ms(self) -> int | None:
        """From when on to ``send`` beside something else that is sent; None when nothing is planned."""
        return None if self._due_ms is None else (self._due_ms + min(self._due_ms, self._flushed_at_ms)) // 2

    def send(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:
        """Show what was stored, and help on who is behind."""
        self._due_ms = None
        self._flushed_at_ms = now_ms
        before = self.flushed
        stretches = list(self._take_stretches())
        has_views = self._viewports.begin(sessions)
        ready: list[int] = []
        ready_views: list[Session] = []
        effects: list[Effect] = []
        for session in sessions:
            if session.is_passed_by or session.cursor == self.flushed:
                continue
            if session.cursor == before:
                session.cursor = self.flushed
                if session.view is None:
                    ready.append(session.id)
                else:
                    ready_views.append(session)
            else:
                effects += self.catch_up(session)
        if ready:
            ids = tuple(ready)
            effects[:0] = [Send(ids, entry.part + through_part(entry.last_seq)) for entry, _ in stretches]
        if has_views:
            for _, runs in stretches:
                effects += self._viewports.show(runs, ready_views, sessions, now_ms)
            self.looks.plan(sessions, self.flushed)
            effects += self._remind(sessions, now_ms)
        self._shown_to = sum([len(effect.session_ids) for effect in effects if isinstance(effect, Send)])
        return effects

    def _remind(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:
        """Tell those who were sent nothing for long how far they are complete, and plan to tell the others."""
        effects: list[Effect] = []
        for session in sessions:
            if session.view is None or session.view.owed is None or session.is_passed_by:
                continue
            due_ms = session.view.told_ms + THROUGH_MS
            if due_ms <= now_ms:
                session.view.told_ms = now_ms
                effects += self._viewports.owed(session)
            else:
                self._plan_at(due_ms)
        return effects

    def release(self, session_by_id: Mapping[int, Session]) -> list[Effect]:
        """Go on with those whose contents had waited for the log, which has answered."""
        effects: list[Effect] = []
        for session, frame in self._viewports.release(self._intake.answered):
            if session_by_id.get(session.id) is session:
                session.is_reading = False
                effects.append(Send((session.id,), frame))
                effects += self._resync_due(session) or self.catch_up(session)
        return effects

    def _take_stretches(self) -> Iterator[tuple[RingEntry, list[Run]]]:
        """What is stored and was not shown, cut so that clients take each frame, and now in the ring."""
        start = size_bytes = 0
        for end, payloads in enumerate(self._payloads, start=1):
            size_bytes += sum(map(len, payloads))
            if size_bytes < FLUSH_BYTES and end < len(self._payloads):
                continue
            part = ops_part(self._stored[start:end], self._payloads[start:end])
            entry = RingEntry(self.flushed + 1, self._stored[end - 1].last_seq, part)
            self.flushed = entry.last_seq
            self._ring.add(entry)
            yield entry, [Run(*each) for each in zip(self._stored[start:end], self._payloads[start:end], strict=True)]
            start, size_bytes = end, 0
        self._stored, self._payloads = [], []

    def catch_up(self, session: Session) -> list[Effect]:
        """Give a session what follows its cursor: a stretch of the ring, or else what the log is asked for."""
        if session.is_passed_by:
            return []
        if session.cursor == self.flushed:
            self._plan_look(session)
            return []
        owed = self._viewports.owed(session)
        found = self._ring.since(session.cursor, self._limits.session_queue_low_bytes)
        if found is None:
            is_far = self.flushed - session.cursor > self._limits.catch_up_ops
            return [*owed, self.read(session, with_snapshot=is_far and self.snapshot_seq > session.cursor)]
        parts, session.cursor = found
        if session.cursor < self.flushed:
            self._plan_at(self._flushed_at_ms)  # the rest with the next flush, when the socket has taken this
        self._plan_look(session)
        return [*owed, Send((session.id,), b"".join(parts) + through_part(session.cursor))]

    def read(self, session: Session, with_snapshot: bool) -> Effect:
        """Ask the log for what follows the session's cursor, and is not in the ring.

        Who is at the same seq is asked the same, so that they share the answer.
        """
        session.is_reading = True
        cursor, newest = session.cursor, self.snapshot_seq
        is_newer = newest > cursor or cursor == 0
        enough = newest if with_snapshot and is_newer and self._ring.reaches(newest) else None
        most = self.flushed if with_snapshot else min(self.flushed, cursor + self._limits.catch_up_ops)
        head = self._ring.end_of(cursor) or most
        return ReadCatchUp(session.id, cursor, head, with_snapshot, session.view is not None, enough)

    def _plan_look(self, session: Session) -> None:
        """Plan a flush for a session that may lack what it looks at."""
        if session.view is not None and session.view.is_due:
            self._plan_at(self._flushed_at_ms)

    def resync(self, session: Session) -> list[Effect]:
        """Start a session again from a snapshot; after what is being read for it."""
        session.cursor = 0
        if session.is_reading:
            session.is_resync_due = True
            return []
        return [self.read(session, with_snapshot=True)]

    def _resync_due(self, session: Session) -> list[Effect]:
        if not session.is_resync_due:
            return []
        session.is_resync_due = False
        return self.resync(session)

    def on_read(self, session: Session, parts: tuple[bytes, ...], through: int) -> list[Effect]:
        """Send what the log answered, whose last part tells ``through``, and go on from there."""
        session.is_reading = False
        resync = self._resync_due(session)
        if resync:
            return resync
        if session.view is not None and any(map(is_snapshot, parts)):
            session.view.start_over()
        session.cursor = through
        sends = [Send((session.id,), frame) for frame in parts or (through_part(through),) if frame]
        return [*sends, *self.catch_up(session)]
