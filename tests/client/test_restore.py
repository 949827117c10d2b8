"""Documents brought back to what they were."""

from __future__ import annotations

import random

import pytest

from collabkernel.client.doc import Doc
from collabkernel.client.past import PastRoom, past_room
from collabkernel.wire.room_state import join_parts
from tests.client.log_world import LIMITS, World
from tests.examples import seeds

pytestmark = pytest.mark.core


def open_docs() -> tuple[World, Doc, Doc]:
    world = World(2)
    ann, bob = (room.doc("body") for room in world.rooms)
    world.settle()
    return world, ann, bob


def past_of(world: World) -> PastRoom:
    world.settle()
    return past_room("test", join_parts(world.log.fold().to_parts()), LIMITS)


def story(doc: Doc) -> list[object]:
    """Its blocks, with a format for each character: how runs are cut is no matter."""
    return [
        (
            block.id,
            block.depth,
            [(char, run.get("attributes")) for run in block.to_delta() for char in run["insert"]],
            sorted(block.properties.items()),
        )
        for block in doc
    ]


def check_restored(world: World, ann: Doc, bob: Doc, past: PastRoom) -> None:
    world.settle()
    before, told = story(ann), story(past.doc("body"))
    ann.restore(past)
    world.settle()
    assert story(ann) == told == story(bob)
    assert not ann.diff(past)
    assert world.rooms[0].history.undo()
    world.settle()
    assert story(ann) == before == story(bob)


def test_everything_comes_back_and_undo_takes_it_back() -> None:
    world, ann, bob = open_docs()
    one, two, three, four = ann.append("one\n\ntwo\n\nthree\n\nfour")
    three.move(into=two)
    one.format(0, 2, bold=True)
    one["done"] = True
    past = past_of(world)

    bob.append("new")
    one.text = "another one"
    one.format(0, 3, italic=True, bold=None)
    del one["done"]
    one["level"] = 3
    three.move(before=one)
    two.delete()
    four.move(into=three)
    check_restored(world, ann, bob, past)


def test_what_was_split_is_put_together_and_what_was_merged_taken_apart() -> None:
    world, ann, bob = open_docs()
    one, two, three = ann.append("one\n\ntwo\n\nthree")
    past = past_of(world)
    half = one.split(1)
    half.split(1)
    three.merge()
    check_restored(world, ann, bob, past)
    world.rooms[0].history.redo()
    past = past_of(world)
    world.rooms[0].history.undo()
    three.text += "!"
    ann.restore(past)
    assert story(ann) == story(past.doc("body"))
    assert two.text == "two"


def test_blocks_that_changed_places_come_below_each_other_again() -> None:
    world, ann, bob = open_docs()
    one, two, three = ann.append("one\n\ntwo\n\nthree")
    two.move(into=one)
    three.move(into=two)
    past = past_of(world)
    two.move(before=one)
    one.move(into=three)
    check_restored(world, ann, bob, past)


@pytest.mark.heavy
def test_a_large_document_takes_several_envelopes() -> None:
    world, ann, bob = open_docs()
    past = past_of(world)
    for i in range(12):
        ann.append("\n\n".join(f"{i}-{j}" for j in range(100)))
    full = past_of(world)
    ann.restore(past)
    assert len(ann) == 0
    ann.restore(full)
    world.settle()
    assert story(bob) == story(full.doc("body"))


@pytest.mark.parametrize("seed", seeds(range(12)))
def test_random_edits_are_taken_back(seed: int) -> None:
    rng = random.Random(seed)
    world, ann, bob = open_docs()
    ann.append("\n\n".join(f"block {i}" for i in range(6)))
    pasts = []
    for _ in range(3):
        for _ in range(8):
            edit(rng, rng.choice((ann, bob)))
        world.settle()
        pasts.append(past_of(world))
    for past in (pasts[0], pasts[2], pasts[1]):
        ann.restore(past)
        world.settle()
        assert story(ann) == story(past.doc("body")) == story(bob), seed


@pytest.mark.parametrize("seed", seeds(range(8)))
def test_others_who_edit_meanwhile_agree_with_it(seed: int) -> None:
    rng = random.Random(seed)
    world, ann, bob = open_docs()
    ann.append("\n\n".join(f"block {i}" for i in range(6)))
    past = past_of(world)
    for _ in range(8):
        edit(rng, rng.choice((ann, bob)))
    world.settle()
    ann.restore(past)
    for _ in range(4):
        edit(rng, bob)
    world.settle()
    assert story(ann) == story(bob), seed
    assert story(past_of(world).doc("body")) == story(ann), seed


def edit(rng: random.Random, doc: Doc) -> None:
    blocks = list(doc)
    if len(blocks) < 2:
        doc.append("more\n\nand more")
        return
    block, other = rng.sample(blocks, 2)
    match rng.randrange(7):
        case 0:
            block.insert(rng.randint(0, len(block.text)), rng.choice(["word ", "x", "\U0001f600"]))
        case 1:
            block.split(rng.randint(0, len(block.text)))
        case 2 if block != blocks[0] and blocks[blocks.index(block) - 1] not in list(block):
            block.merge()
        case 3 if other not in list(block):
            block.move(**{rng.choice(["after", "before", "into"]): other})
        case 4:
            block.delete()
        case 5:
            block[rng.choice(["a", "b"])] = rng.randrange(3)
        case _:
            block.format(0, 3, bold=rng.choice([True, None]))
