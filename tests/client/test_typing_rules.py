"""What annotations allow, and what values are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Optional

import pytest

from collabkernel.client.live_list import LiveList
from collabkernel.client.live_map import LiveMap
from collabkernel.client.live_object import LiveObject
from collabkernel.client.live_text import LiveText
from collabkernel.client.typing_rules import accept, arm_of, item_type, kind_of
from collabkernel.document.operations import ContainerKind
from collabkernel.errors import InvalidValueError

pytestmark = pytest.mark.core


class Point(LiveObject):
    x: int


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (Any, object),
        (None, 5),
        (int, 5),
        (int | None, None),
        (Optional[str], "x"),  # noqa: UP045  # people write it so
        (float | int, 5),
        (Literal["a", 1], 1),
        (list, [object]),
        (list[int], [1, 2]),
        (Sequence[int], [1]),
        (dict[str, list[int]], {"a": [1]}),
        (Mapping, {"a": object}),
        (LiveList[int], LiveList([1])),
        (bytes, b"x"),
    ],
)
def test_what_fits_is_taken_as_it_is(expected, value):
    assert accept(expected, value, "here") == value
    assert type(accept(expected, value, "here")) is type(value)


def test_what_nearly_fits_is_made_fit():
    assert accept(float, 2, "here") == 2.0
    assert type(accept(float, 2, "here")) is float
    assert accept(LiveText, "x", "here") == LiveText("x")
    assert accept(Point, {"x": 1}, "here").x == 1
    assert accept(list[Point], [{"x": 1}], "here")[0].x == 1
    assert type(accept(Point | None, {"x": 1}, "here")) is Point


@pytest.mark.parametrize(
    ("expected", "value", "message"),
    [
        (int, True, "here is a int; True is a bool"),
        (int, 1.0, "here is a int; 1.0 is a float"),
        (str | None, 5, r"here is a str \| None"),
        (None | type(None), 5, "here"),
        (Literal[1], True, "Literal"),
        (list[int], "abc", r"here is a list\[int\]|here is a list"),
        (list[int], [1, "x"], r"here\[1\] is a int"),
        (dict[str, int], {"a": "x"}, r"here\['a'\] is a int"),
        (dict[str, int], {1: 1}, "a key is a str"),
        (LiveText, 5, "here is a LiveText"),
        (LiveList, LiveMap(), "here is a LiveList"),
        (Point, {"x": "y"}, "Point.x is a int"),
        (set[int], {1}, "rooms do not hold"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(expected, value, message):
    with pytest.raises(InvalidValueError, match=message):
        accept(expected, value, "here")


def test_kinds_and_items_of_annotations():
    assert kind_of(list[int]) is ContainerKind.LIST
    assert kind_of(LiveMap[int]) is ContainerKind.MAP
    assert kind_of(Point) is ContainerKind.OBJECT
    assert kind_of(int) is None
    assert arm_of(Point | list[int] | None, ContainerKind.LIST) == list[int]
    assert arm_of(None, ContainerKind.LIST) is None
    assert item_type(list[Point], ContainerKind.LIST) is Point
    assert item_type(dict[str, Point] | None, ContainerKind.MAP) is Point
    assert item_type(list, ContainerKind.LIST) is None
