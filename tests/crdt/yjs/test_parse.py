"""lib0's primitives, read strictly."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.yjs.parse import (
    UINT_MAX,
    VALUE_DEPTH_MAX,
    Reader,
    decode_vector,
    encode_vector,
    low_surrogates,
    read_uint,
    splits_pair,
    write_uint,
)
from collabkernel.errors import InvalidYjsUpdateError


@given(st.integers(0, UINT_MAX))
def test_uint_is_read_as_written(value: int):
    raw = write_uint(value)

    assert read_uint(raw + b"\xff", 0) == (value, len(raw))
    assert Reader(raw).uint("a number") == value


@pytest.mark.parametrize(
    "raw", [b"\x80\x00", b"\x81\x80\x00", write_uint(UINT_MAX + 1), b"\xff" * 20, b"\x80" * 9 + b"\x01"]
)
def test_uint_has_one_spelling_and_53_bits(raw: bytes):
    with pytest.raises(InvalidYjsUpdateError):
        Reader(raw).uint("a number")


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff\xff"])
def test_truncation_is_named(raw: bytes):
    with pytest.raises(InvalidYjsUpdateError, match="ends inside a number"):
        Reader(raw).uint("a number")


@pytest.mark.parametrize(
    ("raw", "value"), [(b"\x00", 0), (b"\x3f", 63), (b"\x41", -1), (b"\x80\x01", 64), (b"\xff\x01", -127), (b"\x40", 0)]
)
def test_sint(raw: bytes, value: int):
    assert Reader(raw).sint("a number") == value


def test_sint_has_one_spelling():
    with pytest.raises(InvalidYjsUpdateError, match="shortest form"):
        Reader(b"\x81\x00").sint("a number")


@pytest.mark.parametrize(
    "text", ['{"a":[1,2.5,null,"ä"]}', "true", " 1 ", '"\\ud83d\\ude00"', "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"]
)
def test_json_that_everybody_reads(text: str):
    raw = text.encode()

    Reader(write_uint(len(raw)) + raw).json("a value", 100)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "-Infinity",
        "1e999",
        "01",
        "{",
        '"\\ud800"',
        '{"\\ud800":1}',
        "9" * 30,
        "[" * 17 + "]" * 17,
        "tru",
        "'a'",
    ],
)
def test_json_that_somebody_misreads(text: str):
    raw = text.encode()

    with pytest.raises(InvalidYjsUpdateError):
        Reader(write_uint(len(raw)) + raw).json("a value", 100)


def test_json_is_bounded_in_bytes_and_depth():
    with pytest.raises(InvalidYjsUpdateError, match="over the limit of 100 bytes"):
        Reader(b"\x65" + b"1" * 101).json("a value", 100)
    raw = b"[" * 5000
    with pytest.raises(InvalidYjsUpdateError):
        Reader(write_uint(len(raw)) + raw).json("a value", 10_000)


@pytest.mark.parametrize(
    "raw",
    [b"\x7f", b"\x7e", b"\x7d\x05", b"\x7c" + struct.pack(">f", 0.5), b"\x7b" + struct.pack(">d", 0.1), b"\x79",
     b"\x7a" + b"\0" * 8, b"\x78", b"\x77\x02ab", b"\x76\x01\x01k\x75\x02\x7e\x78", b"\x74\x03abc"],
)  # fmt: skip
def test_any_is_stepped_over_whole(raw: bytes):
    reader = Reader(raw + b"rest")

    reader.any("a value")

    assert reader.at == len(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x73",
        b"\x80",
        b"\x77\x01\xff",
        b"\x75" + write_uint(2**50),
        b"\x76\x01",
    ],
)
def test_any_that_is_wrong(raw: bytes):
    with pytest.raises(InvalidYjsUpdateError):
        Reader(raw).any("a value")


def test_any_is_bounded_in_depth():
    Reader(b"\x75\x01" * (VALUE_DEPTH_MAX - 1) + b"\x7e").any("a value")

    for depth in (VALUE_DEPTH_MAX, 100_000):
        with pytest.raises(InvalidYjsUpdateError, match="nested over 16 levels"):
            Reader(b"\x75\x01" * depth + b"\x7e").any("a value")


@given(st.text(alphabet="aä漢😀🎉", max_size=12), st.integers(0, 1000))
def test_low_surrogates_are_where_utf_16_has_them(text: str, clock: int):
    raw = text.encode("utf-16-be")
    units = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]

    assert low_surrogates(text, clock) == [clock + at for at, unit in enumerate(units) if 0xDC00 <= unit < 0xE000]


@given(st.dictionaries(st.integers(0, UINT_MAX), st.integers(0, UINT_MAX), max_size=5))
def test_a_state_vector_is_read_as_written(clocks: dict[int, int]):
    assert decode_vector(encode_vector(clocks)) == clocks
    with pytest.raises(InvalidYjsUpdateError):
        decode_vector(encode_vector(clocks) + b"\x00")


def test_a_cut_between_the_halves_of_a_pair_is_known() -> None:
    lows = {7: low_surrogates("a😀b😀", 10)}

    assert [clock for clock in range(9, 18) if splits_pair(lows, 7, clock)] == [12, 15]
    assert not splits_pair(lows, 8, 12)
