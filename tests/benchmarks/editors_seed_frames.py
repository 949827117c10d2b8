"""Frames of the protocol written by hand, for a load that must cost less than what it loads.

tests/benchmarks/test_editors_seed_frames.py holds them against the codec.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from collabkernel.wire.writer import field_bytes, field_varint, varint


@lru_cache(maxsize=10_000)
def op_id(site: int, counter: int) -> bytes:
    """The body of an OpId."""
    return b"\x08" + varint(site) + b"\x10" + varint(counter)


def typed(client: int, clock: int, left: tuple[int, int], right: tuple[int, int], text: str) -> bytes:
    """A Yjs update (v1) that inserts ASCII text between two letters."""
    content = text.encode()
    origins = varint(left[0]) + varint(left[1]) + varint(right[0]) + varint(right[1])
    return b"\x01\x01" + varint(client) + varint(clock) + b"\xc4" + origins + varint(len(content)) + content + b"\x00"


def text_op(block: tuple[int, int], update: bytes) -> bytes:
    """An Op that edits the text of a block."""
    return b"\x08" + varint(block[0]) + b"\x10" + varint(block[1]) + field_bytes(9, field_bytes(1, update))


def property_op(block: tuple[int, int], value: int) -> bytes:
    """An Op that sets a property of a block."""
    body = field_bytes(1, b"done") + field_bytes(2, b"\x18" + varint(value << 1))
    return b"\x08" + varint(block[0]) + b"\x10" + varint(block[1]) + field_bytes(3, body)


def submit(counter: int, base: int, hlc: int, ops: Sequence[bytes]) -> bytes:
    """A frame with one envelope."""
    head = b"\x08" + varint(counter) + field_varint(2, base) + b"\x19" + hlc.to_bytes(8, "little")
    return field_bytes(2, field_bytes(1, head + b"".join([field_bytes(4, op) for op in ops])))


def presence(block: tuple[int, int], state_json: str) -> bytes:
    """A frame with a cursor."""
    return field_bytes(3, field_bytes(1, state_json.encode()) + field_bytes(2, op_id(*block)))


def viewport(blocks: Sequence[tuple[int, int, int]]) -> bytes:
    """A frame that names what is looked at: site and counter of blocks, and something else."""
    return field_bytes(6, b"".join([_seen_block(site, counter) for site, counter, _ in blocks]))


@lru_cache(maxsize=10_000)
def _seen_block(site: int, counter: int) -> bytes:
    return field_bytes(1, op_id(site, counter))


def fields(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-prefixed field; of a varint its value, and -1. Others do not occur."""
    end = len(data) if end is None else end
    while at < end:
        tag = data[at]
        at += 1
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if tag & 7 == 2:
            yield tag >> 3, at, at + value
            at += value
        else:
            yield tag >> 3, value, -1
