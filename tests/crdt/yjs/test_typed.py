"""Typed strings: read as the full reader reads them, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collabkernel.crdt.yjs.parse import write_uint
from collabkernel.crdt.yjs.policy import FILE_POLICY, STRING
from collabkernel.crdt.yjs.structs import read_update
from collabkernel.crdt.yjs.typed import read_typed
from collabkernel.errors import InvalidYjsUpdateError

pytestmark = pytest.mark.core
IDS = st.tuples(st.sampled_from((1, 300, 2**32 - 1)), st.integers(0, 1000))


@given(IDS, IDS, st.none() | IDS, st.text(min_size=1, max_size=5))
def test_a_typed_string_is_read_as_the_full_reader_reads_it(
    own: tuple[int, int], origin: tuple[int, int], right: tuple[int, int] | None, text: str
):
    info = 0x84 | (0x40 if right else 0)
    raw = text.encode()
    ids = b"".join(write_uint(part) for id_ in (own,) for part in id_) + bytes([info])
    ids += b"".join(write_uint(part) for id_ in (origin, right) if id_ for part in id_)
    data = b"\x01\x01" + ids + write_uint(len(raw)) + raw + b"\x00"

    typed = read_typed(data)
    parsed = read_update(data, FILE_POLICY, 1)

    ((struct,),) = parsed.structs.values()
    assert typed is not None
    assert typed[:5] == (own[0], own[1], own[1] + struct.length, struct.origin, struct.right)
    assert typed.lows == tuple(parsed.contents.lows)


@settings(max_examples=300)
@given(st.binary(max_size=20), st.booleans())
def test_what_it_reads_the_full_reader_reads(tail: bytes, is_likely: bool):
    data = b"\x01\x01\x07\x03\x84" + tail if is_likely else tail

    if (typed := read_typed(data)) is not None:
        ((struct,),) = read_update(data, FILE_POLICY, 1).structs.values()
        assert (struct.kind, struct.origin, struct.right) == (STRING, typed.origin, typed.right)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00",
        b"\x01\x01\x07\x00\x04\x01\x06source\x01a\x00",
        b"\x01\x01\x07\x03\x84\x07\x02\x00\x00",
        b"\x01\x01\x07\x03\x84\x07\x02\x01a\x01\x07\x01\x00\x01",
        b"\x01\x01\x07\x03\x84\x07\x02\x01\xff\x00",
        b"\x01\x01\x07\xff\xff\xff\xff\x07\x84\x07\x02\x01a\x00",
        b"\x01\x01\x07\x03\x88\x07\x02\x01\x7e\x00",
    ],
)
def test_anything_else_is_left_to_the_full_reader(data: bytes):
    assert read_typed(data) is None


def test_a_clock_over_the_bound_is_the_full_readers_to_refuse():
    with pytest.raises(InvalidYjsUpdateError, match="is over"):
        read_update(b"\x01\x01\x07\xff\xff\xff\xff\x07\x84\x07\x02\x01a\x00", FILE_POLICY, 1)
