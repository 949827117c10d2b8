"""Replicas that edit one document at random, on lines that are cut and late, with a server that starts again.

``COLLABKERNEL_SIMULATION_SEED`` runs one history again.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import Any

import pytest

from collabkernel.client.block import Block
from collabkernel.client.doc import Doc
from collabkernel.client.room_base import RoomBase
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import document_id
from collabkernel.document.room_state import RoomState
from collabkernel.errors import DetachedError, InvalidValueError
from tests.client.log_world import World

pytestmark = pytest.mark.core

ROOMS = 4
STEPS = 160
SEEDS = [os.environ["COLLABKERNEL_SIMULATION_SEED"]] if "COLLABKERNEL_SIMULATION_SEED" in os.environ else range(8)


def shown(state: RoomState) -> dict[str, Any]:
    """All that a state holds of blocks, dead ones too, in a form to compare."""
    blocks = state.blocks
    assert blocks is not None
    return {
        "tree": list(blocks.tree.rows()),
        "rekeys": blocks.tree.rekeys(),
        "properties": {id: block.properties.registers() for id, block in blocks.blocks.items()},
        "texts": {id: blocks.delta(id) for id in blocks.blocks if id in blocks.tree},
    }


def joined(state: RoomState) -> dict[Any, Any]:
    """What servers alone note of blocks."""
    assert state.blocks is not None
    return {id: block.placed for id, block in state.blocks.blocks.items()}


def edit(room: RoomBase, doc: Doc, rng: random.Random) -> None:
    """One edit at random."""
    blocks = list(doc)
    if len(blocks) < 3:
        doc.append(f"first {rng.random()}")
        return
    block, other = rng.choice(blocks), rng.choice(blocks)
    match rng.randrange(12):
        case 0 | 1 | 2:
            block.insert(rng.randint(0, len(block.text)), rng.choice(("a", "bc", "déf ", "👩‍🚀")))
        case 3:
            start = rng.randint(0, len(block.text))
            block.replace(start, start + rng.randint(0, 3), "")
        case 4:
            doc.insert(f"new {rng.random()}", after=block)
        case 5:
            block.move(**{rng.choice(("after", "before", "into")): other})
        case 6:
            block.split(rng.randint(0, len(block.text)))
        case 7:
            block.merge()
        case 8:
            block.delete() if rng.random() < 0.5 else block.format(0, 3, bold=True)
        case 9:
            block["done"] = rng.random() < 0.5
        case 10:
            room.history.undo() if rng.random() < 0.6 else room.history.redo()
        case 11:
            with room.batch():
                block.text = "rewritten " + block.text
                block.type = "heading"
                block.level = rng.randint(1, 6)


def check_tree(blocks: BlockDocument) -> None:
    """Every live block once, and none below itself."""
    order = list(blocks.tree.in_order(document_id("body")))
    assert len(order) == len(set(order))
    for id in order:
        assert id not in list(blocks.tree.ancestors(id))


@pytest.mark.parametrize("seed", SEEDS)
def test_all_see_the_same_document_and_so_does_who_folds_the_log(seed: object) -> None:
    print(f"COLLABKERNEL_SIMULATION_SEED={seed}")
    rng = random.Random(f"{seed}")
    world = World(ROOMS)
    docs = [room.doc("body") for room in world.rooms]
    world.settle()
    for _ in range(STEPS):
        at = rng.randrange(ROOMS)
        room, line = world.rooms[at], world.lines[at]
        with suppress(InvalidValueError, DetachedError):  # below itself, no block before it, gone
            edit(room, docs[at], rng)
        disturb(world, at, rng)
        for _ in range(rng.randrange(4)):
            line.send()
            line.serve_one()
            line.flush()
            line.deliver_one()
    world.settle()

    fold = world.log.fold()
    expected = shown(fold.state)
    assert shown(world.log.state) == expected
    assert joined(world.log.state) == joined(fold.state)
    for at, room in enumerate(world.rooms):
        assert shown(room.replica.state) == expected, f"room {at} sees something else than the log"
        check_tree(room.replica.state.blocks)
    size = fold.state.blocks.size_bytes
    assert abs(world.log.state.blocks.size_bytes - size) < size / 2


def disturb(world: World, at: int, rng: random.Random) -> None:
    """Sometimes: a cut line, a lost message, a refusal, a server that starts again."""
    line = world.lines[at]
    roll = rng.random()
    if roll < 0.05:
        line.cut()
    elif roll < 0.15 and not line.is_up:
        line.connect()
    elif roll < 0.17 and line.down and line.down[0].ops and not line.down[0].acks:
        line.down.popleft()
    elif roll < 0.19:
        world.log.restart()
    elif roll < 0.2:
        counter = line.room.replica.pending.next_counter
        world.log.refuse_counters.add((line.room.replica.site, counter))
    elif roll < 0.205:
        world.log.kept = world.log.snapshot() if world.log.kept is None else None
    elif roll < 0.21:
        line.lose_site(1000 + rng.randrange(10**6))


def test_blocks_are_found_again_by_their_names() -> None:
    world = World(2)
    ann, bob = (room.doc("body") for room in world.rooms)
    world.settle()
    (block,) = ann.append("hello")
    world.settle()

    assert isinstance(block, Block)
    assert bob[block.id].text == "hello"
    assert bob[block.id.split(".")[0]] == bob[0]
