"""What a room takes whose lists, maps and documents were emptied, before and after what was deleted is purged."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Callable

from collabkernel.crdt.ids import ROOT, OpId, Side, Stamp
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    ContainerKind,
    ListDelete,
    ListInsert,
    MapDelete,
    MapSet,
    NewContainer,
    Op,
    TreeOp,
)
from collabkernel.document.purge_plan import Then, plan_purges
from collabkernel.document.room_state import RoomState
from collabkernel.limits import COUNTER_MAX, HLC_MAX, SITE_MAX
from collabkernel.room.fold import Fold
from tests.benchmarks import open_cost
from tests.benchmarks.report import Row, row

DEAD, QUICK_DEAD = 100_000, 5_000
LEFT = 100
LIVE_BLOCKS, QUICK_LIVE_BLOCKS = 2_000, 100
WARM = 1000
ALL = Stamp(HLC_MAX, SITE_MAX)
LIST = OpId(7, 1)


def rows(is_quick: bool) -> list[Row]:
    """All of them."""
    dead = QUICK_DEAD if is_quick else DEAD
    found = []
    for name, make in (
        ("list, deleted anywhere", lambda: _list(dead, is_queue=False)),
        ("list, a queue", lambda: _list(dead, is_queue=True)),
        ("map", lambda: _map(dead)),
        ("map of objects", lambda: _map(dead // 10, of_objects=True)),
        ("blocks", lambda: _blocks(dead, QUICK_LIVE_BLOCKS if is_quick else LIVE_BLOCKS)),
    ):
        found += _purged(name, make)
    return found


def _purged(name: str, make: Callable[[], RoomState]) -> list[Row]:
    state = make()
    found = _taken(name, state, "before")
    ops = plan_purges(state, Then(state, COUNTER_MAX, ALL), least=1)
    times_ms = []
    gc.collect()
    gc.freeze()  # a look for garbage through all of a large room, which comes at any time, is no part of it
    for seq, op in enumerate(ops, 1):
        begun_s = time.process_time()
        state.purge(seq, op)
        times_ms.append((time.process_time() - begun_s) * 1000)
    gc.unfreeze()
    found += _taken(name, state, "after")
    found.append(row(f"purge/{name}/operations", [len(ops)], "ops"))
    found.append(row(f"purge/{name}/longest operation", [max(times_ms)], "ms"))
    return found


def _taken(name: str, state: RoomState, when: str) -> list[Row]:
    parts = Fold(state, 1, 1).to_parts()
    size_bytes = sum(map(len, parts.values()))
    gc.collect()
    tracemalloc.start()
    loaded = Fold.from_parts(parts)
    gc.collect()
    memory_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del loaded
    return [
        row(f"purge/{name}/snapshot {when}", [size_bytes / 1024], "KiB"),
        row(f"purge/{name}/memory {when}", [memory_bytes / 2**20], "MiB"),
    ]


class _Site:
    """Operation n of site 7 has the id (7, n)."""

    def __init__(self) -> None:
        self.state = RoomState()
        self.state.tell(False)
        self._count = 0

    def do(self, op: Op) -> OpId:
        self._count += 1
        op_id = OpId(7, self._count)
        self.state.apply(op_id, Stamp(self._count, 7), op)
        return op_id


def _list(dead: int, *, is_queue: bool) -> RoomState:
    rng, site = random.Random(1), _Site()
    site.do(MapSet(ROOT, "l", NewContainer(ContainerKind.LIST)))
    items = site.state.tree.nodes[LIST].items  # type: ignore[union-attr]  # it is a list
    for n in range(dead + LEFT):
        parent, side = items.insertion_point(len(items) if is_queue else rng.randint(0, len(items)))
        site.do(ListInsert(LIST, parent, Side(side), n))
        if len(items) > LEFT:
            site.do(ListDelete(LIST, items.element_at(0 if is_queue else rng.randrange(len(items)))))
    return site.state


def _map(dead: int, *, of_objects: bool = False) -> RoomState:
    site = _Site()
    made = site.do(MapSet(ROOT, "m", NewContainer(ContainerKind.MAP)))
    for n in range(dead):
        inner = site.do(MapSet(made, f"key-{n}", NewContainer(ContainerKind.OBJECT) if of_objects else n))
        if of_objects:
            site.do(MapSet(inner, "name", f"object {n}"))
        site.do(MapDelete(made, f"key-{n}"))
    return site.state


def _blocks(dead: int, live: int) -> RoomState:
    """A document of paragraphs, most of them deleted."""
    state = RoomState()
    state.tell(False)
    written = [op for ops in open_cost.envelopes(dead + live) for op in ops]
    ids = [OpId(open_cost.SITE, n) for n, op in enumerate(written, 1) if isinstance(op, BlockInsert)]
    for seq, op in enumerate([*written, *map(BlockDelete, ids[:dead])], 1):
        op_id = OpId(open_cost.SITE, seq)
        state.apply(op_id, Stamp(seq, open_cost.SITE), op)
        if isinstance(op, TreeOp):
            state.judge(seq, seq - 1, op_id, op)
        if state.blocks is not None and seq % WARM == 0:
            state.blocks.cool(0)
    return state
