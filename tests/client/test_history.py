"""Undo and redo of one's own edits: what survives of them, and nothing of others'."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.client.live_text import LiveText
from collabkernel.errors import LocalProtocolError
from tests.client.log_world import World
from tests.client.test_replica import act, assert_converged
from tests.examples import examples

pytestmark = pytest.mark.core


@pytest.fixture
def world() -> World:
    world = World(2)
    ann = world.rooms[0]
    ann.list("tasks")
    ann.map("map")
    ann.text("note")
    world.settle()
    return world


def test_undo_and_redo_walk_through_the_steps(world):
    ann = world.rooms[0]
    states = [ann.to_json()]
    for edit in (
        lambda: ann.map("map").update(a=1, b={"c": [1]}),
        lambda: ann.map("map").update(a=2),
        lambda: ann.list("tasks").extend(["x", {"title": "y"}, "z"]),
        lambda: ann.list("tasks").move(0, 2),
        lambda: ann.list("tasks").__setitem__(0, {"title": "new"}),
        lambda: ann.list("tasks").__delitem__(slice(0, 2)),
        lambda: ann.map("map").__delitem__("b"),
        lambda: ann.text("note").append("Hello"),
        lambda: ann.text("note").delete(0, 2),
    ):
        edit()
        states.append(ann.to_json())

    for state in reversed(states[:-1]):
        assert ann.history.undo()
        assert ann.to_json() == state
    assert not ann.history.undo()
    assert not ann.history.can_undo
    for state in states[1:]:
        assert ann.history.redo()
        assert ann.to_json() == state
    assert not ann.history.redo()
    world.settle()
    assert_converged(world)


def test_a_key_that_somebody_wrote_since_stays(world):
    ann, bob = world.rooms
    ann.map("map")["k"] = "ann"
    world.settle()
    bob.map("map")["k"] = "bob"
    world.settle()

    assert not ann.history.undo()
    assert ann.map("map")["k"] == "bob"


def test_undo_after_undo_still_knows_whose_write_stood(world):
    ann, bob = world.rooms
    ann.map("map")["k"] = 1
    world.settle()
    bob.map("map")["k"] = "bob"
    world.settle()
    ann.map("map")["k"] = 2

    assert ann.history.undo()
    assert ann.map("map")["k"] == "bob"
    assert not ann.history.undo()
    assert ann.map("map")["k"] == "bob"
    assert ann.history.redo()
    assert ann.map("map")["k"] == 2


def test_others_items_and_words_stay(world):
    ann, bob = world.rooms
    ann.list("tasks").append("ann")
    ann.text("note").append("ann")
    world.settle()
    bob.list("tasks").insert(0, "bob")
    bob.text("note").insert(0, "bob ")
    world.settle()

    ann.history.undo()
    ann.history.undo()
    world.settle()

    assert bob.to_json() == {"tasks": ["bob"], "map": {}, "note": "bob "}
    assert_converged(world)


def test_what_was_deleted_comes_back_beside_its_neighbour_as_others_left_it(world):
    ann, bob = world.rooms
    ann.list("tasks").extend(["a", {"title": "b", "note": LiveText("n")}, "c"])
    world.settle()
    del ann.list("tasks")[1]
    bob.list("tasks")[1]["title"] = "edited"
    bob.list("tasks").insert(0, "first")
    world.settle()

    ann.history.undo()
    world.settle()

    assert bob.list("tasks") == ["first", "a", {"title": "edited", "note": "n"}, "c"]
    assert isinstance(ann.list("tasks")[2]["note"], LiveText)
    assert_converged(world)


def test_earlier_steps_reach_into_what_was_put_back(world):
    ann = world.rooms[0]
    ann.list("tasks").append({"title": "a", "tags": ["x"]})
    ann.list("tasks")[0]["title"] = "b"
    ann.list("tasks")[0]["tags"].append("y")
    del ann.list("tasks")[0]

    ann.history.undo()
    assert ann.list("tasks") == [{"title": "b", "tags": ["x", "y"]}]
    ann.history.undo()
    ann.history.undo()
    assert ann.list("tasks") == [{"title": "a", "tags": ["x"]}]
    ann.history.undo()
    assert ann.list("tasks") == []


def test_a_batch_is_one_step_and_a_failed_one_none(world):
    ann = world.rooms[0]
    with ann.batch():
        ann.map("map")["a"] = 1
        ann.list("tasks").append("x")
    with pytest.raises(KeyError), ann.batch():
        ann.map("map").pop("nothing")

    ann.history.undo()

    assert ann.to_json() == {"tasks": [], "map": {}, "note": ""}
    assert not ann.history.can_undo


def test_pause_makes_many_edits_one_step(world):
    ann = world.rooms[0]
    ann.map("map")["before"] = 1
    ann.history.pause()
    for letter in "Hello":
        ann.text("note").append(letter)
    ann.history.resume()
    ann.map("map")["after"] = 1

    ann.history.undo()
    assert ann.text("note") == "Hello"
    ann.history.undo()
    assert ann.text("note") == ""
    assert ann.map("map") == {"before": 1}
    ann.history.redo()
    assert ann.text("note") == "Hello"


def test_a_new_edit_makes_what_was_undone_final(world):
    ann = world.rooms[0]
    ann.map("map")["a"] = 1
    ann.history.undo()
    ann.map("map")["b"] = 1

    assert not ann.history.can_redo


def test_looking_at_a_shared_list_is_no_step(world):
    ann = world.rooms[0]
    ann.list("new").append(1)

    ann.history.undo()

    assert ann.to_json()["new"] == []
    assert not ann.history.can_undo


def test_the_steps_are_bounded(world):
    ann = world.rooms[0]
    for i in range(250):
        ann.map("map")["k"] = i

    count = 0
    while ann.history.undo():
        count += 1

    assert count == 200


def test_undo_is_no_part_of_a_batch(world):
    ann = world.rooms[0]
    ann.map("map")["a"] = 1

    with ann.batch(), pytest.raises(LocalProtocolError):
        ann.history.undo()
    ann.history.clear()
    assert not ann.history.undo()


ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["set", "put"]), st.sampled_from("ab"), st.sampled_from([1, {"x": [2]}])),
    st.tuples(st.just("delete"), st.sampled_from("ab"), st.none()),
    st.tuples(st.just("insert"), st.integers(0, 5), st.sampled_from([1, {"t": 1}])),
    st.tuples(st.just("remove"), st.integers(0, 5), st.none()),
    st.tuples(st.just("move"), st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("replace"), st.integers(0, 5), st.just({"n": 1})),
    st.tuples(st.just("type"), st.integers(0, 9), st.text("abé𝄞", min_size=1, max_size=3)),
    st.tuples(st.just("erase"), st.integers(0, 9), st.integers(1, 3)),
)


@examples(60)
@given(st.lists(ACTIONS, max_size=12))
def test_undoing_everything_restores_and_redoing_everything_too(actions):
    room = World(1).rooms[0]
    room.list("items"), room.map("map"), room.text("text")
    states = [room.to_json()]
    for action in actions:
        act(room, action)
        states.append(room.to_json())

    while room.history.undo():
        assert room.to_json() in states
    assert room.to_json() == states[0]
    while room.history.redo():
        assert room.to_json() in states
    assert room.to_json() == states[-1]
