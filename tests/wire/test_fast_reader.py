"""The reader by hand answers as the strict decoder does, or not at all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.document.operations import Envelope, Op, StoredEnvelope
from collabkernel.limits import COUNTER_MAX, Limits
from collabkernel.wire import codec, fast_reader, frames
from collabkernel.wire.messages import Submit
from collabkernel.wire.ops import encode_op, strictly_decode_op
from tests.fixtures.wire import make
from tests.wire.strategies import ENVELOPES, OPS, stored_envelopes


@given(OPS, st.integers(0, 400), st.integers(1, 255))
def test_a_changed_byte_is_never_read_otherwise(op: Op, place: int, change: int):
    payload = bytearray(encode_op(op))
    payload[place % len(payload)] ^= change

    with contextlib.suppress(*fast_reader.NOT_READ):
        read = fast_reader.read_op(bytes(payload), 0, len(payload))
        assert repr(read) == repr(strictly_decode_op(bytes(payload)))


@pytest.mark.parametrize("name", [*make.OPS, *make.VALUES])
def test_everyday_operations_are_read_by_hand(name: str):
    op = make.OPS.get(name) or make.MapSet(make.ROOT, "key", make.VALUES[name])
    payload = encode_op(op)

    if "after a stamp" in name:
        with pytest.raises(fast_reader.NOT_READ):
            fast_reader.read_op(payload, 0, len(payload))
    else:
        assert fast_reader.read_op(payload, 0, len(payload)) == op


@given(st.lists(ENVELOPES, min_size=1, max_size=3))
def test_submit_is_read_as_the_strict_decoder_does(envelopes: list[Envelope]):
    submit = Submit(tuple(envelopes))
    frame = codec.encode_client_message(submit)

    assert codec.decode_client_message(frame, Limits()) == submit
    assert codec.strictly_decode_client_message(frame) == submit


@given(stored_envelopes(), st.integers(0, COUNTER_MAX))
def test_ops_are_read_as_the_strict_decoder_does(stored: list[StoredEnvelope], through: int):
    frame = frames.ops_part(stored) + frames.through_part(through)

    message = codec.decode_server_message(frame, Limits())

    assert message.ops == tuple(stored)
    assert message.through == through
    assert codec.strictly_decode_server_message(frame, Limits()) == message


def test_site_of_five_bytes():
    assert fast_reader.read_op(b"\x08\x80\x80\x80\x80\x01\x10\x01\x22\x00", 0, 10).target == (1 << 28, 1)
    for odd in (b"\x08\x80\x80\x80\x80\x00", b"\x08\xff\xff\xff\xff\x10", b"\x08\x80\x80\x80\x80\x80"):
        with pytest.raises(fast_reader.NOT_READ):
            fast_reader.read_op(odd + b"\x10\x01\x22\x00", 0, 10)
