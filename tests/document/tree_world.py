"""A world of sites that edit one tree: late, offline, resending, resynced from snapshots; one log judges."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.move_tree import MoveTree, Verdict
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    NewDocument,
    TreeOp,
    document_id,
)
from collabkernel.document.pending_tree import LoggedOp, PendingTree, judge
from collabkernel.errors import InvalidValueError
from collabkernel.limits import BLOCK_DEPTH_MAX
from tests.crdt.naive_move_tree import TRASH, NaiveTree

CHILD, INLINE = Slot.CHILD, Slot.INLINE
DOC = document_id("body")


class Sent(NamedTuple):
    """An operation under way to the log."""

    op_id: OpId
    op: TreeOp
    base: int
    seen: frozenset[OpId]
    """All that its author had seen: what ``base`` stands for."""


class Client:
    """One site: its tree with own operations on top, and what it has not sent."""

    def __init__(self, world: World, site: int) -> None:
        self.world = world
        self.site = site
        self.counter = 0
        self.through = 0
        self.mine = PendingTree(MoveTree(), site)
        self.pending: dict[OpId, Sent] = {}
        self.seen: set[OpId] = set()
        self.told: dict[OpId, Verdict] = {}

    @property
    def tree(self) -> MoveTree:
        return self.mine.tree

    def edit(self, op: TreeOp) -> None:
        self.counter += 1
        op_id = OpId(self.site, self.counter)
        sent = Sent(op_id, op, self.through, frozenset(self.seen))
        self.mine.add(op_id, op, self.through)
        self.seen.add(op_id)
        self.pending[op_id] = sent
        self.world.outbox[self.site].append(sent)

    def edit_at_random(self, rng: Random) -> None:
        """An edit of what this site sees, or what only a hostile one would make."""
        live = [DOC, *self.tree.in_order(DOC)]
        hidden = [row.id for row in self.tree.rows() if row.parent is not None]
        make = rng.choices(
            (self._insert, self._move, self._merge, self._delete, self._restore, self._rekey, self._wild),
            (6, 9, 2, 3, 2, 1.5, 1),
        )[0]
        try:
            make(rng, live, hidden)
        except InvalidValueError:  # No key fits there: time for rekeys.
            for place in self.tree.rebalances_due():
                self.edit(self._rekey_of(*place))

    def _insert(self, rng: Random, live: list[OpId], _: list[OpId]) -> None:
        parent, slot = rng.choice(live), CHILD if rng.random() < 0.9 else INLINE
        self.edit(BlockInsert(parent, slot, self._key(rng, parent, slot), "paragraph"))

    def _move(self, rng: Random, live: list[OpId], _: list[OpId]) -> None:
        self._move_to(rng, rng.choice(live[1:] or [DOC]), rng.choice(live), CHILD)

    def _merge(self, rng: Random, live: list[OpId], _: list[OpId]) -> None:
        self._move_to(rng, rng.choice(live[1:] or [DOC]), rng.choice(live), INLINE)

    def _delete(self, rng: Random, live: list[OpId], _: list[OpId]) -> None:
        self.edit(BlockDelete(rng.choice(live[1:] or [DOC])))

    def _restore(self, rng: Random, live: list[OpId], known: list[OpId]) -> None:
        dead = [id for id in known if not self.tree.is_alive(id)]
        if dead:
            self._move_to(rng, rng.choice(dead), rng.choice(live), CHILD)

    def _wild(self, rng: Random, _: list[OpId], known: list[OpId]) -> None:
        """Whatever nobody can do in an editor: dead and inline parents, cycles, deletes of the dead, blocks unknown."""
        known = [DOC, OpId(77, 77), *known]
        if rng.random() < 0.3:
            self.edit(BlockDelete(rng.choice(known)))
            return
        parent = rng.choice(known)
        key = self._key(rng, parent if parent in self.tree else DOC, CHILD)
        if rng.random() < 0.5:
            self.edit(BlockInsert(parent, CHILD, key, "paragraph"))
        else:
            self.edit(BlockMove(rng.choice(known), parent, CHILD, key))

    def _rekey(self, rng: Random, live: list[OpId], _: list[OpId]) -> None:
        # Often the same place, so that late operations meet several rekeys.
        parent = DOC if rng.random() < 0.6 else rng.choice(live)
        self.edit(self._rekey_of(parent, CHILD if rng.random() < 0.8 else INLINE))

    def _rekey_of(self, parent: OpId, slot: Slot) -> BlockRekey:
        return BlockRekey(parent, slot, self.tree.plan_rebalance(parent, slot, self.site))

    def _move_to(self, rng: Random, node: OpId, parent: OpId, slot: Slot) -> None:
        self.edit(BlockMove(node, parent, slot, self._key(rng, parent, slot, node)))

    def _key(self, rng: Random, parent: OpId, slot: Slot, moved: OpId | None = None) -> str:
        siblings = [id for id in self.tree.children(parent, slot) if id != moved]
        leaving_out = moved if moved in self.tree else None
        return self.tree.key_at(parent, slot, rng.randint(0, len(siblings)), self.site, leaving_out)

    def receive(self, count: int) -> None:
        """Apply the next operations of the log, as one message."""
        ops = self.world.log[self.through : self.through + count]
        before = {row.id: self.tree.place_of(row.id) for row in self.tree.rows()}
        confirmed = self.mine.confirm([op for op, _ in ops])
        after = {row.id: self.tree.place_of(row.id) for row in self.tree.rows()}
        assert confirmed.changes == {
            id: (before.get(id), after.get(id))
            for id in before.keys() | after.keys()
            if before.get(id) != after.get(id)
        }, "a client is told of what changed, and of nothing else"
        self._note([op.op_id for op, _ in ops])
        self.told |= confirmed.verdicts

    def resync(self) -> None:
        """Start again from the server's snapshot, with what is pending on top."""
        world = self.world
        tree = MoveTree.restore(world.tree.rows(), world.tree.rekeys())
        self._note([op.op_id for op, _ in world.log[self.through :]])
        self.told |= {id: verdict for id, verdict in world.verdicts.items() if id.site == self.site}
        self.mine = PendingTree(tree, self.site)
        for sent in self.pending.values():
            self.mine.add(sent.op_id, sent.op, sent.base)

    def _note(self, op_ids: list[OpId]) -> None:
        self.through += len(op_ids)
        self.seen.update(op_ids)
        for op_id in op_ids:
            self.pending.pop(op_id, None)


class World:
    """The log, its server, its oracle and its clients."""

    def __init__(self, sites: int, depth_max: int = BLOCK_DEPTH_MAX) -> None:
        self.depth_max = depth_max
        self.log: list[tuple[LoggedOp, frozenset[OpId]]] = []
        self.stored: set[OpId] = set()
        self.tree = MoveTree()
        self.oracle = NaiveTree(self.depth_max)
        self.verdicts: dict[OpId, Verdict] = {}
        self.clients = {site: Client(self, site) for site in range(1, sites + 1)}
        self.outbox: dict[int, deque[Sent]] = {site: deque() for site in self.clients}
        self.clients[1].edit(NewDocument(TRASH, "body"))
        self.store(1)
        for client in self.clients.values():
            client.receive(1)

    def store(self, site: int) -> None:
        """Take one site's next operation into the log, and judge it."""
        if not self.outbox[site]:
            return
        sent = self.outbox[site].popleft()
        if sent.op_id in self.stored:  # Sent again; the log answers it.
            return
        self.stored.add(sent.op_id)
        logged = LoggedOp(len(self.log) + 1, sent.op_id, sent.op, sent.base)
        self.log.append((logged, sent.seen))
        verdict = judge(self.tree, logged.op_id, logged.op, logged.seq, logged.base)
        self.verdicts[sent.op_id] = verdict
        assert verdict == self.oracle.apply(sent.op_id, sent.op, sent.seen), sent

    def resend(self, site: int) -> None:
        """Send all that is pending again, before anything new."""
        self.outbox[site].extendleft(reversed(self.clients[site].pending.values()))

    def restart(self) -> None:
        """Start the server again from its snapshot."""
        self.tree = MoveTree.restore(self.tree.rows(), self.tree.rekeys())

    def step(self, rng: Random) -> None:
        client = self.clients[rng.choice(list(self.clients))]
        actions: list[Callable[[], None]] = [
            lambda: client.edit_at_random(rng),
            lambda: [self.store(client.site) for _ in range(rng.randrange(1, 5))] and None,
            lambda: client.receive(rng.randrange(1, 12)),
            lambda: self.resend(client.site),
            client.resync,
            self.restart,
        ]
        rng.choices(actions, (50, 40, 25, 2, 1, 0.5))[0]()

    def heal(self) -> None:
        """Everything is stored and received."""
        while any(self.outbox.values()):
            for site in self.clients:
                self.store(site)
        for client in self.clients.values():
            client.receive(len(self.log))

    # -- what must hold

    def check(self) -> None:
        """After ``heal``: one state everywhere, the oracle's, and a tree."""
        check_tree(self.tree, self.oracle)
        rows, rekeys = list(self.tree.rows()), self.tree.rekeys()
        for client in self.clients.values():
            assert (list(client.tree.rows()), client.tree.rekeys()) == (rows, rekeys)
            assert client.told == {id: verdict for id, verdict in self.verdicts.items() if id.site == client.site}
        refolded = NaiveTree(self.depth_max)
        for logged, seen in self.log:
            assert refolded.apply(logged.op_id, logged.op, seen) == self.verdicts[logged.op_id]
        check_tree(self.tree, refolded)

    def check_client(self, site: int) -> None:
        """At any time: a client shows the log up to where it is, and its own operations after that."""
        client, oracle = self.clients[site], NaiveTree(self.depth_max)
        for logged, seen in self.log[: client.through]:
            oracle.apply(logged.op_id, logged.op, seen)
        for sent in client.pending.values():
            assert client.mine.verdicts[sent.op_id] == oracle.apply(sent.op_id, sent.op, sent.seen), sent
        check_tree(client.tree, oracle)


def check_tree(tree: MoveTree, oracle: NaiveTree) -> None:
    """The same places as the oracle's, and each live block shown exactly once."""
    rows = [row for row in tree.rows() if row.parent is not None]
    assert {row.id: tree.place_of(row.id) for row in rows} == {
        id: None if where[0] == TRASH else where for id, where in oracle.where.items()
    }
    assert len(rows) == len({row.id for row in rows}), "a block stands in two places"
    shown = list(tree.in_order(DOC))
    assert shown == oracle.shown(DOC)
    inline = [part for block in [DOC, *shown] for part in tree.inline_parts(block)]
    alive = sorted(id for id in oracle.where if not oracle.is_dead(id))
    assert sorted(shown + inline) == alive == sorted(row.id for row in rows if tree.is_alive(row.id))
