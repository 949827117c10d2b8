"""Values on their way into a room: checked whole before the first operation, then written by one edit.

A *sketch* is a container that is not in the tree yet: the shape of a dict, of a list, of a live value that the user
made, or of a container elsewhere in a tree that is copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from collabkernel.client.edit import Done, Edit
from collabkernel.client.reissue import apply_delta
from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.lww import TOMBSTONE
from collabkernel.crdt.text_delta import Delta
from collabkernel.document.live_tree import ListNode, LiveTree, MapNode
from collabkernel.document.operations import (
    ContainerKind,
    ContainerRef,
    ListInsert,
    MapSet,
    NewContainer,
    Op,
    OpValue,
    Scalar,
    Side,
    StoredValue,
)
from collabkernel.errors import InvalidValueError, TooDeepError
from collabkernel.limits import INT_MAX, INT_MIN

DEPTH_MAX = 256
"""Deeper values are refused here, cycles among them; the room's own limit is lower."""

HINTS = {
    "set": "use list(value)",
    "frozenset": "use list(value)",
    "datetime": "use value.isoformat()",
    "date": "use value.isoformat()",
    "time": "use value.isoformat()",
    "Decimal": "use str(value) or float(value)",
    "UUID": "use str(value)",
    "ndarray": "use value.tolist()",
    "DataFrame": 'use value.to_dict("records")',
    "Series": "use value.tolist()",
    "bytearray": "use bytes(value)",
    "memoryview": "use bytes(value)",
    "complex": "use [value.real, value.imag]",
    "generator": "use list(value)",
}
"""What to do with common types that rooms do not hold."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a part of a sketch was copied from."""

    stamp: Stamp | None = None
    element: OpId | None = None


NO_SOURCE = Source()


@dataclass(slots=True, eq=False)
class Sketch:
    """A container to be."""

    kind: ContainerKind
    items: list[tuple[str | None, Sketched, Source]] = field(default_factory=list)
    """Keys and values of a map or object; values, with None for a key, of a list."""
    delta: Delta = field(default_factory=list)
    """Of a text."""
    source: OpId | None = None
    origin: object = None
    """The live value that becomes this container."""


Sketched = Scalar | Sketch
OnMade = Callable[[Sketch, OpId], None]
OnItem = Callable[[Source, Done], None]


class Draft:
    """Base of live values that know how to sketch themselves."""

    def _sketch(self, depth: int) -> Sketch:
        raise NotImplementedError


def check_key(key: object) -> str:
    """The key of a map.

    Raises:
        InvalidValueError: It is no str.
    """
    if not isinstance(key, str):
        raise InvalidValueError(f"a key is a str, not {type(key).__name__}: use str({key!r})")
    return str(key)


def sketch(value: object, depth: int = 0) -> Sketched:
    """What a Python value becomes in a room: a scalar, or a container.

    Raises:
        InvalidValueError: It, or something in it, is of a type or range that rooms do not hold.
        TooDeepError: It is nested too deeply, or within itself.
    """
    if depth > DEPTH_MAX:
        raise TooDeepError(DEPTH_MAX)
    if isinstance(value, Draft):
        return value._sketch(depth)
    if isinstance(value, Mapping):
        entries = [(check_key(key), sketch(item, depth + 1), NO_SOURCE) for key, item in value.items()]
        return Sketch(ContainerKind.MAP, entries)  # type: ignore[arg-type]  # list is invariant, and this one is new
    if isinstance(value, list | tuple):
        return Sketch(ContainerKind.LIST, [(None, sketch(item, depth + 1), NO_SOURCE) for item in value])
    return scalar(value)


def scalar(value: object) -> Scalar:
    """A scalar that rooms hold, in its plain type.

    Raises:
        InvalidValueError: It is none.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise InvalidValueError(f"integer {value} needs more than 64 bits: use str({value}) or a float")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValueError(f"{value} is no finite number, and JSON has none such: use None or a str")
        return float(value)
    if isinstance(value, str):
        # str(value) of a subclass such as StrEnum is its text.
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, bytes):
        return bytes(value)
    raise InvalidValueError(_no_live_value(value))


def _no_live_value(value: object) -> str:
    name = type(value).__name__
    hint = HINTS.get(name)
    if hint is None and hasattr(value, "__dataclass_fields__"):
        hint = "use dataclasses.asdict(value)"
    elif hint is None and hasattr(value, "item") and hasattr(value, "dtype"):
        hint = "use value.item()"
    known = "rooms hold None, bool, int, float, str, bytes, dict, list, and live values"
    return f"{name} is no live value" + (f": {hint}" if hint else f"; {known}")


def sketch_of_tree(tree: LiveTree, value: StoredValue) -> Sketched:
    """A copy of something in a tree, which remembers what it was copied from."""
    if not isinstance(value, ContainerRef):
        return value
    node = tree.node(value.id)
    made = Sketch(node.kind, source=node.id)
    if isinstance(node, MapNode):
        for key, (stamp, item) in node.entries.registers():
            if item is not TOMBSTONE:
                made.items.append((key, sketch_of_tree(tree, _stored(item)), Source(stamp)))
    elif isinstance(node, ListNode):
        for element, item in node.items.items():
            state = node.items.revert_token(element).before
            stamp_of_value = state.value[0] if state is not None and state.value is not None else None
            made.items.append((None, sketch_of_tree(tree, _stored(item)), Source(stamp_of_value, element)))
    else:
        made.delta = node.rope.delta()
    return made


def _stored(value: Any) -> StoredValue:
    stored: StoredValue = value  # the tree holds stored values alone
    return stored


def put(
    edit: Edit,
    op_of: Callable[[OpValue], Op],
    value: Sketched,
    on_made: OnMade | None = None,
    on_item: OnItem | None = None,
) -> Done:
    """Write a sketched value where ``op_of`` says.

    Args:
        edit: The open edit.
        op_of: The operation that writes a given value at the place.
        value: What to write.
        on_made: Told each new container, and its id.
        on_item: Told each copied item's source, and the operation that made the copy.
    """
    if not isinstance(value, Sketch):
        return edit.perform(op_of(value))
    done = edit.perform(op_of(NewContainer(value.kind)))
    if on_made is not None:
        on_made(value, done.op_id)
    fill(edit, done.op_id, value, on_made, on_item)
    return done


def fill(
    edit: Edit, target: OpId, content: Sketch, on_made: OnMade | None = None, on_item: OnItem | None = None
) -> None:
    """Write the contents of a sketch into a new, empty container."""
    if content.kind is ContainerKind.TEXT:
        apply_delta(edit, target, content.delta)
        return
    parent: OpId | None = None
    for key, item, source in content.items:
        if key is None:
            done = put(edit, _insert_after(target, parent), item, on_made, on_item)
            parent = done.op_id
        else:
            done = put(edit, _set_key(target, key), item, on_made, on_item)
        if on_item is not None:
            on_item(source, done)


def _insert_after(target: OpId, parent: OpId | None) -> Callable[[OpValue], Op]:
    return lambda value: ListInsert(target, parent, Side.RIGHT, value)


def _set_key(target: OpId, key: str) -> Callable[[OpValue], Op]:
    return lambda value: MapSet(target, key, value)
