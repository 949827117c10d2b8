"""A room of a server that has more to do than its processor gives.

First everything is shown in larger steps (``server/pace.py``). When these are as wide as they may be, agents' edits are
put off and cursors come less often. What people write is taken as ever.
"""

from __future__ import annotations

from collabkernel.errors import BusyError
from collabkernel.limits import Limits
from collabkernel.room.effects import Effect
from collabkernel.room.intake import rejected, told_of
from collabkernel.room.session import Session
from collabkernel.wire.messages import SessionKind, Submit

PRESENCE_STEPS = 4
"""Cursors of a busy room come every so many ticks."""
PRESENCE_MS_PER_SESSION = 0.1
"""A tick is at least so long for each session: who comes and goes is told to all, at 15 us each, which is
what a crowd that comes at once waits for."""


class Busy:
    """How busy the server is, as far as one room has to know."""

    __slots__ = ("_limits", "_sessions_count", "flush_ms", "is_on")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.flush_ms = 0
        """How far apart flushes are, at least."""
        self.is_on = False
        self._sessions_count = 0

    def note(self, flush_ms: int, sessions_count: int) -> None:
        """The server wants flushes to be so far apart. It is busy at the widest, and until they are half as wide."""
        self.flush_ms = flush_ms
        self._sessions_count = sessions_count
        widest_ms = self._limits.flush_tick_max_ms
        self.is_on = flush_ms >= (widest_ms // 2 if self.is_on else widest_ms) > 0

    @property
    def presence_tick_ms(self) -> int:
        """How far apart frames with cursors are."""
        tick_ms = self._limits.presence_tick_ms * (PRESENCE_STEPS if self.is_on else 1)
        return max(tick_ms, int(self._sessions_count * PRESENCE_MS_PER_SESSION))

    @property
    def presence_early_ms(self) -> int:
        """How long before their tick they may go along with something else."""
        return self._limits.presence_tick_ms // 2

    def puts_off(self, session: Session) -> bool:
        """Whether what this session submits has to wait."""
        return self.is_on and session.kind is SessionKind.AGENT


def put_off(session: Session, submit: Submit) -> list[Effect]:
    """Take nothing of what a session submits, and say when to send it again; what is behind it is dropped."""
    counter = submit.envelopes[0].counter
    was_dropping, session.is_dropping = session.is_dropping, True
    if was_dropping and counter > session.next_counter:
        return []
    return told_of(session, [rejected(min(session.next_counter, counter), BusyError(), final=False)])
