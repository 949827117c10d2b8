"""What Python values become in a room, and what rooms do not hold."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.client.live import plain
from collabkernel.client.sketch import Sketch, put, sketch, sketch_of_tree
from collabkernel.document.operations import ContainerKind, ContainerRef, MapSet
from collabkernel.errors import InvalidValueError, TooDeepError
from tests.client.log_world import NOW_MS, World
from tests.examples import examples

pytestmark = pytest.mark.core

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=5)
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclass
class Point:
    x: int


@examples(50)
@given(VALUES)
def test_what_goes_in_comes_out_types_and_all(value):
    room = World(1).rooms[0]

    room.root["v"] = value

    assert room.to_json()["v"] == value
    assert repr(room.to_json()["v"]) == repr(value)
    copied = sketch_of_tree(room.replica.tree, room.replica.tree.root.entries.get("v"))
    assert plain(copied) == value


def test_enums_become_their_plain_values():
    assert sketch([Colour.RED, Level.HIGH, True]).items[0][1] == "red"
    assert [type(plain(item)) for _, item, _ in sketch([Colour.RED, Level.HIGH, True]).items] == [str, int, bool]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ({1, 2}, r"list\(value\)"),
        (datetime.datetime(2026, 1, 1), "isoformat"),
        (Point(1), "asdict"),
        (object(), "rooms hold None, bool"),
        (float("nan"), "finite"),
        (float("-inf"), "finite"),
        (2**63, "64 bits"),
        ({1: "x"}, "a key is a str"),
        ([{"a": (1, complex(1, 2))}], "value.real"),
    ],
)
def test_the_refusal_says_what_to_do(value, hint):
    with pytest.raises(InvalidValueError, match=hint):
        sketch(value)


def test_a_value_within_itself_is_refused():
    value: list[object] = []
    value.append(value)

    with pytest.raises(TooDeepError):
        sketch(value)


def test_half_a_surrogate_pair_is_refused_and_leaves_nothing():
    room = World(1).rooms[0]

    with pytest.raises(InvalidValueError):
        room.root.x = ["fine", "\ud800"]

    assert room.to_json() == {}


def test_put_tells_what_it_made():
    replica = World(1).rooms[0].replica
    edit = replica.begin(NOW_MS)
    made: list[tuple[ContainerKind, object]] = []

    put(
        edit,
        lambda value: MapSet(replica.tree.root.id, "k", value),
        sketch({"a": [1]}),
        lambda each, id: made.append((each.kind, id)),
    )
    replica.commit()

    assert [kind for kind, _ in made] == [ContainerKind.MAP, ContainerKind.LIST]
    value = replica.tree.root.entries.get("k")
    assert isinstance(value, ContainerRef)
    assert value.id == made[0][1]
    assert isinstance(sketch_of_tree(replica.tree, value), Sketch)
