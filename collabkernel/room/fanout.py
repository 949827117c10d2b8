"""Showing the log to sessions: one frame a flush for all who are up to date, the ring or the log for who is behind.

Every session has a *cursor*: the seq up to which its socket was given the log. A flush moves on those whose cursor is
at the last flush. A session that is blocked, or whose catch-up is being read, is passed by: it costs nothing but its
cursor, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection

from collabkernel.document.operations import StoredEnvelope
from collabkernel.limits import Limits
from collabkernel.room.effects import Effect, ReadCatchUp, Send
from collabkernel.room.ring import Ring, RingEntry
from collabkernel.room.session import Session
from collabkernel.wire.frames import ops_part, through_part

FLUSH_MS_PER_SESSION = 0.2
"""The flush tick grows by this with each session: a frame out costs about 40 us, so sending takes a fifth of a core."""


FLUSH_BYTES = 1 << 20
"""Contents of one frame of a flush, but for one envelope more: far under what a client takes (32 MiB)."""


class FanOut:
    """What is stored and not yet shown, and what was shown lately."""

    __slots__ = ("_due_ms", "_flushed_at_ms", "_limits", "_payloads", "_ring", "_stored", "flushed")

    def __init__(self, flushed: int, limits: Limits) -> None:
        self.flushed = flushed
        """The last seq that was shown."""
        self._limits = limits
        self._stored: list[StoredEnvelope] = []
        self._payloads: list[list[bytes]] = []
        self._ring = Ring(limits.ring_bytes)
        self._flushed_at_ms = 0
        self._due_ms: int | None = None

    def add(self, envelope: StoredEnvelope, payloads: list[bytes]) -> None:
        """An envelope was stored, the next of the log; ``payloads`` are its encoded operations."""
        self._stored.append(envelope)
        self._payloads.append(payloads)

    def tick_ms(self, sessions_count: int) -> int:
        """How far apart flushes are: at once when idle, wider with more sessions."""
        limits = self._limits
        return max(min(int(sessions_count * FLUSH_MS_PER_SESSION), limits.flush_tick_max_ms), limits.flush_tick_min_ms)

    def plan(self, tick_ms: int, now_ms: int) -> None:
        """Plan the flush of what was added."""
        if self._due_ms is None:
            self._due_ms = max(now_ms, self._flushed_at_ms + tick_ms)

    def due_ms(self) -> int | None:
        """When to ``send``; None when nothing is planned."""
        return self._due_ms

    def send(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:
        """Show what was stored, and help on who is behind."""
        self._due_ms = None
        self._flushed_at_ms = now_ms
        before, entries = self.flushed, self._take_entries()
        ready: list[int] = []
        effects: list[Effect] = []
        for session in sessions:
            if session.is_reading or session.is_blocked or session.cursor == self.flushed:
                continue
            if session.cursor == before:
                session.cursor = self.flushed
                ready.append(session.id)
            else:
                effects += self.catch_up(session)
        if ready:
            ids = tuple(ready)
            effects[:0] = [Send(ids, entry.part + through_part(entry.last_seq)) for entry in entries]
        return effects

    def _take_entries(self) -> list[RingEntry]:
        """What is stored and was not shown, cut so that clients take each frame, and now in the ring."""
        entries: list[RingEntry] = []
        start = size_bytes = 0
        for end, payloads in enumerate(self._payloads, start=1):
            size_bytes += sum(map(len, payloads))
            if size_bytes < FLUSH_BYTES and end < len(self._payloads):
                continue
            part = ops_part(self._stored[start:end], self._payloads[start:end])
            entries.append(RingEntry(self.flushed + 1, self._stored[end - 1].last_seq, part))
            self.flushed = entries[-1].last_seq
            self._ring.add(entries[-1])
            start, size_bytes = end, 0
        self._stored, self._payloads = [], []
        return entries

    def catch_up(self, session: Session) -> list[Effect]:
        """Give a session what follows its cursor: a stretch of the ring, or else what the log is asked for."""
        if session.is_reading or session.is_blocked or session.cursor == self.flushed:
            return []
        found = self._ring.since(session.cursor, self._limits.session_queue_low_bytes)
        if found is None:
            return [self.read(session, with_snapshot=self.flushed - session.cursor > self._limits.catch_up_ops)]
        parts, session.cursor = found
        if session.cursor < self.flushed and self._due_ms is None:
            self._due_ms = self._flushed_at_ms  # the rest with the next flush, when the socket has taken this
        return [Send((session.id,), b"".join(parts) + through_part(session.cursor))]

    def read(self, session: Session, with_snapshot: bool) -> Effect:
        """Ask the log for what follows the session's cursor."""
        session.is_reading = True
        return ReadCatchUp(session.id, session.cursor, self.flushed, with_snapshot)

    def resync(self, session: Session) -> list[Effect]:
        """Start a session again from a snapshot; after what is being read for it."""
        session.cursor = 0
        if session.is_reading:
            session.is_resync_due = True
            return []
        return [self.read(session, with_snapshot=True)]

    def on_read(self, session: Session, parts: tuple[bytes, ...], through: int) -> list[Effect]:
        """Send what the log answered, and go on from there."""
        session.is_reading = False
        if session.is_resync_due:
            session.is_resync_due = False
            return self.resync(session)
        session.cursor = through
        frame = b"".join(parts) + through_part(through)
        sends: list[Effect] = [Send((session.id,), frame)] if frame else []
        return sends + self.catch_up(session)
