"""Operations to bytes and back, held to what protobuf itself writes."""

from __future__ import annotations

import pytest
from hypothesis import given

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import ListInsert, ListMove, MapSet, Op, OpValue, Side, TextEdit
from collabkernel.errors import InvalidValueError, MalformedFrameError
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.ops import decode_op, encode_op, op_kind, strictly_decode_op, value_bytes
from tests.examples import examples
from tests.wire.strategies import OPS, VALUES


@examples(300)
@given(OPS)
def test_decode_gives_back_what_was_encoded(op: Op):
    payload = encode_op(op)

    decoded = decode_op(payload)

    assert decoded == op
    assert repr(decoded) == repr(op), "equal is not enough: 1 == 1.0 == True, and 0.0 == -0.0"
    assert strictly_decode_op(payload) == op


@given(OPS)
def test_encoded_op_is_what_protobuf_writes(op: Op):
    payload = encode_op(op)

    assert pb.Op.FromString(payload).SerializeToString() == payload


@given(OPS)
def test_kind_is_the_field_of_the_oneof(op: Op):
    message = pb.Op.FromString(encode_op(op))
    name = message.WhichOneof("kind")

    assert name is not None
    assert op_kind(op) == pb.Op.DESCRIPTOR.fields_by_name[name].number


@given(VALUES)
def test_encoded_value_is_what_protobuf_writes(value: OpValue):
    assert pb.Value.FromString(value_bytes(value)).SerializeToString() == value_bytes(value)


@pytest.mark.interpreted
@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, float("nan"), float("inf"), "\ud800", object(), [1], {"a": 1}])
def test_what_rooms_do_not_hold_is_not_encoded(value: object):
    with pytest.raises(InvalidValueError):
        encode_op(MapSet(ROOT, "key", value))  # type: ignore[arg-type]  # that is the point


def test_key_with_a_lone_surrogate_is_not_encoded():
    with pytest.raises(InvalidValueError):
        encode_op(MapSet(ROOT, "\udfff", 1))


@pytest.mark.parametrize(
    "op",
    [
        MapSet(OpId(1, 0), "key", 1),
        ListInsert(ROOT, OpId(0, 1), Side.LEFT, 1),
        ListInsert(ROOT, OpId(1, 2**53), Side.LEFT, 1),
        ListMove(ROOT, ROOT, None, Side.LEFT),
        TextEdit(ROOT, b""),
    ],
)
def test_what_has_no_meaning_is_refused(op: Op):
    with pytest.raises(MalformedFrameError):
        decode_op(encode_op(op))


def test_every_prefix_is_refused():
    payload = encode_op(ListInsert(OpId(2**32 - 1, 5), OpId(7, 2**40), Side.RIGHT, "text"))

    for size in range(len(payload)):
        with pytest.raises(MalformedFrameError):
            decode_op(payload[:size])
