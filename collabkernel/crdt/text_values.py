"""What callers may put into a rope: strings and attributes that every implementation of Yjs reads alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from collabkernel.crdt.yjs.policy import YjsPolicy
from collabkernel.errors import InvalidValueError

INT_EXACT_MAX = 2**53 - 1
"""Integers that a JavaScript number holds exactly."""

Attributes: TypeAlias = Mapping[str, Any]


def utf8_length(text: str) -> int:
    """Bytes of a text.

    Raises:
        InvalidValueError: It holds half a surrogate pair.
    """
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"a text cannot hold half a surrogate pair ({error.reason})") from None


def checked_attributes(attributes: Attributes, policy: YjsPolicy) -> dict[str, Any]:
    """The attributes, if they are JSON within the policy's bounds.

    Raises:
        InvalidValueError: They are not.
    """
    for key, value in attributes.items():
        if not isinstance(key, str) or not 0 < len(key.encode()) <= policy.format_key_bytes_max:
            raise InvalidValueError(f"a format key is a str of 1 to {policy.format_key_bytes_max} bytes: {key!r}")
        try:
            size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidValueError(f"the format {key!r} is no JSON: {error}") from None
        if size > policy.format_bytes_max:
            raise InvalidValueError(f"the format {key!r} is over {policy.format_bytes_max} bytes")
        if isinstance(value, int) and abs(value) > INT_EXACT_MAX:
            raise InvalidValueError(f"the format {key!r} is over 2**53 - 1")
    return dict(attributes)
