"""Replicas that edit one document at random, on bad lines, with skewed clocks and a server that crashes; one seed."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from collabkernel.client.block import Block, parse_block_name
from collabkernel.client.lost_edit import LostEdit
from collabkernel.client.notifications import EditLost
from collabkernel.crdt.ids import OpId
from collabkernel.errors import DetachedError, InvalidValueError, PurgedError
from collabkernel.limits import Limits
from tests.simulation.clockwork import START_MS, Clockwork
from tests.simulation.ledger import Ledger, Typed
from tests.simulation.peers import BODY, Reader, Writer
from tests.simulation.room_server import RoomServer

MANY = 10**9
LIMITS = replace(
    Limits(),
    ops_per_s=MANY,
    ops_burst=MANY,
    frames_per_s=MANY,
    room_bytes=MANY,
    snapshot_ops=100,
    snapshot_min_interval_ms=2_000,
    ring_bytes=200_000,
    catch_up_ops=1000,
)
"""Nobody is refused for what a day's work piles up in an hour; sessions fall out of the ring, and behind the log."""
WRITERS, READERS = 8, 2
THINK_MS, TROUBLE_MS = 150, 600
BLOCKS = 120
"""About as many blocks as there are: over it, deletes are more likely than inserts. An author who is to have others
makes, deletes and brings back more of them."""
CHARS = 60
"""About as many characters as a block has: over it, people who would type delete."""


class Author:
    """Edits one writer's document at random, and checks what it sees of each at once."""

    def __init__(self, writer: Writer, blocks: int = BLOCKS) -> None:
        self.writer = writer
        self._blocks = blocks
        self.rng = writer.rng
        self.doc = writer.room.doc("body")
        self._known: list[Block] = []
        self._until_look = 0
        self.edits: Counter[str] = Counter()

    @property
    def _actions(self) -> dict[Callable[[Block, Block], object], float]:
        insert, delete = (4.0, 1.0) if len(self._known) < self._blocks else (1.0, 4.0)
        return {
            self._type: 55,
            self._cut: 8,
            self._rewrite: 3,
            self._insert: insert,
            self._delete: delete,
            self._move: 10,
            self._split: 2.5,
            self._merge: 2.5,
            self._set: 3,
            self._format: 2,
            self._undo: 4,
            self._batch: 2,
        }

    @property
    def _actions_on_few(self) -> dict[Callable[[Block, Block], object], float]:
        insert, delete = (8.0, 4.0) if len(self._known) < self._blocks else (4.0, 8.0)
        return {
            self._type: 15,
            self._cut: 4,
            self._insert: insert,
            self._delete: delete,
            self._bring_back: 3,
            self._move: 6,
            self._split: 5,
            self._merge: 5,
            self._set: 3,
            self._format: 1,
            self._undo: 8,
            self._batch: 3,
        }

    def edit(self) -> None:
        """One edit."""
        self._until_look -= 1
        if self._until_look < 0:
            self._known, self._until_look = list(self.doc), 20
        if len(self._known) < 3:
            self._until_look = 0
            self.doc.append(f"first {self.writer.ledger.fresh(2)}")
            return
        block, other = self.rng.choice(self._known), self.rng.choice(self._known)
        actions = self._actions if self._blocks == BLOCKS else self._actions_on_few
        (action,) = self.rng.choices(list(actions), list(actions.values()))
        self.writer.typed = Typed("", "")
        with suppress(InvalidValueError, DetachedError, PurgedError):  # below itself, no block before it, gone
            action(block, other)
            self.edits[action.__name__.strip("_")] += 1

    # -- text, letter by letter

    def _type(self, block: Block, _: Block) -> None:
        if len(block.text) > CHARS:
            self._replace(block, "", CHARS)
            return
        text = self.writer.ledger.fresh(self.rng.choice((1, 1, 1, 2, 5)))
        at = self.rng.randint(0, len(block.text))
        block.insert(at, text)
        assert self.writer.typed == (text, "")
        assert block.text[at : at + len(text)] == text, "what is typed stands where it was typed"

    def _cut(self, block: Block, _: Block) -> None:
        self._replace(block, "")

    def _rewrite(self, block: Block, _: Block) -> None:
        self._replace(block, self.writer.ledger.fresh(2))

    def _replace(self, block: Block, text: str, most: int = 4) -> None:
        before = block.text
        start = self.rng.randint(0, len(before))
        gone = before[start : start + self.rng.randint(1, most)]
        if gone or text:
            block.replace(start, start + len(gone), text)
            assert self.writer.typed.inserted == text
            assert sorted(self.writer.typed.deleted) == sorted(gone), (
                self.writer.typed,
                gone,
                before,
                start,
                block.text,
            )

    def _format(self, block: Block, _: Block) -> None:
        start = self.rng.randint(0, len(block.text))
        block.format(start, start + 3, bold=self.rng.choice((True, None)))

    # -- blocks

    def _insert(self, block: Block, _: Block) -> None:
        text = self.writer.ledger.fresh(3)
        made = self.doc.insert(text, **{self.rng.choice(("after", "before")): block})
        assert [each.text for each in made] == [text]

    def _delete(self, block: Block, _: Block) -> None:
        block.delete()

    def _move(self, block: Block, other: Block) -> None:
        block.move(**{self.rng.choices(("after", "before", "into"), (4, 4, 1))[0]: other})

    def _split(self, block: Block, _: Block) -> None:
        before = block.text
        at = self.rng.randint(0, len(before))
        made = block.split(at)
        if block not in list(self.doc):  # it is a part of another, of which more may be split off
            return
        assert made.text.startswith(before[at:]) if at else block.text == before
        assert block.text == before[:at] if at else not made.text or made.text == before
        assert self.writer.typed == ("", ""), "nothing is copied"

    def _merge(self, block: Block, _: Block) -> None:
        before = block.text
        host = block.merge()
        assert before in host.text
        assert self.writer.typed == ("", ""), "nothing is copied"

    def _set(self, block: Block, _: Block) -> None:
        if self.rng.random() < 0.5:
            block["done"] = self.rng.random() < 0.5
        else:
            block.type = self.rng.choice(("paragraph", "heading", "list_item"))

    def _undo(self, block: Block, _: Block) -> None:
        del block
        history = self.writer.room.history
        history.undo() if self.rng.random() < 0.6 else history.redo()

    def _bring_back(self, block: Block, _: Block) -> None:
        if not block.is_alive:
            counter, site = parse_block_name(block.id)
            id = OpId(site or 0, counter)
            LostEdit(self.writer.room, EditLost(id, "")).restore()

    def _batch(self, block: Block, other: Block) -> None:
        with self.writer.room.batch():
            block.insert(0, self.writer.ledger.fresh(1))
            block.type = "heading"
            other.insert(len(other.text), self.writer.ledger.fresh(1))
            block.move(after=other)


class World:
    """A room, its writers and its readers."""

    def __init__(self, seed: str, loop: asyncio.Runner, snapshot_ops: int = LIMITS.snapshot_ops) -> None:
        self.seed = seed
        self.clockwork = Clockwork(seed)
        self.rng = self.clockwork.rng
        self.ledger = Ledger()
        self.server = RoomServer(self.clockwork, loop, replace(LIMITS, snapshot_ops=snapshot_ops))
        self.writers = [Writer(f"writer {i}", self.clockwork, self.server, self.ledger) for i in range(WRITERS)]
        self.readers = [Reader(f"reader {i}", self.clockwork, self.server) for i in range(READERS)]
        self.authors: list[Author] = []
        self.happened: Counter[str] = Counter()
        self._is_over = False

    def story(self) -> str:
        """What has happened, in a few lines."""
        edits = sum([author.edits for author in self.authors], Counter[str]())
        blocks = self.writers[0].replica.state.blocks
        hours = (self.clockwork.now_ms - START_MS) / 3_600_000
        return (
            f"{self.ops_made} operations in {hours:.2f} hours by {len(self.writers)} replicas: {dict(edits)}\n"
            f"{dict(self.happened)}, {self.server.starts} starts of the server, {self.server.resets} failed appends, "
            f"{self.server.outages} outages of its database\n"
            f"{self.ledger.typed_count} characters typed, {sum(each.discarded for each in self.writers)} edits lost "
            f"against others', {len(blocks.blocks) if blocks else 0} blocks"
        )

    # -- living

    def live(self, ops: int, told: Callable[[int], object] = lambda _: None) -> None:
        """Let everybody edit until so many operations were made, and then come to rest; ``told`` hears how many."""
        for person in (*self.writers, *self.readers):
            person.connect()
        while not all(writer.replica.is_caught_up for writer in self.writers):
            self.clockwork.step()
        self.authors = [Author(writer) for writer in self.writers]
        self.server.fault_odds = 0.0002
        for author in self.authors:
            self._edit_again(author)
        self.clockwork.after(self.rng.randint(3_000, 8_000), self._crash)
        self.clockwork.after(self.rng.randint(1_000, 3_000), self._lose_database)
        self.clockwork.soon(TROUBLE_MS, self._trouble)
        while (made := self.ops_made) < ops:
            assert self.clockwork.step()
            told(made)
        self.settle()

    @property
    def ops_made(self) -> int:
        """Operations that writers have made."""
        return sum(writer.replica.pending.next_counter - 1 for writer in self.writers)

    def _edit_again(self, author: Author) -> None:
        if not self._is_over:
            author.edit()
            self.clockwork.soon(THINK_MS, lambda: self._edit_again(author))

    def _trouble(self) -> None:
        """One thing goes wrong, and the next is planned."""
        if self._is_over:
            return
        rng, writer, reader = self.rng, self.rng.choice(self.writers), self.rng.choice(self.readers)
        troubles: dict[str, tuple[float, Callable[[], object]]] = {
            "short cut": (6, lambda: writer.cut(rng.randint(0, 500))),
            "offline": (3, lambda: writer.cut(rng.randint(5_000, 60_000))),
            "reader cut": (2, lambda: reader.cut(rng.randint(0, 5_000))),
            "stalled socket": (3, rng.choice((writer, reader)).stall),
            "clock set": (1, lambda: setattr(writer, "skew_ms", rng.randint(-30_000, 30_000))),
            "crash": (0.5, self._crash),
            "database away": (1, self._lose_database),
            "scroll": (10, lambda: reader.look(self._somewhere())),
        }
        (name,) = rng.choices(list(troubles), [odds for odds, _ in troubles.values()])
        troubles[name][1]()
        self.happened[name] += 1
        self.clockwork.soon(TROUBLE_MS, self._trouble)

    def _lose_database(self) -> None:
        self.server.lose_database(self.rng.randint(50, 20_000))

    def _crash(self) -> None:
        self.server.crash(self.rng.randint(0, 3_000))

    def _somewhere(self) -> tuple[OpId, ...]:
        blocks = self.rng.choice(self.writers).replica.state.blocks
        shown = list(blocks.tree.in_order(BODY)) if blocks else []
        start = self.rng.randint(0, len(shown))
        return tuple(shown[start : start + 20])

    def settle(self) -> None:
        """Nothing goes wrong any more, and everything arrives."""
        self._is_over = True
        self.server.fault_odds = 0.0
        people = (*self.writers, *self.readers)
        for person in people:
            person.come_back()
        while not self._is_settled():
            assert self.clockwork.step(), f"seed {self.seed}: at rest, and not everybody has everything"
        for reader in self.readers:
            reader.look(self._somewhere())
        while self.clockwork.step():
            pass

    def _is_settled(self) -> bool:
        if any(person.line is None or not person.line.is_open for person in (*self.writers, *self.readers)):
            return False
        head = self.server.head
        return all(
            writer.replica.is_saved and writer.replica.is_caught_up and writer.replica.through == head
            for writer in self.writers
        )


def seeds(count: int) -> list[str]:
    """Of a test: as many as said, or the one that ``COLLABKERNEL_SIMULATION_SEED`` asks for."""
    wanted = os.environ.get("COLLABKERNEL_SIMULATION_SEED")
    return [wanted] if wanted is not None else [str(seed) for seed in range(count)]
