"""Who is in a room that speaks the Yjs protocol, and what they show: all of such a room that needs no document."""

from __future__ import annotations

from collabkernel.errors import RemoteProtocolError
from collabkernel.limits import Limits
from collabkernel.room.awareness import AwarenessBoard
from collabkernel.room.document_session import DocumentSession, DocumentSessions
from collabkernel.room.effects import Close, CountReject, Effect, PublishEphemeral, Send
from collabkernel.room.events import EphemeralPublished
from collabkernel.room.session import Principal
from collabkernel.wire.y_protocol import KEEP_ALIVE, Awareness, decode_y_message, encode_awareness

NOBODY = encode_awareness(())
"""A frame that tells of nobody."""


class Audience:
    """The sessions of a room and their awareness."""

    __slots__ = ("_awareness", "_limits", "sessions")

    def __init__(self, limits: Limits, now_ms: int, has_peers: bool = False) -> None:
        self._limits = limits
        self._awareness = AwarenessBoard(limits, has_peers)
        self.sessions = DocumentSessions(limits.lagging_max_ms, now_ms)

    def described(self) -> list[dict[str, str | int]]:
        """Who is here."""
        return [session.described() for session in self.sessions]

    def open(self, session_id: int, principal: Principal) -> DocumentSession:
        """Somebody came."""
        return self.sessions.open(session_id, principal)

    def drop(self, session_id: int, now_ms: int) -> None:
        """Somebody left."""
        if self.sessions.drop(session_id, now_ms) is not None:
            self._awareness.leave(session_id)

    def close(self, session: DocumentSession, code: str, reason: str, now_ms: int) -> list[Effect]:
        """Send somebody away."""
        self.drop(session.id, now_ms)
        return [CountReject(code), Close(session.id, code, reason)]

    def tell_all(self, session: DocumentSession, now_ms: int, is_asked: bool = False) -> list[Effect]:
        """Send somebody what everybody shows; when he asked, also if that is nothing."""
        frame = self._awareness.full(now_ms) or (KEEP_ALIVE if is_asked else b"")
        return [Send((session.id,), frame)] if frame else []

    def hear(self, session: DocumentSession, message: Awareness, now_ms: int) -> list[Effect]:
        """Take what somebody shows.

        Raises:
            MalformedFrameError: A state is no JSON object.
        """
        refused = [self._awareness.take(session.id, session.principal, entry, now_ms) for entry in message.entries]
        return [CountReject(code) for code in refused if code is not None]

    def hear_peer(self, event: EphemeralPublished, now_ms: int) -> list[Effect]:
        """Take what another server tells of who is there."""
        try:
            message = decode_y_message(event.parts, self._limits)
        except RemoteProtocolError as error:
            return [CountReject(error.code)]
        if isinstance(message, Awareness):
            self._awareness.hear(event.origin, message.entries, event.is_asking, now_ms)
        return []

    def unblock(self, session_id: int, now_ms: int) -> list[Effect]:
        """A socket took what it held; awareness has gone on meanwhile."""
        session = self.sessions.get(session_id)
        if session is None or session.blocked_since_ms is None:
            return []
        self.sessions.unblock(session)
        return self.tell_all(session, now_ms)

    def run_due(self, now_ms: int) -> list[Effect]:
        """Send what is new; say something where nothing was said for long; close who takes nothing."""
        effects: list[Effect] = []
        due_ms = self._awareness.due_ms()
        if due_ms is not None and due_ms <= now_ms:
            self._awareness.forget(now_ms)
            frame = self._awareness.frame(len(self.sessions), now_ms)
            if self.sessions.everybody and frame != NOBODY:
                effects.append(Send(self.sessions.everybody, frame))
                self.sessions.said(now_ms)
            if (told := self._awareness.tell()) is not None:
                effects.append(PublishEphemeral(*told))
        for session in self.sessions.laggards(now_ms):
            reason = f"this connection took nothing for {self._limits.lagging_max_ms} ms"
            effects += self.close(session, "slow-consumer", reason, now_ms)
        return effects + self.sessions.keep_alive(now_ms)

    def due_ms(self) -> int | None:
        """When ``run_due`` has something to do."""
        times_ms = [at_ms for at_ms in (self._awareness.due_ms(), self.sessions.due_ms()) if at_ms is not None]
        return min(times_ms, default=None)
