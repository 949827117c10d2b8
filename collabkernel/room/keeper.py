"""The keeper of a room's block documents: says when to mend what crossed, and writes it into the log as anybody does.

What to mend is found by ``document/block_mending.py`` and by the tree, which knows long order keys. Here it is decided
where and when to look. Nothing is polled: operations that are in the log call for it (``note``), in a look-up or two
for what is typed; and looking is metered in blocks.

- A split, merge or delete whose author had not seen the last one of somebody else: the ropes of what it placed.
- New keys of its own: the ropes of those siblings, since what moves up for one text may leave another's behind it.
- A key over ``ORDER_KEY_REBALANCED_BYTES``: its siblings.
- A merge, or a deletion in a rope with merged blocks: those of its blocks that are empty, ``merged_kept_ms`` later.
- Text in a rope of which the keeper has put a block into the trash: whether that has come back to life.

When there is nothing to mend it purges what it was told is deleted for long (``purger.py``), in rooms without documents
too.

*Everybody has seen the merge* is that age. Who is connected is sent an operation within a flush, or is sent away after
``lagging_max_ms``; so what is still typed into the merged block after ten minutes comes from somebody who was offline
or asleep when it was merged, for any length of time, or from an undo. No bound would do for those; when they type, the
block comes back to where it was merged.

One server keeps a room at a time. It has a lease and the room's site ``KEEPER_SITE``, whose epoch it raised: whoever
had that before can store nothing more. It writes when it has seen all that they stored, so the site's operations know
each other, as those of any site do. One envelope at a time is on its way, and the next is found when it is judged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from collabkernel.crdt.clock import ms_from_hlc
from collabkernel.crdt.ids import KEEPER_SITE, OpId, Slot
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_mending import (
    empty_parts,
    merged_blocks,
    misordered_splits,
    revived_parts,
    stranded_parts,
    taken_away,
)
from collabkernel.document.block_text import BlockRope
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    Op,
    StoredEnvelope,
    TextEdit,
    TreeOp,
)
from collabkernel.document.room_state import RoomState
from collabkernel.limits import Limits
from collabkernel.room.effects import AskKeeping, CountPurged, Effect
from collabkernel.room.events import Keeping
from collabkernel.room.intake import Intake
from collabkernel.room.purger import Purger
from collabkernel.room.quota import TokenBucket

KEEPER_ACTOR = "collabkernel"
"""Signs what it writes."""
WAKING_BLOCKS = 3
"""Making a text ready that is bytes costs about as much as looking at so many blocks."""
HOST_PARTS_MAX = 100
"""Parts of one block whose ropes are looked at when another is merged into it."""

Ops: TypeAlias = list[TreeOp]


class _Waiting(NamedTuple):
    """A rope with merged blocks that may be empty."""

    due_ms: int
    rope: OpId
    seq: int
    """The head of the log when it was noted: merges up to there have come of age."""


@dataclass(slots=True)
class _Last:
    """The last operation that placed blocks, and the last one of another site than that."""

    seq: int
    site: int = 0
    others_seq: int = 0

    def note(self, seq: int, site: int) -> None:
        """The next one in the log."""
        if site != self.site:
            self.others_seq, self.site = self.seq, site
        self.seq = seq

    def is_unseen(self, site: int, base: int) -> bool:
        """Whether a site that had the log up to ``base`` lacked one of another's."""
        return base < (self.others_seq if site == self.site else self.seq)


class Keeper:
    """Of one loaded room."""

    __slots__ = (
        "_allowance",
        "_emptied",
        "_has_long_keys",
        "_is_asking",
        "_is_writing",
        "_keeping",
        "_last",
        "_left",
        "_limits",
        "_merged",
        "_next_ms",
        "_rounds",
        "_rounds_by_rope",
        "_state",
        "_taken",
        "_waiting",
        "_waiting_ropes",
        "_woken",
        "is_behind",
        "purger",
    )

    def __init__(self, state: RoomState, head: int, hlc: int, limits: Limits, now_ms: int) -> None:
        """Begin with a room that was just loaded: whatever nobody has mended before is looked at once.

        Args:
            state: The room's.
            head: The last seq that is in it.
            hlc: The highest stamp in it: merges are at least as old, but for those of who was offline.
            limits: What is allowed.
            now_ms: Server's clock.
        """
        self._state = state
        self._limits = limits
        self._allowance = TokenBucket(limits.keeper_blocks_per_s, limits.keeper_blocks_burst, now_ms)
        self._last = _Last(head)
        self._rounds = 0
        """Envelopes of a keeper since anybody else has written: what they bring about is looked at in the first few."""
        self._left: set[int] = set()
        """Orders of siblings that a keeper has changed since then, by their hash. Texts of which one wants this order
        and one another, since their blocks were merged crosswise, would have it change them for ever."""
        self._rounds_by_rope: dict[OpId, int] = {}
        """Ropes to look at for what crossed, and how often the keeper may still mend each."""
        self._merged: set[OpId] = set()
        """Ropes with blocks that were merged into others."""
        self._taken: set[OpId] = set()
        """Ropes with blocks that the keeper has put into the trash."""
        self._waiting: deque[_Waiting] = deque()
        self._waiting_ropes: set[OpId] = set()
        self._emptied: dict[OpId, int] = {}
        """Of what waited: ropes to look at, and the seq up to which merges have come of age."""
        self._has_long_keys = False
        self._woken: list[BlockRope] = []
        """Texts that nobody edits, and that are ready for one look alone."""
        self._keeping: Keeping | None = None
        self._is_asking = False
        self._is_writing = False
        """An envelope of it is on its way to the log."""
        self.is_behind = False
        """The room has not seen all that the last keeper stored."""
        self._next_ms = now_ms
        self.purger = Purger(state)
        """What it lets go of when there is nothing to mend."""
        if state.blocks is not None:
            self._look_back(state.blocks, head, min(ms_from_hlc(hlc), now_ms))

    def _look_back(self, document: BlockDocument, head: int, written_ms: int) -> None:
        blocks = document.blocks
        self._suspect(blocks.split_ropes())
        self._taken.update([blocks[block].rope_id for block in taken_away(document, KEEPER_SITE)])
        self._suspect(self._taken)
        for block in merged_blocks(document):
            self._wait_for(blocks[block].rope_id, head, written_ms)
        self._has_long_keys = document.tree.has_long_keys

    # -- what calls for it

    def note(self, stored: StoredEnvelope, now_ms: int) -> None:
        """The next envelope of the log, judged."""
        document = self._state.blocks
        self.is_behind = False
        if document is None and not self._is_writing:
            return
        if stored.site == KEEPER_SITE:
            self._is_writing, self._next_ms = False, now_ms
            self._rounds += 1
        else:
            self._rounds = 0
            self._left.clear()
        if document is None:
            return
        for i, op in enumerate(stored.envelope.ops):
            if isinstance(op, TextEdit):
                self._note_text(op, stored.seq + i, now_ms)
            elif isinstance(op, BlockInsert | BlockMove | BlockDelete | BlockRekey):
                self._has_long_keys = self._has_long_keys or document.tree.has_long_keys
                self._note_place(document, op, stored, stored.seq + i, now_ms)

    def _note_text(self, op: TextEdit, seq: int, now_ms: int) -> None:
        if op.target in self._merged and op.update[-1:] != b"\0":  # something was deleted
            self._wait_for(op.target, seq, now_ms)
        if op.target in self._taken:
            self._suspect((op.target,))

    def _note_place(self, document: BlockDocument, op: Op, stored: StoredEnvelope, seq: int, now_ms: int) -> None:
        if isinstance(op, BlockMove | BlockDelete) and op.target not in document:
            return  # purged, by what came with it
        site, base = stored.site, stored.envelope.base
        ropes: Iterable[OpId] = ()
        if isinstance(op, BlockInsert):
            ropes = () if op.split is None else (op.split,)
        elif isinstance(op, BlockMove) and op.slot is Slot.INLINE:
            ropes = _ropes_of_merge(document, op)
            self._wait_for(document.blocks[op.target].rope_id, seq, now_ms)
        elif isinstance(op, BlockDelete):
            ropes = (document.blocks[op.target].rope_id,)
            if site == KEEPER_SITE:
                self._note_taken(document, op.target, seq, now_ms)
        elif isinstance(op, BlockRekey):
            ropes = _ropes_reordered(document, op)
        else:
            return
        if self._last.is_unseen(site, base) if site != KEEPER_SITE else self._rounds <= self._limits.keeper_rounds:
            self._suspect(ropes)
        if ropes or isinstance(op, BlockRekey):
            self._last.note(seq, site)

    def _note_taken(self, document: BlockDocument, block: OpId, seq: int, now_ms: int) -> None:
        rope, host = document.blocks.rope_of(block), document.tree.parent_of(block)
        self._taken.add(rope)
        self._suspect((rope,))  # somebody may have typed in it since it was found empty
        if host is not None and document.blocks[host].rope_id in self._merged:
            self._wait_for(document.blocks[host].rope_id, seq, now_ms)

    def _suspect(self, ropes: Iterable[OpId]) -> None:
        for rope in ropes:
            self._rounds_by_rope[rope] = self._limits.keeper_rounds

    def _wait_for(self, rope: OpId, seq: int, now_ms: int) -> None:
        self._merged.add(rope)
        if rope not in self._waiting_ropes:
            self._waiting_ropes.add(rope)
            self._waiting.append(_Waiting(now_ms + self._limits.merged_kept_ms, rope, seq))

    # -- the right to write

    def answered(self, keeping: Keeping | None, now_ms: int) -> None:
        """The answer to ``AskKeeping``: None while another server keeps this room."""
        self._is_asking, self._keeping = False, keeping
        self._next_ms = now_ms if keeping is not None else now_ms + self._limits.keeper_ask_ms

    def due_ms(self) -> int | None:
        """When to ``work``; None when nothing calls for it, or an answer or the log is waited for."""
        if self._is_asking or self._is_writing or self.is_behind:
            return None
        if self._rounds_by_rope or self._emptied or self._has_long_keys or self.purger.is_waiting:
            return self._next_ms
        return max(self._waiting[0].due_ms, self._next_ms) if self._waiting else None

    def work(self, intake: Intake, now_ms: int) -> list[Effect]:
        """Look for what is due, and write what is found, or ask for the right to."""
        document = self._state.blocks
        self._next_ms = now_ms + self._limits.keeper_tick_ms
        self._take_waiting(now_ms)
        ops: Ops = [] if document is None else self._mending(document, now_ms)
        purges = [] if ops else self.purger.next()
        if not ops and not purges:
            return []
        keeping = self._keeping
        if keeping is None or keeping.until_ms <= now_ms:
            self._is_asking = True
            return [AskKeeping()]
        if intake.head < keeping.seq:
            self.is_behind = True
            return []
        if not self._write(keeping, intake, purges or ops[: self._limits.keeper_ops], now_ms):
            return []
        self.purger.written(len(purges))
        return [*intake.take_append(), *([CountPurged(self.purger.count)] if purges else [])]

    def _mending(self, document: BlockDocument, now_ms: int) -> Ops:
        ops = self._crossed(document, now_ms) or self._empty(document, now_ms) or self._long_keys(document, now_ms)
        for rope in self._woken:
            rope.cool()
        self._woken.clear()
        return ops

    def _write(self, keeping: Keeping, intake: Intake, ops: Sequence[Op], now_ms: int) -> bool:
        if intake.mend(KEEPER_SITE, keeping.epoch, keeping.next_counter, KEEPER_ACTOR, ops, now_ms):
            self._keeping = keeping.after(len(ops))
            self._is_writing = True
        else:
            self._next_ms = now_ms + self._limits.keeper_lease_ms
        return self._is_writing

    # -- looking

    def _take_waiting(self, now_ms: int) -> None:
        while self._waiting and self._waiting[0].due_ms <= now_ms:
            _, rope, seq = self._waiting.popleft()
            self._waiting_ropes.discard(rope)
            self._emptied[rope] = seq

    def _affordable(self, document: BlockDocument, ropes: Iterable[OpId], now_ms: int) -> list[OpId]:
        """As many ropes as may be looked at now; at least one, unless the allowance is used up."""
        found: list[OpId] = []
        count = 0
        for id in ropes:
            blocks = self._blocks_in(document.ropes.get(id))
            if found and count + blocks > self._limits.keeper_blocks_per_tick:
                break
            if blocks > self._limits.keeper_blocks_burst:
                self._rounds_by_rope.pop(id, None)
                self._emptied.pop(id, None)
                continue
            found.append(id)
            count += blocks
        wait_ms = self._allowance.take(count, now_ms) if found else 0
        if wait_ms:
            self._next_ms = now_ms + wait_ms
        return [] if wait_ms else found

    def _blocks_in(self, rope: BlockRope | None) -> int:
        """What looking at a rope is charged."""
        if rope is None:
            return 1
        waking = rope.waking * WAKING_BLOCKS
        if waking:
            self._woken.append(rope)
        return 1 + len(rope.rope.markers) + waking

    def _crossed(self, document: BlockDocument, now_ms: int) -> Ops:
        ropes = self._affordable(document, list(self._rounds_by_rope), now_ms)
        ops: Ops = [*revived_parts(document, KEEPER_SITE, ropes)]
        ops = ops or [*stranded_parts(document, KEEPER_SITE, ropes)]
        ops = ops or [*self._bounded(document, misordered_splits(document, KEEPER_SITE, ropes), now_ms)]
        for rope in ropes:
            self._rounds_by_rope[rope] -= 1
            if not ops or self._rounds_by_rope[rope] <= 0:
                del self._rounds_by_rope[rope]
        return ops

    def _bounded(self, document: BlockDocument, rekeys: Iterable[BlockRekey], now_ms: int) -> list[BlockRekey]:
        """Those of not too many siblings that bring back no order that the keeper has just changed."""
        found = [
            rekey
            for rekey in rekeys
            if len(rekey.keys) <= self._limits.rekeyed_siblings
            and _order_hash(rekey, [block for block, _ in rekey.keys]) not in self._left
        ]
        self._allowance.charge(sum([len(rekey.keys) for rekey in found]), now_ms)
        self._left.update([_order_hash(rekey, document.tree.children(rekey.target, rekey.slot)) for rekey in found])
        return found

    def _empty(self, document: BlockDocument, now_ms: int) -> Ops:
        ops: Ops = []
        for rope in self._affordable(document, list(self._emptied), now_ms):
            seq = self._emptied[rope]
            found = empty_parts(document, seq, (rope,))
            ops += found
            if found:
                continue  # it is looked at again when they are gone
            del self._emptied[rope]
            merged = merged_blocks(document, (rope,))
            if not merged:
                self._merged.discard(rope)
            elif any(document.tree.position_op_of(block)[0] > seq for block in merged):
                self._wait_for(rope, max(document.tree.position_op_of(block)[0] for block in merged), now_ms)
        return ops

    def _long_keys(self, document: BlockDocument, now_ms: int) -> Ops:
        """New keys for the siblings of one slot; the others in the rounds that follow."""
        if not self._has_long_keys:
            return []
        tree = document.tree
        for parent, slot in tree.rebalances_due():
            count = len(tree.children(parent, slot))
            if count > self._limits.rekeyed_siblings:
                continue
            wait_ms = self._allowance.take(count, now_ms)
            if wait_ms:
                self._next_ms = now_ms + wait_ms
                return []
            return [BlockRekey(parent, slot, tree.plan_rebalance(parent, slot, KEEPER_SITE))]
        self._has_long_keys = False
        return []


def _order_hash(rekey: BlockRekey, order: list[OpId]) -> int:
    return hash((rekey.target, rekey.slot, *order))


def _ropes_reordered(document: BlockDocument, op: BlockRekey) -> list[OpId]:
    """Those of siblings that were split off or merged: what moves up for one text may leave another's behind it."""
    blocks = [document.blocks[block] for block, _ in op.keys if block in document]
    return list(dict.fromkeys([block.rope_id for block in blocks if block.placed is not None]))


def _ropes_of_merge(document: BlockDocument, op: BlockMove) -> list[OpId]:
    """Those of the merged block, and of all that it stands behind."""
    tree = document.tree
    if op.target not in tree:
        return []
    parts = document.parts(tree.host_of(op.target))[:HOST_PARTS_MAX]
    return list(dict.fromkeys([document.blocks[each].rope_id for each in (op.target, *parts)]))
