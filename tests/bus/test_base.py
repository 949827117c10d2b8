"""The messages of the bus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.bus.base import OpsStoredMessage
from collabkernel.errors import MalformedFrameError


@given(st.binary(min_size=16, max_size=16), st.integers(1, 2**53), st.integers(0, 10_000), st.binary(max_size=50))
def test_a_message_comes_back_as_it_was(origin: bytes, first_seq: int, more: int, parts: bytes):
    message = OpsStoredMessage(origin, first_seq, first_seq + more, parts)

    assert OpsStoredMessage.decode(message.encode()) == message


@given(st.binary(max_size=80))
def test_bytes_are_a_message_or_refused(data: bytes):
    try:
        message = OpsStoredMessage.decode(data)
    except MalformedFrameError:
        return
    assert message.encode() == data


def test_the_layout_is_frozen():
    message = OpsStoredMessage(bytes(range(16)), 3, 5, b"ops")

    assert message.encode() == b"\x01" + bytes(range(16)) + b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05ops"


@pytest.mark.parametrize("change", [b"", b"\x01", b"\x02" + bytes(32), b"\x01" + bytes(32)])
def test_what_is_no_message_is_refused(change: bytes):
    with pytest.raises(MalformedFrameError, match="bus message"):
        OpsStoredMessage.decode(change)
