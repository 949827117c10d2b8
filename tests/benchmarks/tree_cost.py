"""What operations on the move tree cost: in the order of the log, on a client with pending ones, beside loro.

What is measured, so that the figures are read aright:

- Operations are decoded, a hundred at a time, as a commit brings them; wire, text and storage are measured elsewhere.
  Time is the thread's time on the processor.
- The document has a heading for each 20 blocks. A move takes a random block to a random place; its author is one of a
  thousand sites, and is up to 200 operations late, so that some moves are concurrent and some are discarded.
- *flat*: all blocks below one parent. *nearby*: all moves among a thousand blocks, as when people work at one place;
  else most of what a move of a long document looks at is in no cache of the processor. *after 100k*: so many moves were
  made before.
- *client*: 30 messages a second bring 2,000 remote moves; before each, 100 own pending moves are taken off, and after
  it put on again, and the order of all blocks is read whose children changed. The figure is the share of one core.
- *concurrent*: 300 sites made two moves each and had seen nothing of each other; these come one by one. loro imports
  one binary update each, decoding included: it has no other way. What one takes there grows with how many came before,
  so a thousand sites would take minutes. The document has 2,000 blocks.
- *machine/dict sets*: a million sets into a dict, which says how fast the machine is at the moment: 0.065 s on the one
  that the goals were set for.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from random import Random
from typing import Any

import loro

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.move_tree import MoveTree
from collabkernel.crdt.order_key import key_between
from collabkernel.document.operations import BlockInsert, BlockMove, NewDocument, document_id
from collabkernel.document.pending_tree import LoggedOp, PendingTree, judge
from tests.benchmarks.report import Row, row

SIZES = (1_000, 10_000, 100_000)
BLOCKS = 2_000
SITES = 1_000
CONCURRENT_SITES = 300
LATE_OPS = 200
SECTION = 20
NEARBY = 1_000
HISTORY_OPS = 100_000
PENDING_OPS = 100
KEY_BYTES = 40
MESSAGE_OPS = 100
REMOTE_PER_S, MESSAGES_PER_S = 2_000, 30
SEED = 20
DOC = document_id("body")
LORO = f"loro {version('loro')}"


def rows(is_quick: bool, sizes: Sequence[int] = SIZES) -> list[Row]:
    """Every cost; quick means fewer runs, not smaller sizes."""
    runs, batch = (3, 1000) if is_quick else (9, 4000)
    found = [row("machine/dict sets", [_dict_sets_s() for _ in range(3)], "s", "python")]
    found.append(row(f"tree/moves in seq order/{BLOCKS}", _rates(_Log(BLOCKS), runs, batch), "ops/s"))
    found.append(row(f"tree/client/{PENDING_OPS} pending", _client_percents(runs), "%"))
    for size in sizes:
        found.append(row(f"tree/move/{size}", _costs_us(_Log(size), runs, batch), "us"))
        found.append(row(f"tree/move nearby/{size}", _costs_us(_Log(size, nearby=NEARBY), runs, batch), "us"))
        found.append(row(f"tree/move flat/{size}", _costs_us(_Log(size, section=size + 1), runs, batch), "us"))
    old = _Log(BLOCKS)
    found.append(row(f"tree/move/{BLOCKS}", _costs_us(old, runs, batch), "us"))
    for logged in old.moves(HISTORY_OPS // 10 if is_quick else HISTORY_OPS):
        old.judge(logged)
    found.append(row(f"tree/move after 100k/{BLOCKS}", _costs_us(old, runs, batch), "us"))
    return found + concurrent_rows(BLOCKS, 100 if is_quick else CONCURRENT_SITES)


def _dict_sets_s() -> float:
    start_s, numbers = time.thread_time(), {}
    for number in range(1_000_000):
        numbers[number] = number
    return time.thread_time() - start_s


class _Log:
    """A document, and the log of moves in it."""

    def __init__(self, size: int, section: int = SECTION, nearby: int | None = None) -> None:
        self.rng = Random(SEED)
        self.tree = MoveTree()
        self.seq = 0
        self.counters: dict[int, int] = {}
        self._next(1, NewDocument(OpId(0, 0), "body"))
        last: dict[OpId, str | None] = {}
        parent, ids = DOC, []
        for number in range(size):
            above = parent if number % section else DOC
            last[above] = key_between(last.get(above), None, 1)
            op_id = self._next(1, BlockInsert(above, Slot.CHILD, last[above] or "", "paragraph"))
            ids.append(op_id)
            parent = op_id if section <= size and above is DOC else parent
        start = (size - nearby) // 2 if nearby else 0
        self.ids = ids[start : start + nearby] if nearby else ids
        self.parents = [id for id in self.ids if self.tree.children(id)] or [DOC]

    def _next(self, site: int, op: Any) -> OpId:
        logged = self._logged(site, op, 0)
        self.judge(logged)
        return logged.op_id

    def _logged(self, site: int, op: Any, late: int) -> LoggedOp:
        self.seq += 1
        self.counters[site] = self.counters.get(site, 0) + 1
        return LoggedOp(self.seq, OpId(site, self.counters[site]), op, max(0, self.seq - 1 - late))

    def judge(self, logged: LoggedOp) -> None:
        seq, op_id, op, base = logged
        judge(self.tree, op_id, op, seq, base)

    def moves(self, count: int) -> list[LoggedOp]:
        """Moves that come next, each to one of the parents, right behind where some block stands or stood."""
        rng, tree, found = self.rng, self.tree, []
        for _ in range(count):
            place = tree.last_place_of(rng.choice(self.ids))
            assert place is not None, "the root is not among the blocks"
            parent = place.parent if rng.random() < 0.5 else rng.choice(self.parents)
            site = rng.randrange(2, SITES + 2)
            # Long keys are no neighbours, or they would grow from batch to batch; rekeys would see to that.
            key = key_between(place.key if len(place.key) < KEY_BYTES else None, None, site)
            move = BlockMove(rng.choice(self.ids), parent, Slot.CHILD, key)
            found.append(self._logged(site, move, rng.randrange(LATE_OPS)))
        return found


def _costs_us(log: _Log, runs: int, batch: int) -> list[float]:
    costs = []
    gc.collect()
    for _ in range(runs + 1):
        busy_s = 0.0
        for _ in range(batch // MESSAGE_OPS):
            message = log.moves(MESSAGE_OPS)
            start_s = time.thread_time()
            for logged in message:
                log.judge(logged)
            busy_s += time.thread_time() - start_s
        costs.append(busy_s / batch * 1e6)
    return costs[1:]  # The first one warms up.


def _rates(log: _Log, runs: int, batch: int) -> list[float]:
    return [1e6 / cost for cost in _costs_us(log, runs, batch)]


def _client_percents(runs: int) -> list[float]:
    log = _Log(BLOCKS)
    mine = PendingTree(log.tree, site=1)
    pending = log.moves(PENDING_OPS)
    log.seq -= PENDING_OPS
    for counter, logged in enumerate(pending, BLOCKS + 2):
        mine.add(OpId(1, counter), logged.op, log.seq)
    percents = []
    for _ in range(runs + 1):
        busy_s = 0.0
        for _ in range(MESSAGES_PER_S):
            message = log.moves(REMOTE_PER_S // MESSAGES_PER_S)
            start_s = time.thread_time()
            changed = mine.confirm(message).changes.values()
            for parent in {place.parent for places in changed for place in places if place is not None}:
                mine.tree.children(parent)
            busy_s += time.thread_time() - start_s
        percents.append(busy_s * 100)
    return percents[1:]


# Concurrent moves, beside loro


def concurrent_rows(blocks: int, sites: int) -> list[Row]:
    """Moves of sites that saw nothing of each other, by us and by loro: the same blocks to the same places."""
    rng, sections = Random(SEED), blocks // SECTION
    moves = [
        (site, rng.randrange(sections, blocks), rng.randrange(sections), rng.randrange(SECTION))
        for site in range(sites)
        for _ in range(2)
    ]
    name = f"tree/concurrent remote move/{blocks}"
    order = sorted(moves, key=lambda _: rng.random())
    return [
        row(name, _each_us(_our_imports(blocks, order)), "us"),
        row(name, _each_us(_loro_imports(blocks, order)), "us", LORO),
    ]


Move = tuple[int, int, int, int]
"""Site, block, section, and index among the section's blocks."""


def _each_us(imports: Sequence[Callable[[], object]], batch: int = 100) -> list[float]:
    """The mean of each batch."""
    costs = []
    gc.collect()
    for start in range(0, len(imports), batch):
        chosen = imports[start : start + batch]
        start_s = time.thread_time()
        for apply in chosen:
            apply()
        costs.append((time.thread_time() - start_s) / len(chosen) * 1e6)
    return costs


def _our_imports(blocks: int, moves: list[Move]) -> list[Callable[[], object]]:
    log = _Log(0)
    ids, keys = [], dict[OpId, list[str]]()
    for number in range(blocks):
        parent = ids[number % (blocks // SECTION)] if number >= blocks // SECTION else DOC
        siblings = keys.setdefault(parent, [])
        siblings.append(key_between(siblings[-1] if siblings else None, None, 1))
        ids.append(log._next(1, BlockInsert(parent, Slot.CHILD, siblings[-1], "paragraph")))
    base, imports = log.seq, list[Callable[[], object]]()
    for site, block, section, index in moves:
        among = [None, *keys[ids[section]]]
        left, right = among[index], among[index + 1] if index + 1 < len(among) else None
        move = BlockMove(ids[block], ids[section], Slot.CHILD, key_between(left, right, site + 2))
        logged = log._logged(site + 2, move, 0)._replace(base=base)
        imports.append(partial(log.judge, logged))
    return imports


def _loro_imports(blocks: int, moves: list[Move]) -> list[Callable[[], object]]:
    doc: Any = loro.LoroDoc()
    tree = doc.get_tree("tree")
    tree.enable_fractional_index(0)
    ids: list[Any] = []
    for number in range(blocks):
        ids.append(tree.create(ids[number % (blocks // SECTION)] if number >= blocks // SECTION else None))
    doc.commit()
    snapshot, before = doc.export(loro.ExportMode.Snapshot()), doc.oplog_vv
    updates: dict[int, list[bytes]] = {}
    for site in {site for site, *_ in moves}:
        twin: Any = loro.LoroDoc()
        twin.import_(snapshot)
        its_tree, seen = twin.get_tree("tree"), before
        its_tree.enable_fractional_index(0)
        for author, block, section, index in moves:
            if author == site:
                target, parent = ids[block], ids[section]
                end = len(its_tree.children(parent)) - (its_tree.parent(target) == parent)
                its_tree.mov_to(target, min(index, end), parent)
                twin.commit()
                updates.setdefault(site, []).append(twin.export(loro.ExportMode.Updates(seen)))
                seen = twin.oplog_vv
    return [partial(doc.import_, updates[site].pop(0)) for site, *_ in moves]
