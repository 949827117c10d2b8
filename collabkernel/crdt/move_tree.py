"""The move tree: blocks that many people insert, move, nest, merge and delete at once, and that stays a tree.

There is one kind of operation: position(node) = (parent, slot, key). An insert is a node's first, a delete has the
parent TRASH, a merge has the slot INLINE of its host. Operations are judged one by one in the order of the log, and
verdicts are final: every fold of the log finds the same ones.

The tree and its cycle check are those of Kleppmann, Mulligan, Gomes and Beresford, "A highly-available move operation
for replicated trees" (2022). There, replicas order operations by timestamp, and undo and redo what comes late; here the
log's order is the order, so nothing is undone on servers. And there the last of concurrent moves wins, here the first.

*p is in op's past* when ``p.site == op.site or p.seq <= op.base``. A node's *position operation* is the last one that
decided where it stands. The rules:

1. An unknown node or parent: discarded. A node that is already there: no-op.
2. The position operation of the node is not in the operation's past: discarded. So among concurrent operations on one
   node the first in the log wins. To move a dead node, the delete that it died of must be in the past as well: the move
   then restores it, with all that is dead below it.
3. A node would come below itself, or anything over a thousand levels down: discarded.
4. The new parent is dead: a move is discarded. An insert is *lifted* to the nearest live place on the way up from where
   the dead parent stood, with the keys of that way before its own.
5. A delete covers the nodes below whose position operation is in its past, and goes on below them. The others are
   *lifted*, with all below them, to where the deleted node stood. A lift is no position operation. What was covered
   stays where it was, below what was deleted. It may still be deleted itself, and then is not restored with the rest.
6. Keys are translated when the siblings were rekeyed since the author's base (``tree/rekeys.py``). Of concurrent rekeys
   of the same siblings, the first wins.

A lifted node stays inline only if all on its way were: text that somebody merged into a deleted block stands alone.

A move costs a walk from the new parent to the root; siblings, other nodes and history do not matter. A delete and its
restore cost what they cover (``visited``).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.tree.node import (
    Node,
    Place,
    Verdict,
    deleted_out_of,
    depths_shown_below,
    ids_died_with,
    ids_shown_below,
    inline_below,
    is_too_deep,
    mark_dead,
    obstacle_above,
    trash_root,
    unseen_below,
    way_up,
)
from collabkernel.crdt.tree.rekeys import Rekey, RekeyHistory, fresh_keys, join_keys
from collabkernel.crdt.tree.rows import NodeRow, linked, rows_below
from collabkernel.crdt.tree.siblings import Siblings
from collabkernel.limits import ORDER_KEY_REBALANCED_BYTES

__all__ = ["MoveTree", "Place", "Verdict"]

CHILD, INLINE = Slot.CHILD, Slot.INLINE
APPLIED, LIFTED, NOOP, CONCURRENT = Verdict.APPLIED, Verdict.LIFTED, Verdict.NOOP, Verdict.CONCURRENT
CYCLE, DEAD_PARENT, TOO_DEEP, UNKNOWN = Verdict.CYCLE, Verdict.DEAD_PARENT, Verdict.TOO_DEEP, Verdict.UNKNOWN

Undo = Callable[[], None]


class MoveTree:
    """The blocks of a room's documents. Operations come in the order of their seqs."""

    __slots__ = ("_journal", "_long_places", "_nodes", "_roots", "_was_at", "rekey_history", "visited")

    def __init__(self) -> None:
        self.visited = 0
        """Nodes that deletes, restores and rekeys looked at: what a hostile author can make dear (0.1 to 1 us each)."""
        self._nodes: dict[OpId, Node] = {}
        self._roots: list[Node] = []
        self.rekey_history = RekeyHistory()
        """Read by whoever keeps a key for later."""
        self._long_places: set[tuple[OpId, Slot]] = set()
        """Parents and slots in which a key over 64 bytes was put."""
        self._journal: list[Undo] | None = None
        """What takes back each change since ``mark`` was first called."""
        self._was_at: dict[OpId, Place | None] | None = None
        """Where nodes stood before they were first changed since ``watch``."""

    # -- judging

    def add_root(self, root: OpId) -> Verdict:
        """The root of a document; made twice, it is made once."""
        if root in self._nodes:
            return NOOP
        node = Node(root, None, CHILD, "", 0, root.site)
        self._nodes[root] = node
        self._roots.append(node)
        if self._journal is not None:
            self._journal.append(partial(self._remove_root, node))
        return APPLIED

    def insert(self, node: OpId, parent: OpId, slot: Slot, key: str, *, seq: int, site: int, base: int) -> Verdict:
        """A new node: APPLIED, LIFTED, NOOP, TOO_DEEP or UNKNOWN."""
        nodes = self._nodes
        if node in nodes:
            return NOOP
        above = nodes.get(parent)
        if above is None:
            return UNKNOWN
        if is_too_deep(above):
            return TOO_DEEP
        if self.rekey_history:
            key = self.rekey_history.translate(parent, slot, key, site, base)
        verdict = APPLIED
        if above.is_dead:
            above, slot, key = self._live_place(above, slot, key)
            verdict = LIFTED
        new = Node(node, above, slot, key, seq, site)
        nodes[node] = new
        above.add(new)
        if len(key) > ORDER_KEY_REBALANCED_BYTES:
            self._long_places.add((above.id, slot))
        if self._journal is not None:
            self._journal.append(partial(self._remove_inserted, new))
        if self._was_at is not None:
            self._was_at.setdefault(node, None)
        return verdict

    def move(self, node: OpId, parent: OpId, slot: Slot, key: str, *, seq: int, site: int, base: int) -> Verdict:
        """Another place for a node and all below it, or its way out of the trash."""
        nodes = self._nodes
        moved, above = nodes.get(node), nodes.get(parent)
        if moved is None or above is None or moved.parent is None:
            return UNKNOWN
        if self.rekey_history:
            key = self.rekey_history.translate(parent, slot, key, site, base)
        if moved.parent is above and moved.key == key and moved.slot is slot and not moved.is_dead:
            return NOOP
        if moved.seq > base and moved.site != site:
            return CONCURRENT
        if moved.is_dead:
            trashed = trash_root(moved)
            if trashed is None:
                return TOO_DEEP
            if trashed.seq > base and trashed.site != site:
                return CONCURRENT
        obstacle = obstacle_above(above, moved)
        if obstacle is not None:
            return obstacle
        if above.is_dead:
            return DEAD_PARENT
        self._put(moved, above, slot, key, False, seq, site)
        return APPLIED

    def delete(self, node: OpId, *, seq: int, site: int, base: int) -> Verdict:
        """Take a node away, with what its author saw below it."""
        deleted = self._nodes.get(node)
        if deleted is None or deleted.parent is None:
            return UNKNOWN
        if deleted.is_trashed:
            return NOOP
        if deleted.seq > base and deleted.site != site:
            return CONCURRENT
        above, slot = deleted.parent, deleted.slot
        # Lifted first: what is still below when the node goes is what dies with it.
        unseen, visited = unseen_below(deleted, site, base)
        self.visited += visited
        for lifted, lifted_slot, key in unseen:
            self._put(lifted, above, lifted_slot, key, False, lifted.seq, lifted.site)
        self._put(deleted, above, slot, deleted.key, True, seq, site)
        return APPLIED

    def rekey(
        self, parent: OpId, slot: Slot, keys: Iterable[tuple[OpId, str]], *, seq: int, site: int, base: int
    ) -> Verdict:
        """New keys for the children of one slot: APPLIED, NOOP, CONCURRENT or UNKNOWN.

        Named children that are elsewhere by now are left alone; children that are not named, since the author did not
        know them, keep their place among the others.
        """
        above = self._nodes.get(parent)
        if above is None:
            return UNKNOWN
        rekeys = self.rekey_history.of(parent, slot)
        if rekeys and rekeys[-1].seq > base and rekeys[-1].site != site:
            return CONCURRENT
        siblings = list(above.siblings_in(slot) or ())
        self.visited += len(siblings)
        known = {node.id for node in siblings if node.seq <= base or node.site == site}
        new_by_id = {id: key for id, key in keys if id in known}
        if not new_by_id:
            return NOOP
        named = [node for node in siblings if node.id in new_by_id]
        rekey = Rekey(seq, site, [node.key for node in named], [new_by_id[node.id] for node in named])
        key_by_id = {node.id: node.key for node in siblings}
        self._set_keys(above, slot, {node.id: new_by_id.get(node.id) or rekey.translate(node.key) for node in siblings})
        forgotten = self.rekey_history.add(parent, slot, rekey)
        if self._journal is not None:
            self._journal.append(partial(self._undo_rekey, above, slot, key_by_id, forgotten))
        return APPLIED

    # -- taking back

    def mark(self) -> int:
        """A point to ``rewind`` to. From the first mark to ``settle``, what takes changes back is kept."""
        if self._journal is None:
            self._journal = []
        return len(self._journal)

    def rewind(self, mark: int = 0) -> None:
        """Take back all since a mark, the last first."""
        journal = self._journal
        assert journal is not None, "rewind needs a mark"
        self._journal = None
        while len(journal) > mark:
            journal.pop()()
        self._journal = journal

    def settle(self) -> None:
        """Keep all that was applied: forget the marks."""
        self._journal = None

    def watch(self) -> None:
        """From here on, note where the nodes that change stood."""
        self._was_at = {}

    def changes(self) -> dict[OpId, tuple[Place | None, Place | None]]:
        """Where the nodes that changed since ``watch`` stood and stand; None: nowhere, or in the trash. Ends the watch.

        What came or went below a node that was deleted or restored is not told.
        """
        was_at, self._was_at = self._was_at or {}, None
        both = ((id, was, self.place_of(id)) for id, was in was_at.items())
        return {id: (was, now) for id, was, now in both if was != now}

    # -- state

    def rows(self) -> Iterator[NodeRow]:
        """Every node, parents before children: the documents in their order, then what was deleted, by id."""
        roots = sorted(self._roots, key=lambda node: node.id)
        trashed = sorted((node for node in self._nodes.values() if node.is_trashed), key=lambda node: node.id)
        for top in (*roots, *trashed):
            yield from rows_below(top)

    def rekeys(self) -> list[tuple[OpId, Slot, Rekey]]:
        """The last rekeys of each parent and slot, by parent, slot and seq."""
        return self.rekey_history.items()

    @classmethod
    def restore(cls, rows: Iterable[NodeRow], rekeys: Iterable[tuple[OpId, Slot, Rekey]] = ()) -> MoveTree:
        """The tree whose ``rows`` and ``rekeys`` these are.

        Raises:
            UnknownReferenceError: A row names a parent that has no row.
        """
        tree = cls()
        tree._nodes = linked(rows)
        tree._roots = [node for node in tree._nodes.values() if node.parent is None]
        for node in [node for node in tree._nodes.values() if len(node.key) > ORDER_KEY_REBALANCED_BYTES]:
            if node.parent is not None:
                tree._long_places.add((node.parent.id, node.slot))
        for parent, slot, rekey in rekeys:
            tree.rekey_history.add(parent, slot, rekey)
        return tree

    def trashed(self) -> list[tuple[OpId, int]]:
        """What was deleted itself, and the seq of that; in no order."""
        return [(node.id, node.seq) for node in self._nodes.values() if node.is_trashed]

    def trashed_out_of(self, parents: Container[OpId]) -> list[tuple[OpId, OpId]]:
        """What was deleted itself while it stood below one of these, and that one."""
        return deleted_out_of(self._nodes.values(), parents)

    def died_with(self, top: OpId) -> list[OpId]:
        """A node that was deleted itself, and all below it that died of that; nothing if it was not."""
        return ids_died_with(self._nodes.get(top))

    def forget(self, tops: Iterable[OpId]) -> None:
        """Let go of deleted nodes for good, with all that died with them; what was deleted there has to go before."""
        assert self._journal is None, "nothing takes this back"
        for id in [id for top in tops for id in self.died_with(top)]:
            del self._nodes[id]
            self.rekey_history.forget(id)

    # -- reading

    def __len__(self) -> int:
        """How many nodes there are, dead ones and roots too."""
        return len(self._nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._nodes

    def roots(self) -> list[OpId]:
        """The roots of the documents, by id."""
        return sorted(root.id for root in self._roots)

    def is_alive(self, node: OpId) -> bool:
        """Whether it is there, and neither it nor anything above it was deleted."""
        found = self._nodes.get(node)
        return found is not None and not found.is_dead

    def parent_of(self, node: OpId) -> OpId | None:
        """Its parent, or for a deleted node its last one; None for a root. KeyError: there is no such node."""
        parent = self._nodes[node].parent
        return None if parent is None else parent.id

    def place_of(self, node: OpId) -> Place | None:
        """Where it stands; None for a root, a node that was deleted itself, or one that is not there."""
        found = self._nodes.get(node)
        if found is None or found.parent is None or found.is_trashed:
            return None
        return Place(found.parent.id, found.slot, found.key)

    def last_place_of(self, node: OpId) -> Place | None:
        """Where it stands, or stood when it was deleted; None for a root, or one that is not there.

        Its key is told as it reads among those who were its siblings now.
        """
        found = self._nodes.get(node)
        if found is None or found.parent is None:
            return None
        return Place(found.parent.id, found.slot, self._key_now(found))

    def position_op_of(self, node: OpId) -> tuple[int, int]:
        """Seq and site of the operation that decided where it stands. KeyError: there is no such node."""
        found = self._nodes[node]
        return found.seq, found.site

    def ancestors(self, node: OpId) -> Iterator[OpId]:
        """Its parent, and so on up to the root; of a dead node, up to the node that was deleted."""
        found: Node = self._nodes[node]
        while found.parent is not None and not found.is_trashed:
            found = found.parent
            yield found.id

    def children(self, parent: OpId, slot: Slot = CHILD) -> list[OpId]:
        """The nodes of one slot in their order; those below inline nodes are not among them (``shown_children``)."""
        siblings = self._nodes[parent].siblings_in(slot)
        return [node.id for node in siblings] if siblings is not None else []

    def sibling_before(self, node: OpId) -> OpId | None:
        """The one before it in its slot; None for the first, a root, or one that was deleted itself."""
        found = self._nodes[node]
        siblings = None if found.parent is None or found.is_trashed else found.parent.siblings_in(found.slot)
        before = None if siblings is None else siblings.before(found)
        return None if before is None else before.id

    def shown_children(self, node: OpId) -> list[OpId]:
        """The blocks shown below a block: its own children, then those of its inline nodes."""
        below = self._nodes[node]
        parts = [below, *inline_below(below)]
        return [each.id for part in parts if part.children is not None for each in part.children]

    def inline_parts(self, node: OpId) -> list[OpId]:
        """The inline nodes whose text follows the block's own, in their order, with the inline nodes of each."""
        return [part.id for part in inline_below(self._nodes[node])]

    def host_of(self, node: OpId) -> OpId:
        """The block that shows a node's text: the nearest on the way up, itself included, that is not inline."""
        found: Node | None = self._nodes[node]
        while found is not None and found.slot is INLINE:
            found = found.parent
        assert found is not None, "a root is not inline"
        return found.id

    def shown_parent(self, node: OpId) -> OpId | None:
        """The block or root below which a block is shown; None for a root."""
        parent = self._nodes[node].parent
        return None if parent is None else self.host_of(parent.id)

    def in_order(self, root: OpId) -> Iterator[OpId]:
        """The blocks shown below a node, in document order; no inline nodes, and not the node itself."""
        return ids_shown_below(self._nodes[root])

    def walk(self, root: OpId) -> Iterator[tuple[OpId, int]]:
        """As ``in_order``, with the depth of each: 0 for the blocks shown right below ``root``."""
        return depths_shown_below(self._nodes[root])

    def index_of(self, node: OpId) -> int:
        """How many siblings stand before it. KeyError: there is no such node, or it is a root or deleted."""
        found = self._nodes[node]
        if found.parent is None or found.is_trashed:
            raise KeyError(node)
        siblings = found.parent.siblings_in(found.slot)
        assert siblings is not None
        return siblings.index(found)

    def keys_around(
        self, parent: OpId, slot: Slot, index: int, leaving_out: OpId | None = None
    ) -> tuple[str | None, str | None]:
        """The keys of the siblings before and at an index, counted without ``leaving_out``; None: there is none."""
        siblings = self._nodes[parent].siblings_in(slot) or Siblings()
        own = None if leaving_out is None else self._nodes[leaving_out]
        if own is not None and (own.parent is not self._nodes[parent] or own.slot is not slot or own.is_trashed):
            own = None
        return siblings.keys_around(index, own)

    def key_at(self, parent: OpId, slot: Slot, index: int, site: int, leaving_out: OpId | None = None) -> str:
        """A key of a site that puts a node before the sibling at an index (as for ``keys_around``), or last.

        Raises:
            InvalidValueError: The neighbours' keys are too long: the siblings have to be rekeyed.
        """
        return key_between(*self.keys_around(parent, slot, index, leaving_out), site)

    # -- rebalancing

    @property
    def has_long_keys(self) -> bool:
        """Whether ``rebalances_due`` may tell anything."""
        return bool(self._long_places)

    def rebalances_due(self) -> list[tuple[OpId, Slot]]:
        """Live parents and slots with a key over 64 bytes among their children, sorted."""
        due = []
        for parent, slot in sorted(self._long_places):
            above = self._nodes.get(parent)
            if above is not None and above.is_dead:
                continue  # it may be restored
            siblings = above and above.siblings_in(slot)
            if any(len(node.key) > ORDER_KEY_REBALANCED_BYTES for node in siblings or ()):
                due.append((parent, slot))
            else:
                self._long_places.discard((parent, slot))
        return due

    def plan_rebalance(self, parent: OpId, slot: Slot, site: int) -> tuple[tuple[OpId, str], ...]:
        """Short keys of a site for all children of a slot, in their order: what a rekey carries."""
        children = self.children(parent, slot)
        return tuple(zip(children, fresh_keys(len(children), site), strict=True))

    # -- changing

    def _put(self, node: Node, parent: Node, slot: Slot, key: str, is_trashed: bool, seq: int, site: int) -> None:
        """Give a node another place and position operation."""
        above = node.parent
        assert above is not None, "a root stays where it is"
        if self._journal is not None:
            self._journal.append(
                partial(self._put, node, above, node.slot, node.key, node.is_trashed, node.seq, node.site)
            )
        if self._was_at is not None and node.id not in self._was_at:
            self._was_at[node.id] = self.place_of(node.id)
        if not node.is_trashed:
            above.remove(node)
        node.parent = parent
        node.slot = slot
        node.key = key
        node.seq = seq
        node.site = site
        node.is_trashed = is_trashed
        if not is_trashed:
            parent.add(node)
            if len(key) > ORDER_KEY_REBALANCED_BYTES:
                self._long_places.add((parent.id, slot))
        is_dead = is_trashed or parent.is_dead
        if node.is_dead is not is_dead:
            self.visited += mark_dead(node, is_dead)

    def _set_keys(self, above: Node, slot: Slot, key_by_id: dict[OpId, str]) -> None:
        """Give all children of a slot other keys."""
        siblings = list(above.siblings_in(slot) or ())
        for node in siblings:
            if self._was_at is not None and node.id not in self._was_at:
                self._was_at[node.id] = self.place_of(node.id)
            node.key = key_by_id[node.id]
            if len(node.key) > ORDER_KEY_REBALANCED_BYTES:
                self._long_places.add((above.id, slot))
        above.set_siblings(slot, Siblings(siblings))

    def _undo_rekey(self, above: Node, slot: Slot, key_by_id: dict[OpId, str], forgotten: Rekey | None) -> None:
        self.rekey_history.remove_last(above.id, slot, forgotten)
        self._set_keys(above, slot, key_by_id)

    def _remove_inserted(self, node: Node) -> None:
        if self._was_at is not None and node.id not in self._was_at:
            self._was_at[node.id] = self.place_of(node.id)
        assert node.parent is not None, "a root is not inserted"
        node.parent.remove(node)
        del self._nodes[node.id]

    def _remove_root(self, node: Node) -> None:
        self._roots.remove(node)
        del self._nodes[node.id]

    def _live_place(self, dead: Node, slot: Slot, key: str) -> tuple[Node, Slot, str]:
        """Where something below a dead node goes: the nearest live parent on the way up from where the node stood."""
        way = way_up(dead)
        keys = [self._key_now(node) for node in reversed(way)]
        above = way[-1].parent
        assert above is not None, "a root does not die"
        return above, slot if all(node.slot is INLINE for node in way) else CHILD, join_keys([*keys, key])

    def _key_now(self, node: Node) -> str:
        """A node's key; of a deleted one, which stood among siblings that may have been rekeyed since, translated."""
        if not (node.is_trashed and self.rekey_history and node.parent):
            return node.key
        return self.rekey_history.translate(node.parent.id, node.slot, node.key, -1, node.seq)  # no site is left out
