"""Replicas that look at parts of a document and scroll, among others that have all of it, at a real room.

Lines are cut and late, sites are lost, edits refused, and the server starts again. ``COLLABKERNEL_SIMULATION_SEED``
runs one history again.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from functools import partial

import pytest

from collabkernel.client.doc import Doc
from collabkernel.crdt.ids import OpId
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.partitions import Partitions, Sizes
from collabkernel.document.room_state import RoomState
from collabkernel.errors import DetachedError, InvalidValueError, NotLoadedError
from collabkernel.room import viewport
from tests.client.room_world import RoomLine, RoomWorld
from tests.simulation.test_block_documents import edit, shown

pytestmark = pytest.mark.core

LAZY = (False, True, True, True)
"""Of each replica whether it looks at parts alone."""
STEPS = 150
SEEDS = [os.environ["COLLABKERNEL_SIMULATION_SEED"]] if "COLLABKERNEL_SIMULATION_SEED" in os.environ else range(8)


@pytest.fixture(autouse=True)
def _small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewport, "Partitions", partial(Partitions, sizes=Sizes(2, 5)))
    monkeypatch.setattr(viewport, "VIEWPORT_PARTITIONS_KEPT", 2)


class Scene:
    """A world, and what each replica wants to see."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.world = RoomWorld(*LAZY)
        self.docs = [room.doc("body") for room in self.world.rooms]
        self.docs[0].append("\n\n".join(f"paragraph {i}" for i in range(12)))
        self.world.settle()

    def step(self) -> None:
        """Somebody edits or looks elsewhere, something breaks, something arrives."""
        rng = self.rng
        at = rng.randrange(len(LAZY))
        room, line, doc = self.world.rooms[at], self.world.lines[at], self.docs[at]
        # Below itself, no block before it, gone, out of sight.
        with suppress(InvalidValueError, DetachedError, NotLoadedError):
            edit(room, doc, rng)
        with suppress(DetachedError):  # joined anew, and the room's state is still to come
            if LAZY[at] and rng.random() < 0.35:
                self.scroll(doc)
        self.disturb(line)
        self.world.server.now_ms += rng.choice([0, 50, 400, 3000])  # the keeper waits for some of it
        self.world.server.feed()
        for _ in range(rng.randrange(5)):
            line.send()
            line.serve_one()
            line.flush()
            line.deliver_one()
            self.check_sight(at)

    def scroll(self, doc: Doc) -> None:
        """Look at some blocks, or rarely at everything."""
        blocks = list(doc)
        if self.rng.random() < 0.06:
            doc.show_all()
        elif blocks:
            doc.scroll_to(self.rng.sample(blocks, min(len(blocks), self.rng.randint(0, 3))))

    def disturb(self, line: RoomLine) -> None:
        """Sometimes: a cut line, a lost site, a server that starts again."""
        roll = self.rng.random()
        if roll < 0.05:
            line.cut()
        elif roll < 0.3 and not line.is_up:
            line.connect()
        elif roll < 0.31:
            self.world.restart()
        elif roll < 0.32:
            line.lose_site()

    def check_sight(self, at: int) -> None:
        """What a replica that has nothing pending shows is the log up to ``through``, wherever it looks."""
        replica = self.world.rooms[at].replica
        if len(replica.pending) or replica._orphans is not None or not replica.through:
            return
        fold = self.world.server.fold(replica.through)
        assert_agree(replica.state, fold.state)


def assert_agree(state: RoomState, whole: RoomState) -> int:
    """A state has all places, and of the blocks that it knows all that a whole one has; how many it knows."""
    ours, theirs = state.blocks, whole.blocks
    if ours is None or theirs is None:
        return 0
    assert list(ours.tree.rows()) == list(theirs.tree.rows())
    known = [id for id in theirs.blocks if ours.is_known(id)]
    for id in known:
        assert ours.block(id).properties.registers() == theirs.block(id).properties.registers(), id
    for id in theirs.blocks:
        assert ours.block(id).type == theirs.block(id).type
        if id in theirs.tree and ours.is_loaded(id):
            assert ours.delta(id) == theirs.delta(id), id
    return len(known)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_in_sight_is_never_stale_and_all_agree_in_the_end(seed: object) -> None:
    print(f"COLLABKERNEL_SIMULATION_SEED={seed}")
    rng = random.Random(f"{seed}")
    scene = Scene(rng)
    for _ in range(STEPS):
        scene.step()
    world = scene.world
    world.settle()

    whole = world.server.fold().state
    assert shown(world.rooms[0].replica.state) == shown(whole)
    server_blocks = world.server.room._state.blocks
    assert server_blocks is not None
    for room in world.rooms:
        replica = room.replica
        assert (replica.through, len(replica.pending)) == (world.server.head, 0)
        assert_agree(replica.state, whole)
        assert replica.sight.is_here(replica.state), "what was named has come"
    for at, doc in enumerate(scene.docs):
        if LAZY[at]:
            everything: list[OpId] = [block._id for block in doc]
            for start in range(0, len(everything), 5):
                doc.scroll_to(list(doc)[start : start + 5])
                world.settle()
                blocks: BlockDocument | None = world.rooms[at].replica.state.blocks
                assert blocks is not None
                assert all(blocks.is_loaded(id) for id in everything[start : start + 5])
                assert_agree(world.rooms[at].replica.state, whole)
