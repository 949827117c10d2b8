"""From a document's log to its state: what a room begins with, and what a snapshot holds."""

from __future__ import annotations

import json
from collections.abc import Sequence

from collabkernel.crdt.yjs.merge import clients_of, folded
from collabkernel.crdt.yjs.policy import YjsPolicy
from collabkernel.crdt.yjs.squash import squash
from collabkernel.errors import InvalidYjsUpdateError, RemoteProtocolError
from collabkernel.room.document_log import RELAY_ACTOR, SEED_SITE, YDOC_UPDATE
from collabkernel.room.snapshots import log_bytes_of
from collabkernel.storage.base import OpRow

STATE_PART = "ydoc"
"""The document, as one Yjs update."""
CLIENTS_PART = "ydoc-clients"
"""Whose each Yjs client id is: JSON, actor to client ids."""


class DocumentFold:
    """A document at a seq, moved on by rows of its log. They were judged before they were stored.

    What is below the newest snapshot may be gone from the log: begin with ``from_parts``.
    """

    __slots__ = ("_updates", "actor_by_client", "log_bytes", "seq", "skipped", "state")

    def __init__(self, state: bytes = b"", seq: int = 0) -> None:
        self.state = state
        """After ``settle``; empty for a document without anything."""
        self.seq = seq
        self.actor_by_client: dict[int, str] = {}
        self.skipped: list[str] = []
        """Rows that do not apply, and why; there should be none."""
        self.log_bytes = 0
        """What the rows taken so far take in the log, about; but for the seed, which is as long as a snapshot of it."""
        self._updates: list[tuple[int, bytes]] = []

    @classmethod
    def from_parts(cls, parts: dict[str, bytes], seq: int) -> DocumentFold:
        """The document that ``to_parts`` wrote at ``seq``."""
        fold = cls(parts[STATE_PART], seq)
        for actor, clients in json.loads(parts[CLIENTS_PART]).items():
            fold.actor_by_client.update(dict.fromkeys(clients, actor))
        return fold

    def to_parts(self) -> dict[str, bytes]:
        """The document as a snapshot keeps it. After ``settle``."""
        assert not self._updates
        clients_by_actor: dict[str, list[int]] = {}
        for client, actor in sorted(self.actor_by_client.items()):
            clients_by_actor.setdefault(actor, []).append(client)
        clients = json.dumps(clients_by_actor, sort_keys=True, separators=(",", ":"))
        return {STATE_PART: self.state, CLIENTS_PART: clients.encode()}

    def apply_rows(self, rows: Sequence[OpRow]) -> None:
        """Take the rows that follow ``seq``; they are applied together by ``settle``."""
        for row in rows:
            assert row.seq == self.seq + 1
            self.seq = row.seq
            if row.seq == 1 and row.site == SEED_SITE:
                # A state as it is, and this server's own. A fork begins so with edits of many, who go on under their
                # client ids: they are bound to nobody by it.
                self.state = row.payload
                continue
            self.log_bytes += log_bytes_of(len(row.payload))
            if row.kind != YDOC_UPDATE:
                self.skipped.append(f"{row.seq} (kind {row.kind})")
                continue
            self._updates.append((row.seq, row.payload))
            if row.actor != RELAY_ACTOR:
                self._bind(row)

    def _bind(self, row: OpRow) -> None:
        try:
            clients = clients_of(row.payload)
        except RemoteProtocolError as error:
            self.skipped.append(f"{row.seq} ({error})")
            return
        for client in clients:
            self.actor_by_client.setdefault(client, row.actor)

    def squash(self, policy: YjsPolicy) -> None:
        """Bring ``state`` up to ``seq``, and check that it may stand for all that was before.

        Raises:
            InvalidYjsUpdateError: It may not, or a row does not apply: keep the log.
        """
        updates = [update for _, update in self._updates]
        if self.skipped:
            raise InvalidYjsUpdateError(f"rows of the log do not apply: {self.skipped}")
        self.state = squash(policy, self.state, updates)
        self._updates = []

    def settle(self) -> None:
        """Bring ``state`` up to ``seq``."""
        updates, self._updates = self._updates, []
        if updates:
            self._settle(updates)

    def _settle(self, updates: Sequence[tuple[int, bytes]]) -> None:
        """Apply updates together, or, when they do not apply so, halves of them."""
        try:
            self.state = folded(self.state, [update for _, update in updates])
        except InvalidYjsUpdateError as error:
            if len(updates) == 1:
                self.skipped.append(f"{updates[0][0]} ({error})")
                return
            middle = len(updates) // 2
            self._settle(updates[:middle])
            self._settle(updates[middle:])
