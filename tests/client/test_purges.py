"""What a purge does to replicas: those that are there, those with edits on their way, and those that come back."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from collabkernel.client.live_text import LiveText
from collabkernel.client.replica import Replica
from collabkernel.client.site import StoredSite
from collabkernel.document.live_tree import ListNode, MapNode
from collabkernel.errors import PurgedError
from collabkernel.limits import Limits
from collabkernel.wire.messages import SessionKind
from tests.client.purge_world import PurgeWorld
from tests.client.room_world import LIMITS
from tests.examples import seeds

pytestmark = pytest.mark.core


def joined(count: int, *items: object, limits: Limits = LIMITS) -> PurgeWorld:
    """Replicas that share a list."""
    world = PurgeWorld(count, limits)
    world.rooms[0].list("l").extend(items)
    world.settle()
    return world


def slots(world: PurgeWorld, i: int) -> int:
    """How many slots the list of a replica has."""
    node = world.rooms[i].replica.tree.nodes[world.rooms[i].list("l")._id]
    assert isinstance(node, ListNode)
    return len(list(node.items.slots()))


def test_dead_slots_go_everywhere_and_edits_go_on():
    world = joined(2, *range(30))
    ann, bob = (room.list("l") for room in world.rooms)
    del ann[5:25]
    world.settle()
    assert slots(world, 0) == slots(world, 1) == 30

    world.purge()

    assert slots(world, 0) == slots(world, 1) == 10
    bob.insert(5, "here")
    ann.append("end")
    world.settle()
    assert list(ann) == [0, 1, 2, 3, 4, "here", 25, 26, 27, 28, 29, "end"]
    world.assert_converged()


def test_a_new_replica_loads_what_is_left():
    world = joined(1, *range(10))
    world.rooms[0].list("l").clear()
    world.settle()
    world.purge()
    world.server.snapshot_part = 1

    world.add(False)

    assert slots(world, 1) == 0
    world.assert_converged()


def test_an_edit_that_knows_nothing_of_the_purge_and_names_nothing_that_is_gone_is_stored_as_ever():
    world = joined(2, 1, 2, 3)
    ann, bob = (room.list("l") for room in world.rooms)
    del ann[1]
    world.settle()
    world.lines[1].cut()
    bob.append(4)
    site = world.rooms[1].site

    world.purge()
    world.settle()

    assert list(ann) == [1, 3, 4]
    assert world.rooms[1].site == site
    world.assert_converged()


def test_what_was_inserted_offline_between_what_is_gone_is_made_again_where_it_stood():
    world = joined(2, *"abcdefgh")
    ann, bob = (room.list("l") for room in world.rooms)
    world.lines[1].cut()
    bob.insert(5, "E1")
    bob.insert(6, "E2")
    bob.insert(3, "C1")
    del ann[2:7]
    world.purge()
    world.settle()

    assert list(ann) == list(bob) == ["a", "b", "C1", "E1", "E2", "h"]
    assert world.rooms[1].take_refused() is None
    world.assert_converged()


@pytest.mark.parametrize("part", [1, 2, 5])
def test_it_is_made_again_where_it_stood_also_when_a_snapshot_came_first(part: int):
    world = joined(2, *"abcdefgh")
    ann, bob = (room.list("l") for room in world.rooms)
    world.lines[1].cut()
    bob.insert(4, "D1")
    del ann[2:7]
    world.purge()
    world.server.snapshot_part = part
    world.rooms[1].replica._resync.want()

    world.settle()

    assert list(ann) == list(bob) == ["a", "b", "D1", "h"]
    world.assert_converged()


def test_edits_of_an_element_that_is_gone_come_to_nothing_as_a_deletion_wins():
    world = joined(2, *"abc")
    ann, bob = (room.list("l") for room in world.rooms)
    world.lines[1].cut()
    with world.rooms[1].batch():
        bob[1] = "B"
        bob.move(1, 0)
        bob.append("d")
    bob.move(0, 2)
    del bob[2]
    del ann[1]
    world.purge()

    world.settle()

    assert list(ann) == list(bob) == ["a", "c", "d"]
    assert world.rooms[1].take_refused() is None
    world.assert_converged()


def test_what_is_on_its_way_while_others_purge_is_not_lost():
    world = joined(3, *"abc")
    ann, bob, eve = (room.list("l") for room in world.rooms)
    del ann[1]
    world.settle()
    world.server.answers_log = False
    assert world.ask_purge()
    for _ in range(3):
        world.server.now_ms += 1000
        world.server.feed()
    bob.insert(1, "b")
    eve.append("d")
    for line in world.lines:
        line.send()
        line.serve_one()
    world.server.answers_log = True

    world.settle()

    assert list(ann) == list(bob) == list(eve) == ["a", "b", "c", "d"]
    world.assert_converged()


def test_edits_that_are_made_before_the_snapshot_after_a_purge_are_not_lost():
    world = joined(2, *"abc")
    ann, bob = (room.list("l") for room in world.rooms)
    del ann[1]
    world.settle()
    assert world.ask_purge()
    bob.insert(1, "x")  # on its way, and hangs from what goes
    world.server.now_ms += 1000
    world.server.feed()
    world.lines[1].flush()
    while world.lines[1].down:
        world.lines[1].deliver_one()
    bob.insert(1, "y")
    bob.insert(3, "z")

    world.settle()

    assert list(ann) == list(bob) == ["a", "y", "x", "z", "c"]
    assert world.rooms[1].take_refused() is None
    world.assert_converged()


def test_who_takes_a_new_site_goes_on_with_what_he_has_until_all_is_here():
    world = joined(2, *"abc")
    ann, bob = (room.list("l") for room in world.rooms)
    world.lines[1].cut()
    bob.insert(1, "x")
    del ann[1]
    world.purge()
    line = world.lines[1]
    while world.rooms[1].site == 102:
        if not line.is_up:
            line.connect()
        line.send()
        line.serve_one()
        line.flush()
        if line.down and line.down[0].welcome is not None and line.down[0].welcome.site > 102:
            break
        line.deliver_one()
    line.deliver_one()

    assert not world.rooms[1].replica.is_connected
    assert list(bob)[:2] == ["a", "x"]
    bob.insert(2, "y")

    world.settle()

    assert list(ann) == list(bob) == ["a", "x", "y", "c"]
    world.assert_converged()


@pytest.mark.parametrize("is_log_there", [True, False])
def test_of_a_queue_from_the_disk_what_has_no_place_any_more_is_told_and_the_rest_made(is_log_there: bool):
    world = joined(2, *"abc", limits=replace(LIMITS, catch_up_ops=5000 if is_log_there else 3))
    bob = world.rooms[1]
    world.lines[1].cut()
    bob.list("l").insert(1, "x")
    bob.map("m")["k"] = "kept"
    envelopes = tuple(entry.envelope for entry in bob.replica.pending)
    stored = StoredSite(bob.site, bob.replica.secret, bob.replica.pending.next_counter, envelopes)
    bob.replica = Replica(SessionKind.SCRIPT, "test", LIMITS, stored)
    del world.rooms[0].list("l")[1]
    world.purge()

    world.restart()
    world.server.snapshot_part = 1

    world.settle()

    refused = bob.take_refused()
    if is_log_there:  # it tells where that stood
        assert world.rooms[0].to_json() == {"l": ["a", "x", "c"], "m": {"k": "kept"}}
        assert refused is None
    else:
        assert world.rooms[0].to_json() == {"l": ["a", "c"], "m": {"k": "kept"}}
        assert refused is not None
        assert refused.code == "unknown-reference"
    world.assert_converged()


def test_deleted_keys_go_with_what_was_made_there():
    world = PurgeWorld(2)
    ann, bob = world.rooms
    ann.map("m").update({f"k{n}": {"text": LiveText("x"), "list": [n]} for n in range(10)})
    world.settle()
    for n in range(9):
        del bob.map("m")[f"k{n}"]
    world.settle()
    nodes = len(ann.replica.tree.nodes)

    world.purge()

    assert len(ann.replica.tree.nodes) == nodes - 9 * 3
    node = ann.replica.tree.nodes[ann.map("m")._id]
    assert isinstance(node, MapNode)
    assert [key for key, _ in node.entries.held()] == ["k9"]
    ann.map("m")["k1"] = "again"
    world.settle()
    assert bob.map("m")["k1"] == "again"
    world.assert_converged()


def test_an_old_write_does_not_bring_back_a_key_whose_deletion_was_purged():
    world = PurgeWorld(2)
    ann, bob = world.rooms
    ann.map("m").update(k="first", other=1)
    world.settle()
    world.lines[1].cut()
    bob.map("m")["k"] = "old"
    bob.map("m")["other"] = 2
    del bob.map("m")["other"]
    world.server.now_ms += 5000
    del ann.map("m")["k"]
    world.purge()

    world.settle()

    assert "k" not in ann.map("m")
    assert "k" not in bob.map("m")
    refused = bob.take_refused()
    assert refused is not None
    assert refused.code == PurgedError.code
    world.assert_converged()


def test_undo_says_when_what_was_deleted_has_gone_and_goes_on_with_the_step_before():
    world = joined(2, "a", "b", {"k": 1})
    ann = world.rooms[0]
    ann.history.clear()
    del ann.list("l")[0]
    del ann.list("l")[1]
    world.purge()

    with pytest.raises(PurgedError):
        ann.history.undo()
    assert ann.history.undo()

    world.settle()
    assert list(world.rooms[1].list("l")) == ["a", "b"]
    assert not ann.history.undo()
    world.assert_converged()


def test_a_shared_container_is_not_found_again_with_what_was_in_it():
    world = PurgeWorld(2)
    ann, bob = world.rooms
    ann.list("tasks").append("old")
    world.settle()
    del ann.root["tasks"]
    world.settle()
    world.ask_purge()
    world.settle()

    bob.list("tasks").append("new")
    world.settle()

    assert ann.to_json() == {"tasks": ["new"]}
    world.assert_converged()


def test_what_was_typed_into_a_text_that_is_gone_is_told():
    world = PurgeWorld(2)
    ann, bob = world.rooms
    ann.list("l").append(LiveText("hello"))
    world.settle()
    world.lines[1].cut()
    bob.list("l")[0].append(" world")
    ann.list("l").clear()
    world.purge()

    world.settle()

    assert ann.to_json() == bob.to_json() == {"l": []}
    refused = bob.take_refused()
    assert refused is not None
    assert refused.code == "unknown-target"
    world.assert_converged()


@pytest.mark.parametrize("seed", seeds(range(40)))
def test_whoever_edits_whatever_while_it_is_purged_all_come_to_the_same(seed: int):
    rng = random.Random(seed)
    world = PurgeWorld(3)
    added = set()
    for step in range(rng.randint(20, 60)):
        i = rng.randrange(3)
        room, line = world.rooms[i], world.lines[i]
        match rng.choice(("insert", "insert", "delete", "delete", "move", "set", "map", "purge", "cut", "run")):
            case "insert":
                added.add(step)
                room.list("l").insert(rng.randint(0, len(room.list("l"))), step)
            case "delete" if len(room.list("l")):
                room.list("l").pop(rng.randrange(len(room.list("l"))))
            case "move" if len(room.list("l")):
                n = len(room.list("l"))
                room.list("l").move(rng.randrange(n), rng.randrange(n))
            case "set" if len(room.list("l")):
                room.list("l")[rng.randrange(len(room.list("l")))] = -step
            case "map":
                key = rng.choice("abc")
                if key in room.map("m") and rng.random() < 0.6:
                    del room.map("m")[key]
                else:
                    room.map("m")[key] = {"n": step} if rng.random() < 0.4 else step
            case "purge":
                world.ask_purge()
            case "cut":
                line.cut() if line.is_up else line.connect()
            case "run":
                world.server.now_ms += 200
                world.server.feed()
                for each in rng.sample(world.lines, 3):
                    each.send()
                    for _ in range(rng.randrange(4)):
                        each.serve_one()
                        each.flush()
                    for _ in range(rng.randrange(4)):
                        each.deliver_one()
    world.settle()

    world.assert_converged()
    values = list(world.rooms[0].list("l"))
    assert len(values) == len({abs(each) for each in values if each > 0} | {each for each in values if each <= 0})
