"""A room of awareness alone, such as JupyterLab's list of who is here: nothing of it is stored.

Its clients run the sync protocol all the same, each with an empty document of its own: a step 1 is answered with
nothing, and what they write into that document stays theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

from collabkernel.errors import RemoteProtocolError, ServerDrainingError
from collabkernel.limits import Limits
from collabkernel.room.alarm import Alarm
from collabkernel.room.audience import Audience
from collabkernel.room.document_session import DocumentSession
from collabkernel.room.effects import CountReject, Effect, Send, TellState, Unload
from collabkernel.room.events import (
    BusLost,
    DatabaseBack,
    DatabaseLost,
    EphemeralPublished,
    Event,
    FrameReceived,
    LeaveAsked,
    SessionBlocked,
    SessionClosed,
    SessionDrained,
    SessionOpened,
    StateAsked,
    StopAsked,
    Ticked,
)
from collabkernel.wire import y_protocol
from collabkernel.wire.y_protocol import Awareness, QueryAwareness, SyncStep1, SyncUpdate, YMessage

NOTHING = y_protocol.encode_step_2(y_protocol.EMPTY_UPDATE)


class AwarenessRoom:
    """Who is where. ``handle_all`` is its only door."""

    head = 0
    lag_ops = 0
    size_bytes = 0

    def __init__(self, room_id: str, limits: Limits, now_ms: int, has_peers: bool = False) -> None:
        self.room_id = room_id
        self.limits = limits
        self._audience = Audience(limits, now_ms, has_peers)
        self._alarm = Alarm()
        self._is_ended = False

    def described_sessions(self) -> list[dict[str, str | int]]:
        """Who is here."""
        return self._audience.described()

    def handle_all(self, events: Iterable[Event], now_ms: int, flush_ms: int = 0, shows: bool = True) -> list[Effect]:  # noqa: ARG002  # it stores nothing
        """Take events that came together, and say what follows from them, in order."""
        effects: list[Effect] = []
        for event in events:
            if not self._is_ended:
                effects += self._on_event(event, now_ms)
        if shows and not self._is_ended:
            effects += self._audience.run_due(now_ms)
            effects += self._end_if_idle(now_ms)
        return effects

    def _on_event(self, event: Event, now_ms: int) -> list[Effect]:
        audience = self._audience
        match event:
            case FrameReceived():
                return self._on_frame(event, now_ms)
            case SessionOpened():
                return audience.tell_all(audience.open(event.session_id, event.principal), now_ms)
            case SessionClosed():
                audience.drop(event.session_id, now_ms)
            case SessionBlocked():
                audience.sessions.block(event.session_id, 0, now_ms)
            case SessionDrained():
                return audience.unblock(event.session_id, now_ms)
            case StateAsked():
                state = {"room": self.room_id, "seq": 0, "state": {}, "sessions": self.described_sessions()}
                return [TellState(event.request_id, state)]
            case StopAsked():
                return self._end(event.code, event.reason)
            case LeaveAsked():
                leaving = [audience.sessions.get(session_id) for session_id in event.session_ids]
                closes = [audience.close(s, ServerDrainingError.code, event.reason, now_ms) for s in leaving if s]
                return [effect for effects in closes for effect in effects]
            case Ticked():
                self._alarm.rang()
            case EphemeralPublished():
                return audience.hear_peer(event, now_ms)
            case BusLost() | DatabaseLost() | DatabaseBack():
                pass  # nothing of it is in a log
            case _:
                raise AssertionError(f"a room of awareness asks for no {type(event).__name__}")
        return []

    def _on_frame(self, event: FrameReceived, now_ms: int) -> list[Effect]:
        session = self._audience.sessions.get(event.session_id)
        if session is None:
            return []
        try:
            return self._on_message(session, y_protocol.decode_y_message(event.frame, self.limits), now_ms)
        except RemoteProtocolError as error:
            return self._audience.close(session, error.code, str(error), now_ms)

    def _on_message(self, session: DocumentSession, message: YMessage, now_ms: int) -> list[Effect]:
        match message:
            case Awareness():
                return self._audience.hear(session, message, now_ms)
            case QueryAwareness():
                return self._audience.tell_all(session, now_ms, is_asked=True)
            case SyncStep1():
                return [Send((session.id,), NOTHING)]
            case SyncUpdate() if message.update != y_protocol.EMPTY_UPDATE:
                return [CountReject("read-only")]
            case _:
                return []

    def _end_if_idle(self, now_ms: int) -> list[Effect]:
        idle_since_ms = self._audience.sessions.idle_since_ms
        due_ms = None if idle_since_ms is None else idle_since_ms + self.limits.room_idle_ms
        if due_ms is not None and due_ms <= now_ms:
            return self._end("idle", "nobody is here")
        return self._alarm.set(self._audience.due_ms(), due_ms)

    def _end(self, code: str, reason: str) -> list[Effect]:
        self._is_ended = True
        return [*self._audience.sessions.close_all(code, reason), Unload(f"{code}: {reason}")]
