"""The body of the fuzz test of documents, for a process of its own: yrs may hang or die.

Each *world* is one document on its server, two honest notebook clients and hostile ones, made from a seed. Before each
case its number and bytes go into the progress file.

    PYTHONPATH=. python tests/fuzz/ydoc_fuzz_run.py SEED CASES PROGRESS_FILE
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter

from pycrdt import merge_updates
from ydoc_grammar import Twister
from yjs_fuzz_run import rss_bytes

from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.parse import decode_vector
from collabkernel.crdt.yjs.policy import NOTEBOOK_POLICY
from collabkernel.crdt.yjs.structs import Struct, read_update
from collabkernel.errors import InvalidYjsUpdateError, YjsGapError
from tests.crdt.yjs.notebook_replica import NotebookReplica

CASES_A_WORLD = 60
HONEST = (7, 2**40)
HOSTILE = (3, 0xDEADBEEF, 12)


class World:
    """One document, its clients, and what has been accepted."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.server = YDocument(NOTEBOOK_POLICY, 1)
        self.honest = [NotebookReplica(client) for client in HONEST]
        self.accepted: list[bytes] = []

    def next_case(self) -> bytes:
        """A hostile update: a real one of some hostile clients, twisted."""
        rng = self.rng
        roll = rng.random()
        if roll < 0.1 and self.accepted:
            update = rng.choice(self.accepted)
        elif roll < 0.15:
            update = self.server.encode_state()
        else:
            update = self._real()
        wrong = rng.choice((0.0, 0.02, 0.05, 0.1, 0.4))
        return Twister(rng, _clocks_of(self.server), wrong).twist(update)

    def _real(self) -> bytes:
        """What honest replicas under hostile ids would send, often behind one another, sometimes in one update."""
        rng = self.rng
        updates: list[bytes] = []
        state = self.server.encode_state()
        for client in rng.sample(HOSTILE, rng.choice((1, 1, 2))):
            author = NotebookReplica(client)
            author.doc.apply_update(state)
            for update in updates:
                author.doc.apply_update(update)
            for _ in range(rng.choice((1, 1, 2))):
                updates.append(author.edit(rng) or b"\x00\x00")
        return updates[-1] if rng.random() < 0.1 else merge_updates(*updates)

    def run(self, update: bytes) -> str:
        """Refused, a gap, or applied."""
        try:
            change = self.server.check(update)
        except YjsGapError:
            return "gap"
        except InvalidYjsUpdateError:
            return "refused"
        if change.clients & {*HONEST, 1}:
            return "refused"  # by the room: these ids are bound to others
        self._apply(update)
        return "applied"

    def _apply(self, update: bytes) -> None:
        change = self.server.check(update)
        self.server.apply(change)  # whatever yrs says now is a failure
        if change.is_new:
            self.accepted.append(change.update)

    def edit_honestly(self) -> None:
        """Somebody edits, having seen a part of the log; it is always let in."""
        replica = self.rng.choice(self.honest)
        if self.rng.random() < 0.7:
            replica.doc.apply_update(self.server.missing(replica.doc.get_state()))
        update = replica.edit(self.rng)
        if self.rng.random() < 0.2:
            update = replica.doc.get_update()
        if update is not None:
            self._apply(update)

    def close(self) -> None:
        """Nothing is pending, and what was accepted makes the same document in another order and in a reload."""
        whole = NotebookReplica(5)
        whole.doc.apply_update(self.server.encode_state())
        expected = _text(whole)
        assert decode_vector(whole.doc.get_state()) == _clocks_of(self.server), "something is pending"
        for update in _shuffled(self.rng, self.accepted):
            self.honest[0].doc.apply_update(update)
        self.honest[1].doc.apply_update(self.server.missing(self.honest[1].doc.get_state()))
        other = NotebookReplica(6)
        for update in _shuffled(self.rng, self.accepted):
            other.doc.apply_update(update)
        for replica in (*self.honest, other):
            assert decode_vector(replica.doc.get_state()) == decode_vector(whole.doc.get_state()), "clocks differ"
            assert _text(replica) == expected, "contents differ"
        again = YDocument(NOTEBOOK_POLICY, 2, self.server.encode_state())
        assert not again.check(whole.doc.get_update()).is_new, "a reload forgets"


def _text(replica: NotebookReplica) -> str:
    """The contents to compare: NaN, which a value may be, is not equal to itself."""
    return json.dumps(replica.to_py(), sort_keys=True, default=bytearray.hex)


def _clocks_of(document: YDocument) -> dict[int, int]:
    return decode_vector(document.state_vector())


def _shuffled(rng: random.Random, updates: list[bytes]) -> list[bytes]:
    """Updates in some order in which each comes behind all that it names."""
    waiting = [(update, read_update(update, NOTEBOOK_POLICY, None)) for update in updates]
    ends: dict[int, int] = {}
    found: list[bytes] = []
    while waiting:
        rng.shuffle(waiting)
        left = []
        for update, parsed in waiting:
            brought = {client: queue[-1].clock + queue[-1].length for client, queue in parsed.structs.items()}
            after = {**ends, **brought}
            is_ready = (
                all(queue[0].clock == ends.get(client, 0) for client, queue in parsed.structs.items())
                and all(_is_there(struct, after) for queue in parsed.structs.values() for struct in queue)
                and all(spans[-1][1] <= after.get(client, 0) for client, spans in parsed.deletes.items())
            )
            if is_ready:
                found.append(update)
                ends = after
            else:
                left.append((update, parsed))
        assert len(left) < len(waiting), "an accepted update names what never came"
        waiting = left
    return found


def _is_there(struct: Struct, ends: dict[int, int]) -> bool:
    names = (struct.origin, struct.right, struct.parent)
    return all(name[1] < ends.get(name[0], 0) for name in names if isinstance(name, tuple))


def main(seed: str, cases: int, progress: str) -> None:
    counts: Counter[str] = Counter(applied=0, refused=0, gap=0)
    slowest_ms, all_ms, slowest, rss_start = 0.0, 0.0, "", 0
    file = os.open(progress, os.O_CREAT | os.O_WRONLY)
    warm_up = World("warm-up")
    for _ in range(CASES_A_WORLD):
        warm_up.run(warm_up.next_case())
    for number in range(0, cases, CASES_A_WORLD):
        name = f"{seed}:{number // CASES_A_WORLD}"
        world = World(name)
        for case in range(CASES_A_WORLD):
            if case % 4 == 0:
                world.edit_honestly()
            update = world.next_case()
            label = f"world {name} case {case} bytes {update.hex()}"
            os.pwrite(file, label.encode()[:65536].ljust(65536, b"\0"), 0)
            begin = time.thread_time()
            outcome = world.run(update)
            spent_ms = (time.thread_time() - begin) * 1000
            counts[outcome] += 1
            if outcome == "gap":
                counts["refused"] += 1
            all_ms += spent_ms
            if spent_ms > slowest_ms:
                slowest_ms, slowest = spent_ms, label
        world.close()
        if number == CASES_A_WORLD * 20:
            rss_start = rss_bytes()
    growth = rss_bytes() - rss_start if rss_start else 0
    print(
        json.dumps({**counts, "slowest_ms": slowest_ms, "spent_ms": all_ms, "slowest": slowest, "growth_bytes": growth})
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
