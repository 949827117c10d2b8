"""Strict reading of protobuf and JSON from a peer: canonical bytes of known fields, or ``MalformedFrameError``.

Protobuf lets one message be written in many ways: fields in any order, doubled, with padded varints, with fields that
the reader does not know. We read the one way that an encoder writes: unknown fields are dropped at every depth and the
message is written again; if that gives other bytes, it is refused. (``UnknownFieldSet`` alone would not do: it sees one
level, and knows nothing of doubled fields.)
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, Never, TypeVar

from google.protobuf.message import DecodeError, Message

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.yjs.parse import is_unicode
from collabkernel.errors import MalformedFrameError
from collabkernel.limits import COUNTER_MAX, HLC_MAX, SITE_MAX
from collabkernel.wire import collab_pb2 as pb

JSON_DEPTH_MAX = 32
"""How far down a value may be in presence and event JSON: deeper than any cursor, far under any recursion limit."""

M = TypeVar("M", bound=Message)


def parse(message_class: type[M], data: bytes) -> M:
    """The message that ``data`` is the canonical encoding of.

    Raises:
        MalformedFrameError: If ``data`` is no such message, holds an unknown field, or is not canonical.
    """
    try:
        message = message_class.FromString(data)
    except DecodeError as error:
        raise MalformedFrameError(str(error)) from error
    message.DiscardUnknownFields()
    if message.SerializeToString() != data:
        raise MalformedFrameError(f"{message_class.__name__} with unknown, doubled, or non-canonical fields")
    return message


def out_of_range(what: str, value: object) -> MalformedFrameError:
    """The error that names a field and shows the start of its value."""
    return MalformedFrameError(f"{what} is out of range: {str(value)[:80]}")


def missing(what: str) -> MalformedFrameError:
    """The error for a member that must be there."""
    return MalformedFrameError(f"{what} is missing")


def check_site(site: int) -> int:
    """A site that exists: 1 to 2**32 - 1."""
    if not 1 <= site <= SITE_MAX:
        raise out_of_range("site", site)
    return site


def check_counter(counter: int, what: str = "counter") -> int:
    """A counter or seq: 1 to 2**53 - 1."""
    if not 1 <= counter <= COUNTER_MAX:
        raise out_of_range(what, counter)
    return counter


def check_seq(seq: int, what: str) -> int:
    """A seq that may be 0, for "nothing yet"."""
    if seq > COUNTER_MAX:
        raise out_of_range(what, seq)
    return seq


def check_run(counter: int, seq: int, hlc: int, ops_count: int) -> None:
    """An envelope's first counter, seq and HLC, such that its last operation's are in range too."""
    last = ops_count - 1
    if not 1 <= counter <= COUNTER_MAX - last:
        raise out_of_range("counter", counter)
    if not 1 <= seq <= COUNTER_MAX - last:
        raise out_of_range("seq", seq)
    if not 1 <= hlc <= HLC_MAX - last:
        raise out_of_range("hlc", hlc)


def operation_id(message: pb.OpId, what: str) -> OpId:
    """The id of an operation that some site made."""
    site, counter = message.site, message.counter
    if not (site and 1 <= counter <= COUNTER_MAX):
        raise out_of_range(what, (site, counter))
    return OpId(site, counter)


def run_id(site: int, counter: int, more: int) -> OpId:
    """The first of ids of one site that follow each other."""
    if not (site and 1 <= counter <= COUNTER_MAX - more):
        raise out_of_range("run of ids", (site, counter, more))
    return OpId(site, counter)


def container_id(site: int, counter: int) -> OpId:
    """The id of a container: the root (0, 0), a shared one (0, hash), or the id of an operation."""
    if counter > COUNTER_MAX or (site and not counter):
        raise out_of_range("target", (site, counter))
    return OpId(site, counter)


def check_finite(number: float) -> float:
    """A number that JSON can say."""
    if not math.isfinite(number):
        raise out_of_range("number", number)
    return number


def check_json(text: str, what: str, *, must_be_object: bool = False) -> str:
    """``text`` itself, when every JSON parser reads it as the same value.

    Refused: NaN and infinities, numbers too large for a double, doubled keys, lone surrogates, nesting over
    ``JSON_DEPTH_MAX``.
    """
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise MalformedFrameError(f"{what} is not JSON: {error}") from error
    if must_be_object and not isinstance(value, dict):
        raise MalformedFrameError(f"{what} is not a JSON object")
    _check_json_value(value, what, JSON_DEPTH_MAX)
    return text


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("number too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("doubled key")
    return members


_JSON: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique)


def _check_json_value(value: Any, what: str, depth_left: int) -> None:
    if depth_left < 0:
        raise MalformedFrameError(f"{what} is nested over {JSON_DEPTH_MAX} levels")
    if isinstance(value, str):
        if not is_unicode(value):
            raise MalformedFrameError(f"{what} holds a lone surrogate")
    elif isinstance(value, dict):
        for key, member in value.items():
            _check_json_value(key, what, depth_left)
            _check_json_value(member, what, depth_left - 1)
    elif isinstance(value, list):
        for member in value:
            _check_json_value(member, what, depth_left - 1)
