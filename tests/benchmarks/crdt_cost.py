"""What one operation costs in each CRDT at 1k, 10k and 100k elements, beside pycrdt and loro in the same run.

A run is the mean over a batch of operations, at random places unless the name says append; a row's value is the median
of the runs, in microseconds an operation (``map apply`` in operations a second). Time is the thread's time on the
processor, so that other processes count only as far as they spoil its caches; splits and garbage collection count.

What is measured, so that the figures are read aright:

- ``collabkernel`` applies decoded operations to its state. A local insert works out its place from an index first; a
  remote one names its slot, as a twin replica made it. Wire and storage are measured elsewhere.
- The peers edit by their own methods: pycrdt in a transaction an edit, which is faster for it than one for all, loro in
  one open transaction. Their remote inserts are one binary update each, decoding included: they have no other way.
- A *typed* list was filled from its start to its end, which Yjs keeps as one block; an *edited* one was filled from its
  end to its start, so that each element is a block of its own, as after inserts here and there. Unless named, typed.
- A *hostile* insert hangs a second child on a random slot of one long chain, behind all the rest of the chain.
- ``text insert`` of ``collabkernel`` is its rope: pycrdt inside, and the update for the wire made and recorded.
- pycrdt has no move; loro sets and moves in its movable list alone.

Run it alone: ``python -m tests.benchmarks.crdt_cost [--quick]``.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from random import Random
from typing import Any

import loro
import pycrdt
from rich.console import Console

from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.crdt.lww import LwwMap
from collabkernel.crdt.rga import RgaList
from collabkernel.crdt.text import TextRope
from tests.benchmarks.report import Row, row, show

SIZES = (1_000, 10_000, 100_000)
SEED = 20
RUN_S = 0.2
"""A run stops here even if its batch is not done: a pycrdt Array insert at 100,000 elements takes milliseconds."""
CHUNK_STEPS = 10

Step = Callable[[], object]
Prepare = Callable[[int, int, Random], Sequence[Step]]
"""From a size, a number of operations, and chance: operations ready to be timed."""


def rows(is_quick: bool, sizes: Sequence[int] = SIZES) -> list[Row]:
    """Every cost; quick means fewer runs, not smaller sizes."""
    runs, batch = (3, 200) if is_quick else (9, 1000)
    costs = [
        _cost(f"crdt_cost/{name}/{_label(size)}", system, prepare(size, (runs + 1) * batch, Random(SEED)), batch)
        for name, prepare_by_system in _CASES.items()
        for size in sizes
        for system, prepare in prepare_by_system.items()
    ]
    return [*costs, _map_apply(runs), *(_list_load(size, runs) for size in sizes)]


def _label(size: int) -> str:
    return f"{size // 1000}k" if size >= 1000 else str(size)


def _cost(name: str, system: str, steps: Sequence[Step], batch: int) -> Row:
    means_us = []
    gc.collect()
    for start in range(0, len(steps), batch):
        means_us.append(_mean_us(steps[start : start + batch]))
    return row(name, means_us[1:], "us", system)  # The first one warms up.


def _mean_us(steps: Sequence[Step]) -> float:
    clock = time.thread_time
    start_s = clock()
    for done in range(0, len(steps), CHUNK_STEPS):
        for step in steps[done : done + CHUNK_STEPS]:
            step()
        if clock() - start_s > RUN_S:
            return (clock() - start_s) / (done + CHUNK_STEPS) * 1e6
    return (clock() - start_s) / len(steps) * 1e6


# collabkernel


class _OurList:
    """A list of one site's elements, edited by index."""

    def __init__(self, size: int, is_edited: bool = False) -> None:
        self.site = 1
        self.counter = 0
        self.items = RgaList()
        for value in range(size):
            self.insert(0 if is_edited else value, value)

    def next_id(self) -> tuple[OpId, Stamp]:
        self.counter += 1
        return OpId(self.site, self.counter), Stamp(self.counter, self.site)

    def insert(self, index: int, value: object) -> None:
        op_id, stamp = self.next_id()
        parent, side = self.items.insertion_point(index)
        self.items.insert(op_id, stamp, parent, side, value)

    def append(self, value: object) -> None:
        self.insert(len(self.items), value)

    def move(self, old: int, new: int) -> None:
        op_id, stamp = self.next_id()
        element = self.items.element_at(old)
        parent, side = self.items.move_point(element, new)
        self.items.move(op_id, stamp, element, parent, side)

    def set(self, index: int, value: object) -> None:
        self.items.set(self.items.element_at(index), self.next_id()[1], value)

    def delete(self, index: int) -> None:
        self.items.delete(self.items.element_at(index))


def _our_append(size: int, count: int, _: Random) -> list[Step]:
    ours = _OurList(size)
    return [partial(ours.append, i) for i in range(count)]


def _our_insert(size: int, count: int, rng: Random, is_edited: bool = False) -> list[Step]:
    ours = _OurList(size, is_edited)
    return [partial(ours.insert, rng.randrange(size), i) for i in range(count)]


def _our_remote_insert(size: int, count: int, rng: Random) -> list[Step]:
    here, twin = _OurList(size), _OurList(size)
    twin.site, steps = 2, []
    for value in range(count):
        op_id, stamp = twin.next_id()
        parent, side = twin.items.insertion_point(rng.randrange(size))
        twin.items.insert(op_id, stamp, parent, side, value)
        steps.append(partial(here.items.insert, op_id, stamp, parent, side, value))
    return steps


def _our_hostile_insert(size: int, count: int, rng: Random) -> list[Step]:
    ours = _OurList(size)
    parents = [slot.slot for slot in ours.items.slots()]
    return [
        partial(ours.items.insert, OpId(2, i), Stamp(i, 2), rng.choice(parents), Side.RIGHT, i)
        for i in range(1, count + 1)
    ]


def _our_move(size: int, count: int, rng: Random) -> list[Step]:
    ours = _OurList(size)
    return [partial(ours.move, rng.randrange(size), rng.randrange(size)) for _ in range(count)]


def _our_set(size: int, count: int, rng: Random) -> list[Step]:
    ours = _OurList(size)
    return [partial(ours.set, rng.randrange(size), i) for i in range(count)]


def _our_delete(size: int, count: int, rng: Random) -> list[Step]:
    ours = _OurList(size + count)
    return [partial(ours.delete, rng.randrange(size)) for _ in range(count)]


def _our_map_set(size: int, count: int, rng: Random) -> list[Step]:
    registers = LwwMap((f"key{i}", (Stamp(1, 1), i)) for i in range(size))
    return [partial(registers.apply_set, f"key{rng.randrange(size)}", Stamp(2 + i, 1), i) for i in range(count)]


def _our_text_insert(size: int, count: int, rng: Random) -> list[Step]:
    rope = TextRope(1)
    rope.insert(0, "x" * size)
    return [partial(rope.insert, rng.randrange(size), "y") for _ in range(count)]


# pycrdt


def _yrs_array(size: int, is_edited: bool = False) -> tuple[Any, Any]:
    doc: Any = pycrdt.Doc()
    array = doc.get("array", type=pycrdt.Array)
    for value in range(size):
        array.insert(0 if is_edited else value, value)
    return doc, array


def _yrs_append(size: int, count: int, _: Random) -> list[Step]:
    _, array = _yrs_array(size)
    return [partial(array.append, i) for i in range(count)]


def _yrs_insert(size: int, count: int, rng: Random, is_edited: bool = False) -> list[Step]:
    _, array = _yrs_array(size, is_edited)
    return [partial(array.insert, rng.randrange(size), i) for i in range(count)]


def _yrs_remote_insert(size: int, count: int, rng: Random) -> list[Step]:
    doc, _ = _yrs_array(size)
    twin: Any = pycrdt.Doc()
    twin.apply_update(doc.get_update())
    updates: list[bytes] = []
    keep = twin.observe(lambda event: updates.append(event.update))
    array = twin.get("array", type=pycrdt.Array)
    for i in range(count):
        array.insert(rng.randrange(size), i)
    del keep
    return [partial(doc.apply_update, update) for update in updates]


def _yrs_set(size: int, count: int, rng: Random) -> list[Step]:
    _, array = _yrs_array(size)
    return [partial(array.__setitem__, rng.randrange(size), i) for i in range(count)]


def _yrs_delete(size: int, count: int, rng: Random) -> list[Step]:
    _, array = _yrs_array(size + count)
    return [partial(array.__delitem__, rng.randrange(size)) for _ in range(count)]


def _yrs_map_set(size: int, count: int, rng: Random) -> list[Step]:
    doc: Any = pycrdt.Doc()
    entries = doc.get("map", type=pycrdt.Map)
    entries.update({f"key{i}": i for i in range(size)})
    return [partial(entries.__setitem__, f"key{rng.randrange(size)}", i) for i in range(count)]


def _yrs_text_insert(size: int, count: int, rng: Random) -> list[Step]:
    doc: Any = pycrdt.Doc()
    text = doc.get("text", type=pycrdt.Text)
    text += "x" * size
    return [partial(text.insert, rng.randrange(size), "y") for _ in range(count)]


# loro


def _loro_list(size: int, is_movable: bool = False, is_edited: bool = False) -> tuple[Any, Any]:
    doc: Any = loro.LoroDoc()
    items = doc.get_movable_list("list") if is_movable else doc.get_list("list")
    for value in range(size):
        items.insert(0 if is_edited else value, value)
    doc.commit()
    return doc, items


def _loro_append(size: int, count: int, _: Random) -> list[Step]:
    _, items = _loro_list(size)
    return [partial(items.push, i) for i in range(count)]


def _loro_insert(size: int, count: int, rng: Random, is_movable: bool = False, is_edited: bool = False) -> list[Step]:
    _, items = _loro_list(size, is_movable, is_edited)
    return [partial(items.insert, rng.randrange(size), i) for i in range(count)]


def _loro_remote_insert(size: int, count: int, rng: Random) -> list[Step]:
    doc, _ = _loro_list(size)
    twin: Any = loro.LoroDoc()
    twin.import_(doc.export(loro.ExportMode.Snapshot()))
    updates: list[bytes] = []
    keep = twin.subscribe_local_update(lambda update: bool(updates.append(update)) or True)
    items = twin.get_list("list")
    for i in range(count):
        items.insert(rng.randrange(size), i)
        twin.commit()
    del keep
    return [partial(doc.import_, update) for update in updates]


def _loro_move(size: int, count: int, rng: Random) -> list[Step]:
    _, items = _loro_list(size, is_movable=True)
    return [partial(items.mov, rng.randrange(size), rng.randrange(size)) for _ in range(count)]


def _loro_set(size: int, count: int, rng: Random) -> list[Step]:
    _, items = _loro_list(size, is_movable=True)
    return [partial(items.set, rng.randrange(size), i) for i in range(count)]


def _loro_delete(size: int, count: int, rng: Random, is_movable: bool = False) -> list[Step]:
    _, items = _loro_list(size + count, is_movable)
    return [partial(items.delete, rng.randrange(size), 1) for _ in range(count)]


def _loro_map_set(size: int, count: int, rng: Random) -> list[Step]:
    entries: Any = loro.LoroDoc().get_map("map")
    for i in range(size):
        entries.insert(f"key{i}", i)
    return [partial(entries.insert, f"key{rng.randrange(size)}", i) for i in range(count)]


def _loro_text_insert(size: int, count: int, rng: Random) -> list[Step]:
    text: Any = loro.LoroDoc().get_text("text")
    text.insert(0, "x" * size)
    return [partial(text.insert, rng.randrange(size), "y") for _ in range(count)]


OURS = "collabkernel"
PYCRDT = f"pycrdt {version('pycrdt')}"
LORO = f"loro {version('loro')}"
LORO_MOVABLE = f"{LORO} movable"

_CASES: dict[str, dict[str, Prepare]] = {
    "map set": {OURS: _our_map_set, PYCRDT: _yrs_map_set, LORO: _loro_map_set},
    "list append": {OURS: _our_append, PYCRDT: _yrs_append, LORO: _loro_append},
    "list random insert": {
        OURS: _our_insert,
        PYCRDT: _yrs_insert,
        LORO: _loro_insert,
        LORO_MOVABLE: partial(_loro_insert, is_movable=True),
    },
    "edited list random insert": {
        OURS: partial(_our_insert, is_edited=True),
        PYCRDT: partial(_yrs_insert, is_edited=True),
        LORO: partial(_loro_insert, is_edited=True),
        LORO_MOVABLE: partial(_loro_insert, is_movable=True, is_edited=True),
    },
    "list remote insert": {OURS: _our_remote_insert, PYCRDT: _yrs_remote_insert, LORO: _loro_remote_insert},
    "list hostile insert": {OURS: _our_hostile_insert},
    "list move": {OURS: _our_move, LORO_MOVABLE: _loro_move},
    "list set": {OURS: _our_set, PYCRDT: _yrs_set, LORO_MOVABLE: _loro_set},
    "list delete": {
        OURS: _our_delete,
        PYCRDT: _yrs_delete,
        LORO: _loro_delete,
        LORO_MOVABLE: partial(_loro_delete, is_movable=True),
    },
    "text insert": {OURS: _our_text_insert, PYCRDT: _yrs_text_insert, LORO: _loro_text_insert},
}


def _map_apply(runs: int) -> Row:
    """Decoded sets, most of them to keys that are there, into one map."""
    rng = Random(SEED)
    ops = [(f"key{rng.randrange(10_000)}", Stamp(i, 1), i) for i in range(20_000)]
    rates = []
    for _ in range(runs):
        apply_set = LwwMap().apply_set
        start_s = time.thread_time()
        for key, stamp, value in ops:
            apply_set(key, stamp, value)
        rates.append(len(ops) / (time.thread_time() - start_s))
    return row("crdt_cost/map apply/10k", rates, "ops/s")


def _list_load(size: int, runs: int) -> Row:
    """A list out of a snapshot's decoded slots and elements, in milliseconds."""
    items = _OurList(size).items
    slots, elements = list(items.slots()), list(items.elements())
    times_ms = []
    for _ in range(runs):
        gc.collect()
        start_s = time.thread_time()
        RgaList.restore(slots, elements)
        times_ms.append((time.thread_time() - start_s) * 1000)
    return row(f"crdt_cost/list load/{_label(size)}", times_ms, "ms")


if __name__ == "__main__":
    show("cost of an operation", rows("--quick" in sys.argv), Console())
