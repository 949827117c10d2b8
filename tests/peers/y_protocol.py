"""The y-protocol as a client speaks it, no more than load and failure tests need, and written apart from ours.

It shares no code with the server's codec, so that a mistake there is not made here too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

SYNC, AWARENESS, RAW, QUERY_AWARENESS = 0, 1, 2, 3
STEP1, STEP2, UPDATE = 0, 1, 2
EMPTY_UPDATE = b"\0\0"


class Frame(NamedTuple):
    """A frame's two type numbers (``sync`` is -1 but for sync messages) and what follows."""

    kind: int
    sync: int
    body: bytes


def varuint(value: int) -> bytes:
    """lib0: seven bits a byte, the low ones first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varuint(data: bytes, at: int) -> tuple[int, int]:
    """The number at an offset, and the offset after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def varbytes(data: bytes) -> bytes:
    """Bytes with their length before them."""
    return varuint(len(data)) + data


def read_varbytes(data: bytes, at: int) -> tuple[bytes, int]:
    """The bytes at an offset, and the offset after them."""
    length, at = read_varuint(data, at)
    return data[at : at + length], at + length


def sync_frame(step: int, body: bytes) -> bytes:
    """Step 1 with a state vector, or step 2 or an update with an update."""
    return bytes((SYNC, step)) + varbytes(body)


def awareness_frame(client: int, clock: int, state: Mapping[str, Any] | None) -> bytes:
    """One client's state, or with None its end."""
    entry = varuint(1) + varuint(client) + varuint(clock) + varbytes(json.dumps(state).encode())
    return bytes((AWARENESS,)) + varbytes(entry)


def save_frame(save_id: int) -> bytes:
    """What Ctrl+S sends."""
    return bytes((RAW,)) + varbytes(b"save") + varuint(save_id)


def parse(frame: bytes) -> Frame:
    """Take a frame apart; the body of RAW is its string."""
    kind = frame[0]
    if kind == SYNC:
        return Frame(kind, frame[1], read_varbytes(frame, 2)[0])
    return Frame(kind, -1, read_varbytes(frame, 1)[0])


def awareness_states(body: bytes) -> dict[int, Any]:
    """Client id to state, None for one that has left."""
    count, at = read_varuint(body, 0)
    states = {}
    for _ in range(count):
        client, at = read_varuint(body, at)
        _, at = read_varuint(body, at)
        text, at = read_varbytes(body, at)
        states[client] = json.loads(text)
    return states


def clocks(state_vector: bytes) -> dict[int, int]:
    """Client id to its next clock."""
    count, at = read_varuint(state_vector, 0)
    found = {}
    for _ in range(count):
        client, at = read_varuint(state_vector, at)
        found[client], at = read_varuint(state_vector, at)
    return found


def append_update(client: int, clock: int, text: str, root: str = "source") -> bytes:
    """The update in which ``client`` types ASCII after its own last sign, the first time at the root text's start.

    Yjs update v1: one client, one struct, an empty delete set; content 4 is a string, 0x80 says that a left origin
    (here the client's clock before) takes the place of the parent's name.
    """
    head = varuint(1) + varuint(1) + varuint(client) + varuint(clock)
    place = b"\x84" + varuint(client) + varuint(clock - 1) if clock else b"\x04\x01" + varbytes(root.encode())
    return head + place + varbytes(text.encode()) + b"\0"
