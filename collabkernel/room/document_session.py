"""The sessions of a room that speaks the Yjs protocol: who is here, who takes frames, who is behind."""

from __future__ import annotations

from collections.abc import Iterator

from collabkernel.room.effects import Close, Effect, Send
from collabkernel.room.quota import TokenBucket
from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import KEEP_ALIVE

KEEP_ALIVE_MS = 20_000
"""A stock client leaves a socket that was silent for 30 seconds."""


class DocumentSession:
    """One socket. ``cursor`` counts the frames of the room that it was given, once it is synced."""

    __slots__ = (
        "answered_bytes",
        "answers",
        "blocked_since_ms",
        "cursor",
        "has_edited",
        "id",
        "is_receive_only",
        "is_synced",
        "page_client",
        "principal",
        "stepped_at_ms",
    )

    def __init__(self, session_id: int, principal: Principal) -> None:
        self.id = session_id
        self.principal = principal
        self.has_edited = False
        """An edit of it was admitted: the client ids it writes under are known here, as a rule."""
        self.is_receive_only = False
        """It sent what may not be in the document: nothing more is taken from it."""
        self.is_synced = False
        """It has asked for the document with a step 1, and gets every edit from there on."""
        self.page_client: int | None = None
        """The Yjs client id that it first showed awareness under: a page's own. Scripts may show none."""
        self.cursor = 0
        self.answered_bytes = 0
        """What its steps 1 were answered with."""
        self.answers: TokenBucket | None = None
        """... and may be; made at the first."""
        self.blocked_since_ms: int | None = None
        self.stepped_at_ms: int | None = None
        """When it was last asked for what we lack, because of a gap."""

    @property
    def is_writer(self) -> bool:
        """Whether it may change the document."""
        return self.principal.role is Role.WRITER

    def described(self) -> dict[str, str | int]:
        """What the REST interface tells of it."""
        return {"site": 0, "actor": self.principal.actor, "name": self.principal.name, "kind": "document"}


class DocumentSessions:
    """All of a room's, and the ids of those that get each frame, as one tuple: a flush looks at no session."""

    __slots__ = (
        "_behind",
        "_everybody",
        "_lagging_max_ms",
        "_said_at_ms",
        "_session_by_id",
        "_synced",
        "idle_since_ms",
    )

    def __init__(self, lagging_max_ms: int, now_ms: int) -> None:
        self._lagging_max_ms = lagging_max_ms
        self._session_by_id: dict[int, DocumentSession] = {}
        self._behind: dict[int, DocumentSession] = {}
        """Those that were passed by: their sockets are full, or they are being caught up."""
        self._everybody: tuple[int, ...] | None = ()
        self._synced: tuple[int, ...] | None = ()
        self._said_at_ms = now_ms
        self.idle_since_ms: int | None = now_ms
        """Since when nobody is here."""

    def __len__(self) -> int:
        return len(self._session_by_id)

    def __iter__(self) -> Iterator[DocumentSession]:
        return iter(list(self._session_by_id.values()))

    def get(self, session_id: int) -> DocumentSession | None:
        """The session, if it is here."""
        return self._session_by_id.get(session_id)

    def open(self, session_id: int, principal: Principal) -> DocumentSession:
        """Somebody came."""
        session = self._session_by_id[session_id] = DocumentSession(session_id, principal)
        self._everybody = None
        self.idle_since_ms = None
        return session

    def drop(self, session_id: int, now_ms: int) -> DocumentSession | None:
        """Somebody left."""
        session = self._session_by_id.pop(session_id, None)
        if session is not None:
            self._behind.pop(session_id, None)
            self._changed()
            if not self._session_by_id:
                self.idle_since_ms = now_ms
        return session

    def _changed(self) -> None:
        self._everybody = self._synced = None

    # -- who gets what

    @property
    def everybody(self) -> tuple[int, ...]:
        """Those whose sockets take frames."""
        if self._everybody is None:
            self._everybody = tuple([i for i, s in self._session_by_id.items() if s.blocked_since_ms is None])
        return self._everybody

    @property
    def up_to_date(self) -> tuple[int, ...]:
        """Those who get the next edits."""
        if self._synced is None:
            sessions = self._session_by_id.items()
            self._synced = tuple([i for i, s in sessions if s.is_synced and i not in self._behind])
        return self._synced

    def set_behind(self, session: DocumentSession, is_behind: bool) -> None:
        """A session is passed by, or goes on with everybody."""
        if is_behind:
            self._behind[session.id] = session
        else:
            self._behind.pop(session.id, None)
        self._changed()

    @property
    def behind(self) -> list[DocumentSession]:
        """Synced sessions that were passed by and whose sockets take frames."""
        if not self._behind:
            return []
        return [session for session in self._behind.values() if session.is_synced and session.blocked_since_ms is None]

    def block(self, session_id: int, cursor: int, now_ms: int) -> None:
        """The socket holds too much; ``cursor`` frames were given to who is up to date."""
        session = self._session_by_id.get(session_id)
        if session is not None and session.blocked_since_ms is None:
            session.blocked_since_ms = now_ms
            if session.id not in self._behind:
                session.cursor = cursor
            self.set_behind(session, is_behind=True)

    def unblock(self, session: DocumentSession) -> None:
        """The socket took what it held."""
        session.blocked_since_ms = None
        self._changed()

    # -- time

    def said(self, now_ms: int) -> None:
        """Everybody was sent something."""
        self._said_at_ms = now_ms

    def keep_alive(self, now_ms: int) -> list[Effect]:
        """Say something to everybody, if it is time."""
        if not self._session_by_id or now_ms < self._said_at_ms + KEEP_ALIVE_MS:
            return []
        self._said_at_ms = now_ms
        return [Send(self.everybody, KEEP_ALIVE)] if self.everybody else []

    def due_ms(self) -> int | None:
        """When ``keep_alive`` or ``laggards`` has something to do."""
        if not self._session_by_id:
            return None
        blocked = [s.blocked_since_ms for s in self._behind.values() if s.blocked_since_ms is not None]
        return min([self._said_at_ms + KEEP_ALIVE_MS, *[since + self._lagging_max_ms for since in blocked]])

    def laggards(self, now_ms: int) -> list[DocumentSession]:
        """Those whose sockets took nothing for too long."""
        until_ms = now_ms - self._lagging_max_ms
        return [s for s in self._behind.values() if s.blocked_since_ms is not None and s.blocked_since_ms <= until_ms]

    def close_all(self, code: str, reason: str) -> list[Effect]:
        """The room ends."""
        effects: list[Effect] = [Close(session_id, code, reason) for session_id in self._session_by_id]
        self._session_by_id = {}
        self._behind = {}
        self._changed()
        return effects
