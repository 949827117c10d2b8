"""Varints and fields are what protobuf writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.limits import INT_MAX, INT_MIN
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.writer import field_bytes, field_varint, varint, zigzag


@given(st.integers(0, 2**64 - 1) | st.sampled_from([2 ** (7 * n) - d for n in range(1, 10) for d in (0, 1)]))
def test_varint_is_protobufs(n: int):
    assert field_varint(1, n) == pb.Envelope(counter=n).SerializeToString()


@given(st.integers(INT_MIN, INT_MAX))
def test_zigzag_is_protobufs(n: int):
    assert b"\x18" + zigzag(n) == pb.Value(integer=n).SerializeToString()


@given(st.binary(max_size=20_000))
def test_sized_field_is_protobufs(data: bytes):
    assert field_bytes(6, data) == pb.Value(data=data).SerializeToString()


@pytest.mark.parametrize(("n", "written"), [(0, "00"), (127, "7f"), (128, "8001"), (16384, "808001")])
def test_varint_is_minimal(n: int, written: str):
    assert varint(n).hex() == written
