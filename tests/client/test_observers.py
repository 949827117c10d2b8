"""What callbacks are told, when, and what happens when they fail."""

from __future__ import annotations

import pytest

from collabkernel.client.live_text import LiveText
from collabkernel.client.observers import Change
from tests.client.log_world import World

pytestmark = pytest.mark.core


@pytest.fixture
def world() -> World:
    return World(2)


def test_a_change_has_the_shape_of_traitlets(world):
    ann, bob = world.rooms
    seen: list[Change] = []
    ann.map("m").observe(seen.append)

    ann.map("m")["a"] = 1
    world.settle()
    bob.map("m")["a"] = {"x": 1}
    del bob.map("m")["a"]
    world.settle()

    owner = ann.map("m")
    mine = {"actor": "user101", "path": ("m",), "remote": False, "owner": owner}
    theirs = {**mine, "actor": "user102", "remote": True}
    assert seen[0] == {"name": "a", "old": None, "new": 1, "type": "set"} | mine
    assert seen[1] | {"new": 0} == {"name": "a", "old": 1, "new": 0, "type": "set"} | theirs
    assert seen[1].new == {"x": 1}
    assert seen[2] | {"old": 0} == {"name": "a", "old": 0, "new": None, "type": "delete"} | theirs
    assert seen[0].owner is owner
    assert seen[0]["name"] == seen[0].name
    with pytest.raises(AttributeError, match="it has name"):
        _ = seen[0].nothing


def test_lists_and_texts_say_what_happened(world):
    ann, bob = world.rooms
    ann.root.update({"l": ["a", "b"], "t": LiveText("Grüße 𝄞")})
    world.settle()
    seen: list[Change] = []
    bob.list("l").observe(seen.append)
    bob.text("t").observe(seen.append)

    ann.list("l").append("c")
    ann.list("l").move(0, 2)
    ann.list("l")[0] = "B"
    del ann.list("l")[1]
    ann.text("t").replace(6, 7, "!")
    world.settle()

    assert [(c.type, c.name, c.old, c.new) for c in seen[:4]] == [
        ("insert", 2, None, "c"),
        ("move", 2, "a", "a"),
        ("replace", 0, "b", "B"),
        ("remove", 1, "c", None),
    ]
    assert seen[1].old_index == 0
    assert (seen[4].type, seen[4].delta) == ("text", [{"retain": 6}, {"delete": 1}, {"insert": "!"}]) or (
        seen[4].delta == [{"retain": 6}, {"insert": "!"}, {"delete": 1}]
    )


def test_names_choose(world):
    ann = world.rooms[0]
    seen: list[object] = []

    def note(change: Change) -> None:
        seen.append(change.name)

    ann.root.observe(note, names=("a", "b"))
    ann.root.update({"a": 1, "c": 2})
    ann.root.unobserve(note)
    ann.root.a = 2
    ann.root.unobserve(note, names=("a", "b"))
    ann.root.a = 3

    assert seen == ["a", "a"]


def test_a_batch_is_told_at_its_end_and_once_a_key(world):
    ann = world.rooms[0]
    seen: list[Change] = []
    lists: list[list[Change]] = []
    ann.root.observe(seen.append)
    ann.observe(lists.append)

    with ann.batch():
        ann.root.a = 1
        ann.root.a = 2
        ann.root.b = 1
        del ann.root.b
        assert seen == []

    assert [(c.name, c.old, c.new) for c in seen] == [("a", None, 2)]
    assert [len(changes) for changes in lists] == [1]


def test_a_failed_batch_tells_nothing(world):
    ann = world.rooms[0]
    seen: list[object] = []
    ann.observe(seen.append)

    with pytest.raises(ZeroDivisionError), ann.batch():  # noqa: PT012  # the batch is what fails
        ann.root.a = 1
        1 / 0  # noqa: B018  # raises

    assert seen == []


def test_a_callback_that_fails_does_not_keep_others_from_being_called(world, caplog):
    ann = world.rooms[0]
    seen: list[object] = []
    ann.root.observe(lambda _: 1 / 0)
    ann.root.observe(seen.append)

    ann.root.a = 1

    assert len(seen) == 1
    assert "a callback failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_callback_may_edit_and_is_not_called_within_itself(world):
    ann = world.rooms[0]
    order: list[object] = []

    def double(change: Change) -> None:
        order.append(("begin", change.new))
        if change.new < 4:
            ann.root.a = change.new * 2
        order.append(("end", change.new))

    ann.root.observe(double, names="a")
    ann.root.a = 1

    assert ann.root.a == 4
    assert order == [(edge, n) for n in (1, 2, 4) for edge in ("begin", "end")]


def test_a_reset_tells_every_watcher_of_what_changed(world):
    ann = world.rooms[0]
    ann.root.keep = [1]
    ann.root.lose = {"a": 1}
    world.settle()
    seen: list[Change] = []
    ann.root.observe(seen.append, names="keep")
    ann.root["lose"].observe(seen.append)
    ann.root["keep"].observe(seen.append)
    world.log.refuse_counters.add((ann.site, ann.replica.pending.next_counter))
    ann.root["lose"]["a"] = 2
    world.settle()

    assert [(c.type, c.path, c.remote) for c in seen] == [("set", ("lose",), False), ("reset", ("lose",), True)]
    assert ann.root["lose"] == {"a": 1}


def test_who_watches_from_now_on_is_told_from_now_on(world):
    ann, bob = world.rooms
    ann.text("t").insert(0, "Grüße")
    ann.doc("d").append("one")
    world.settle()
    seen: list[Change] = []

    bob.text("t").insert(5, "!")
    world.settle()
    ann.text("t").observe(seen.append)
    bob.text("t").insert(6, "?")
    bob.doc("d")[0].insert(3, "s")
    world.settle()
    ann.text("t").unobserve(seen.append)
    bob.text("t").delete(0, 1)
    world.settle()

    assert [(change.type, change.delta) for change in seen] == [("text", [{"retain": 6}, {"insert": "?"}])]
    assert str(ann.text("t")) == "rüße!?"
    assert ann.doc("d")[0].text == "ones"


def test_room_observers_can_leave(world):
    ann = world.rooms[0]
    seen: list[object] = []
    ann.observe(seen.append)
    ann.unobserve(seen.append)
    ann.unobserve(seen.append)
    ann.root.a = 1

    assert seen == []
    assert ann.observers.is_empty
