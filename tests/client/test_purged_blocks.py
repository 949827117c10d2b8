"""What a purge of blocks does to replicas: those that are there, with edits on their way, or coming back with some."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from collabkernel.client.block import Block
from collabkernel.client.doc import Doc
from collabkernel.client.lost_edit import LostEdit
from collabkernel.client.notifications import EditLost
from collabkernel.client.past import PastRoom, past_room
from collabkernel.client.room_base import RoomBase
from collabkernel.document.block_edits import insert_block
from collabkernel.errors import DetachedError, InvalidValueError, NotLoadedError, PurgedError
from collabkernel.wire.room_state import join_parts
from tests.client.purge_world import PurgeWorld
from tests.client.room_world import LIMITS
from tests.client.test_restore import story
from tests.examples import seeds

pytestmark = pytest.mark.core


def written(text: str, count: int = 2, lazy: int = 0) -> tuple[PurgeWorld, list[Doc]]:
    """Replicas with one document."""
    world = PurgeWorld(count, lazy=lazy)
    docs = [room.doc("body") for room in world.rooms]
    docs[0].append(text)
    world.settle()
    return world, docs


def append(block: Block, text: str) -> None:
    block.insert(len(block.text), text)


def insert_below(room: RoomBase, block: Block, text: str) -> Block:
    """A new block below another."""
    with room.lock, room.editing(is_batch=True) as edit:
        made = edit.next_id
        edit.run(insert_block(edit.blocks, made, block._id, 0, "paragraph", text))
    return Block(room, made)


def texts(doc: Doc) -> list[str]:
    return [block.text for block in doc]


def known(world: PurgeWorld, i: int) -> int:
    """How many blocks a replica knows, with the document itself."""
    blocks = world.rooms[i].replica.state.blocks
    assert blocks is not None
    return len(blocks.blocks)


def refused(world: PurgeWorld, i: int) -> str | None:
    error = world.rooms[i].take_refused()
    return None if error is None else error.code


def past_of(world: PurgeWorld) -> PastRoom:
    world.settle()
    return past_room("test", join_parts(world.server.fold().to_parts()), LIMITS)


def test_deleted_blocks_go_everywhere_and_edits_go_on():
    world, (ann, bob) = written("one\n\ntwo\n\nthree")
    handle, thread = bob[1], ann.comments.add("Why?", ann[1])
    anchored = ann.comments.add("This?", ann[1], 0, 2)
    world.settle()
    ann[1].delete()
    world.settle()
    assert known(world, 0) == known(world, 1) == 4

    world.purge()

    assert known(world, 0) == known(world, 1) == 3
    assert not handle.is_alive
    assert "no longer in its document" in repr(handle)
    for use in (lambda: handle.text, lambda: handle.delete(), lambda: handle.insert(0, "x")):
        with pytest.raises(DetachedError):
            use()
    assert thread.is_orphaned
    assert anchored.ranges == []
    append(bob[0], " and more")
    ann.insert("new", after=ann[0])
    world.settle()
    assert texts(ann) == texts(bob) == ["one and more", "new", "three"]
    world.assert_converged()


def test_a_new_replica_loads_what_is_left_and_the_room_after_a_start_too():
    world, (ann, _) = written("one\n\ntwo\n\nthree")
    ann[1].delete()
    world.settle()
    world.purge()
    world.server.snapshot_part = 1

    world.add(False)
    world.restart()
    world.settle()

    assert known(world, 2) == 3
    world.assert_converged()


def test_who_looks_at_a_part_lets_go_of_them_too():
    world, docs = written("\n\n".join(f"block {n}" for n in range(12)), count=1, lazy=1)
    ann, lazy = docs
    lazy.scroll_to(lazy[0], around=20)
    world.settle()
    for block in list(ann)[2:9]:
        block.delete()
    world.settle()

    world.purge()
    append(ann[1], "!")
    ann.append("last")
    world.settle()

    assert texts(lazy) == texts(ann) == ["block 0", "block 1!", "block 9", "block 10", "block 11", "last"]
    world.assert_converged()


def test_what_was_inserted_offline_below_what_is_gone_comes_to_where_that_stood():
    world, (ann, bob) = written("one\n\ntwo\n\nthree")
    bob[1].move(into=bob[0])
    world.settle()
    world.lines[1].cut()
    made = insert_below(world.rooms[1], bob[1], "below")
    insert_below(world.rooms[1], made, "below that")
    ann[0].delete()
    world.purge()

    world.settle()

    assert [(block.text, block.depth) for block in ann] == [("below", 0), ("below that", 1), ("three", 0)]
    assert texts(bob) == texts(ann)
    assert refused(world, 1) is None
    world.assert_converged()


def test_what_was_typed_offline_in_what_is_gone_is_told_and_what_came_with_it_is_made():
    world, (ann, bob) = written("one\n\ntwo\n\nthree")
    world.lines[1].cut()
    with world.rooms[1].batch():
        append(bob[0], " lost")
        append(bob[1], " kept")
        bob[0]["level"] = 3
    ann[0].delete()
    world.purge()

    world.settle()

    assert texts(ann) == texts(bob) == ["two kept", "three"]
    assert refused(world, 1) == PurgedError.code
    world.assert_converged()


def test_properties_and_deletes_of_what_is_gone_come_to_nothing_as_a_deletion_wins():
    world, (ann, bob) = written("one\n\ntwo\n\nthree")
    world.lines[1].cut()
    bob[0]["level"] = 3
    bob[0].type = "heading"
    bob[0].delete()
    append(bob[0], "!")
    ann[0].delete()
    world.purge()

    world.settle()

    assert texts(ann) == texts(bob) == ["two!", "three"]
    assert refused(world, 1) is None
    world.assert_converged()


@pytest.mark.parametrize("kind", ["moved", "moved below", "split"])
def test_moves_and_splits_of_what_is_gone_are_told(kind: str):
    world, (ann, bob) = written("one\n\ntwo\n\nthree")
    three = bob[2]
    world.lines[1].cut()
    match kind:
        case "moved":
            bob[0].move(after=bob[2])
        case "moved below":
            bob[2].move(into=bob[0])
        case _:
            bob[0].split(1)
    append(three, "!")
    ann[0].delete()
    world.purge()

    world.settle()

    assert texts(ann) == texts(bob) == ["two", "three!"]
    assert refused(world, 1) == PurgedError.code
    world.assert_converged()


def test_who_brings_back_what_goes_meanwhile_is_told_and_who_was_in_time_has_it():
    for is_first in (True, False):
        world, (ann, bob) = written("one\n\ntwo")
        bob[0].delete()
        world.settle()
        world.lines[1].cut()
        assert world.rooms[1].history.undo()
        assert texts(bob) == ["one", "two"]
        if is_first:
            world.settle()
            assert not world.ask_purge()
        else:
            world.purge()

        world.settle()

        assert texts(ann) == texts(bob) == (["one", "two"] if is_first else ["two"])
        assert refused(world, 1) == (None if is_first else PurgedError.code)
        world.assert_converged()


def test_own_edits_that_are_on_their_way_stay_on_top_of_a_purge():
    world, (ann, bob) = written("one\n\ntwo\n\nthree")
    ann[1].delete()
    world.settle()
    assert world.ask_purge()
    bob.insert("mine", before=bob[0])
    bob[1].move(after=bob[2])
    append(bob[0], "!")
    world.server.now_ms += 1000
    world.server.feed()
    world.lines[1].flush()
    while world.lines[1].down:
        world.lines[1].deliver_one()

    assert known(world, 1) == 4
    assert texts(bob) == ["mine!", "three", "one"]
    world.settle()

    assert texts(ann) == texts(bob) == ["mine!", "three", "one"]
    world.assert_converged()


def test_undo_says_when_what_was_deleted_has_gone_and_goes_on_with_the_step_before():
    world, (ann, bob) = written("one\n\ntwo\n\nthree")
    room = world.rooms[0]
    room.history.clear()
    append(ann[1], "!")
    ann[0]["level"] = 3
    append(ann[0], "!")
    ann[1].delete()
    world.purge()

    with pytest.raises(PurgedError):
        room.history.undo()
    assert room.history.undo()
    assert room.history.undo()
    assert not room.history.undo()

    world.settle()
    assert texts(ann) == texts(bob) == ["one", "three"]
    world.assert_converged()


def test_a_lost_edit_is_not_brought_back_when_its_block_is_gone():
    world, (ann, _) = written("one\n\ntwo")
    block = ann[0]._id
    ann[0].delete()
    world.settle()
    world.purge()

    with pytest.raises(PurgedError):
        LostEdit(world.rooms[0], EditLost(block, "bob")).restore()

    assert texts(ann) == ["two"]


def test_a_document_is_brought_back_to_what_it_was_with_blocks_that_are_gone():
    world, (ann, bob) = written("# one\n\ntwo\n\nthree\n\nfour")
    ann[2].move(into=ann[1])
    ann[1].format(0, 2, bold=True)
    ann[2]["done"] = True
    past = past_of(world)
    four, half = ann[3], ann[3].split(2)
    ann[0].delete()
    ann[0].delete()
    world.settle()
    assert texts(ann) == ["fo", "ur"]
    world.purge()

    ann.restore(past)
    world.settle()

    for doc in (ann, bob):
        assert [each[1:] for each in story(doc)] == [each[1:] for each in story(past.doc("body"))]
    assert ann[3] == four
    assert not half.is_alive or half != ann[3]
    world.assert_converged()
    assert world.rooms[0].history.undo()
    world.settle()
    assert texts(ann) == texts(bob) == ["fo", "ur"]


def edit(world: PurgeWorld, i: int, doc: Doc, rng: random.Random, step: int) -> None:
    """Something happens to one replica."""
    here = list(doc)
    block = rng.choice(here) if here else None
    match rng.choice(
        [
            "insert",
            "insert",
            "type",
            "delete",
            "delete",
            "move",
            "split",
            "merge",
            "set",
            "undo",
            "look",
            "purge",
            "cut",
        ]
    ):
        case "insert":
            doc.insert(f"s{step}", **({rng.choice(("after", "before")): block} if block else {}))
        case "type" if block:
            block.insert(rng.randint(0, len(block.text)), f"t{step}")
        case "delete" if block and len(here) > 1:
            block.delete()
        case "move" if block:
            block.move(**{rng.choice(("after", "before", "into")): rng.choice(here)})
        case "split" if block:
            block.split(rng.randint(0, len(block.text)))
        case "merge" if block:
            block.merge()
        case "set" if block:
            block["level"] = step
        case "undo":
            history = world.rooms[i].history
            history.undo() if rng.random() < 0.6 else history.redo()
        case "look" if block and world.rooms[i].replica.sight.named is not None:
            doc.scroll_to(block, around=1)
        case "purge":
            world.ask_purge()
        case "cut":
            line = world.lines[i]
            line.cut() if line.is_up else line.connect()


def run(world: PurgeWorld, rng: random.Random) -> None:
    """Something of what is under way arrives."""
    world.server.now_ms += 200
    world.server.feed()
    for line in rng.sample(world.lines, 3):
        line.send()
        for _ in range(rng.randrange(4)):
            line.serve_one()
            line.flush()
        for _ in range(rng.randrange(4)):
            line.deliver_one()


@pytest.mark.parametrize("lazy", [0, 1])
@pytest.mark.parametrize("seed", seeds(range(40)))
def test_whoever_edits_whatever_while_blocks_are_purged_all_come_to_the_same(seed: int, lazy: int):
    rng = random.Random(seed)
    world, docs = written("one\n\ntwo\n\nthree\n\nfour", count=3 - lazy, lazy=lazy)
    for step in range(rng.randint(30, 80)):
        i = rng.randrange(3)
        with suppress(
            InvalidValueError, DetachedError, NotLoadedError, PurgedError
        ):  # below itself, gone, out of sight
            edit(world, i, docs[i], rng, step)
        if rng.random() < 0.3:
            run(world, rng)
    world.settle()

    world.assert_converged()


@pytest.mark.parametrize("seed", seeds(range(40)))
def test_whatever_is_purged_a_document_comes_back_to_what_it_was(seed: int):
    rng = random.Random(seed)
    world, docs = written("one\n\ntwo\n\nthree\n\nfour")
    past, ann = None, docs[0]
    for step in range(60):
        with suppress(InvalidValueError, DetachedError, PurgedError):
            edit(world, 0, ann, rng, step)
        if step == 20:
            world.settle()
            past = past_of(world)
    world.settle()
    world.ask_purge()
    world.settle()
    assert past is not None
    before, shown = [each[1:] for each in story(ann)], sorted(texts(ann))

    ann.restore(past)
    world.settle()

    told = [each[1:] for each in story(past.doc("body"))]
    assert [each[1:] for each in story(ann)] == [each[1:] for each in story(docs[1])] == told
    if told != before:
        assert world.rooms[0].history.undo()
        assert sorted(texts(ann)) == shown
    world.settle()
    world.assert_converged()
