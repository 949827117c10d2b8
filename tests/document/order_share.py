"""How many random histories end with letters of one text out of order: without a keeper, and with that of a room.

::

    python -m tests.document.order_share 1000

Three to six people do nothing but split, merge and type in the few short blocks that each sees, and makes where he sees
none, without waiting for each other. At the end all is sent, and read, and mended if anybody mends. A text is out of
order when a reader of the document meets its letters in another order than they have in its rope.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace

from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import Envelope, StoredEnvelope
from collabkernel.limits import Limits
from collabkernel.room.effects import AskKeeping
from collabkernel.room.events import Keeping, KeepingAnswered, Ticked
from tests.document.block_world import BODY, Replica, Typist, World
from tests.room.drive import Driver

LIMITS = replace(Limits(), flush_tick_max_ms=0, room_idle_ms=10**9, snapshot_age_ms=10**9, ops_burst=10**9)
KINDS = {"with merges": "ttssmm", "without merges": "tttss"}
STEP_MS = 50
"""Between two edits of the room, whoever makes them."""


class RoomServer:
    """The log of a real room, whose keeper is here."""

    def __init__(self, sites: int, limits: Limits) -> None:
        self.driver = Driver(limits)
        self.session_by_site = {100 + session: session for session in [self.driver.join() for _ in range(sites)]}
        self.log: list[StoredEnvelope] = []
        self._is_kept = False

    @property
    def document(self) -> BlockDocument:
        """What the room holds."""
        assert self.driver.state.blocks is not None
        return self.driver.state.blocks

    def take(self, site: int, envelope: Envelope) -> None:
        """Store an envelope of a session."""
        self.driver.submit(self.session_by_site[site], envelope)
        self.pass_time(STEP_MS)

    def pass_time(self, ms: int) -> None:
        """Let the room do what is due, and note what it shows."""
        self.driver.now_ms += ms
        self.driver.feed(Ticked())
        if not self._is_kept and any(isinstance(effect, AskKeeping) for effect in self.driver.effects):
            self._is_kept = True
            self.driver.feed(KeepingAnswered(Keeping(1, 1, 1, 0, self.driver.now_ms + 10**9)))
        for message in self.driver.take(next(iter(self.session_by_site.values()))):
            self.log += message.ops


class Kept:
    """A world whose server is a room."""

    def __init__(self, count: int, limits: Limits = LIMITS) -> None:
        self.server = RoomServer(count, limits)
        self.replicas = [Replica(site, self.server) for site in self.server.session_by_site]  # type: ignore[arg-type]  # as a Server has it
        self.replicas[0].open()
        self.settle()

    def settle(self) -> None:
        """Everything is sent, the room has time, and everybody has read all."""
        for replica in self.replicas:
            replica.send()
        for _ in range(40):
            self.server.pass_time(LIMITS.keeper_tick_ms)
        for replica in self.replicas:
            replica.receive()


def unkept(count: int) -> World:
    """A world in which nobody mends."""
    world = World(count)
    world.server.keeps_order = False
    return world


def history(world: World | Kept, rng: random.Random, kinds: str) -> BlockDocument:
    """One history; the document at its end."""
    typist = Typist(world, rng)  # type: ignore[arg-type]  # it only keeps it
    for _ in range(rng.randint(5, 60)):
        replica = rng.choice(world.replicas)
        typist.edit(replica, kinds)
        typist.network(replica)
    world.settle()
    world.settle()
    return world.server.document


def is_in_order(document: BlockDocument) -> bool:
    """Whether each rope's letters are read in their order."""
    at = {letter: i for i, letter in enumerate("".join(document.text(each) for each in document.tree.in_order(BODY)))}
    return all(list(found) == sorted(found) for found in _indices(document, at))


def _indices(document: BlockDocument, at: dict[str, int]) -> Iterator[list[int]]:
    for rope in document.ropes.values():
        yield [at[letter] for letter in rope.rope.text if letter in at]


def share(kept: bool, kinds: str, count: int) -> float:
    """Percent of histories that end out of order."""
    bad = 0
    for seed in range(count):
        rng = random.Random(seed)
        people = rng.randint(3, 6)
        bad += not is_in_order(history(Kept(people) if kept else unkept(people), rng, kinds))
    return 100 * bad / count


def main(count: int) -> None:
    """Print the shares."""
    for name, kinds in KINDS.items():
        for kept in (False, True):
            who = "with the room's keeper" if kept else "without a keeper"
            print(f"{name}, {who}: {share(kept, kinds, count):.1f} % of {count}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
