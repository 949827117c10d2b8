"""From the log to the state: what a room begins with, and what a snapshot holds."""

from __future__ import annotations

from collections.abc import Sequence

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import Envelope, StoredEnvelope
from collabkernel.storage.base import OpRow
from collabkernel.wire.ops import decode_op
from collabkernel.wire.state import decode_state, encode_state

LIVE = "live"
"""The partition of live values, as snapshots name it."""


class Fold:
    """A room's state at a seq, moved on by rows of its log."""

    __slots__ = ("hlc", "seq", "tree")

    def __init__(self, tree: LiveTree | None = None, seq: int = 0, hlc: int = 0) -> None:
        self.tree = tree or LiveTree()
        self.tree.tells_changes = False
        self.seq = seq
        self.hlc = hlc

    @classmethod
    def from_parts(cls, parts: dict[str, bytes]) -> Fold:
        """The state that ``to_parts`` wrote."""
        return cls(*decode_state(parts[LIVE], client_id=None))

    def to_parts(self) -> dict[str, bytes]:
        """The state as a snapshot keeps it: partition to bytes."""
        return {LIVE: encode_state(self.tree, self.seq, self.hlc)}

    def apply_rows(self, rows: Sequence[OpRow]) -> None:
        """Apply the rows that follow ``seq``. They were judged before they were stored."""
        apply = self.tree.apply
        for _, site, counter, _, _, hlc, _, _, payload in rows:
            apply(OpId(site, counter), Stamp(hlc, site), decode_op(payload))
        if rows:
            assert rows[0].seq == self.seq + 1
            self.seq = rows[-1].seq
            self.hlc = max(self.hlc, max([row.hlc for row in rows]))


def envelopes_of_rows(rows: Sequence[OpRow]) -> tuple[list[StoredEnvelope], list[list[bytes]]]:
    """The envelopes that rows in seq order were stored as, and their encoded operations.

    One that the rows cut in two comes as two.
    """
    envelopes: list[StoredEnvelope] = []
    payloads: list[list[bytes]] = []
    start = 0
    for end in range(1, len(rows) + 1):
        first = rows[start]
        if end < len(rows) and (rows[end].site, rows[end].first_counter) == (first.site, first.first_counter):
            continue
        encoded = [row.payload for row in rows[start:end]]
        envelope = Envelope(first.counter, first.base, first.hlc, tuple([decode_op(payload) for payload in encoded]))
        envelopes.append(StoredEnvelope(first.seq, first.site, first.actor, envelope))
        payloads.append(encoded)
        start = end
    return envelopes, payloads
