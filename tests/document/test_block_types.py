"""The registry of types of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from collabkernel.document.block_spec import BlockSpec, Run
from collabkernel.document.block_types import BUILTIN, BlockType, BlockTypes, PropertyType
from collabkernel.errors import InvalidValueError, TooDeepError, TooManyError
from collabkernel.limits import BLOCK_PROPERTIES_MAX, BLOCK_PROPERTY_BYTES, BLOCK_SPEC_DEPTH_MAX, BLOCK_TYPES_MAX

CHART = BlockType("acme.chart", {"kind": PropertyType("str", choices=("bar", "pie"))}, has_text=False)


@dataclass
class Point:
    """An entry point."""

    name: str
    loaded: Any

    def load(self) -> Any:
        return self.loaded


@pytest.mark.parametrize(
    ("type", "name", "value", "fault"),
    [
        ("heading", "level", 6, None),
        ("heading", "level", 7, "not in 1..6"),
        ("heading", "level", True, "no int"),
        ("heading", "level", "2", "no int"),
        ("heading", "size", 2, "heading has no size"),
        ("task", "checked", True, None),
        ("task", "checked", 1, "no bool"),
        ("list_item", "marker", "*", None),
        ("list_item", "marker", "-", "not one of *, +, )"),
        ("code", "language", None, "None"),
        ("code", "language", "\ud800", "no Unicode text"),
        ("code", "meta", "é" * (BLOCK_PROPERTY_BYTES // 2 + 1), f"{BLOCK_PROPERTY_BYTES + 2} bytes, over {204800}"),
        ("notebook_cell", "execution_count", None, None),
        ("notebook_cell", "metadata", "{}", None),
        ("notebook_cell", "metadata", "{", "no JSON"),
        ("notebook_cell", "metadata", "[" * 100_000, "no JSON"),
        ("acme.chart", "anything", b"", None),
    ],
)
def test_a_property_is_checked_by_its_type(type: str, name: str, value: Any, fault: str | None):
    assert BUILTIN.fault(type, name, value) == fault


def test_packages_add_their_types():
    table = BlockType("acme.table", children=None)
    types = BUILTIN.extended_by([Point("chart", CHART), Point("more", [table])])

    assert "acme.chart" in types
    assert "acme.chart" not in BUILTIN
    assert types.get("acme.table") == table
    assert types.fault("acme.chart", "kind", "line") == "not one of bar, pie"
    assert {type.name for type in types} - {type.name for type in BUILTIN} == {"acme.chart", "acme.table"}


@pytest.mark.parametrize(
    "loaded",
    [
        "chart",
        [1],
        BlockType("chart"),
        BlockType("heading"),
        BlockType("Acme.chart"),
        BlockType("acme.chart", {"type": PropertyType("str")}),
        BlockType("acme.chart", {"a b": PropertyType("str")}),
        BlockType("acme.chart", {f"p{at}": PropertyType("str") for at in range(BLOCK_PROPERTIES_MAX + 1)}),
        [CHART, CHART],
    ],
)
def test_what_is_no_type_of_another_package_is_refused(loaded: Any):
    with pytest.raises(InvalidValueError):
        BUILTIN.extended_by([Point("chart", loaded)])


def test_a_registry_is_bounded():
    with pytest.raises(TooManyError):
        BlockTypes(BlockType(f"acme.t{at}") for at in range(BLOCK_TYPES_MAX + 1))


@pytest.mark.parametrize(
    ("parent", "child", "may"),
    [
        ("document", "heading", True),
        ("document", "table_row", False),
        ("list_item", "list_item", True),
        ("list_item", "document", False),
        ("paragraph", "paragraph", False),
        ("table", "table_row", True),
        ("table", "paragraph", False),
        ("notebook_cell", "notebook_output", True),
        ("acme.chart", "paragraph", True),
        ("acme.chart", "table_cell", False),
    ],
)
def test_what_may_stand_below_what(parent: str, child: str, may: bool):
    assert BUILTIN.may_hold(parent, child) is may


def test_a_tree_is_checked_whole():
    good = BlockSpec(
        "document", {}, (), (BlockSpec("acme.chart", {"x": 1}, (Run("a"),)), BlockSpec("heading", {"level": 1}))
    )
    BUILTIN.check(good)

    for bad in (
        BlockSpec("heading", {"level": 9}),
        BlockSpec("divider", {}, (Run("a"),)),
        BlockSpec("paragraph", {}, (), (BlockSpec("divider"),)),
        BlockSpec("acme.chart", {f"p{at}": 1 for at in range(BLOCK_PROPERTIES_MAX + 1)}),
    ):
        with pytest.raises(InvalidValueError):
            BUILTIN.check(BlockSpec("document", {}, (), (bad,)))


def test_a_tree_that_is_too_deep_is_refused():
    tree = BlockSpec("quote")
    for _ in range(BLOCK_SPEC_DEPTH_MAX):
        tree = BlockSpec("quote", {}, (), (tree,))

    with pytest.raises(TooDeepError, match="blocks"):
        BUILTIN.check(tree)
