"""The types of blocks: which properties each takes, whether it has a text, and what may stand below it.

The registry is a value. ``BUILTIN`` has the types of this project; an installed package adds its own by an entry point
in the group ``collabkernel.block_types`` that names a ``BlockType`` or a sequence of them, and whoever opens documents
reads those once (``BUILTIN.extended_by(entry_points(group=GROUP))``). A block of a type that nobody here knows is kept
and shown with whatever it has: its author may have a package that we lack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from collabkernel.document.block_spec import BlockSpec, depth, in_order
from collabkernel.errors import InvalidValueError, TooDeepError, TooManyError
from collabkernel.limits import (
    BLOCK_PROPERTIES_MAX,
    BLOCK_PROPERTY_BYTES,
    BLOCK_SPEC_DEPTH_MAX,
    BLOCK_TYPES_MAX,
    INT_MAX,
    INT_MIN,
)

GROUP = "collabkernel.block_types"
"""Entry points of packages that bring types of blocks."""

DOCUMENT, PARAGRAPH, HEADING, DIVIDER = "document", "paragraph", "heading", "divider"
LIST_ITEM, TASK, QUOTE, CODE = "list_item", "task", "quote", "code"
TABLE, TABLE_ROW, TABLE_CELL = "table", "table_row", "table_cell"
IMAGE, SOURCE = "image", "source"
NOTEBOOK_CELL, NOTEBOOK_OUTPUT, NOTEBOOK_DATA = "notebook_cell", "notebook_output", "notebook_data"

ORDERED_START_MAX = 999_999_999
"""CommonMark's list numbers have nine digits."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39})?")

Kind = Literal["bool", "int", "str", "json"]


@dataclass(frozen=True, slots=True)
class PropertyType:
    """What values a property takes."""

    kind: Kind
    minimum: int = INT_MIN
    maximum: int = INT_MAX
    """Bounds of an int."""
    choices: tuple[str, ...] = ()
    """The only values of a str; empty: any."""
    bytes_max: int = BLOCK_PROPERTY_BYTES
    """UTF-8 of a str or JSON."""
    nullable: bool = False

    def fault(self, value: object) -> str | None:
        """What is wrong with a value; None if nothing is."""
        if value is None:
            return None if self.nullable else "None"
        match self.kind:
            case "bool":
                return None if isinstance(value, bool) else "no bool"
            case "int":
                return self._int_fault(value)
            case _:
                return self._str_fault(value)

    def _int_fault(self, value: object) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return "no int"
        return None if self.minimum <= value <= self.maximum else f"not in {self.minimum}..{self.maximum}"

    def _str_fault(self, value: object) -> str | None:
        if not isinstance(value, str):
            return "no str"
        if self.choices and value not in self.choices:
            return f"not one of {', '.join(self.choices)}"
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            return "no Unicode text"
        if size > self.bytes_max:
            return f"{size} bytes, over {self.bytes_max}"
        return _json_fault(value) if self.kind == "json" else None


def _json_fault(value: str) -> str | None:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return "no JSON"
    return None


@dataclass(frozen=True, slots=True)
class BlockType:
    """A type of blocks. A type of another package has a dot in its name, after that package's name."""

    name: str
    properties: Mapping[str, PropertyType] = field(default_factory=dict)
    has_text: bool = True
    children: frozenset[str] | None = frozenset()
    """Types that may stand directly below it; None: any but parts of a table or notebook."""


_BOOL = PropertyType("bool")
_STR = PropertyType("str")
_JSON = PropertyType("json")
_ANY = None
_ITEM = {
    "ordered": _BOOL,
    "start": PropertyType("int", 0, ORDERED_START_MAX),
    "marker": PropertyType("str", choices=("*", "+", ")")),
    "loose": _BOOL,
}
_PARTS = frozenset({DOCUMENT, TABLE_ROW, TABLE_CELL, NOTEBOOK_OUTPUT})
"""What stands below blocks of certain types alone."""

_TYPES = (
    BlockType(
        DOCUMENT,
        {
            "nbformat": PropertyType("int"),
            "nbformat_minor": PropertyType("int"),
            "metadata": _JSON,
            "worksheets": _JSON,
            "more": _JSON,
            "missing": PropertyType("str", bytes_max=100),
        },
        has_text=False,
        children=_ANY,
    ),
    BlockType(PARAGRAPH),
    BlockType(HEADING, {"level": PropertyType("int", 1, 6)}),
    BlockType(LIST_ITEM, _ITEM, children=_ANY),
    BlockType(TASK, {**_ITEM, "checked": _BOOL}, children=_ANY),
    BlockType(CODE, {"language": _STR, "meta": _STR}),
    BlockType(QUOTE, children=_ANY),
    BlockType(TABLE, {"align": _STR}, has_text=False, children=frozenset({TABLE_ROW})),
    BlockType(TABLE_ROW, has_text=False, children=frozenset({TABLE_CELL})),
    BlockType(TABLE_CELL),
    BlockType(IMAGE, {"src": _STR, "alt": _STR, "title": _STR}, has_text=False),
    BlockType(DIVIDER, has_text=False),
    BlockType(SOURCE, {"kind": PropertyType("str", choices=("html", "front_matter", "reference", "footnote", "deep"))}),
    BlockType(
        NOTEBOOK_CELL,
        {
            "cell_type": PropertyType("str", bytes_max=100),
            "cell_id": PropertyType("str", bytes_max=1000),
            "execution_count": PropertyType("int", nullable=True),
            "metadata": _JSON,
            "attachments": _JSON,
            "more": _JSON,
            "missing": PropertyType("str", bytes_max=100),
            "source_member": PropertyType("str", choices=("input", "code")),
        },
        children=frozenset({NOTEBOOK_OUTPUT, NOTEBOOK_DATA}),
    ),
    BlockType(NOTEBOOK_OUTPUT, {"output_type": PropertyType("str", bytes_max=100)}),
    BlockType(NOTEBOOK_DATA, {"member": PropertyType("str", bytes_max=100)}),
)


class LoadsTypes(Protocol):
    """What we use of an entry point."""

    @property
    def name(self) -> str:
        """Who brings the types, for messages."""

    def load(self) -> Any:
        """Import and return what it names."""


class BlockTypes:
    """A registry of types by name; immutable."""

    __slots__ = ("_by_name",)

    def __init__(self, types: Iterable[BlockType]) -> None:
        self._by_name: dict[str, BlockType] = {}
        for type in types:
            if type.name in self._by_name:
                raise InvalidValueError(f"there is already a type of blocks {type.name!r}")
            self._by_name[type.name] = type
        if len(self._by_name) > BLOCK_TYPES_MAX:
            raise TooManyError("types of blocks", BLOCK_TYPES_MAX, 0)

    def __iter__(self) -> Iterator[BlockType]:
        return iter(self._by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str) -> BlockType | None:
        """The type of that name; None if nobody here knows it."""
        return self._by_name.get(name)

    def extended(self, *types: BlockType) -> BlockTypes:
        """This registry and more types of other packages.

        Raises:
            InvalidValueError: If a name is taken, or has no dot, or the type makes no sense.
        """
        for type in types:
            if fault := _type_fault(type):
                raise InvalidValueError(f"{type!r} is no type of blocks: {fault}")
        return BlockTypes([*self, *types])

    def extended_by(self, points: Iterable[LoadsTypes]) -> BlockTypes:
        """This registry and the types that installed packages bring."""
        registry = self
        for point in points:
            loaded = point.load()
            types = (loaded,) if isinstance(loaded, BlockType) else loaded
            if not isinstance(types, list | tuple) or not all(isinstance(type, BlockType) for type in types):
                raise InvalidValueError(f"the entry point {point.name!r} in {GROUP} names no BlockType")
            registry = registry.extended(*types)
        return registry

    def fault(self, type_name: str, name: str, value: object) -> str | None:
        """What is wrong with a property of a block; None if nothing is. Types nobody knows take any."""
        type = self.get(type_name)
        if type is None:
            return None
        kind = type.properties.get(name)
        return f"{type_name} has no {name}" if kind is None else kind.fault(value)

    def may_hold(self, parent: str, child: str) -> bool:
        """Whether a block of type ``child`` may stand directly below one of type ``parent``."""
        type = self.get(parent)
        if type is None or type.children is None:
            return child not in _PARTS
        return child in type.children

    def check(self, spec: BlockSpec) -> None:
        """Accept a tree of blocks.

        Raises:
            InvalidValueError: If a block has what its type does not take.
            TooDeepError: If blocks are nested too deep.
        """
        if depth(spec) > BLOCK_SPEC_DEPTH_MAX:
            raise TooDeepError(BLOCK_SPEC_DEPTH_MAX, "blocks")
        for block in in_order(spec):
            self._check_block(block)

    def _check_block(self, block: BlockSpec) -> None:
        if len(block.properties) > BLOCK_PROPERTIES_MAX:
            raise InvalidValueError(f"a block has at most {BLOCK_PROPERTIES_MAX} properties")
        for name, value in block.properties.items():
            if fault := self.fault(block.type, name, value):
                raise InvalidValueError(f"the property {name!r} of a {block.type} is not right: {fault}")
        type = self.get(block.type)
        if type is not None and block.text and not type.has_text:
            raise InvalidValueError(f"a {block.type} has no text")
        for child in block.children:
            if not self.may_hold(block.type, child.type):
                raise InvalidValueError(f"a {child.type} does not stand below a {block.type}")


def _type_fault(type: BlockType) -> str | None:
    if not _TYPE_NAME.fullmatch(type.name) or "." not in type.name:
        return "its name is its package's, a dot and a word, in small letters"
    if len(type.properties) > BLOCK_PROPERTIES_MAX:
        return f"over {BLOCK_PROPERTIES_MAX} properties"
    for name, kind in type.properties.items():
        if not _NAME.fullmatch(name) or name == "type" or not isinstance(kind, PropertyType):
            return f"the property {name!r}"
    return None


BUILTIN = BlockTypes(_TYPES)
