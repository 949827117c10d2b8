"""The body of the fuzz test of Yjs updates, for a process of its own: yrs may hang or die.

Each *world* is one rope with an honest typist and hostile senders, made from a seed. Before each case its number and
bytes go into the progress file, so that whoever finds this process hung or dead can tell what did it.

    python tests/fuzz/yjs_fuzz_run.py SEED CASES PROGRESS_FILE
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter

from pycrdt import Doc, Text
from yjs_grammar import YjsGrammar, mutate

from collabkernel.crdt.text import EMBED_CHAR, TextRope
from collabkernel.crdt.text_doc import merge
from collabkernel.crdt.yjs.parse import read_uint
from collabkernel.errors import InvalidValueError, InvalidYjsUpdateError

CASES_A_WORLD = 60
HONEST = 7
HOSTILE = (3, 0xDEADBEEF, 12)


class World:
    """One document on its server, one honest typist, and what has been accepted."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.rope = TextRope(1)
        self.typist = TextRope(HONEST)
        self.accepted: list[bytes] = []
        self.typed = 0

    def next_case(self) -> tuple[int, bytes]:
        rng = self.rng
        client = rng.choice(HOSTILE)
        roll = rng.random()
        if roll < 0.2 and self.accepted:
            return client, mutate(rng, rng.choice(self.accepted))
        if roll < 0.35:
            return client, mutate(rng, self._real(client))
        wrong = rng.choice((0.0, 0.0, 0.02, 0.1, 0.4))
        return client, YjsGrammar(rng, self.rope.state_vector(), client, wrong).update()

    def _real(self, client: int) -> bytes:
        """What an honest replica under that client id would send."""
        author = TextRope.from_state(self.rope.encode_state(), client)
        length = len(author)
        start = self.rng.randint(0, length)
        end = min(length, start + self.rng.randint(0, 4))
        try:
            if end > start and self.rng.random() < 0.3:
                return author.format(start, end, {"bold": self.rng.choice((True, None))}) or b"\x00\x00"
            return author.splice(start, end - start, self.rng.choice(("q", "zü", "😀")))
        except InvalidValueError:
            return b""  # an earlier case under this id has used up its clocks

    def run(self, client: int, update: bytes) -> str:
        """Refused or applied; the rope of the typist takes the same."""
        try:
            self.rope.apply(update, client)
        except InvalidYjsUpdateError as error:
            if isinstance(error.__cause__, Exception) or "yrs" in str(error):
                raise AssertionError(f"the validator let through what yrs refuses: {error}") from error
            return "refused"
        self.typist.apply_with_delta(update, client)
        self.accepted.append(update)
        return "applied"

    def type(self) -> None:
        """The honest typist types in the middle: it must appear, where he typed it."""
        self.typed += 1
        mark = f"<{self.typed}>"
        index = self.rng.randint(0, len(self.typist))
        before = self.typist.text
        update = self.typist.insert(index, mark)
        self.rope.apply(update, HONEST)
        self.accepted.append(update)
        assert self.rope.text == before[:index] + mark + before[index:] == self.typist.text

    def close(self) -> None:
        """What was accepted stands for itself: merged and applied to a fresh document it gives the same text."""
        merged: Doc[Text] = Doc()
        text = merged.get("text", type=Text)
        merged.apply_update(merge(self.accepted))
        assert clocks(merged) == self.rope.state_vector(), "something is pending"
        assert str(text) == self.rope.text.replace(EMBED_CHAR, "") or EMBED_CHAR in str(text), (
            "merging changes the text"
        )
        again = TextRope.from_state(self.rope.encode_state(), 5)
        assert again.state_vector() == self.rope.state_vector()
        assert again.text == self.rope.text == self.typist.text, "a reload changes the text"


def clocks(doc: Doc[Text]) -> dict[int, int]:
    """The state vector as yrs has it."""
    state = doc.get_state()
    count, at = read_uint(state, 0)
    found = {}
    for _ in range(count):
        client, at = read_uint(state, at)
        found[client], at = read_uint(state, at)
    return found


def rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(seed: str, cases: int, progress: str) -> None:
    counts: Counter[str] = Counter()
    slowest_ms = all_ms = 0.0
    slowest = ""
    rss_start = 0
    file = os.open(progress, os.O_CREAT | os.O_WRONLY)
    warm_up = World("warm-up")
    for _ in range(CASES_A_WORLD):
        warm_up.run(*warm_up.next_case())
    for number in range(0, cases, CASES_A_WORLD):
        name = f"{seed}:{number // CASES_A_WORLD}"
        world = World(name)
        for case in range(CASES_A_WORLD):
            client, update = world.next_case()
            label = f"world {name} case {case} client {client} bytes {update.hex()}"
            os.pwrite(file, label.encode().ljust(4096, b"\0"), 0)
            begin = time.thread_time()
            counts[world.run(client, update)] += 1
            spent_ms = (time.thread_time() - begin) * 1000
            all_ms += spent_ms
            if spent_ms > slowest_ms:
                slowest_ms, slowest = spent_ms, label
            if case % 20 == 19:
                world.type()
        world.close()
        if number == CASES_A_WORLD * 20:
            rss_start = rss_bytes()
    growth = rss_bytes() - rss_start if rss_start else 0
    result = {**counts, "slowest_ms": slowest_ms, "spent_ms": all_ms, "slowest": slowest, "growth_bytes": growth}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
