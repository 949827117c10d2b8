"""A LiveMap is a dict that others change too."""

from __future__ import annotations

from collections.abc import MutableMapping

import pytest

from collabkernel.client.live_map import LiveMap
from collabkernel.errors import InvalidValueError
from tests.client.log_world import World

pytestmark = pytest.mark.core


@pytest.fixture
def map_() -> LiveMap:
    return World(1).rooms[0].map("m")


def test_it_is_a_mutable_mapping(map_):
    map_["a"] = 1
    map_.update({"b": 2}, c=None)

    assert isinstance(map_, MutableMapping)
    assert dict(map_) == {"a": 1, "b": 2, "c": None}
    assert list(map_) == ["a", "b", "c"]
    assert len(map_) == 3
    assert "a" in map_
    assert "z" not in map_
    assert 5 not in map_
    assert map_.get("z", 7) == 7
    assert map_.pop("a") == 1
    assert map_.setdefault("b", 9) == 2
    assert map_.setdefault("d", []) == []
    assert sorted(map_.items(), key=str) == [("b", 2), ("c", None), ("d", [])]
    assert list(map_.keys() & {"b"}) == ["b"]
    assert 2 in map_.values()
    map_.clear()
    assert map_ == {}
    with pytest.raises(KeyError):
        map_["a"]
    with pytest.raises(KeyError):
        del map_["a"]


def test_update_is_all_or_nothing(map_):
    map_["a"] = 1

    with pytest.raises(InvalidValueError):
        map_.update(a=2, b=object())

    assert map_ == {"a": 1}


def test_ints_stay_ints_and_bools_bools(map_):
    map_.update(i=1, f=1.0, b=True, big=2**62)

    assert [type(map_[key]) for key in ("i", "f", "b", "big")] == [int, float, bool, int]


def test_containers_in_it_are_made_when_asked_for(map_):
    map_.list("l").append(1)
    map_.map("m")["x"] = 1
    map_.text("t").append("hi")
    map_.object("o").name = "n"

    assert map_ == {"l": [1], "m": {"x": 1}, "t": "hi", "o": {"name": "n"}}


def test_typed_values_are_checked():
    map_ = World(1).rooms[0].map("m", int)

    map_["a"] = 1
    with pytest.raises(InvalidValueError, match="is a int; 'x' is a str"):
        map_["b"] = "x"


def test_concurrent_writes_of_one_key_end_the_same():
    world = World(2)
    ann, bob = (room.map("m") for room in world.rooms)
    world.settle()
    ann["k"] = "ann"
    bob["k"] = "bob"
    bob["other"] = 1
    world.settle()

    assert dict(ann) == dict(bob)
    assert ann["other"] == 1


def test_a_draft_can_be_read():
    draft = LiveMap({"a": [1]})

    assert (draft["a"], len(draft), list(draft), "a" in draft) == ([1], 1, ["a"], True)
    assert draft.to_json() == {"a": [1]}
