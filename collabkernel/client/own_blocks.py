"""Where blocks stand on a client: what the log says, with the site's own operations on top until they are in it.

Operations of the log are gathered while a message is read, and judged together at its end: the own ones are taken off
and put on again once a message (``document/pending_tree.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

from collabkernel.client.notifications import Discarded, Notification, Placed
from collabkernel.client.own_edits import OwnEdits
from collabkernel.client.pending import PendingEnvelope
from collabkernel.crdt.clock import ms_from_hlc
from collabkernel.crdt.ids import OpId
from collabkernel.crdt.move_tree import Place
from collabkernel.document.operations import BlockDelete, BlockInsert, Op, StoredEnvelope, TreeOp, made_by
from collabkernel.document.pending_tree import LoggedOp, PendingTree
from collabkernel.document.room_state import TREE_OPS, RoomState
from collabkernel.errors import DiscardedError

Places = dict[OpId, tuple[Place | None, Place | None]]


class OwnBlocks:
    """The places of a room's blocks as one site sees them."""

    def __init__(self, state: RoomState, site: int) -> None:
        self._state = state
        self.site = site
        self._pending: PendingTree | None = None
        """Made with the room's first block."""
        self._logged: list[LoggedOp] = []
        self._op_by_id: dict[OpId, TreeOp] = {}
        """Own operations that the log has not judged."""
        self._actors: set[tuple[str, bool]] = set()
        """Of ``_logged``, and whether they are others."""
        self._edits = OwnEdits()
        self._noted: list[StoredEnvelope] = []
        """What ``_edits`` has to know, of what was logged since the last message."""

    def add(self, op_id: OpId, op: Op, base: int) -> Places:
        """Put an own operation on top; what stands elsewhere by that. One that is not on the tree changes nothing."""
        if op.__class__ not in TREE_OPS:
            return {}
        pending = self._made()
        pending.tree.watch()
        self._op_by_id[op_id] = tree_op = cast(TreeOp, op)
        pending.add(op_id, tree_op, base)
        return pending.tree.changes()

    def drop(self, op_ids: Iterable[OpId]) -> Places:
        """Take own operations off that were never sent, or are in the log already; what stands elsewhere by that."""
        known = [op_id for op_id in op_ids if self._op_by_id.pop(op_id, None) is not None]
        return self._made().drop(known) if known else {}

    @contextmanager
    def without_own(self) -> Iterator[None]:
        """Meanwhile no own operation is on top of what the log says."""
        if self._pending is None:
            yield
            return
        with self._pending.without_own():
            yield

    def inserted(self) -> list[OpId]:
        """Own blocks that the log has not judged: all of them is here."""
        made = [made_by(op_id, op) for op_id, op in self._op_by_id.items()]
        return [block for block in made if block is not None]

    def wrote(self, last_counter: int, blocks: Iterable[OpId]) -> None:
        """An envelope was made that ends with ``last_counter``, and edits texts or properties of blocks."""
        self._edits.wrote(last_counter, blocks)

    def stored(self, entry: PendingEnvelope, now_ms: int) -> None:
        """The log has an own envelope, of which nothing need have come: it may be out of sight."""
        if entry.acked_seq is not None:
            self._edits.stored(entry.envelope.last_counter, entry.acked_seq + len(entry.envelope.ops) - 1, now_ms)

    def log(self, stored: StoredEnvelope, actor: str) -> None:
        """The next envelope of the log, own or not; it is judged by ``confirm``."""
        if self._state.blocks is None:
            return
        if stored.site == self.site or any(op.__class__ is BlockDelete for op in stored.envelope.ops):
            self._noted.append(stored)
        for i, op in enumerate(stored.envelope.ops):
            if op.__class__ in TREE_OPS:
                tree_op = cast(TreeOp, op)
                self._logged.append(LoggedOp(stored.seq + i, stored.op_id(i), tree_op, stored.envelope.base))
                self._actors.add((actor, stored.site != self.site))

    def confirm(self, now_ms: int, is_late: bool) -> Iterator[Notification]:
        """Judge what was logged since the last call.

        Args:
            now_ms: The server's time, as far as it is known here.
            is_late: Whether this replica is still being told what it missed.
        """
        yield from self._judge()
        if self._noted:
            noted, self._noted = self._noted, []
            for stored in noted:
                self._note(stored, min(now_ms, ms_from_hlc(stored.envelope.hlc)) if is_late else now_ms)
            yield from self._edits.lost(self._made().tree, now_ms)

    def _note(self, stored: StoredEnvelope, at_ms: int) -> None:
        envelope = stored.envelope
        if stored.site == self.site:
            self._edits.stored(envelope.last_counter, stored.last_seq, at_ms)
            return
        for i, op in enumerate(envelope.ops):
            if op.__class__ is BlockDelete:
                self._edits.deleted(stored.seq + i, envelope.base, stored.actor, at_ms)

    def _judge(self) -> Iterator[Notification]:
        if not self._logged:
            return
        logged, self._logged = self._logged, []
        actors, self._actors = self._actors, set()
        confirmed = self._made().confirm(logged)
        if confirmed.changes:
            actor = next(iter(actors))[0] if len(actors) == 1 else ""
            yield Placed(confirmed.changes, actor, any(is_remote for _, is_remote in actors))
        for op_id, verdict in confirmed.verdicts.items():
            op = self._op_by_id.pop(op_id, None)
            if op is not None and verdict.is_discarded:
                yield Discarded(DiscardedError(verdict.value), op_id if isinstance(op, BlockInsert) else op.target)

    def _made(self) -> PendingTree:
        if self._pending is None:
            assert self._state.blocks is not None, "an operation on blocks is applied before it is placed"
            self._pending = PendingTree(self._state.blocks.tree, self.site)
        return self._pending
