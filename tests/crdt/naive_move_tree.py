"""The move tree as the rules tell it, slow and obvious: plain dicts, every question answered by looking at everything.

It knows nothing of seqs, bases, sites or flags: each operation comes with the set of all operations that its author had
seen, and what is dead, below or beside something is worked out anew each time.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    NewDocument,
    TreeOp,
    document_id,
)
from collabkernel.limits import BLOCK_DEPTH_MAX, ORDER_KEY_BYTES_MAX

TRASH = OpId(0, 0)
REKEYS_KEPT = 2
LOWEST = "2000000a0V"

Where = tuple[OpId, Slot, str]
Seen = AbstractSet[OpId]


class NaiveTree:
    """Where each block is, and how it came there."""

    def __init__(self, depth_max: int = BLOCK_DEPTH_MAX) -> None:
        self.depth_max = depth_max
        self.where: dict[OpId, Where] = {}
        """Parent, slot and key; of a deleted block the parent is TRASH."""
        self.died_from: dict[OpId, Where] = {}
        """Of each deleted block: its last place."""
        self.placed_by: dict[OpId, OpId] = {}
        """The operation that decided where a block is."""
        self.roots: set[OpId] = set()
        self.rekeys: list[tuple[OpId, OpId, Slot, list[tuple[str, str]]]] = []
        """Operation, parent, slot, and old and new keys; the last two of each parent and slot."""
        self.rekeyed_before_death: dict[OpId, set[OpId]] = {}
        """Of each deleted block: the rekeys that its last place knows."""

    # -- what is where

    def is_known(self, id: OpId) -> bool:
        return id in self.roots or id in self.where

    def way_up(self, id: OpId) -> list[OpId]:
        """The block, its parent, and so on, to a root or to TRASH."""
        way = [id]
        while way[-1] not in self.roots and way[-1] != TRASH:
            assert len(way) <= len(self.where) + 1, "a cycle"
            way.append(self.where[way[-1]][0])
        return way

    def whole_way(self, id: OpId) -> list[OpId]:
        """The block, the parent that it has or had, and so on to a root."""
        way = [id]
        while way[-1] not in self.roots:
            way.append((self.died_from.get(way[-1]) or self.where[way[-1]])[0])
        return way

    def is_dead(self, id: OpId) -> bool:
        return self.way_up(id)[-1] == TRASH

    def beside(self, parent: OpId, slot: Slot) -> list[OpId]:
        found = [id for id, where in self.where.items() if where[:2] == (parent, slot)]
        return sorted(found, key=lambda id: (self.where[id][2], id))

    def below(self, parent: OpId) -> list[OpId]:
        return self.beside(parent, Slot.CHILD) + self.beside(parent, Slot.INLINE)

    def shown(self, parent: OpId) -> list[OpId]:
        """Blocks in document order; inline ones show nothing themselves, but what is below them."""
        shown: list[OpId] = []
        for id in self.below(parent):
            shown += [id] if self.where[id][1] is Slot.CHILD else []
            shown += self.shown(id)
        return shown

    # -- the rules

    def apply(self, op_id: OpId, op: TreeOp, seen: Seen) -> str:
        seen = seen | {op_id}
        if isinstance(op, NewDocument):
            return self.new_document(document_id(op.name))
        if isinstance(op, BlockInsert):
            return self.insert(op_id, op, seen)
        if isinstance(op, BlockMove):
            return self.move(op_id, op, seen)
        if isinstance(op, BlockDelete):
            return self.delete(op_id, op.target, seen)
        return self.rekey(op_id, op, seen)

    def new_document(self, root: OpId) -> str:
        if root in self.roots:
            return "noop"
        self.roots.add(root)
        return "applied"

    def insert(self, op_id: OpId, op: BlockInsert, seen: Seen) -> str:
        if self.is_known(op_id):
            return "noop"
        if not self.is_known(op.target):
            return "unknown"
        if len(self.whole_way(op.target)) > self.depth_max:
            return "too-deep"
        place = (op.target, op.slot, self.translated(op.target, op.slot, op.key, seen))
        verdict = "lifted" if self.is_dead(op.target) else "applied"
        self.where[op_id] = self.lifted(*place)
        self.placed_by[op_id] = op_id
        return verdict

    def lifted(self, parent: OpId, slot: Slot, key: str) -> Where:
        """The nearest live place; keys of all that is dead on the way come before the own one."""
        keys, slots = [key], [slot]
        while self.is_dead(parent):
            dead = parent
            parent, dead_slot, dead_key = self.died_from.get(dead) or self.where[dead]
            if dead in self.died_from:
                dead_key = self.translated(parent, dead_slot, dead_key, self.rekeyed_before_death[dead])
            keys.insert(0, dead_key)
            slots.insert(0, dead_slot)
        return parent, all_inline(slots), joined(keys)

    def move(self, op_id: OpId, op: BlockMove, seen: Seen) -> str:
        id = op.target
        if id not in self.where or not self.is_known(op.parent):
            return "unknown"
        place = (op.parent, op.slot, self.translated(op.parent, op.slot, op.key, seen))
        if self.where[id] == place and not self.is_dead(id):
            return "noop"
        if self.placed_by[id] not in seen:
            return "concurrent"
        if self.is_dead(id):
            *way, trashed, _ = self.way_up(id)
            if len(way) >= self.depth_max:
                return "too-deep"
            if self.placed_by[trashed] not in seen:
                return "concurrent"
        way = [above for above in self.way_up(op.parent) if above != TRASH]
        if id in way[: self.depth_max]:
            return "cycle"
        if len(way) > self.depth_max:
            return "too-deep"
        if self.is_dead(op.parent):
            return "dead-parent"
        self.where[id] = place
        self.died_from.pop(id, None)
        self.placed_by[id] = op_id
        return "applied"

    def delete(self, op_id: OpId, id: OpId, seen: Seen) -> str:
        if id not in self.where:
            return "unknown"
        if self.where[id][0] == TRASH:
            return "noop"
        if self.placed_by[id] not in seen:
            return "concurrent"
        here = self.where[id]
        self.lift_unseen(id, [here], seen)
        self.died_from[id] = here
        self.rekeyed_before_death[id] = {rekey[0] for rekey in self.rekeys}
        self.where[id] = (TRASH, *here[1:])
        self.placed_by[id] = op_id
        return "applied"

    def lift_unseen(self, id: OpId, way: list[Where], seen: Seen) -> None:
        for below in self.below(id):
            way_below = [*way, self.where[below]]
            if self.placed_by[below] in seen:
                self.lift_unseen(below, way_below, seen)
            else:
                slots, keys = [slot for _, slot, _ in way_below], [key for _, _, key in way_below]
                self.where[below] = (way[0][0], all_inline(slots), joined(keys))

    def rekey(self, op_id: OpId, op: BlockRekey, seen: Seen) -> str:
        if not self.is_known(op.target):
            return "unknown"
        if any((parent, slot) == (op.target, op.slot) and by not in seen for by, parent, slot, _ in self.rekeys):
            return "concurrent"
        beside = self.beside(op.target, op.slot)
        new = {id: key for id, key in op.keys if id in beside and self.placed_by[id] in seen}
        if not new:
            return "noop"
        changed = [(self.where[id][2], new[id]) for id in beside if id in new]
        for id in beside:
            self.where[id] = (op.target, op.slot, new.get(id) or translate(changed, self.where[id][2]))
        self.rekeys.append((op_id, op.target, op.slot, changed))
        of_place = [rekey for rekey in self.rekeys if rekey[1:3] == (op.target, op.slot)]
        if len(of_place) > REKEYS_KEPT:
            self.rekeys.remove(of_place[0])
        return "applied"

    def translated(self, parent: OpId, slot: Slot, key: str, seen: Seen) -> str:
        """A key that was made before rekeys which its author had not seen."""
        for op_id, *place, changed in self.rekeys:
            if place == [parent, slot] and op_id not in seen:
                key = translate(changed, key)
        return key


def translate(changed: list[tuple[str, str]], key: str) -> str:
    before = [new for old, new in changed if old <= key]
    return joined([before[-1] if before else LOWEST, key])


def joined(keys: list[str]) -> str:
    candidates = ["".join(keys), keys[0] + keys[-1], keys[0]]
    return next(each for each in candidates if len(each) <= ORDER_KEY_BYTES_MAX)


def all_inline(slots: list[Slot]) -> Slot:
    return Slot.INLINE if set(slots) == {Slot.INLINE} else Slot.CHILD
