"""What of a lost site is made again, and how states are told apart."""

from __future__ import annotations

import pytest

from collabkernel.client.live_text import LiveText
from collabkernel.client.reissue import Orphans, apply_delta, changed_containers, reissue
from collabkernel.client.room_base import RoomBase
from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.room_state import RoomState
from collabkernel.wire.room_state import decode_room, encode_parts
from collabkernel.wire.state import decode_state, encode_state
from tests.client.log_world import NOW_MS, World
from tests.client.test_replica import assert_converged

pytestmark = pytest.mark.core


def test_what_is_stored_is_not_made_again():
    world = World(1)
    room = world.rooms[0]
    room.list("l").extend([1, {"a": LiveText("x")}])
    room.root.k = 1
    room.list("l").move(0, 1)
    room.list("l")[0] = "set"
    room.root["t"] = LiveText("t")
    room.text("t").append("u")
    del room.root["k"]
    orphans = Orphans.join(None, room.replica.state, room.site, room.replica.pending)
    world.settle()

    assert orphans is not None
    assert list(reissue(orphans, RoomState(world.log.tree))) == []
    assert len(list(reissue(orphans, World(1).rooms[0].replica.state))) == len(orphans.entries)


def test_an_old_edit_made_again_does_not_beat_a_newer_one():
    world = World(2)
    ann, bob = world.rooms
    ann.root.k = "start"
    world.settle()
    world.lines[0].cut()
    ann.root.k = "older"
    bob.replica.clock.offset_ms = 5000
    bob.root.k = "newer"

    world.lines[0].lose_site(201)
    world.settle()

    assert ann.root.k == bob.root.k == "newer"
    assert_converged(world)


@pytest.mark.parametrize("is_there_again", [False, True])
def test_a_move_that_only_looks_stored_hides_nothing_that_was_made_before_it(is_there_again: bool):
    world = World(2)
    ann, bob = world.rooms
    doc = ann.doc("d")
    first, second, third = doc.append("one\n\ntwo\n\nthree")
    first.move(into=third)
    world.settle()
    tree = ann.replica.state.blocks.tree
    key = tree.place_of(first._id).key
    world.lines[0].cut()

    second.insert(3, "!")
    first.move(into=second)
    if is_there_again:
        first.move(into=third)
    assert tree.place_of(first._id).key == key, "a site's keys for the first place below a block are alike"
    world.lines[0].lose_site(201)
    world.settle()

    assert "two!" in bob.doc("d").text
    assert_converged(world)


def test_a_delete_that_was_undone_hides_nothing_that_was_made_before_it():
    world = World(2)
    ann, bob = world.rooms
    doc = ann.doc("d")
    first, _ = doc.append("one\n\ntwo")
    world.settle()
    place = ann.replica.state.blocks.tree.place_of(first._id)
    world.lines[0].cut()

    ann.root.a = 1
    first.delete()
    ann.history.undo()
    assert ann.replica.state.blocks.tree.place_of(first._id) == place, "it stands where it stood"
    world.lines[0].lose_site(201)
    world.settle()

    assert bob.root.a == 1
    assert_converged(world)


def test_a_site_lost_twice_still_loses_nothing():
    world = World(2)
    ann = world.rooms[0]
    ann.list("l").append("a")
    world.lines[0].lose_site(201)
    world.lines[0].connect()
    world.lines[0].deliver_one()
    world.lines[0].lose_site(202)
    world.settle()
    ann.list("l").append("b")
    world.settle()

    assert world.rooms[1].to_json() == {"l": ["a", "b"]}
    assert_converged(world)


def test_changed_containers_names_what_holds_something_else():
    world = World(1)
    room = world.rooms[0]
    room.root.update({"same": [1], "list": [1], "text": LiveText("x")})
    world.settle()
    before, _, _ = decode_state(encode_state(room.replica.tree, 0, 0), 1)

    room.list("list").append(2)
    room.text("text").append("y")

    changed = changed_containers(RoomState(before), room.replica.state)
    assert {room.replica.tree.path(id) for id in changed} == {("list",), ("text",)}
    assert ROOT not in changed


def test_changed_blocks_are_those_that_show_something_else():
    world = World(1)
    room = world.rooms[0]
    doc = room.doc("d")
    same, typed, moved, marked, host, merged, split = [
        each for text in ("same", "typed", "moved", "marked", "host", "merged", "split") for each in doc.append(text)
    ]
    tail = split.split(3)
    world.settle()
    before = copy_of(room)

    typed.insert(5, "!")
    moved.move(before=same)
    marked["done"] = True
    merged.merge()
    tail.split(1)
    world.settle()
    after = copy_of(room)
    changed = changed_containers(before, after)

    assert before.blocks is not None
    assert after.blocks is not None
    cold = [id for id, rope in after.blocks.ropes.items() if rope.is_cold]
    assert {same._id, moved._id, marked._id} <= {*cold}, "what is the same bytes is not parsed to be compared"
    expected = {id for id in before.blocks.blocks if shown(before.blocks, id) != shown(after.blocks, id)}
    assert {*changed} == expected
    assert {each._id for each in (typed, moved, marked, host, merged, tail)} <= expected
    assert not {same._id, split._id} & expected


def copy_of(room: RoomBase) -> RoomState:
    parts = encode_parts(room.replica.state, 0, 0)
    return decode_room(b"".join(parts.values()), room.site)[0]


def shown(document: BlockDocument, id: OpId) -> object:
    """All that a user sees of a block."""
    tree = document.tree
    below = list(tree.children(id)) if id in tree else None
    return tree.place_of(id), below, document.text(id), dict(document.blocks[id].properties.items())


def test_a_delta_is_applied_step_by_step():
    room = World(1).rooms[0]
    room.root.t = LiveText("Hello world")
    edit = room.replica.begin(NOW_MS)

    delta = [
        {"retain": 5, "attributes": {"bold": True}},
        {"insert": ", dear", "attributes": {"italic": True}},
        {"retain": 1},
        {"delete": 5},
        {"insert": "friends"},
    ]
    apply_delta(edit, room.root.t._id, delta)
    room.replica.commit()

    assert room.text("t") == "Hello, dear friends"
    assert room.text("t").to_delta()[0] == {"insert": "Hello", "attributes": {"bold": True}}


def test_what_the_server_says_it_has_not_taken_is_made_again_whatever_shows():
    world = World(1)
    room = world.rooms[0]
    room.list("l").extend([1, 2])
    room.root.k = 1
    replica = room.replica
    replica.pending.note_taken(1, 0)
    orphans = Orphans.join(None, replica.state, room.site, replica.pending)
    world.settle()

    assert orphans is not None
    plans = list(reissue(orphans, RoomState(world.log.tree)))
    assert [plan.counter for plan in plans] == [entry.envelope.counter for entry in orphans.entries]
