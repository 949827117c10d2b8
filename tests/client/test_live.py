"""What all live values share: identity, copies, being detached, drafts."""

from __future__ import annotations

import copy

import pytest

from collabkernel.client.live import Live
from collabkernel.client.live_list import LiveList
from collabkernel.client.live_map import LiveMap
from collabkernel.client.live_text import LiveText
from collabkernel.document.operations import ContainerKind
from collabkernel.errors import DetachedError, InvalidValueError
from tests.client.log_world import World

pytestmark = pytest.mark.core


@pytest.fixture
def world() -> World:
    return World(2)


def test_one_container_has_one_facade(world):
    ann, bob = world.rooms
    ann.root.plan = {"steps": []}
    world.settle()

    assert ann.root.plan is ann.root.plan
    assert ann.root.plan.id == bob.root.plan.id
    assert ann.root.plan == bob.root.plan
    assert ann.root.plan["steps"].path == ("plan", "steps")
    assert ann.root.plan.room is ann
    assert (ann.root.plan.kind, ann.root.plan["steps"].kind) == (ContainerKind.MAP, ContainerKind.LIST)


def test_a_deleted_value_can_be_read_but_not_changed(world):
    ann, bob = world.rooms
    ann.root.plan = {"steps": ["a"]}
    plan, steps = ann.root.plan, ann.root.plan["steps"]
    world.settle()
    del bob.root.plan
    world.settle()

    assert not plan.is_attached
    assert steps.path is None
    assert plan.to_json() == {"steps": ["a"]}
    with pytest.raises(DetachedError, match="deleted"):
        plan["x"] = 1
    with pytest.raises(DetachedError):
        steps.append("b")


def test_a_draft_becomes_the_container_that_it_is_put_in_as(world):
    ann = world.rooms[0]
    note = LiveText("Hello")
    with pytest.raises(DetachedError, match="in no room yet"):
        note.append("!")

    ann.list("notes").append({"text": note})
    note.append("!")

    assert ann.to_json() == {"notes": [{"text": "Hello!"}]}
    assert ann.list("notes")[0]["text"] is note


def test_a_draft_is_a_draft_again_when_its_batch_fails(world):
    ann = world.rooms[0]
    note = LiveText("Hello")

    with pytest.raises(ZeroDivisionError), ann.batch():  # noqa: PT012  # the batch is what fails
        ann.root.note = note
        1 / 0  # noqa: B018  # raises
    ann.root.note = note
    note.append("!")

    assert ann.to_json() == {"note": "Hello!"}


def test_a_live_value_that_is_in_a_room_is_copied(world):
    ann, bob = world.rooms
    ann.root.a = {"x": [1, LiveText("t")]}
    ann.root.b = ann.root.a
    ann.root.b["x"].append(2)
    world.settle()
    bob.root.c = ann.root.b

    assert ann.root.a == {"x": [1, "t"]}
    assert ann.root.b == {"x": [1, "t", 2]}
    assert isinstance(ann.root.b["x"][1], LiveText)
    assert bob.root.c == {"x": [1, "t", 2]}


def test_assigning_a_value_to_where_it_is_changes_nothing(world):
    ann = world.rooms[0]
    ann.root["items"] = [1, [2]]
    ann.root.note = LiveText("a")
    inner, count = ann.root["items"][1], len(ann.replica.pending)

    ann.root["items"] += [3]
    ann.root.note += "b"
    ann.root["items"][1] = inner

    assert ann.root["items"] == [1, [2], 3]
    assert ann.root["items"][1] is inner
    assert len(ann.replica.pending) == count + 2


def test_copies_are_plain(world):
    ann = world.rooms[0]
    ann.root.plan = {"steps": [1]}

    assert type(copy.deepcopy(ann.root.plan)) is dict
    assert copy.copy(ann.root.plan["steps"]) == [1]


def test_live_values_are_equal_by_contents_and_have_no_hash(world):
    ann = world.rooms[0]
    ann.root.a = {"x": 1}
    ann.root.b = {"x": 1}

    assert ann.root.a == ann.root.b == {"x": 1}
    assert ann.root.a != {"x": 2}
    assert ann.root.a != [1]
    assert LiveMap({"x": 1}) == {"x": 1}
    assert LiveList([1]) != LiveText("1")
    with pytest.raises(TypeError):
        hash(ann.root.a)


def test_get_or_create_refuses_what_is_something_else(world):
    ann = world.rooms[0]
    ann.root.x = 1

    with pytest.raises(InvalidValueError, match="holds a int and no list"):
        ann.list("x")


def test_get_or_create_of_what_is_there_sends_nothing(world):
    ann, bob = world.rooms
    ann.list("tasks")
    world.settle()

    bob.list("tasks")

    assert len(bob.replica.pending) == 0


def test_a_key_that_was_deleted_gets_a_new_container(world):
    ann, bob = world.rooms
    ann.list("tasks").append(1)
    world.settle()
    del ann.root["tasks"]
    world.settle()

    ann.list("tasks").append("a")
    bob.list("tasks").append("b")
    world.settle()

    assert sorted(ann.list("tasks")) == sorted(bob.list("tasks")) == ["a", "b"]


def test_without_widgets_a_cell_shows_plain_text(world):
    ann = world.rooms[0]
    ann.root.plan = {"x": 1}
    ann.view = lambda _: None  # what it says when no package brings a view

    assert ann.root.plan._repr_mimebundle_() == {"text/plain": "LiveMap({'x': 1})"}
    with pytest.raises(InvalidValueError, match="pip install"):
        ann.root.plan.view()


def test_repr_says_what_it_is(world):
    ann = world.rooms[0]
    ann.root.update({"l": [1], "t": LiveText("x")})

    assert repr(ann.root) == "LiveObject(l=LiveList([1]), t=LiveText('x'))"
    assert issubclass(LiveMap, Live)
