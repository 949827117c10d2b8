"""What an update must be before it may be stored: well-formed, and under its author's own client id."""

from __future__ import annotations

from collections.abc import Sequence

from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.merge import clients_of
from collabkernel.errors import (
    CollabKernelError,
    ForeignClientError,
    InvalidYjsUpdateError,
    RoomResetError,
    TooLargeError,
)
from collabkernel.limits import Limits
from collabkernel.room.document_log import RELAY_ACTOR, SERVER_ACTOR, DocumentLog, StoredUpdate
from collabkernel.room.document_session import DocumentSession
from collabkernel.wire.y_protocol import EMPTY_UPDATE

NOTICE_KEY = "collabkernel_notice"
"""Where ``state`` tells a user that his edits are no longer taken: stock clients know no refusal."""
STATE_ROOT = "state"
NOTICE_INTERVAL_MS = 10_000
"""Notices are edits of the document: no more often than this."""
UNACCEPTABLE = (InvalidYjsUpdateError, ForeignClientError)
"""What may never be in the document, whatever the log brings."""


class DocumentIntake:
    """The document with all that was admitted, and who wrote under which client id."""

    __slots__ = ("_limits", "_log", "_noticed_at_ms", "actor_by_client", "document")

    def __init__(self, document: YDocument, actor_by_client: dict[int, str], log: DocumentLog, limits: Limits) -> None:
        self.document = document
        self.actor_by_client = actor_by_client
        self._log = log
        self._limits = limits
        self._noticed_at_ms: int | None = None

    def admit(self, session: DocumentSession, update: bytes, now_ms: int, is_sure: bool = True) -> bool:
        """Apply an update and have it stored; False when all of it is there already.

        Args:
            session: Whose it is.
            update: What he sent.
            now_ms: Server's clock.
            is_sure: Whether all is here that was stored before he sent it; otherwise no client id is given to him.

        Raises:
            YjsGapError: It continues what is not here.
            InvalidYjsUpdateError, ForeignClientError, TooLargeError: It may not be in the document.
        """
        if update == EMPTY_UPDATE:
            return False
        size_bytes = self.document.size_bytes + len(update)
        if size_bytes > self._limits.document_bytes:
            raise TooLargeError("document", size_bytes, self._limits.document_bytes)
        change = self.document.check(update)
        if not change.is_new:
            return False
        actor = session.principal.actor
        authors = () if actor == RELAY_ACTOR and session.principal.is_service else change.clients
        for client in authors:
            if self.actor_by_client.get(client, actor if is_sure else None) != actor:
                raise ForeignClientError(f"client {client} writes for another user than {actor!r}")
        self.document.apply(change)
        for client in authors:
            self.actor_by_client[client] = actor
        self._log.add(change.update, actor, now_ms)
        return True

    def take_foreign(self, stored: Sequence[StoredUpdate]) -> None:
        """Apply what other servers have judged and stored.

        Raises:
            RoomResetError: It does not apply to what is here.
        """
        try:
            self.document.apply_stored([item.update for item in stored])
        except InvalidYjsUpdateError as error:
            raise RoomResetError("room-reset", f"what another server stored does not apply: {error}") from error
        for item in stored:
            if item.actor == RELAY_ACTOR:
                continue
            for client in clients_of(item.update):
                self.actor_by_client.setdefault(client, item.actor)

    def notice(self, session: DocumentSession, error: CollabKernelError, now_ms: int) -> bool:
        """Tell a user, in the document, that nothing more is taken from him; False when it has to be left out."""
        if self._noticed_at_ms is not None and now_ms < self._noticed_at_ms + NOTICE_INTERVAL_MS:
            return False
        self._noticed_at_ms = now_ms
        notice = {"user": session.principal.actor, "code": error.code, "message": str(error)[:500], "at_ms": now_ms}
        update = self.document.set_map(STATE_ROOT, {NOTICE_KEY: notice})
        if not update:
            return False
        self._log.add(update, SERVER_ACTOR, now_ms)
        return True
