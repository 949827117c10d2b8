"""Client messages there and back, and what is refused; tests/fixtures/wire/bad.json has the long list."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId
from collabkernel.errors import FrameTooLargeError, MalformedFrameError
from collabkernel.limits import COUNTER_MAX, Limits
from collabkernel.wire.codec import (
    decode_client_message,
    decode_server_message,
    encode_client_message,
    inflate,
)
from collabkernel.wire.messages import (
    ClientMessage,
    Event,
    Hello,
    Presence,
    Resume,
    Resync,
    SessionKind,
    Submit,
    Viewport,
)
from collabkernel.wire.writer import field_bytes
from tests.wire.strategies import ENVELOPES, OP_IDS, SITES, TEXTS

RESUMES = st.builds(
    Resume, SITES, st.binary(min_size=16, max_size=16), st.integers(1, COUNTER_MAX), OP_IDS
) | st.builds(Resume, SITES, st.binary(min_size=16, max_size=16), st.just(0), st.none())
MESSAGES = (
    st.builds(Hello, st.sampled_from(SessionKind), TEXTS.filter(lambda text: len(text.encode()) <= 256))
    | st.builds(Hello, st.sampled_from(SessionKind), st.just("js"), RESUMES)
    | st.builds(Submit, st.lists(ENVELOPES, min_size=1, max_size=3).map(tuple))
    | st.just(Presence('{"cursor": null}'))
    | st.builds(Event, TEXTS.filter(bool), st.sampled_from(["null", "[1, 2.5]", '"text"', '{"a": {}}']))
    | st.just(Resync())
    | st.builds(Viewport, st.lists(OP_IDS, max_size=3).map(tuple))
)


@given(MESSAGES)
def test_decode_gives_back_what_was_encoded(message: ClientMessage):
    assert decode_client_message(encode_client_message(message), Limits()) == message


@given(MESSAGES, st.integers(0, 10_000))
def test_a_cut_frame_is_refused(message: ClientMessage, size: int):
    frame = encode_client_message(message)

    with pytest.raises(MalformedFrameError):
        decode_client_message(frame[: size % len(frame)], Limits())


def test_frame_at_the_limit_passes_and_one_byte_more_does_not():
    frame = encode_client_message(Presence('{"x": "' + "a" * 500 + '"}'))

    assert decode_client_message(frame, Limits(frame_bytes=len(frame)))
    with pytest.raises(FrameTooLargeError) as refused:
        decode_client_message(frame, Limits(frame_bytes=len(frame) - 1))
    assert (refused.value.size_bytes, refused.value.limit_bytes) == (len(frame), len(frame) - 1)


def test_sizes_are_left_to_admission():
    presence = Presence('{"x": "' + "a" * 10_000 + '"}')

    assert decode_client_message(encode_client_message(presence), Limits(presence_bytes=10)) == presence


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(frame: bytes):
    for decode in (decode_client_message, decode_server_message):
        with contextlib.suppress(MalformedFrameError):
            decode(frame, Limits())


@pytest.mark.heavy
def test_zlib_bomb_is_never_held_whole():
    bomb = zlib.compress(bytes(100 << 20), 9)

    with pytest.raises(FrameTooLargeError) as refused:
        inflate(bomb, 1 << 20)

    assert refused.value.size_bytes == (1 << 20) + 1


@pytest.mark.heavy
def test_bomb_in_a_snapshot_is_refused():
    bomb = zlib.compress(bytes(40 << 20), 9)
    frame = field_bytes(2, b"\x10\x01" + field_bytes(3, bomb))

    with pytest.raises(FrameTooLargeError):
        decode_server_message(frame, Limits())


def test_resume_keeps_what_the_client_had_seen():
    hello = Hello(SessionKind.AGENT, "bot/1", Resume(7, bytes(16), 12, OpId(3, 4)))

    assert decode_client_message(encode_client_message(hello), Limits()) == hello
