"""From the log to the state: what a room begins with, and what a snapshot holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.document.live_tree import LiveTree, TextNode
from collabkernel.document.operations import Envelope, StoredEnvelope, TextEdit
from collabkernel.errors import InvalidYjsUpdateError, RemoteProtocolError
from collabkernel.storage.base import OpRow
from collabkernel.wire.frames import ops_part
from collabkernel.wire.ops import KIND_BY_CLASS, decode_op
from collabkernel.wire.state import decode_state, encode_state

TEXT_EDIT_KIND = KIND_BY_CLASS[TextEdit]
LIVE = "live"
"""The partition of live values, as snapshots name it."""


class Fold:
    """A room's state at a seq, moved on by rows of its log."""

    __slots__ = ("_waiting", "hlc", "seq", "skipped", "tree")

    def __init__(self, tree: LiveTree | None = None, seq: int = 0, hlc: int = 0) -> None:
        self.tree = tree or LiveTree()
        self.tree.tells_changes = False
        self.seq = seq
        self.hlc = hlc
        self.skipped: list[str] = []
        """Operations of the log that do not apply, and why; there should be none."""
        self._waiting: dict[OpId, list[tuple[int, bytes]]] = {}
        """Updates of texts that are not applied yet, each with its seq."""

    @classmethod
    def from_parts(cls, parts: dict[str, bytes]) -> Fold:
        """The state that ``to_parts`` wrote."""
        fold = cls(*decode_state(parts[LIVE], client_id=None))
        fold.tree.size_bytes = max(fold.tree.size_bytes, len(parts[LIVE]))
        return fold

    def to_parts(self) -> dict[str, bytes]:
        """The state as a snapshot keeps it: partition to bytes. After ``settle``."""
        assert not self._waiting
        return {LIVE: encode_state(self.tree, self.seq, self.hlc)}

    def apply_rows(self, rows: Sequence[OpRow]) -> None:
        """Apply the rows that follow ``seq``. They were judged before they were stored.

        What does not apply all the same is skipped, always and everywhere: a room that never opens again would be
        worse.

        Text waits for ``settle``: a text takes many updates at once at a tenth of the cost.
        """
        apply, waiting = self.tree.apply, self._waiting
        for seq, site, counter, _, _, hlc, _, kind, payload in rows:
            try:
                op = decode_op(payload)
                if kind == TEXT_EDIT_KIND and isinstance(op, TextEdit):
                    waiting.setdefault(op.target, []).append((seq, op.update))
                else:
                    apply(OpId(site, counter), Stamp(hlc, site), op)
            except RemoteProtocolError as error:
                self.skipped.append(f"{seq} ({error})")
        if rows:
            assert rows[0].seq == self.seq + 1
            self.seq = rows[-1].seq
            self.hlc = max(self.hlc, max([row.hlc for row in rows]))

    def settle(self) -> None:
        """Bring the texts up to ``seq``, and do now what the first edits would wait for."""
        for target, updates in self._waiting.items():
            node = self.tree.nodes.get(target)
            if isinstance(node, TextNode):
                self._type(node, updates)
            else:
                self.skipped += [f"{seq} (no text {target.site}.{target.counter})" for seq, _ in updates]
        self._waiting = {}
        for node in self.tree.in_order():
            if isinstance(node, TextNode):
                node.rope.make_ready()

    def _type(self, node: TextNode, updates: Sequence[tuple[int, bytes]]) -> None:
        """Apply updates together, or one by one when they do not apply together."""
        try:
            node.rope.apply_stored([update for _, update in updates])
            self.tree.size_bytes += sum([len(update) for _, update in updates])
        except InvalidYjsUpdateError as error:
            if len(updates) == 1:
                self.skipped.append(f"{updates[0][0]} ({error})")
                return
            for update in updates:
                self._type(node, [update])


def _by_envelope(rows: Sequence[OpRow]) -> Iterator[Sequence[OpRow]]:
    """Rows in seq order, those of one envelope together; an envelope that the rows cut in two comes as two."""
    start = 0
    for end in range(1, len(rows) + 1):
        first = rows[start]
        if end == len(rows) or (rows[end].site, rows[end].first_counter) != (first.site, first.first_counter):
            yield rows[start:end]
            start = end


def envelopes_of_rows(rows: Sequence[OpRow]) -> tuple[list[StoredEnvelope], list[list[bytes]]]:
    """The envelopes that rows in seq order were stored as, and their encoded operations."""
    envelopes: list[StoredEnvelope] = []
    payloads: list[list[bytes]] = []
    for group in _by_envelope(rows):
        first, encoded = group[0], [row.payload for row in group]
        envelope = Envelope(first.counter, first.base, first.hlc, tuple([decode_op(payload) for payload in encoded]))
        envelopes.append(StoredEnvelope(first.seq, first.site, first.actor, envelope))
        payloads.append(encoded)
    return envelopes, payloads


def part_of_rows(rows: Sequence[OpRow]) -> bytes:
    """The part of a frame that shows rows in seq order; their operations are passed on as they are stored."""
    envelopes: list[StoredEnvelope] = []
    payloads: list[list[bytes]] = []
    for group in _by_envelope(rows):
        first = group[0]
        envelope = Envelope(first.counter, first.base, first.hlc, ())
        envelopes.append(StoredEnvelope(first.seq, first.site, first.actor, envelope))
        payloads.append([row.payload for row in group])
    return ops_part(envelopes, payloads)
