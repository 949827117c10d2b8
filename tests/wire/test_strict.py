"""Strict reading: one way to write each message, and JSON that every parser reads alike."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId
from collabkernel.errors import MalformedFrameError
from collabkernel.limits import COUNTER_MAX, HLC_MAX
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import strict


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x18\x01", "unknown field"),
        (b"\x08\x01\x08\x02", "doubled field"),
        (b"\x10\x01\x08\x01", "wrong order"),
        (b"\x08\x81\x00", "padded varint"),
        (b"\x08\x00", "a default written out"),
        (b"\x08\xff\xff\xff\xff\x1f", "over 32 bits"),
        (b"\x08", "cut off"),
        (b"\x0b\x0c", "a group"),
    ],
)
def test_message_has_one_way_to_be_written(data: bytes, why: str):
    with pytest.raises(MalformedFrameError):
        strict.parse(pb.OpId, data)
    assert why


def test_unknown_fields_are_found_at_every_depth():
    envelope = pb.Envelope(counter=1, ops=[pb.Op(map_set=pb.MapSet(key="k", value=pb.Value(integer=1)))])
    submit = pb.ClientMessage(submit=pb.Submit(envelopes=[envelope])).SerializeToString()
    value = b"\x12\x02\x18\x02"
    assert submit.endswith(value)
    assert strict.parse(pb.ClientMessage, submit)

    # The same with field 15 in the value, and every length around it two larger.
    longer = bytearray(submit[:-4] + b"\x12\x04\x18\x02\x78\x01")
    for place, byte in enumerate(submit[:-4]):
        if place and byte == len(submit) - place - 1:
            longer[place] += 2

    with pytest.raises(MalformedFrameError, match="unknown"):
        strict.parse(pb.ClientMessage, bytes(longer))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON_VALUES, st.booleans())
def test_json_passes_unchanged(value: object, ensure_ascii: bool):
    text = json.dumps(value, ensure_ascii=ensure_ascii)
    if "\\ud" in text:
        return  # Perhaps a lone surrogate, which is refused.

    assert strict.check_json(text, "payload") == text


def test_surrogates_in_pairs_pass():
    assert strict.check_json('"\\ud83d\\ude00"', "payload")


@pytest.mark.parametrize("text", ["1" * 5000, '{"a": ' * 100_000, '["\\udfff"]', "1e400", "nan", "", "\ufeff{}"])
def test_hostile_json_is_refused(text: str):
    with pytest.raises(MalformedFrameError):
        strict.check_json(text, "payload")


def test_depth_of_json_is_bounded():
    depth = strict.JSON_DEPTH_MAX

    assert strict.check_json("[" * depth + "1" + "]" * depth, "payload")
    with pytest.raises(MalformedFrameError, match="32 levels"):
        strict.check_json("[" * depth + "[1]" + "]" * depth, "payload")


@pytest.mark.parametrize(
    ("counter", "seq", "hlc", "ops_count", "is_good"),
    [
        (1, 1, 1, 1, True),
        (COUNTER_MAX - 9, COUNTER_MAX - 9, HLC_MAX - 9, 10, True),
        (COUNTER_MAX - 8, 1, 1, 10, False),
        (1, COUNTER_MAX - 8, 1, 10, False),
        (1, 1, HLC_MAX - 8, 10, False),
        (0, 1, 1, 1, False),
        (1, 0, 1, 1, False),
        (1, 1, 0, 1, False),
    ],
)
def test_whole_run_of_an_envelope_is_in_range(counter: int, seq: int, hlc: int, ops_count: int, is_good: bool):
    try:
        strict.check_run(counter, seq, hlc, ops_count)
    except MalformedFrameError:
        assert not is_good
    else:
        assert is_good


def test_ids():
    assert strict.container_id(0, 0) == OpId(0, 0)
    assert strict.container_id(0, 7) == OpId(0, 7)
    for site, counter in ((7, 0), (7, COUNTER_MAX + 1), (0, COUNTER_MAX + 1)):
        with pytest.raises(MalformedFrameError):
            strict.container_id(site, counter)
    with pytest.raises(MalformedFrameError):
        strict.operation_id(pb.OpId(counter=7), "element")
