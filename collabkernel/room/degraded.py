"""A room while its database does not answer: it takes no edits, tells so, and goes on with all that needs no log.

What was admitted before waits for the log where it is, so the state stays what the log will say: nothing is taken back,
and nothing of it is shown or acknowledged. A room is degraded until the log has answered for all of that. So whoever
hears that it is over has had every ack, and sends from the first envelope that is not stored.
"""

from __future__ import annotations

from collections.abc import Iterable

from collabkernel.errors import DegradedError
from collabkernel.room.effects import Effect, Send
from collabkernel.room.intake import rejected, told_of
from collabkernel.room.session import Session
from collabkernel.wire.frames import degraded_part
from collabkernel.wire.messages import Submit
from collabkernel.wire.y_protocol import EMPTY_VECTOR, SyncStep1

REASON = "the database does not answer; go on editing, and send again when it does"


class Degraded:
    """Whether a room is."""

    __slots__ = ("_is_back", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._is_back = False

    def begin(self) -> bool:
        """The database does not answer; whether that is new."""
        was_on, self.is_on, self._is_back = self.is_on, True, False
        return not was_on

    def back(self) -> None:
        """The database answers again."""
        self._is_back = True

    def end(self, is_settled: bool) -> bool:
        """Whether it is over just now: the database is back, and the log has answered for all that was admitted."""
        if not (self.is_on and self._is_back and is_settled):
            return False
        self.is_on = False
        return True


def told(sessions: Iterable[Session], is_on: bool) -> list[Effect]:
    """Tell sessions that are live."""
    ids = tuple([session.id for session in sessions])
    return [Send(ids, degraded_part(is_on))] if ids else []


def put_off(session: Session, submit: Submit) -> list[Effect]:
    """Take nothing of what a session submits, and say so at the first; what is behind it is dropped (go-back-N)."""
    was_dropping, session.is_dropping = session.is_dropping, True
    if was_dropping:
        return []
    counter = min(session.next_counter, submit.envelopes[0].counter)
    return told_of(session, [rejected(counter, DegradedError(REASON), final=False)])


class PutOffQuestions:
    """Who asked for a document's state meanwhile. The server's own clients count their answers, and look what is in
    each; of others one is kept, and answered with everything: Yjs takes what it has for nothing."""

    __slots__ = ("_by_session",)

    def __init__(self) -> None:
        self._by_session: dict[int, list[SyncStep1]] = {}

    def add(self, session_id: int, step_1: SyncStep1, *, is_service: bool) -> None:
        """Answer it later."""
        waiting = self._by_session.setdefault(session_id, [])
        if is_service:
            waiting.append(step_1)
        elif not waiting:
            waiting.append(SyncStep1(EMPTY_VECTOR))

    def take(self) -> dict[int, list[SyncStep1]]:
        """All, by session."""
        taken, self._by_session = self._by_session, {}
        return taken
