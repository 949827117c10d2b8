"""A document's end of its log: what waits to be stored, in the room's one site, and how far the log was read.

A document has one site a loaded replica, not one a socket: stock clients have no counter and no resume. Updates of Yjs
commute, and each depends only on what its author was shown, which is stored, so those of other servers may be applied
later than their seq says; ``head`` is the seq up to which nothing is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.yjs.parse import Reader
from collabkernel.errors import InvalidYjsUpdateError, MalformedFrameError, RoomResetError
from collabkernel.room.effects import Append, Effect, GrantSite, Publish
from collabkernel.room.snapshots import log_bytes_of
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, OpRow, SiteRow
from collabkernel.wire.messages import SessionKind
from collabkernel.wire.writer import varint

YDOC_UPDATE = 64
"""``OpRow.kind`` of a Yjs update; kinds of live values are below."""
SEED_SITE = 1
"""The site under which a document's first content is stored, so that it is stored once."""
SERVER_ACTOR = "collabkernel"
"""Signs what the server writes into a document, and owns the sites of its replicas."""
RELAY_ACTOR = "collabkernel-forks"
"""Who brings edits from a document into a fork of it, and back: they stay their authors', who go on under their ids."""


class StoredUpdate(NamedTuple):
    """A row of the log, as far as a document reads it."""

    seq: int
    actor: str
    update: bytes


class _Waiting(NamedTuple):
    actor: str
    hlc: int
    update: bytes


class DocumentLog:
    """What one replica has stored, wants stored, and lacks."""

    __slots__ = (
        "_asked",
        "_epoch",
        "_next_counter",
        "_own_seqs",
        "_published",
        "_room_id",
        "_site",
        "_waiting",
        "head",
    )

    def __init__(self, room_id: str, head: int) -> None:
        self.head = head
        """Everything up to this seq is in the document."""
        self._room_id = room_id
        self._published = head
        """The highest seq that another server has told of."""
        self._site = 0
        self._epoch = 0
        self._next_counter = 1
        self._waiting: list[_Waiting] = []
        self._asked: list[_Waiting] = []
        self._own_seqs: set[int] = set()
        """Own rows above ``head``: rows of others are between."""

    def ask_site(self) -> Effect:
        """Ask for the site under which this replica writes; answered for session 0."""
        return GrantSite(0, SERVER_ACTOR, int(SessionKind.SCRIPT), None)

    def granted(self, site: SiteRow) -> None:
        """The site is there."""
        self._site, self._epoch = site.site, site.epoch

    @property
    def is_settled(self) -> bool:
        """Whether all that was asked to be stored is."""
        return not self._waiting and not self._asked

    @property
    def lag_ops(self) -> int:
        """Rows that the log is known to have and the document has not."""
        return max(self._published, self.head, *self._own_seqs) - self.head

    def add(self, update: bytes, actor: str, now_ms: int) -> None:
        """Have an update stored."""
        self._waiting.append(_Waiting(actor, hlc_from_ms(now_ms), update))

    def take_append(self) -> list[Append]:
        """Ask for all that waits, once there is a site."""
        if not self._waiting or not self._site:
            return []
        waiting, self._waiting = self._waiting, []
        requests = []
        for actor, hlc, update in waiting:
            ops = ((YDOC_UPDATE, update),)
            request = AppendRequest(
                self._room_id, self._site, self._epoch, self._next_counter, self.head, hlc, actor, ops
            )
            requests.append(request)
            self._next_counter += 1
        self._asked += waiting
        return [Append(tuple(requests))]

    def stored(self, outcomes: Sequence[Appended | NotAppended]) -> list[StoredUpdate]:
        """What is stored now, in seq order.

        Raises:
            RoomResetError: Something was not.
        """
        stored = []
        for outcome in outcomes:
            waiting = self._asked.pop(0)
            if isinstance(outcome, NotAppended):
                raise RoomResetError(outcome.code, outcome.reason)
            stored.append(StoredUpdate(outcome.seq, waiting.actor, waiting.update))
            if outcome.seq > self.head:
                self._own_seqs.add(outcome.seq)
        self._advance()
        return stored

    def _advance(self) -> None:
        while self.head + 1 in self._own_seqs:
            self.head += 1
            self._own_seqs.discard(self.head)

    # -- other servers

    def is_next(self, first_seq: int, last_seq: int) -> bool:
        """Whether rows that another server tells of follow what is here; notes that they are there."""
        self._published = max(self._published, last_seq)
        return first_seq == self.head + 1

    def take_rows(self, rows: Sequence[OpRow]) -> list[StoredUpdate]:
        """Rows read from the log after ``head``; returns those of others.

        Raises:
            RoomResetError: There is a gap: the log was compacted beyond what this replica has.
        """
        taken = []
        for row in rows:
            if row.seq <= self.head:
                continue
            if row.seq != self.head + 1:
                raise RoomResetError("room-reset", f"the log goes on at {row.seq}; this replica is at {self.head}")
            self.head = row.seq
            self._own_seqs.discard(row.seq)
            if row.site != self._site:
                taken.append(StoredUpdate(row.seq, row.actor, row.payload))
        self._advance()
        return taken

    def take_told(self, updates: Sequence[StoredUpdate]) -> list[StoredUpdate]:
        """Rows that another server has told of and that follow ``head``."""
        taken = [item for item in updates if item.seq > self.head]
        if taken:
            self.head = taken[-1].seq
            self._advance()
        return taken


def seed_request(room_id: str, update: bytes, actor: str, now_ms: int) -> AppendRequest:
    """What stores a document's first content: the same operation, whoever asks, so it is stored once."""
    return AppendRequest(room_id, SEED_SITE, 1, 1, 0, hlc_from_ms(now_ms), actor, ((YDOC_UPDATE, update),))


def bytes_of(stored: Sequence[StoredUpdate]) -> int:
    """What the log is counted to have grown by."""
    return sum([log_bytes_of(len(item.update)) for item in stored])


def publications(stored: Sequence[StoredUpdate]) -> list[Effect]:
    """What other servers are told; a message has rows without gaps."""
    effects: list[Effect] = []
    start = 0
    for end in range(1, len(stored) + 1):
        if end == len(stored) or stored[end].seq != stored[end - 1].seq + 1:
            run = stored[start:end]
            effects.append(Publish(run[0].seq, run[-1].seq, _encode(run)))
            start = end
    return effects


def _encode(run: Sequence[StoredUpdate]) -> bytes:
    """Rows for ``OpsStoredMessage.parts``: length and bytes of actor and update of each."""
    parts = []
    for _, actor, update in run:
        name = actor.encode()
        parts += [varint(len(name)), name, varint(len(update)), update]
    return b"".join(parts)


def decode_published(first_seq: int, last_seq: int, parts: bytes) -> list[StoredUpdate]:
    """The rows that another server has told of.

    Raises:
        MalformedFrameError: It told something else.
    """
    reader = Reader(parts)
    try:
        told = [
            StoredUpdate(seq, reader.string("an actor"), reader.buffer("an update"))
            for seq in range(first_seq, last_seq + 1)
        ]
    except InvalidYjsUpdateError as error:
        raise MalformedFrameError(f"what another server stored does not decode: {error}") from None
    if reader.at != len(parts):
        raise MalformedFrameError("bytes behind what another server stored")
    return told
