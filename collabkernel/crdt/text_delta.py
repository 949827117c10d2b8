"""Deltas of a rope: what yrs tells of a change, in code points where it counts UTF-8 bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Delta: TypeAlias = list[dict[str, Any]]
"""Quill's form: ``retain`` and ``delete`` consume old characters, ``insert`` brings new ones; ``attributes`` may
stand beside ``retain`` and ``insert``."""
EMBED_UNIT = "\0"
"""An embed in a text of units: one code point and one byte, as yrs counts it."""


def insertion(run: Any, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A part of a delta that inserts a string or an embed."""
    part: dict[str, Any] = {"insert": _with_ints(run)}
    if attributes:
        part["attributes"] = _with_ints(dict(attributes))
    return part


def to_delta(parts: Delta, before: str) -> Delta:
    """What yrs says of a change of the text ``before`` (as units), in code points."""
    raw = None if before.isascii() else before.encode()
    at = 0
    result: Delta = []
    for part in parts:
        if "insert" in part:
            result.append(insertion(part["insert"], part.get("attributes")))
            continue
        name = "retain" if "retain" in part else "delete"
        size = part[name]
        length = size if raw is None else len(raw[at : at + size].decode())
        at += size
        converted: dict[str, Any] = {name: length}
        if part.get("attributes"):
            converted["attributes"] = _with_ints(part["attributes"])
        result.append(converted)
    return result


def splice_delta(index: int, length: int, text: str, attributes: Mapping[str, Any] | None) -> Delta:
    """What a splice does, in Quill's form."""
    delta: Delta = [{"retain": index}] if index else []
    if text:
        delta.append({"insert": text, "attributes": dict(attributes)} if attributes else {"insert": text})
    if length:
        delta.append({"delete": length})
    return delta


def shifted(delta: Delta, at: int) -> Delta:
    """The same change of a text that stands behind ``at`` characters of a longer one."""
    if not at:
        return delta
    first = delta[0]
    if first.keys() == {"retain"}:
        return [{"retain": at + first["retain"]}, *delta[1:]]
    return [{"retain": at}, *delta]


def _with_ints(value: Any) -> Any:
    """JSON out of yrs, which knows numbers only: whole ones become ints again."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _with_ints(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_ints(item) for item in value]
    return value
