"""What the Yjs validator and a rope cost an update: typing on or elsewhere, deleting, formatting, a large paste."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from rich.console import Console

from collabkernel.crdt.text import TextRope
from collabkernel.crdt.text_doc import merge
from collabkernel.crdt.yjs.update import YjsState
from tests.benchmarks.report import Row, row

SITES = (0xDEADBEEF, 0xCAFEBABE)
SEED = 7


def session(edits: int, author: Callable[[TextRope, random.Random], bytes]) -> list[tuple[int, bytes]]:
    """Updates of two people who take turns in one text of 2,000 characters."""
    rng = random.Random(SEED)
    ropes = [TextRope(site, records_steps=False) for site in SITES]
    log = [(SITES[0], ropes[0].insert(0, "lorem ipsum dolor sit amet, " * 71))]
    ropes[1].apply(log[0][1], SITES[0])
    for number in range(edits):
        turn = number // 20 % 2
        update = author(ropes[turn], rng)
        if update:
            ropes[1 - turn].apply(update, SITES[turn])
            log.append((SITES[turn], update))
    return log


class Typing:
    """A letter behind the last one, and a jump elsewhere every 30 letters or so."""

    def __init__(self) -> None:
        self.cursor = 0

    def __call__(self, rope: TextRope, rng: random.Random) -> bytes:
        if rng.random() < 1 / 30:
            self.cursor = rng.randrange(len(rope))
        self.cursor += 1
        return rope.insert(self.cursor - 1, rng.choice("abcdefgh "))


def jumping(rope: TextRope, rng: random.Random) -> bytes:
    return rope.insert(rng.randrange(len(rope)), "x")


def emoji(rope: TextRope, rng: random.Random) -> bytes:
    return rope.insert(rng.randrange(len(rope)), "😀")


def deleting(rope: TextRope, rng: random.Random) -> bytes:
    return rope.delete(rng.randrange(len(rope) - 1), 1)


def formatting(rope: TextRope, rng: random.Random) -> bytes:
    start = rng.randrange(len(rope) - 5)
    return rope.format(start, start + 5, {"bold": rng.choice((True, 1, 2))})


def check_us(log: list[tuple[int, bytes]]) -> float:
    """The validator's CPU time an update, over a whole session."""
    state = YjsState()
    start = time.thread_time()
    for client, update in log:
        state.commit(state.check(update, client))
    return (time.thread_time() - start) / len(log) * 1e6


def apply_us(log: list[tuple[int, bytes]]) -> float:
    """The CPU time of validator and pycrdt together."""
    rope = TextRope(1)
    start = time.thread_time()
    for client, update in log:
        rope.apply(update, client)
    return (time.thread_time() - start) / len(log) * 1e6


def large_us(structs: int) -> float:
    """One update of many structs: words that each have a formatting of their own, as a paste of rich text brings."""
    rope = TextRope(SITES[0])
    update = merge([rope.insert(0, "word ", {"size": number % 7 + 1}) for number in range(structs // 3)])
    state = YjsState()
    begin = time.thread_time()
    state.check(update, SITES[0])
    return (time.thread_time() - begin) * 1e6


def rows(console: Console | None = None, *, is_quick: bool = False, only: str = "") -> list[Row]:
    """Microseconds of CPU an update; ``only`` picks rows whose name holds that text."""
    del console  # nothing here takes long enough to be announced
    edits, repeats = (500, 3) if is_quick else (3000, 5)
    found: list[Row] = []
    authors = {"typing": Typing(), "jumping": jumping, "emoji": emoji, "deleting": deleting, "formatting": formatting}
    for name, author in authors.items():
        log = session(edits, author)
        found.append(row(f"yjs_validation/check/{name}", [check_us(log) for _ in range(repeats)], "us"))
        found.append(row(f"yjs_validation/apply/{name}", [apply_us(log) for _ in range(repeats)], "us"))
    found.append(row("yjs_validation/check/1000_structs", [large_us(1000) for _ in range(repeats)], "us"))
    return [each for each in found if only in each["name"]]
