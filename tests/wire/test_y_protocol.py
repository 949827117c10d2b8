"""The Yjs protocols: the bytes of stock clients, and that any others are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Awareness as PycrdtAwareness
from pycrdt import Doc, create_awareness_message, create_sync_message, create_update_message

from collabkernel.errors import FrameTooLargeError, MalformedFrameError, RemoteProtocolError
from collabkernel.limits import Limits
from collabkernel.wire import y_protocol
from collabkernel.wire.y_protocol import (
    Awareness,
    AwarenessEntry,
    QueryAwareness,
    Raw,
    SyncStep1,
    SyncUpdate,
    decode_y_message,
    encode_awareness,
    state_json,
)

LIMITS = Limits()
STATES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=10,
)
ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 2**53 - 1),
        st.integers(0, 2**53 - 1),
        st.none() | st.dictionaries(st.text(), STATES, max_size=3),
    ),
    max_size=4,
)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"\x00\x00\x01\x00", SyncStep1(b"\x00")),
        (b"\x00\x01\x02\x00\x00", SyncUpdate(b"\x00\x00", is_step_2=True)),
        (b"\x00\x02\x02\x00\x00", SyncUpdate(b"\x00\x00", is_step_2=False)),
        (b"\x01\x01\x00", Awareness(())),
        (b"\x01\x08\x01\x05\x02\x04{ }\n", Awareness((AwarenessEntry(5, 2, b"{ }\n"),))),
        (b"\x02\x04save\x07", Raw(b"\x04save\x07")),
        (b"\x03", QueryAwareness()),
    ],
)
def test_messages_of_stock_clients_are_read(frame, message):
    assert decode_y_message(frame, LIMITS) == message


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"\x00\x03\x01\x00",
        b"\x00\x00\x02\x00",
        b"\x00\x00\x01\x00\x00",
        b"\x01\x05\x01",
        b"\x01\x01\x01",
        b"\x01\x02\x00\x00",
        b"\x03\x00",
        b"\x04",
        b"\x7d\x00",
        b"\xff" * 12,
        b"\x00\x02" + b"\xff" * 7 + b"\x0f",
    ],
)
def test_anything_else_is_refused(frame):
    with pytest.raises(MalformedFrameError):
        decode_y_message(frame, LIMITS)


def test_a_frame_over_the_limit_is_refused():
    with pytest.raises(FrameTooLargeError):
        decode_y_message(b"\x00\x02\x02\x00\x00", replace(LIMITS, document_frame_bytes=4))


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b'"name"',
        b"NaN",
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 100_000,
    ],
)
def test_a_state_that_browsers_would_stumble_over_is_refused(text):
    with pytest.raises(MalformedFrameError):
        _ = AwarenessEntry(1, 1, text).state


@given(ENTRIES)
def test_awareness_comes_back_as_it_was(entries):
    message = decode_y_message(encode_awareness([(c, n, state_json(s)) for c, n, s in entries]), LIMITS)

    assert isinstance(message, Awareness)
    assert [(entry.client, entry.clock, entry.state) for entry in message.entries] == entries


@given(st.binary(max_size=300))
def test_buffers_come_back_as_they_were(payload):
    assert decode_y_message(y_protocol.encode_step_1(payload), LIMITS) == SyncStep1(payload)
    assert decode_y_message(y_protocol.encode_step_2(payload), LIMITS) == SyncUpdate(payload, is_step_2=True)
    assert decode_y_message(y_protocol.encode_update(payload), LIMITS) == SyncUpdate(payload, is_step_2=False)
    assert decode_y_message(y_protocol.encode_raw(payload), LIMITS) == Raw(payload)


@given(
    st.binary(max_size=60)
    | st.builds(lambda kind, rest: bytes([kind]) + rest, st.integers(0, 4), st.binary(max_size=60))
)
def test_any_bytes_are_decoded_or_refused(frame):
    try:
        message = decode_y_message(frame, LIMITS)
        if isinstance(message, Awareness):
            for entry in message.entries:
                state_json(entry.state)
    except RemoteProtocolError:
        pass


def test_pycrdt_speaks_the_same():
    doc = Doc(client_id=7)
    awareness = PycrdtAwareness(doc)
    awareness.set_local_state({"user": {"name": "Ann"}})

    assert y_protocol.encode_step_1(doc.get_state()) == create_sync_message(doc)
    assert y_protocol.encode_update(b"\x00\x00") == create_update_message(b"\x00\x00")
    message = decode_y_message(create_awareness_message(awareness.encode_awareness_update([7])), LIMITS)
    assert isinstance(message, Awareness)
    assert message.entries[0].state == {"user": {"name": "Ann"}}


def test_a_state_vector_of_millions_of_clients_is_refused_unread():
    """One of 36 MB kept the event loop for 18 seconds."""
    with pytest.raises(FrameTooLargeError):
        decode_y_message(y_protocol.encode_step_1(bytes(y_protocol.VECTOR_BYTES_MAX + 1)), LIMITS)
