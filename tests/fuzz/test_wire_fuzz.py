"""Hostile frames: each is decoded or refused with a ``RemoteProtocolError``, nothing else, whoever sends it.

Three sources: the frozen fixtures mutated, every prefix of them, and messages built at random out of the protocol's own
descriptors, with values at their limits. What is decoded encodes to the same bytes again, and the reader by hand gives
the answer of the strict decoder. ``COLLABKERNEL_FUZZ_CASES`` raises the number of cases, ``COLLABKERNEL_FUZZ_SEED``
picks others.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from collabkernel.errors import FrameTooLargeError, RemoteProtocolError
from collabkernel.limits import COUNTER_MAX, HLC_MAX, INT_MAX, INT_MIN, SITE_MAX, Limits
from collabkernel.wire import codec, frames
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.messages import ClientMessage, ServerMessage
from collabkernel.wire.ops import encode_op

CASES = int(os.environ.get("COLLABKERNEL_FUZZ_CASES", "100000"))
SEED = int(os.environ.get("COLLABKERNEL_FUZZ_SEED", "20261121"))
LIMITS = Limits(server_frame_bytes=1 << 16)
FIXTURES = Path(__file__).parent.parent / "fixtures" / "wire"

# Values that sit at an edge of something: varints, sizes, tags, UTF-8, JSON.
EDGES = [bytes.fromhex(edge) for edge in ("00", "01", "7f", "80", "ff", "8000", "80808080808080808001", "0a00", "c0af")]
EDGES += [b"\xed\xa0\x80", b"NaN", b"{", b'"', b"\\ud800", b"\x00" * 8, b"\xff" * 8, b"\xf0\x7f"]


def _fixture_frames(direction: str) -> list[bytes]:
    entries = [
        entry
        for name in ("messages.json", "bad.json")
        for entry in json.loads((FIXTURES / name).read_text(encoding="utf-8"))
        if entry["direction"] == direction
    ]
    # Longer ones say nothing that shorter ones do not, and take their time.
    return [frame for entry in entries if len(frame := bytes.fromhex(entry["hex"])) < 1500]


def _encode_server(message: ServerMessage) -> bytes:
    snapshot = message.snapshot
    parts = [
        b"" if message.welcome is None else frames.welcome_part(message.welcome),
        b"" if snapshot is None else frames.snapshot_part(snapshot.seq, snapshot.state, snapshot.op),
        frames.ops_part(message.ops),
        frames.acks_part(message.acks),
        frames.rejects_part(message.rejects),
        frames.presence_part(message.presence, message.moves, message.clusters, is_whole=message.is_presence_whole),
        frames.events_part(message.events),
        frames.notices_part(message.notices),
        b"" if message.degraded is None else frames.degraded_part(message.degraded),
        b"" if message.bye is None else frames.bye_part(message.bye),
        frames.through_part(message.through),
        frames.filtered_part(
            message.filtered, [[encode_op(op) for op in each.envelope.ops] for each in message.filtered]
        ),
        b"" if message.through_op is None else frames.through_op_part(message.through_op),
        *[frames.contents_part(contents.blocks, contents.lost) for contents in message.contents],
    ]
    return b"".join(parts)


def _outcome(decode: Any, *args: Any) -> ClientMessage | ServerMessage | str:
    try:
        message: ClientMessage | ServerMessage = decode(*args)
    except RemoteProtocolError as error:
        return error.code
    return message


def check(direction: str, frame: bytes) -> bool:
    """Hold one frame against the promises; return whether it was decoded."""
    if direction == "client":
        outcome = _outcome(codec.decode_client_message, frame, LIMITS)
        strict = _outcome(codec.strictly_decode_client_message, frame)
    else:
        outcome = _outcome(codec.decode_server_message, frame, LIMITS)
        strict = _outcome(codec.strictly_decode_server_message, frame, LIMITS)
    if isinstance(outcome, str):
        assert outcome in ("malformed-frame", "frame-too-large")
        assert strict == outcome or outcome == FrameTooLargeError.code
        return False
    assert repr(strict) == repr(outcome)
    if isinstance(outcome, ServerMessage):
        message = pb.ServerMessage.FromString(frame)
        if (
            len(message.filtered) > 1
        ):  # one a partition, each in its own order: the message does not say which was whose
            return True
        again = _encode_server(outcome)
        assert repr(codec.decode_server_message(again, LIMITS)) == repr(outcome)
        # Several Ops or PresenceBatches become one, what was deflated is deflated anew: the same said otherwise.
        is_deflated = message.snapshot.encoding or any(each.encoding for each in message.contents)
        if len(message.ops) > 1 or len(message.presence) > 1 or is_deflated:
            return True
    else:
        again = codec.encode_client_message(outcome)
    assert again == frame
    return True


def run(direction: str, frame: bytes, case: object) -> bool:
    """``check``, and say on failure which frame it was."""
    try:
        return check(direction, frame)
    except BaseException:
        print(f"seed {SEED}, case {case}: {direction} frame {frame.hex()}")
        raise


def mutate(rng: random.Random, pool: list[bytes]) -> bytes:
    """One to three changes of a frame out of ``pool``."""
    data = bytearray(rng.choice(pool))
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 if place < len(data):
                data[place] ^= 1 << rng.randrange(8)
            case 1 if place < len(data):
                data[place] = rng.randrange(256)
            case 2:
                del data[place:]
            case 3:
                data[place:place] = rng.choice(EDGES)
            case 4:
                edge = rng.choice(EDGES)
                data[place : place + len(edge)] = edge
            case 5:
                del data[place : place + rng.randrange(1, 5)]
            case _:
                other = rng.choice(pool)
                start = rng.randrange(len(other) + 1)
                data[place : place + rng.randrange(20)] = other[start : start + rng.randrange(40)]
    return bytes(data)


INTEGERS = (0, 0, 1, 1, 2, 3, 127, 128, 2**31, SITE_MAX, SITE_MAX + 1, COUNTER_MAX, COUNTER_MAX + 1, INT_MAX, HLC_MAX)
TEXTS = ("", "a", "key", "null", "{}", '{"a":[1]}', "[1]", "NaN", '"\\ud800"', "é\u0000", "k" * 200)
BLOBS = (b"", b"\x00", bytes(16), bytes(15), b"x" * 300)
DOUBLES = (0.0, -0.0, 1.5, 1e308, float("nan"), float("inf"))


def _edge(rng: random.Random, field: FieldDescriptor) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return rng.choice(TEXTS)
        case FieldDescriptor.TYPE_BYTES:
            return rng.choice(BLOBS)
        case FieldDescriptor.TYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.TYPE_DOUBLE:
            return rng.choice(DOUBLES)
        case FieldDescriptor.TYPE_ENUM:
            return rng.choice((0, 1, 2, 3, 4, 5, -1))
        case FieldDescriptor.TYPE_SINT64:
            return rng.choice((0, 1, -1, INT_MIN, INT_MAX))
        case FieldDescriptor.TYPE_UINT32:
            return rng.choice((0, 1, 5, 128, SITE_MAX))
        case _:
            return rng.choice(INTEGERS)


def _right(field: FieldDescriptor) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return "{}"
        case FieldDescriptor.TYPE_BYTES:
            return bytes(16)
        case FieldDescriptor.TYPE_DOUBLE:
            return 0.5
        case FieldDescriptor.TYPE_UINT32 if field.name == "actor":
            return 0
        case FieldDescriptor.TYPE_ENUM if field.name == "encoding":
            return 0
        case _:
            return 1


def fill(rng: random.Random, message: Message, descriptor: Descriptor, oddness: float) -> None:
    """Set fields: with a chance of ``oddness`` each is left out or at an edge, else as it should be."""
    chosen = {oneof.name: rng.choice(oneof.fields) for oneof in descriptor.oneofs}
    for field in descriptor.fields:
        oneof = field.containing_oneof
        is_chosen = chosen[oneof.name] is field if oneof else rng.random() >= oddness
        if not is_chosen or (descriptor.name == "ServerMessage" and rng.random() < 0.7):
            continue
        if field.is_repeated:
            for _ in range(rng.choice((1, 1, 1, 2, 3)) if rng.random() < oddness else 1):
                if field.type == FieldDescriptor.TYPE_MESSAGE:
                    fill(rng, getattr(message, field.name).add(), field.message_type, oddness)
                else:
                    getattr(message, field.name).append(_edge(rng, field))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            member = getattr(message, field.name)
            member.SetInParent()
            fill(rng, member, field.message_type, oddness)
        else:
            setattr(message, field.name, _edge(rng, field) if rng.random() < oddness else _right(field))


@pytest.mark.parametrize("direction", ["client", "server"])
def test_mutated_fixtures_are_decoded_or_refused(direction: str):
    rng = random.Random(f"{SEED} {direction}")
    pool = _fixture_frames(direction)

    decoded_count = sum(run(direction, mutate(rng, pool), case) for case in range(CASES * 4 // 10))

    assert decoded_count > CASES // 100, "mutations that are never decoded test nothing"


@pytest.mark.parametrize("direction", ["client", "server"])
def test_messages_built_at_random_are_decoded_or_refused(direction: str):
    rng = random.Random(f"{SEED} {direction} at random")
    message_class = pb.ClientMessage if direction == "client" else pb.ServerMessage

    decoded_count = 0
    for case in range(CASES // 10):
        message = message_class()
        fill(rng, message, message_class.DESCRIPTOR, rng.choice((0.02, 0.1, 0.4)))
        decoded_count += run(direction, message.SerializeToString(), case)

    assert decoded_count > CASES // 50, "messages that are never decoded test nothing"


@pytest.mark.parametrize("direction", ["client", "server"])
def test_every_prefix_is_decoded_or_refused(direction: str):
    for name, frame in enumerate(_fixture_frames(direction)):
        if len(frame) < 300:
            for size in range(len(frame)):
                run(direction, frame[:size], (name, size))


@pytest.mark.parametrize("direction", ["client", "server"])
def test_every_byte_changed_is_decoded_or_refused(direction: str):
    rng = random.Random(f"{SEED} {direction} bytes")
    for name, frame in enumerate(_fixture_frames(direction)):
        if len(frame) < 200:
            for place in range(len(frame)):
                changed = frame[:place] + bytes((rng.randrange(256),)) + frame[place + 1 :]
                run(direction, changed, (name, place))
