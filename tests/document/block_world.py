"""A server and some replicas that edit one block document, with a network that is as slow as the test wants."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.crdt.move_tree import Verdict
from collabkernel.document import block_edits
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_edits import Inverse, Plan, TextFormat, TextMark, TextSplice
from collabkernel.document.block_mending import misordered_splits, stranded_parts
from collabkernel.document.operations import Envelope, NewDocument, Op, StoredEnvelope, TreeOp, document_id
from collabkernel.document.pending_tree import LoggedOp, PendingTree

BODY = document_id("body")
KEEPER = 1


def letter(n: int) -> str:
    """A character of its own for each one typed, so that a text tells who typed what."""
    return chr(0x4E00 + n)


@dataclass
class Server:
    """The log, and its fold."""

    document: BlockDocument = field(default_factory=BlockDocument)
    log: list[StoredEnvelope] = field(default_factory=list)
    head: int = 0
    verdicts: dict[OpId, Verdict] = field(default_factory=dict)
    keeps_order: bool = True

    def __post_init__(self) -> None:
        self.document.tells_changes = False

    def take(self, site: int, envelope: Envelope) -> None:
        """Take an envelope into the log; the keeper mends at once what it crossed."""
        stored = StoredEnvelope(self.head + 1, site, "somebody", envelope)
        self.log.append(stored)
        self.head = stored.last_seq
        fold(self.document, stored, self.verdicts)
        if self.keeps_order and site != KEEPER:
            self.mend()

    def mend(self) -> None:
        """What the keeper does when the log is quiet."""
        for mending in (stranded_parts, misordered_splits):
            ops = tuple(mending(self.document, KEEPER))
            if ops:
                self.take(KEEPER, Envelope(self.head + 1, self.head, self.head + 1, ops))


def fold(document: BlockDocument, stored: StoredEnvelope, verdicts: dict[OpId, Verdict]) -> None:
    """One envelope of the log, as a server and a replay take it."""
    for i, op in enumerate(stored.envelope.ops):
        document.admit(stored.op_id(i), stored.stamp(i), op)
        if isinstance(op, TreeOp):
            verdicts[stored.op_id(i)] = document.judge(stored.op_id(i), op, stored.seq + i, stored.envelope.base)


class Replica:
    """A client: own edits at once, the log in pieces."""

    def __init__(self, site: int, server: Server) -> None:
        self.site = site
        self.server = server
        self.document = BlockDocument(site)
        self.pending = PendingTree(self.document.tree, site)
        self.counter = 1
        self.hlc = 0
        self.through = 0
        self.read = 0
        self.outbox: list[Envelope] = []
        self.undo: list[Inverse] = []
        self.changes: list[Any] = []

    @property
    def next_id(self) -> OpId:
        return OpId(self.site, self.counter)

    def run(self, plan: Plan) -> None:
        """Do a plan at once, as one envelope."""
        first, hlc = self.counter, self.hlc + 1
        ops: list[Op] = []
        for step in plan.steps:
            if isinstance(step, TextSplice | TextFormat | TextMark):
                made = block_edits.perform(self.document, step)
                ops += [each.op for each in made]
            else:
                op_id = OpId(self.site, first + len(ops))
                self.changes += self.document.admit(op_id, Stamp(hlc + len(ops), self.site), step)
                if isinstance(step, TreeOp):
                    self.pending.add(op_id, step, self.through)
                ops.append(step)
        if ops:
            self.outbox.append(Envelope(first, self.through, hlc, tuple(ops)))
            self.counter += len(ops)
            self.hlc = hlc + len(ops)
        if plan.inverse is not None:
            self.undo.append(plan.inverse)

    def do(self, edit: Callable[..., Plan], *args: Any) -> OpId:
        """Plan an edit and do it; the id that it began with."""
        next_id = self.next_id
        self.run(edit(self.document, next_id, *args))
        return next_id

    def open(self) -> None:
        self.run(Plan((NewDocument(ROOT, "body"),)))

    def undo_last(self) -> None:
        if self.undo:
            self.run(self.undo.pop()(self.document, self.next_id))
            if self.undo:
                self.undo.pop()

    def send(self, count: int | None = None) -> None:
        sent, self.outbox = self.outbox[:count], self.outbox[count:] if count is not None else []
        for envelope in sent:
            self.server.take(self.site, envelope)

    def receive(self, count: int | None = None) -> None:
        """The next envelopes of the log, in one message."""
        news = self.server.log[self.read :] if count is None else self.server.log[self.read : self.read + count]
        logged: list[LoggedOp] = []
        for stored in news:
            for i, op in enumerate(stored.envelope.ops):
                self.changes += self.document.admit(stored.op_id(i), stored.stamp(i), op)
                if isinstance(op, TreeOp):
                    logged.append(LoggedOp(stored.seq + i, stored.op_id(i), op, stored.envelope.base))
            self.hlc = max(self.hlc, stored.envelope.hlc + len(stored.envelope.ops))
            self.through = stored.last_seq
        self.read += len(news)
        self.pending.confirm(logged)

    # -- what a user sees

    @property
    def blocks(self) -> list[OpId]:
        return list(self.document.tree.in_order(BODY))

    @property
    def texts(self) -> list[str]:
        return [self.document.text(block) for block in self.blocks]


class World:
    """A server and its replicas."""

    def __init__(self, replicas: int = 3) -> None:
        self.server = Server()
        self.replicas = [Replica(10 + i, self.server) for i in range(replicas)]
        self.replicas[0].open()
        self.settle()

    def settle(self) -> None:
        """Everything is sent, and everybody has read all."""
        for replica in self.replicas:
            replica.send()
        for replica in self.replicas:
            replica.receive()

    def mend(self) -> None:
        """The keeper mends until there is nothing to mend."""
        self.settle()
        for _ in range(10):
            head = self.server.head
            self.server.mend()
            if head == self.server.head:
                break
        self.settle()


def state(document: BlockDocument) -> Any:
    """All that replicas have to agree on."""
    blocks = {
        block: (found.rope_id, found.properties.registers(), document.text(block), document.delta(block))
        for block, found in sorted(document.blocks.items())
    }
    return list(document.tree.rows()), document.tree.rekeys(), blocks


class Typist:
    """Random edits of one replica, each letter typed but once; remembers what was typed and deleted where."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.typed = 0
        self.deleted: set[str] = set()
        self.beside: list[tuple[str, str]] = []
        """Pairs of letters, the first of which was seen left of the second when one of them was typed."""

    def fresh(self, count: int) -> str:
        self.typed += count
        return "".join(letter(self.typed - count + i) for i in range(count))

    @property
    def all_letters(self) -> set[str]:
        return {letter(n) for n in range(self.typed)}

    def type(self, replica: Replica, block: OpId, index: int, count: int = 1) -> None:
        shown = replica.document.text(block)
        text = self.fresh(count)
        row = shown[max(index - 1, 0) : index] + text + shown[index : index + 1]
        self.beside += pairwise(row)
        replica.do(block_edits.edit_text, block, index, 0, text)

    def delete(self, replica: Replica, block: OpId, index: int, length: int) -> None:
        self.deleted |= set(replica.document.text(block)[index : index + length])
        replica.do(block_edits.edit_text, block, index, length, "")

    def merge_up(self, replica: Replica, block: OpId) -> None:
        """Backspace at the start of a block."""
        at = replica.blocks.index(block)
        host = replica.blocks[at - 1] if at else None
        if host is not None:
            replica.do(block_edits.merge_blocks, host, block)

    def edit(self, replica: Replica, kinds: str) -> None:
        """One random edit: (t)ype, (d)elete text, (s)plit, (m)erge; (i)nsert, delete (x) or mo(v)e a block; (p)roperty,
        (u)ndo.
        """
        rng, blocks = self.rng, replica.blocks
        kind = rng.choice(kinds) if blocks else "i"
        if kind == "i":
            at = rng.randint(0, len(replica.document.tree.children(BODY)))
            replica.do(block_edits.insert_block, BODY, at, "paragraph", self.fresh(rng.randint(0, 4)))
            return
        block = rng.choice(blocks)
        length = replica.document.length(block)
        index = rng.randint(0, length)
        if kind == "t":
            self.type(replica, block, index, rng.randint(1, 4))
        elif kind == "d":
            self.delete(replica, block, index, rng.randint(0, min(3, length - index)))
        elif kind == "s":
            replica.do(block_edits.split_block, block, index)
        elif kind == "m":
            self.merge_up(replica, block)
        elif kind == "x":
            replica.do(block_edits.delete_block, block)
        elif kind == "v":
            parent = rng.choice([BODY, *blocks])
            if parent != block and block not in replica.document.tree.ancestors(parent):
                siblings = set(replica.document.tree.children(parent)) - {block}
                replica.do(block_edits.move_block, block, parent, rng.randint(0, len(siblings)))
        elif kind == "p":
            replica.do(block_edits.set_property, block, rng.choice(["type", "level"]), rng.choice(["heading", "task"]))
        elif kind == "u":
            replica.undo_last()

    def network(self, replica: Replica) -> None:
        """Something is sent or read, or not."""
        if self.rng.random() < 0.4:
            replica.send(self.rng.randint(1, 3))
        if self.rng.random() < 0.4:
            replica.receive(self.rng.randint(1, 5))
