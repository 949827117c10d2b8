"""Showing a document: one merged frame a flush for all who are up to date, and the whole state for who comes.

Frames are counted; a session's *cursor* is the number of frames that it was given, or that the state which it was given
has in it. Who is behind is caught up from the ring of recent frames, or else by a state: Yjs takes what it has for
nothing. A state is encoded once for all who come together: it may be a little old, and the frames since follow it.

A state has everything in it that was admitted. It is sent when all of that is stored, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from collabkernel.crdt.yjs.merge import merged
from collabkernel.limits import Limits
from collabkernel.room.document_session import DocumentSession, DocumentSessions
from collabkernel.room.effects import Effect, Send
from collabkernel.room.fanout import bounded_tick_ms
from collabkernel.room.ring import Ring, RingEntry
from collabkernel.wire.y_protocol import EMPTY_VECTOR, encode_step_2, encode_update

FLUSH_MS_PER_SESSION = 0.14
"""The flush tick grows by this with each session: the same frame for one more costs about 10 us: a fourteenth of a
core ..."""
FLUSH_TICK_MS = 40
"""... up to this, by which each keystroke may be late. A server for which that is too much widens it (``pace.py``)."""
DIFFS_KEPT = 32
"""Answers to step 1 kept until the next edit: who comes back after an outage asks with the same state vector."""
DIFFS_BYTES = 16 << 20
"""... and their bytes, together."""
STATE_REUSE_PARTS = 4
"""A state is sent again while the frames since then are under so many parts of it."""


class Encodes(Protocol):
    """What a document is asked for."""

    def encode_state(self) -> bytes:
        """Everything, as one update."""

    def missing(self, state_vector: bytes) -> bytes:
        """What somebody with this state vector lacks, as one update."""


class _State(NamedTuple):
    frame: bytes
    cursor: int
    admitted: int


def flush_tick_ms(sessions_count: int, limits: Limits) -> int:
    """How far apart flushes are while the server has time: at once when idle, wider with more sessions."""
    return bounded_tick_ms(min(sessions_count * FLUSH_MS_PER_SESSION, FLUSH_TICK_MS), limits)


class DocumentFanOut:
    """What is stored and not yet shown, what was shown lately, and what waits to be stored before it is shown."""

    __slots__ = (
        "_diffs",
        "_due_ms",
        "_flushed_at_ms",
        "_held",
        "_limits",
        "_ring",
        "_since_bytes",
        "_state",
        "_stored",
        "admitted",
        "flushed",
        "stored_count",
    )

    def __init__(self, limits: Limits) -> None:
        self.flushed = 0
        """Frames sent."""
        self.admitted = 0
        """Updates of this server that were ever applied to the document."""
        self.stored_count = 0
        """Those of them that are stored."""
        self._limits = limits
        self._stored: list[bytes] = []
        self._ring = Ring(limits.ring_bytes)
        self._held: list[tuple[int, int, bytes]] = []
        """(updates that must be stored first, session, frame)."""
        self._state: _State | None = None
        self._since_bytes = 0
        """Of the frames since ``_state``."""
        self._diffs: dict[bytes, bytes] = {}
        self._flushed_at_ms = 0
        self._due_ms: int | None = None

    def admit(self) -> None:
        """An update was applied, and waits to be stored."""
        self.admitted += 1
        self._diffs = {}

    def stored(self, updates: Sequence[bytes], tick_ms: int, now_ms: int) -> list[Effect]:
        """Updates that were admitted are stored; send what has waited for that."""
        self.stored_count += len(updates)
        self.show(updates, tick_ms, now_ms)
        effects: list[Effect] = []
        while self._held and self._held[0][0] <= self.stored_count:
            _, session_id, frame = self._held.pop(0)
            effects.append(Send((session_id,), frame))
        return effects

    def show(self, updates: Sequence[bytes], tick_ms: int, now_ms: int) -> None:
        """Plan the flush of stored updates."""
        self._stored += updates
        self._diffs = {}
        if updates and self._due_ms is None:
            self._due_ms = max(now_ms, self._flushed_at_ms + tick_ms)

    def due_ms(self) -> int | None:
        """When to ``send``; None when nothing is planned."""
        return self._due_ms

    def send(self, sessions: DocumentSessions, now_ms: int) -> list[Effect]:
        """Show what was stored."""
        self._due_ms = None
        self._flushed_at_ms = now_ms
        updates, self._stored = self._stored, []
        effects: list[Effect] = []
        ids = sessions.up_to_date
        for update in merged(updates):
            frame = encode_update(update)
            self.flushed += 1
            self._since_bytes += len(frame)
            self._ring.add(RingEntry(self.flushed, self.flushed, frame))
            if ids:
                effects.append(Send(ids, frame))
        return effects

    # -- who is behind

    def catch_up(self, sessions: DocumentSessions, document: Encodes) -> list[Effect]:
        """Help on those who were passed by, and let them go on with everybody when they have all."""
        effects: list[Effect] = []
        for session in sessions.behind:
            found = self._ring.since(session.cursor, self._limits.session_queue_low_bytes)
            if session.cursor < self.flushed and found is None:
                effects += self._give_state(session, sessions, document)
                continue
            frames, session.cursor = found or ([], session.cursor)
            effects += [Send((session.id,), frame) for frame in frames]
            self._go_on(session, sessions)
        return effects

    def _go_on(self, session: DocumentSession, sessions: DocumentSessions) -> None:
        is_behind = session.cursor < self.flushed or session.blocked_since_ms is not None
        sessions.set_behind(session, is_behind)
        if is_behind and self._due_ms is None:
            self._due_ms = self._flushed_at_ms  # the rest in the next turn, when the socket has taken this

    # -- who comes

    def answer(
        self, session: DocumentSession, sessions: DocumentSessions, vector: bytes, document: Encodes
    ) -> list[Effect]:
        """Answer the step 1 of a session with this state vector.

        The first answer may be a state that is a little old, with what followed behind it. Later ones have in them all
        that was admitted: who asks again wants to know that it is there.

        Raises:
            MalformedFrameError: It is no state vector.
        """
        if vector == EMPTY_VECTOR and not session.is_synced:
            return self._give_state(session, sessions, document)
        frame = self._diffs.get(vector)
        if frame is None:
            frame = encode_step_2(document.missing(vector))
            if len(self._diffs) < DIFFS_KEPT and sum(map(len, self._diffs.values())) + len(frame) <= DIFFS_BYTES:
                self._diffs[vector] = frame
        session.is_synced = True
        session.answered_bytes += len(frame)
        session.cursor = self.flushed
        self._go_on(session, sessions)
        return self.send_when_stored(session, frame, self.admitted)

    def _give_state(self, session: DocumentSession, sessions: DocumentSessions, document: Encodes) -> list[Effect]:
        state = self._state
        if state is None or not self._is_fresh(state):
            state = self._state = _State(encode_step_2(document.encode_state()), self.flushed, self.admitted)
            self._since_bytes = 0
        # It has all that was admitted, so also what is shown only with the next flush.
        session.is_synced = True
        session.answered_bytes += len(state.frame)
        session.cursor = state.cursor
        self._go_on(session, sessions)
        return self.send_when_stored(session, state.frame, state.admitted)

    def _is_fresh(self, state: _State) -> bool:
        is_in_ring = state.cursor == self.flushed or self._ring.since(state.cursor, 1) is not None
        return is_in_ring and self._since_bytes * STATE_REUSE_PARTS <= len(state.frame)

    def send_when_stored(self, session: DocumentSession, frame: bytes, admitted: int | None = None) -> list[Effect]:
        """Send a frame once so many updates are stored; by default all that were admitted."""
        admitted = self.admitted if admitted is None else admitted
        if admitted > self.stored_count:
            self._held.append((admitted, session.id, frame))
            return []
        return [Send((session.id,), frame)]
