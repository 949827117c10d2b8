"""The messages of the bus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.bus.base import DeletedMessage, EphemeralMessage, OpsStoredMessage, decode_message
from collabkernel.errors import MalformedFrameError


@given(st.binary(min_size=16, max_size=16), st.integers(1, 2**53), st.integers(0, 10_000), st.binary(max_size=50))
def test_a_message_comes_back_as_it_was(origin: bytes, first_seq: int, more: int, parts: bytes):
    message = OpsStoredMessage(origin, first_seq, first_seq + more, parts)

    assert decode_message(message.encode()) == message


@given(st.binary(min_size=16, max_size=16), st.booleans(), st.binary(max_size=50))
def test_an_ephemeral_message_comes_back_as_it_was(origin: bytes, is_asking: bool, parts: bytes):
    message = EphemeralMessage(origin, is_asking, parts)

    assert decode_message(message.encode()) == message


@given(st.binary(max_size=80))
def test_bytes_are_a_message_or_refused(data: bytes):
    try:
        message = decode_message(data)
    except MalformedFrameError:
        return
    assert message.encode() == data


def test_the_layout_is_frozen():
    message = OpsStoredMessage(bytes(range(16)), 3, 5, b"ops")

    assert message.encode() == b"\x01" + bytes(range(16)) + b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05ops"
    assert EphemeralMessage(bytes(range(16)), True, b"shown").encode() == b"\x02" + bytes(range(16)) + b"\x01shown"


@pytest.mark.parametrize(
    "change", [b"", b"\x01", b"\x03" + bytes(32), b"\x01" + bytes(32), b"\x02", b"\x02" + bytes(16) + b"\x02"]
)
def test_what_is_no_message_is_refused(change: bytes):
    with pytest.raises(MalformedFrameError, match="bus message"):
        decode_message(change)


def test_that_a_room_was_deleted_comes_back_as_it_was():
    message = DeletedMessage(bytes(range(16)))
    assert decode_message(message.encode()) == message
    assert message.encode() == b"\x03" + bytes(range(16))


def test_one_kind_is_not_read_as_the_other():
    stored, shown = OpsStoredMessage(bytes(16), 1, 1, b""), EphemeralMessage(bytes(16), False, bytes(20))
    with pytest.raises(MalformedFrameError):
        EphemeralMessage.decode(stored.encode())
    with pytest.raises(MalformedFrameError):
        OpsStoredMessage.decode(shown.encode())
