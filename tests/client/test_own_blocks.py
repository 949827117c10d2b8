"""Own operations on top of the log's: shown at once, judged by the log, and told when they came to nothing."""

from __future__ import annotations

import pytest

from collabkernel.client.doc import Doc
from collabkernel.errors import DiscardedError
from tests.client.log_world import World

pytestmark = pytest.mark.core


def docs_of(world: World) -> list[Doc]:
    docs = [room.doc("body") for room in world.rooms]
    world.settle()
    return docs


def texts(doc: Doc) -> list[str]:
    return [block.text for block in doc]


def test_of_two_moves_of_one_block_the_first_in_the_log_stands_and_the_other_is_told():
    world = World(2)
    ann, bob = docs_of(world)
    a, b, c = ann.append("a\n\nb\n\nc")
    world.settle()
    told: list[list[DiscardedError]] = [[], []]
    for room, errors in zip(world.rooms, told, strict=True):
        room.on_reject(errors.append)

    c.move(before=a)
    bob[2].move(after=bob[0])
    assert (texts(ann), texts(bob)) == (["c", "a", "b"], ["a", "c", "b"])
    world.lines[1].send()
    world.lines[1].serve_one()
    world.settle()

    assert texts(ann) == texts(bob) == ["a", "c", "b"]
    assert [error.code for error in told[0]] == ["discarded-concurrent"]
    assert told[1] == []
    b.move(before=a)
    world.settle()
    assert texts(bob) == ["b", "a", "c"]


def test_what_is_typed_into_a_block_whose_move_was_discarded_stays():
    world = World(2)
    ann, bob = docs_of(world)
    _, b = ann.append("a\n\nb")
    world.settle()

    bob[1].move(before=bob[0])
    world.lines[1].send()
    world.lines[1].serve_one()
    b.move(before=ann[0])
    b.text += "!"
    b.move(after=ann[1])
    world.settle()

    assert texts(ann) == texts(bob) == ["b!", "a"]


def test_a_snapshot_puts_pending_operations_on_again():
    world = World(2)
    ann, bob = docs_of(world)
    ann.append("a\n\nb")
    world.settle()

    world.lines[1].cut()
    bob[1].move(before=bob[0])
    bob.append("c")
    ann[0].text += "!"
    world.settle()
    world.log.refuse_counters.add((world.rooms[1].site, world.rooms[1].replica.pending.next_counter))
    bob[0].text += " is refused"
    bob.append("d")
    world.settle()

    assert texts(bob) == texts(ann) == ["b", "a!", "c", "d"]


def test_a_lost_site_makes_its_blocks_again():
    world = World(2)
    ann, bob = docs_of(world)
    ann.append("a\n\nb")
    world.settle()

    world.lines[1].lose_site(500)
    made = bob.append("hello world")[0]
    made.split(5)
    made.move(before=bob[0])
    bob[1].text += "!"
    world.settle()

    assert texts(bob) == texts(ann) == ["hello", "a!", "b", " world"]


def test_without_own_operations_blocks_stand_where_the_log_has_them():
    world = World(2)
    ann, _ = docs_of(world)
    ann.append("a\n\nb")
    world.settle()
    ann[0].delete()
    replica = world.rooms[0].replica

    with replica.own_blocks.without_own():
        assert texts(ann) == ["a", "b"]
    assert texts(ann) == ["b"]
    empty = World(1).rooms[0].replica.own_blocks
    with empty.without_own():
        pass
