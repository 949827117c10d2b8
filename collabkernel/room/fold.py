"""From the log to the state: what a room begins with, and what a snapshot holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.text import TextRope
from collabkernel.document.operations import Envelope, Op, Purge, StoredEnvelope, TextEdit, TreeOp
from collabkernel.document.room_state import TREE_OPS, RoomState
from collabkernel.errors import InvalidOperationError, InvalidYjsUpdateError, RemoteProtocolError
from collabkernel.storage.base import OpRow
from collabkernel.wire.frames import ops_part
from collabkernel.wire.ops import KIND_BY_CLASS, decode_op
from collabkernel.wire.room_state import LIVE, decode_room, encode_parts, join_parts

TEXT_EDIT_KIND = KIND_BY_CLASS[TextEdit]
_new_tuple = tuple.__new__
"""``OpId(site, counter)`` without the named tuple's own, twice as slow, ``__new__``."""


class Fold:
    """A room's state at a seq, moved on by rows of its log."""

    __slots__ = ("_waiting", "hlc", "seq", "skipped", "state")

    def __init__(self, state: RoomState | None = None, seq: int = 0, hlc: int = 0) -> None:
        self.state = state or RoomState()
        self.state.tell(False)
        self.seq = seq
        self.hlc = hlc
        self.skipped: list[str] = []
        """Operations of the log that do not apply, and why; there should be none."""
        self._waiting: dict[OpId, list[tuple[int, bytes]]] = {}
        """Updates of texts that are not applied yet, each with its seq."""

    @classmethod
    def from_parts(cls, parts: Mapping[str, bytes]) -> Fold:
        """The state that ``to_parts`` wrote."""
        data = join_parts(parts)
        fold = cls(*decode_room(data, client_id=None, is_trusted=True))
        tree = fold.state.tree
        tree.size_bytes = max(tree.size_bytes, len(parts[LIVE]))
        return fold

    def to_parts(self) -> dict[str, bytes]:
        """The state as a snapshot keeps it: partition to bytes. After ``settle``."""
        assert not self._waiting
        return encode_parts(self.state, self.seq, self.hlc)

    def apply_rows(self, rows: Sequence[OpRow]) -> None:
        """Apply the rows that follow ``seq``. They were judged before they were stored.

        What does not apply all the same is skipped, always and everywhere: a room that never opens again would be
        worse.

        Text and the order of lists wait for ``settle``: many at once cost a fraction of what they cost one by one.
        """
        state = self.state
        state.loosen()
        apply, waiting = state.tree.apply, self._waiting
        for row in rows:
            seq, site, counter, _, _, hlc, _, kind, payload = row
            try:
                op = decode_op(payload)
                if kind == TEXT_EDIT_KIND and isinstance(op, TextEdit):
                    waiting.setdefault(op.target, []).append((seq, op.update))
                elif kind > TEXT_EDIT_KIND or state.blocks is not None:
                    self._apply_on_blocks(row, op)
                else:
                    apply(_new_tuple(OpId, (site, counter)), _new_tuple(Stamp, (hlc, site)), op)  # type: ignore[arg-type]  # its kind tells
            except RemoteProtocolError as error:
                self.skipped.append(f"{seq} ({error})")
        if rows:
            assert rows[0].seq == self.seq + 1
            self.seq = rows[-1].seq
            self.hlc = max(self.hlc, max([row.hlc for row in rows]))

    def _apply_on_blocks(self, row: OpRow, op: Op) -> None:
        op_id = OpId(row.site, row.counter)
        self.state.apply(op_id, Stamp(row.hlc, row.site), op)
        if isinstance(op, Purge):
            self._purge(row.seq, op)
        elif op.__class__ in TREE_OPS:
            self.state.judge(row.seq, row.base, op_id, cast(TreeOp, op))

    def _purge(self, seq: int, op: Purge) -> None:
        """Purge, and pass over what was typed where that has gone."""
        self.state.purge(seq, op)
        blocks = self.state.blocks
        for target in [each for each in self._waiting if blocks is None or each not in blocks]:
            if self.state.find_rope(TextEdit(target, b"")) is None:
                del self._waiting[target]

    def settle(self) -> None:
        """Bring texts and lists up to ``seq``."""
        for _ in self.settling():
            pass

    def settling(self) -> Iterator[None]:
        """The same in steps, a text each."""
        while self._waiting:
            target = next(iter(self._waiting))
            updates = self._waiting.pop(target)
            op = TextEdit(target, b"")
            try:
                rope = self.state.rope(op)
            except InvalidOperationError:
                self.skipped += [f"{seq} (no text {target.site}.{target.counter})" for seq, _ in updates]
            else:
                self._type(op, rope, updates)
                self.state.cool(op)
            yield
        self.state.order()

    def make_ready(self) -> None:
        """Do now what the first edits would wait for; a snapshot needs none of it."""
        self.state.make_ready()

    def _type(self, op: TextEdit, rope: TextRope, updates: Sequence[tuple[int, bytes]]) -> None:
        """Apply updates together, or one by one when they do not apply together."""
        before = -self.state.typed_bytes(op) if rope.is_empty else rope.size_bytes
        try:
            rope.apply_stored([update for _, update in updates])
            self.state.holder(op).size_bytes += rope.size_bytes - before
        except InvalidYjsUpdateError as error:
            if len(updates) == 1:
                self.skipped.append(f"{updates[0][0]} ({error})")
                return
            for update in updates:
                self._type(op, rope, [update])


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
