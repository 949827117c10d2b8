"""A move tree in short words: nodes by letter, sites by number, keys made where they are needed."""

from __future__ import annotations

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.move_tree import MoveTree, Verdict

CHILD, INLINE = Slot.CHILD, Slot.INLINE
ROOT_ID = OpId(0, 1)


class Hands:
    """Operations of several sites on one tree; each takes the next seq. ``base`` is the seq its author had seen."""

    def __init__(self) -> None:
        self.tree = MoveTree()
        self.tree.add_root(ROOT_ID)
        self.seq = 0

    def id(self, name: str) -> OpId:
        return ROOT_ID if name == "/" else OpId(100, ord(name))

    def _order(self, site: int, base: int | None) -> dict[str, int]:
        self.seq += 1
        return {"seq": self.seq, "site": site, "base": self.seq - 1 if base is None else base}

    def _key(self, parent: str, slot: Slot, site: int, index: int | None) -> str:
        end = len(self.tree.children(self.id(parent), slot))
        return self.tree.key_at(self.id(parent), slot, end if index is None else index, site)

    def insert(
        self,
        name: str,
        parent: str = "/",
        slot: Slot = CHILD,
        *,
        site: int = 1,
        base: int | None = None,
        index: int | None = None,
        key: str | None = None,
    ) -> Verdict:
        key = key or self._key(parent, slot, site, index)
        return self.tree.insert(self.id(name), self.id(parent), slot, key, **self._order(site, base))

    def move(
        self,
        name: str,
        parent: str,
        slot: Slot = CHILD,
        *,
        site: int = 1,
        base: int | None = None,
        index: int | None = None,
        key: str | None = None,
    ) -> Verdict:
        key = key or self._key(parent, slot, site, index)
        return self.tree.move(self.id(name), self.id(parent), slot, key, **self._order(site, base))

    def delete(self, name: str, *, site: int = 1, base: int | None = None) -> Verdict:
        return self.tree.delete(self.id(name), **self._order(site, base))

    def rekey(self, parent: str, slot: Slot = CHILD, *, site: int = 9, base: int | None = None) -> Verdict:
        keys = self.tree.plan_rebalance(self.id(parent), slot, site)
        return self.tree.rekey(self.id(parent), slot, keys, **self._order(site, base))

    def name(self, node: OpId) -> str:
        return chr(node.counter)

    def outline(self) -> str:
        """The live tree, as ``a(b c) d+e``: children in brackets, inline nodes behind a plus."""
        return self._below("/", CHILD)

    def _below(self, name: str, slot: Slot) -> str:
        names = [self.name(node) for node in self.tree.children(self.id(name), slot)]
        return (" " if slot is CHILD else "").join(self._node(each, slot) for each in names)

    def _node(self, name: str, slot: Slot) -> str:
        children, inline = self._below(name, CHILD), self._below(name, INLINE)
        text = name + inline + (f"({children})" if children else "")
        return text if slot is CHILD else f"+{text}"
