"""What a type annotation of a record, or of a typed list, allows and means."""

from __future__ import annotations

import types
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from collabkernel.client.live import Live
from collabkernel.client.sketch import check_key
from collabkernel.document.operations import ContainerKind
from collabkernel.errors import InvalidValueError

_SCALARS = (bool, int, float, str, bytes)
_LISTS = (list, tuple, Sequence, MutableSequence)
_MAPS = (dict, Mapping, MutableMapping)


def accept(expected: object, value: Any, where: str) -> Any:
    """The value, made fit for a place that is annotated with ``expected``.

    An int is a float where one is wanted; a dict becomes a record, a str a LiveText.

    Raises:
        InvalidValueError: It does not fit.
    """
    if expected is None or expected is Any or expected is object:
        return value
    arms = _arms(expected)
    if len(arms) == 1:
        return _accept_one(arms[0], value, where, expected)
    for arm in sorted(arms, key=lambda each: _fits_less(each, value)):
        try:
            return _accept_one(arm, value, where, expected)
        except InvalidValueError:
            continue
    raise _misfit(expected, value, where)


def _arms(expected: object) -> tuple[object, ...]:
    return get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)


def _fits_less(arm: object, value: object) -> bool:
    # `float | int` keeps an int an int: the arm of the very type is tried first.
    return arm is not type(value)


def _accept_one(expected: object, value: Any, where: str, declared: object) -> Any:
    if expected is Any:
        return value
    if expected is None or expected is type(None):
        if value is None:
            return None
        raise _misfit(declared, value, where)
    if get_origin(expected) is Literal:
        if any(value == choice and type(value) is type(choice) for choice in get_args(expected)):
            return value
        raise _misfit(declared, value, where)
    if expected in _SCALARS:
        return _accept_scalar(expected, value, where, declared)
    kind = kind_of(expected)
    if kind is None:
        raise InvalidValueError(f"{where} is annotated {_name(declared)}, which rooms do not hold")
    return _accept_container(kind, expected, value, where, declared)


def _accept_scalar(expected: object, value: Any, where: str, declared: object) -> Any:
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_bool_for_int = expected is int and isinstance(value, bool)
    if isinstance(expected, type) and isinstance(value, expected) and not is_bool_for_int:
        return value
    raise _misfit(declared, value, where)


def _accept_container(kind: ContainerKind, expected: Any, value: Any, where: str, declared: object) -> Any:
    arguments = get_args(expected)
    if kind is ContainerKind.TEXT:
        if isinstance(value, str):
            return expected(value)
    elif kind is ContainerKind.OBJECT:
        if isinstance(value, Mapping) and not isinstance(value, Live):
            return expected(**{check_key(key): item for key, item in value.items()})
    elif isinstance(value, Live):
        pass
    elif kind is ContainerKind.LIST and isinstance(value, list | tuple):
        item_type = arguments[0] if arguments else None
        return [accept(item_type, item, f"{where}[{i}]") for i, item in enumerate(value)]
    elif kind is ContainerKind.MAP and isinstance(value, Mapping):
        value_type = arguments[1] if len(arguments) > 1 else None
        return {check_key(key): accept(value_type, item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, Live) and type(value).kind is kind:
        return value
    raise _misfit(declared, value, where)


def kind_of(expected: object) -> ContainerKind | None:
    """The kind of container that an annotation means; None for a scalar."""
    origin = get_origin(expected) or expected
    if isinstance(origin, type) and issubclass(origin, Live):
        return origin.kind
    if origin in _LISTS:
        return ContainerKind.LIST
    if origin in _MAPS:
        return ContainerKind.MAP
    return None


def arm_of(expected: object, kind: ContainerKind) -> Any:
    """The part of an annotation that describes a container of this kind; None if none does."""
    if expected is None:
        return None
    return next((arm for arm in _arms(expected) if kind_of(arm) is kind), None)


def item_type(expected: object, kind: ContainerKind) -> object:
    """The annotation of what such a container holds."""
    arguments = get_args(arm_of(expected, kind))
    if kind is ContainerKind.LIST and arguments:
        return arguments[0]
    if kind is ContainerKind.MAP and len(arguments) > 1:
        return arguments[1]
    return None


def _name(expected: object) -> str:
    return expected.__name__ if isinstance(expected, type) else str(expected).replace("typing.", "")


def _misfit(expected: object, value: object, where: str) -> InvalidValueError:
    return InvalidValueError(f"{where} is a {_name(expected)}; {value!r} is a {type(value).__name__}")
