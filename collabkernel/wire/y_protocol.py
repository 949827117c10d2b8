"""The Yjs protocols that stock clients speak: sync (y-protocols 1.0), awareness, and Jupyter's RAW messages.

One WebSocket frame is one message; integers are lib0's unsigned LEB128, buffers and strings have their length before
them. ``tests/wire/test_y_protocol.py`` freezes the bytes.

========== ==================================================================================
first bytes
========== ==================================================================================
0, 0       sync step 1: buffer, a state vector; asks for what it lacks
0, 1       sync step 2: buffer, an update; the answer to step 1
0, 2       update: buffer
1          awareness: buffer of ``count {client clock json:string}{count}``; JSON ``null``: he left
2          RAW: what Jupyter's client and server tell each other (save, conflict)
3          query awareness
========== ==================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from collabkernel.crdt.strict_json import strict_decoder
from collabkernel.errors import FrameTooLargeError, MalformedFrameError
from collabkernel.limits import COUNTER_MAX, Limits
from collabkernel.wire.writer import varint

SYNC, AWARENESS, RAW, QUERY_AWARENESS = range(4)
STEP_1, STEP_2, UPDATE = range(3)
EMPTY_UPDATE = b"\0\0"
"""An update of no structs and no deletions."""
EMPTY_VECTOR = b"\0"
"""The state vector of who has nothing."""
VECTOR_BYTES_MAX = 2 << 20
"""A state vector: 200,000 client ids, one for each time that somebody opened the document. Reading it takes 1 s."""
ENTRIES_MAX = 10_000
"""Clients in one awareness message."""
VALUE_DEPTH_MAX = 32
"""Nesting of an awareness state; ours are four deep."""
INT_DIGITS_MAX = 309
"""Digits of an integer in an awareness state: more is infinite in a browser."""

_JSON = strict_decoder(INT_DIGITS_MAX - 1)


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """Asks for what somebody with this state vector lacks."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncUpdate:
    """An edit, or the answer to a step 1."""

    update: bytes
    is_step_2: bool


class AwarenessEntry(NamedTuple):
    """What one client shows of itself."""

    client: int
    clock: int
    text: bytes
    """JSON, unread: stock clients send back all that they are sent, and most of that nobody has to look at."""

    @property
    def state(self) -> dict[str, Any] | None:
        """What it shows; None: it left.

        Raises:
            MalformedFrameError: The text is no strict JSON, or neither an object nor null.
        """
        return None if self.text == b"null" else _state(self.text)


@dataclass(frozen=True, slots=True)
class Awareness:
    """What some clients show."""

    entries: tuple[AwarenessEntry, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """Jupyter's own; the bytes behind the message's number."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """Asks for everybody's awareness."""


YMessage: TypeAlias = SyncStep1 | SyncUpdate | Awareness | Raw | QueryAwareness


def decode_y_message(frame: bytes, limits: Limits, bytes_max: int | None = None) -> YMessage:
    """The one message of a frame.

    Raises:
        FrameTooLargeError: The frame is over the limit.
        MalformedFrameError: It is no message.
    """
    bytes_max = limits.document_frame_bytes if bytes_max is None else bytes_max
    if len(frame) > bytes_max:
        raise FrameTooLargeError(len(frame), bytes_max)
    kind, at = _uint(frame, 0)
    if kind == SYNC:
        step, at = _uint(frame, at)
        if step > UPDATE:
            raise MalformedFrameError(f"a sync message of the unknown kind {step}")
        payload = _last_buffer(frame, at)
        if step != STEP_1:
            return SyncUpdate(payload, step == STEP_2)
        if len(payload) > VECTOR_BYTES_MAX:
            raise FrameTooLargeError(len(payload), VECTOR_BYTES_MAX)
        return SyncStep1(payload)
    if kind == AWARENESS:
        return Awareness(_entries(_last_buffer(frame, at)))
    if kind == RAW:
        return Raw(frame[at:])
    if kind == QUERY_AWARENESS:
        if at != len(frame):
            raise MalformedFrameError("bytes behind a query for awareness")
        return QueryAwareness()
    raise MalformedFrameError(f"a message of the unknown kind {kind}")


def _uint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise MalformedFrameError(f"the frame of {len(data)} bytes ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 49:
            raise MalformedFrameError(f"a number at byte {at} is over 53 bits")
    if value > COUNTER_MAX:
        raise MalformedFrameError(f"a number that ends at byte {at} is over 53 bits")
    return value, at


def _buffer(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _uint(data, at)
    end = at + size
    if end > len(data):
        raise MalformedFrameError(f"a buffer of {size} bytes at byte {at} is longer than the frame")
    return data[at:end], end


def _last_buffer(frame: bytes, at: int) -> bytes:
    payload, at = _buffer(frame, at)
    if at != len(frame):
        raise MalformedFrameError(f"{len(frame) - at} bytes behind the end of the message")
    return payload


def _entries(data: bytes) -> tuple[AwarenessEntry, ...]:
    count, at = _uint(data, 0)
    if count > ENTRIES_MAX:
        raise MalformedFrameError(f"awareness of {count} clients is over {ENTRIES_MAX}")
    entries = []
    for _ in range(count):
        client, at = _uint(data, at)
        clock, at = _uint(data, at)
        text, at = _buffer(data, at)
        entries.append(AwarenessEntry(client, clock, text))
    if at != len(data):
        raise MalformedFrameError(f"{len(data) - at} bytes behind the end of the awareness")
    return tuple(entries)


def _state(text: bytes) -> dict[str, Any] | None:
    try:
        value = _JSON.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedFrameError(f"an awareness state is no strict JSON: {error}") from None
    if value is None:
        return None
    if not isinstance(value, dict):
        raise MalformedFrameError(f"an awareness state is a {type(value).__name__}, not an object")
    _check_depth(value, 1)
    return value


def _check_depth(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth > VALUE_DEPTH_MAX:
            raise MalformedFrameError(f"an awareness state is nested over {VALUE_DEPTH_MAX} levels")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, depth + 1)


def encode_step_1(state_vector: bytes) -> bytes:
    """A frame that asks for what we lack."""
    return bytes((SYNC, STEP_1)) + varint(len(state_vector)) + state_vector


def encode_step_2(update: bytes) -> bytes:
    """A frame that answers a step 1."""
    return bytes((SYNC, STEP_2)) + varint(len(update)) + update


def encode_update(update: bytes) -> bytes:
    """A frame with an edit."""
    return bytes((SYNC, UPDATE)) + varint(len(update)) + update


def state_json(state: Mapping[str, Any] | None) -> bytes:
    """An awareness state as the wire has it: ASCII, so that no reader mistakes characters for bytes."""
    return json.dumps(state, separators=(",", ":")).encode()


def encode_awareness(entries: Iterable[tuple[int, int, bytes]]) -> bytes:
    """A frame of awareness.

    Args:
        entries: (client, clock, ``state_json``) of each client.
    """
    bodies = [varint(client) + varint(clock) + varint(len(text)) + text for client, clock, text in entries]
    size = varint(len(bodies))
    payload = b"".join([size, *bodies])
    return bytes((AWARENESS,)) + varint(len(payload)) + payload


def encode_raw(payload: bytes) -> bytes:
    """A frame of Jupyter's own."""
    return bytes((RAW,)) + payload


KEEP_ALIVE = encode_awareness(())
"""Says nothing; stock clients leave a socket that was silent for 30 seconds, and WebSocket pings do not count."""
QUERY = bytes((QUERY_AWARENESS,))
"""Asks for everybody's awareness."""
