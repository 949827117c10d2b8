"""Cursors and viewports read by hand: as the strict decoder does, or not at all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId
from collabkernel.errors import MalformedFrameError
from collabkernel.limits import COUNTER_MAX, VIEWPORT_BLOCKS_MAX
from collabkernel.wire import codec, fast_messages, fast_reader
from collabkernel.wire.messages import Presence, Viewport
from tests.wire.strategies import OP_IDS

PRESENCES = st.builds(Presence, st.sampled_from(["{}", '{"n": "\u00e9"}', '{"a":[1,null]}']), st.none() | OP_IDS)
VIEWPORTS = st.builds(Viewport, st.lists(OP_IDS | st.builds(OpId, st.just(0), st.integers(1, COUNTER_MAX))).map(tuple))


@given(PRESENCES | VIEWPORTS)
def test_cursors_and_viewports_are_read_by_hand(message: Presence | Viewport):
    frame = codec.encode_client_message(message)

    assert fast_messages.read_client_message(frame) == message
    assert codec.strictly_decode_client_message(frame) == message


@given(PRESENCES | VIEWPORTS, st.integers(0, 400), st.integers(1, 255))
def test_a_changed_byte_of_a_cursor_or_viewport_is_never_read_otherwise(
    message: Presence | Viewport, place: int, change: int
):
    frame = bytearray(codec.encode_client_message(message))
    frame[place % len(frame)] ^= change

    with contextlib.suppress(*fast_reader.NOT_READ, MalformedFrameError):
        read = fast_messages.read_client_message(bytes(frame))
        assert read == codec.strictly_decode_client_message(bytes(frame))


def test_a_viewport_of_too_much_is_left_to_the_strict_decoder():
    frame = codec.encode_client_message(Viewport((OpId(1, 1),) * (VIEWPORT_BLOCKS_MAX + 1)))

    with pytest.raises(fast_reader.NOT_READ):
        fast_messages.read_client_message(frame)
