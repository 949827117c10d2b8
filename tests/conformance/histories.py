"""Random histories of a room: three sites edit at once, each on what it has seen, and the log takes them in."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.document.live_tree import ListNode, LiveTree, MapNode, TextNode
from collabkernel.document.operations import (
    ContainerKind,
    ContainerRef,
    Envelope,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    NewContainer,
    Op,
    OpValue,
    Purge,
    StoredEnvelope,
    TextEdit,
)
from collabkernel.document.purging import purge_live
from collabkernel.errors import InvalidOperationError
from collabkernel.wire.state import decode_state, encode_state

START_MS = 1_795_000_000_000
KEYS = ["a", "b", "key", "", "ключ", "🔑"]
WORDS = ["red", "Grün", "", "世界", "👩‍🚀 in orbit", "line\nbreak"]
SCALARS: list[OpValue] = [None, True, False, 0, -1, 42, 2**31, -(2**52), 0.5, -2.25, "text", "", "ünïcode 🎈"]


@dataclass
class Site:
    """One replica, and how much of the log it has taken in."""

    site: int
    actor: str
    skew_ms: int
    tree: LiveTree = field(init=False)
    counter: int = 0
    hlc: int = 0
    seen: int = 0
    through: int = 0

    def __post_init__(self) -> None:
        self.tree = LiveTree(self.site)


@dataclass
class History:
    """A seeded world of sites and one log.

    Args:
        seed: Of every choice.
        kinds: What containers the sites make.
        shared: How often a new container is a shared one.
    """

    seed: int
    kinds: list[ContainerKind]
    shared: float = 0.3
    purges: float = 0.0
    """How often, in place of an edit, what is deleted in one container goes."""
    log: list[StoredEnvelope] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.server = LiveTree()
        sites = self.rng.sample(range(1, 2**32), 3)
        self.sites = [
            Site(site, actor, skew)
            for site, actor, skew in zip(sites, ["ann", "bob", "bot"], (0, -5000, 3), strict=True)
        ]

    def run(self, steps: int) -> list[StoredEnvelope]:
        """Let the sites edit and listen in turn, and return the log."""
        for step in range(steps):
            site = self.rng.choice(self.sites)
            if self.rng.random() < 0.4:
                self._listen(site)
            elif self.purges and self.rng.random() < self.purges:
                self._purge(START_MS + step * 7)
            else:
                self._edit(site, START_MS + step * 7)
        return self.log

    def _listen(self, site: Site) -> None:
        upto = self.rng.randint(site.seen, len(self.log))
        for stored in self.log[site.seen : upto]:
            apply(site.tree, stored)
            site.through = stored.last_seq
            site.hlc = max(site.hlc, stored.envelope.hlc + len(stored.envelope.ops))
        site.seen = upto

    def _edit(self, site: Site, now_ms: int) -> None:
        first, hlc = site.counter + 1, max(site.hlc + 1, (now_ms + site.skew_ms) << 16)
        ops: list[Op] = []
        for i in range(self.rng.choice((1, 1, 1, 2, 4))):
            op = self._op(self._node(site))
            site.tree.apply(OpId(site.site, first + i), Stamp(hlc + i, site.site), op)
            ops.append(op)
        site.counter += len(ops)
        site.hlc = hlc + len(ops)
        stored = StoredEnvelope(self.head + 1, site.site, site.actor, Envelope(first, site.through, hlc, tuple(ops)))
        try:
            self._store(stored)
        except InvalidOperationError:  # it names what was purged: the site takes the state that there is
            assert self.purges
            data = encode_state(self.server, 0, 0)
            site.tree, site.seen, site.through = decode_state(data, site.site)[0], len(self.log), self.head

    @property
    def head(self) -> int:
        """The last seq."""
        return self.log[-1].last_seq if self.log else 0

    def _store(self, stored: StoredEnvelope) -> None:
        """Take an envelope that fits what the log makes; this fits it whole or not at all."""
        copy = self.server if not self.purges else decode_state(encode_state(self.server, 0, 0), None)[0]
        apply(copy, stored)
        self.server = copy
        self.log.append(stored)

    def _purge(self, now_ms: int) -> None:
        """Let go of some of what is deleted in one container; the keeper's site is 1."""
        node = self.rng.choice([each for each in self.server.nodes.values() if not isinstance(each, TextNode)])
        if isinstance(node, ListNode):
            dead = sorted(node.items.dead_slots())
            ids = tuple(sorted(self.rng.sample(dead, self.rng.randint(0, len(dead)))))
            op = Purge(node.id, ids)
        else:
            stamps = [stamp for _, (stamp, _) in node.entries.registers()]
            op = Purge(node.id, floor=self.rng.choice(stamps) if stamps else None)
        if op.ids or op.floor is not None:
            counter = sum([each.site == 1 for each in self.log]) + 1
            envelope = Envelope(counter, self.head, now_ms << 16, (op,))
            self._store(StoredEnvelope(self.head + 1, 1, "keeper", envelope))

    def _node(self, site: Site) -> MapNode | ListNode | TextNode:
        """Where to edit: mostly in the first few containers, so that they grow and are fought over."""
        nodes = [*site.tree.nodes.values()]
        if self.rng.random() < 0.2 or len(nodes) < 3:
            return self.rng.choice(nodes)
        return self.rng.choice(nodes[1:4])

    def _op(self, node: MapNode | ListNode | TextNode) -> Op:
        if isinstance(node, MapNode):
            return self._map_op(node)
        if isinstance(node, ListNode):
            return self._list_op(node)
        text = node.rope
        at = self.rng.randint(0, len(text))
        if at < len(text) and self.rng.random() < 0.4:
            update = text.delete(at, self.rng.randint(1, min(3, len(text) - at)))
        else:
            update = text.insert(at, self.rng.choice(WORDS) or "x")
        return TextEdit(node.id, update)

    def _map_op(self, node: MapNode) -> Op:
        key = self.rng.choice(KEYS)
        if isinstance(node.entries.get(key), ContainerRef) and self.rng.random() < 0.85:
            return MapSet(node.id, "spared", key)
        if self.rng.random() < 0.2:
            return MapDelete(node.id, key)
        if self.kinds and self.rng.random() < (0.6 if node.id == ROOT else 0.15):
            kind = self.rng.choice(self.kinds)
            if self.rng.random() < self.shared:
                register = node.entries.register(key)
                return MapSet(node.id, key, NewContainer(kind, shared=True, after=register[0] if register else None))
            return MapSet(node.id, key, NewContainer(kind))
        return MapSet(node.id, key, self.rng.choice(SCALARS))

    def _list_op(self, node: ListNode) -> Op:
        items, rng = node.items, self.rng
        actions: list[Callable[[], Op]] = [lambda: self._insert(node)] * 3
        if len(items):
            element = items.element_at(rng.randrange(len(items)))
            point = items.move_point(element, rng.randrange(len(items)))
            actions += [
                lambda: ListMove(node.id, element, *point),
                lambda: ListMove(node.id, element, *point),
                lambda: ListSet(node.id, element, self._element_value()),
                lambda: ListDelete(node.id, element),
            ]
        return rng.choice(actions)()

    def _insert(self, node: ListNode) -> Op:
        point = node.items.insertion_point(self.rng.randint(0, len(node.items)))
        return ListInsert(node.id, *point, self._element_value())

    def _element_value(self) -> OpValue:
        if self.kinds and self.rng.random() < 0.15:
            return NewContainer(self.rng.choice(self.kinds))
        return self.rng.choice(SCALARS)


def apply(tree: LiveTree, stored: StoredEnvelope) -> None:
    """Apply all operations of a stored envelope."""
    for i, op in enumerate(stored.envelope.ops):
        if isinstance(op, Purge):
            purge_live(tree, op)
        else:
            tree.apply(stored.op_id(i), stored.stamp(i), op)


def causal_order(log: list[StoredEnvelope], rng: random.Random, doubled: float) -> list[int]:
    """Indexes of the log in some order that keeps causality: an envelope comes after its site's earlier ones and after
    all at or below its base. With a chance of ``doubled`` each, earlier ones come again."""
    order: list[int] = []
    behind = 0
    waiting = list(range(len(log)))
    done: set[int] = set()
    while waiting:
        ready = [i for i in waiting if all(j in done for j in range(i) if _is_before(log[j], log[i]))]
        chosen = rng.choice(ready)
        waiting.remove(chosen)
        order.append(chosen)
        done.add(chosen)
        if is_purge(log[chosen]):
            behind = len(order)  # what was before it never comes again
        elif rng.random() < doubled:
            order.append(rng.choice(order[behind:]))
    return order


def is_purge(stored: StoredEnvelope) -> bool:
    """Whether it purges: then everything before it comes before it, and everything behind it behind it."""
    return any(isinstance(op, Purge) for op in stored.envelope.ops)


def _is_before(earlier: StoredEnvelope, later: StoredEnvelope) -> bool:
    if is_purge(earlier) or is_purge(later):
        return True
    return earlier.site == later.site or earlier.last_seq <= later.envelope.base
