"""The log of a room that was worked in: a board of cards, settings, and notes, by eight authors, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.document.live_tree import ListNode, LiveTree, TextNode
from collabkernel.document.operations import (
    ContainerKind,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapSet,
    NewContainer,
    Op,
    TextEdit,
    shared_container_id,
)
from collabkernel.storage.base import AppendRequest, Storage
from collabkernel.wire.ops import encode_op, op_kind

SITES = tuple(random.Random(8).sample(range(1, 2**32), 8))
"""As a server draws them."""
WRITER_SITE = SITES[0]
"""The one who types; his site is the Yjs client id of the text."""
BATCH_OPS = 2000
START_MS = 1_790_000_000_000
PACE_MS = 200
"""Twice the time between two operations."""
WEIGHTS = (40, 25, 10, 5, 5)
"""How often a key is set, and a card inserted, set, moved and deleted."""
_CARDS = shared_container_id(ROOT, "cards", ContainerKind.LIST, None)
_NOTES = shared_container_id(ROOT, "notes", ContainerKind.TEXT, None)


class AuthoredOp(NamedTuple):
    """An operation with what its envelope says of it."""

    id: OpId
    stamp: Stamp
    op: Op


class Board:
    """Authors operations one after the other on a tree of its own."""

    def __init__(
        self, seed: int, start_ms: int = START_MS, pace_ms: int = PACE_MS, weights: Sequence[int] = WEIGHTS
    ) -> None:
        self._pace_ms = pace_ms
        self._weights = weights
        self._rng = random.Random(seed)
        self._tree = LiveTree(client_id=WRITER_SITE)
        self._counter_by_site = dict.fromkeys(SITES, 0)
        self._hlc = start_ms << 16
        self._authors: list[Callable[[], Op]] = [self._set_key, self._insert, self._set_card, self._move, self._delete]

    def ops(self, count: int) -> Iterator[AuthoredOp]:
        """The first ``count`` operations: two containers, then 40 % keys, 15 % typing, the rest cards."""
        yield self._author(WRITER_SITE, MapSet(ROOT, "cards", NewContainer(ContainerKind.LIST, shared=True)))
        yield self._author(WRITER_SITE, MapSet(ROOT, "notes", NewContainer(ContainerKind.TEXT, shared=True)))
        for _ in range(count - 2):
            if self._rng.random() < 0.15:
                yield self._author(WRITER_SITE, self._type())
            else:
                (author,) = self._rng.choices(self._authors, self._weights)
                yield self._author(self._rng.choice(SITES), author())

    def _author(self, site: int, op: Op) -> AuthoredOp:
        self._counter_by_site[site] += 1
        self._hlc += self._rng.randrange(1, self._pace_ms) << 16
        authored = AuthoredOp(OpId(site, self._counter_by_site[site]), Stamp(self._hlc, site), op)
        self._tree.apply(*authored)
        return authored

    def _set_key(self) -> Op:
        return MapSet(ROOT, f"setting-{self._rng.randrange(500)}", self._rng.random())

    def _insert(self) -> Op:
        cards = self._cards()
        parent, side = cards.items.insertion_point(self._rng.randint(0, len(cards.items)))
        return ListInsert(_CARDS, parent, side, f"card {self._rng.randrange(10**6)}")

    def _set_card(self) -> Op:
        element = self._card()
        return ListSet(_CARDS, element, "done") if element else self._set_key()

    def _move(self) -> Op:
        element, cards = self._card(), self._cards().items
        if element is None:
            return self._set_key()
        parent, side = cards.move_point(element, self._rng.randrange(len(cards)))
        return ListMove(_CARDS, element, parent, side)

    def _delete(self) -> Op:
        element = self._card()
        return ListDelete(_CARDS, element) if element else self._set_key()

    def _type(self) -> Op:
        notes = self._tree.node(_NOTES)
        assert isinstance(notes, TextNode)
        return TextEdit(_NOTES, notes.rope.insert(len(notes.rope), self._rng.choice("etaoin shrdlu")))

    def _cards(self) -> ListNode:
        cards = self._tree.node(_CARDS)
        assert isinstance(cards, ListNode)
        return cards

    def _card(self) -> OpId | None:
        cards = self._cards().items
        return cards.element_at(self._rng.randrange(len(cards))) if len(cards) else None


async def store_log(
    storage: Storage,
    room: str,
    ops_count: int,
    seed: int = 1,
    start_ms: int = START_MS,
    pace_ms: int = PACE_MS,
    weights: Sequence[int] = WEIGHTS,
) -> None:
    """Write a room with a log of ``ops_count`` envelopes of one operation, and no snapshot."""
    await storage.create_room(room, start_ms)
    for site in SITES:
        await storage.new_site(room, site, f"author {site}", 2, bytes(32), start_ms)
    batch: list[AppendRequest] = []
    base = 0
    for seq, (op_id, stamp, op) in enumerate(Board(seed, start_ms, pace_ms, weights).ops(ops_count), 1):
        encoded = ((op_kind(op), encode_op(op)),)
        actor = f"author {op_id.site}"
        batch.append(AppendRequest(room, op_id.site, 1, op_id.counter, base, stamp.hlc, actor, encoded))
        if len(batch) == BATCH_OPS or seq == ops_count:
            await storage.append(batch)
            base, batch = seq, []
