"""Records: fields with types and defaults, drafts, untyped use."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest

from collabkernel.client.live_list import LiveList
from collabkernel.client.live_object import LiveObject, record_class
from collabkernel.client.live_text import LiveText
from collabkernel.errors import InvalidValueError
from collabkernel.wire.messages import Role
from tests.client.log_world import World

pytestmark = pytest.mark.core


class Step(LiveObject):
    what: str


class Task(LiveObject):
    limit: ClassVar[int] = 3
    title: str = ""
    done: bool = False
    effort: float | None = None
    state: Literal["open", "closed"] = "open"
    tags: list[str]
    steps: list[Step]
    text: LiveText
    meta: dict[str, int]


class Urgent(Task):
    due: str = "now"


@pytest.fixture
def world() -> World:
    return World(2)


def test_a_draft_becomes_a_record(world):
    tasks = world.rooms[0].list("tasks", Task)
    task = Task(title="Write", tags=["a"])

    tasks.append(task)
    task.done = True
    task.tags.append("b")

    assert tasks[0] is task
    assert task.to_json() == {
        "title": "Write",
        "done": True,
        "effort": None,
        "state": "open",
        "tags": ["a", "b"],
    }


def test_the_other_side_reads_it_with_or_without_the_class(world):
    ann, bob = world.rooms
    ann.list("tasks", Task).append({"title": "Write"})
    world.settle()

    assert bob.list("tasks")[0].title == "Write"
    assert type(bob.list("tasks", Task)[0]) is Task
    assert bob.list("tasks", Task)[0].tags == []
    with pytest.raises(InvalidValueError):
        bob.list("tasks", Task)[0].done = "yes"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("title", 5, r"Task.title is a str; 5 is a int"),
        ("done", 1, r"Task.done is a bool"),
        ("effort", "x", r"Task.effort is a float \| None"),
        ("state", "half", r"Task.state is a Literal"),
        ("tags", ["a", 1], r"Task.tags\[1\] is a str"),
        ("meta", {"a": "x"}, r"Task.meta\['a'\] is a int"),
        ("nope", 1, r"Task has no field 'nope'; it has title"),
        ("steps", [{}], r"Step needs what"),
    ],
)
def test_fields_are_checked_when_they_are_written(world, field, value, message):
    task = world.rooms[0].object("task", Task)

    with pytest.raises((InvalidValueError, AttributeError), match=message):
        task.update({field: value})
    with pytest.raises(InvalidValueError, match=message):
        Task(**{field: value})
    assert task.to_json() == {}


def test_values_are_made_fit(world):
    task = world.rooms[0].object("task", Task)

    task.effort = 2
    task.text = "Hello"
    task.steps = [{"what": "begin"}]

    assert type(task.effort) is float
    assert isinstance(task.text, LiveText)
    assert type(task.steps[0]) is Step
    task.steps.append({"what": "end"})
    with pytest.raises(InvalidValueError, match="is a str"):
        task.steps[1].what = 5


def test_shared_records_send_nothing_until_written(world):
    ann, bob = world.rooms
    ann.object("settings", Task)
    bob.object("settings", Task)
    world.settle()

    assert ann.to_json() == {"settings": {}}
    assert ann.object("settings", Task).title == ""
    ann.object("settings", Task).tags.append("a")
    bob.object("settings", Task).tags.append("b")
    world.settle()
    assert sorted(ann.to_json()["settings"]["tags"]) == ["a", "b"]


def test_a_reader_reads_defaults(world):
    ann, bob = world.rooms
    ann.object("task", Task)
    world.settle()
    bob.replica.role = Role.READER

    assert bob.object("task", Task).title == ""
    with pytest.raises(AttributeError, match="not written yet"):
        _ = bob.object("task", Task).tags


def test_fields_are_inherited_and_class_vars_are_not_fields(world):
    task = Urgent(title="x")
    world.rooms[0].list("l").append(task)

    assert task.to_json()["due"] == "now"
    assert "limit" not in task.to_json()
    assert task.limit == 3


def test_an_untyped_record_takes_any_name(world):
    root = world.rooms[0].root
    root.title = "Plan"
    root["not a name"] = 1

    assert root.title == "Plan"
    assert root["not a name"] == 1
    assert "title" in root
    assert root.get("nope") is None
    assert root.keys() == ["title", "not a name"]
    assert len(root) == 2
    assert "title" in dir(root)
    del root.title
    with pytest.raises(AttributeError, match="has no 'title'"):
        _ = root.title
    with pytest.raises(AttributeError):
        del root.title
    with pytest.raises(KeyError):
        root["title"]
    with pytest.raises(AttributeError, match="use record"):
        root.observe = 1


def test_a_field_cannot_take_a_name_that_views_need():
    with pytest.raises(InvalidValueError, match="choose another"):
        type("Bad", (LiveObject,), {"__annotations__": {"path": str}})


def test_a_deleted_field_reads_as_its_default_again(world):
    task = world.rooms[0].object("task", Task)
    task.title = "x"
    del task.title

    assert task.title == ""


def test_drafts_are_checked_and_read():
    task = Task(title="x")
    task.done = True
    task["title"] = "y"

    assert (task.title, task.done, len(task)) == ("y", True, 4)
    assert repr(Step(what="a")) == "Step(what='a')"
    with pytest.raises(InvalidValueError):
        task.done = 3


def test_record_class_names_records_alone():
    assert record_class(Task) is Task
    assert record_class(None) is None
    with pytest.raises(InvalidValueError):
        record_class(LiveList)
