"""Parts join to frames that are decoded as what went in."""

from __future__ import annotations

import os

from hypothesis import given

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import Envelope, MapSet, StoredEnvelope
from collabkernel.limits import Limits
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import frames
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.messages import (
    Ack,
    Bye,
    ClientLimits,
    Notice,
    PresenceEntry,
    Reject,
    Role,
    RoomEvent,
    ServerMessage,
    SessionKind,
    Snapshot,
    Welcome,
)
from collabkernel.wire.ops import encode_op
from tests.wire.strategies import stored_envelopes

OP = OpId(5, 3)
LIMITS = ClientLimits(1, 2, 3, 4, 5, 6, 7)
WELCOME = Welcome(5, bytes(16), 9, 1, Role.WRITER, "ann", "Ann", "#000000", LIMITS, next_counter=1)
STORED = (
    StoredEnvelope(1, 5, "ann", Envelope(1, 0, 7, (MapSet(ROOT, "a", 1), MapSet(ROOT, "b", 2)))),
    StoredEnvelope(3, 6, "bob", Envelope(1, 2, 9, (MapSet(ROOT, "a", None),))),
    StoredEnvelope(4, 5, "ann", Envelope(3, 2, 9, (MapSet(ROOT, "c", "x"),))),
)


def test_a_frame_of_every_part():
    message = ServerMessage(
        welcome=WELCOME,
        snapshot=Snapshot(9, b"state", OP),
        ops=STORED,
        acks=(Ack(1, 1), Ack(2, 5, hlc=3, buffered=True)),
        rejects=(Reject(3, "rate", "slow down", final=False, retry_after_ms=5), Reject(4, "too-deep", "", final=True)),
        presence=(PresenceEntry(6, "bob", "Bob", "#111111", SessionKind.AGENT, "{}"),),
        events=(RoomEvent(6, "bob", "wave", "null"),),
        notices=(Notice("too-large", "presence"),),
        degraded=False,
        bye=Bye("superseded", "", 5),
        through=4,
    )
    parts = [
        frames.welcome_part(WELCOME),
        frames.snapshot_part(9, b"state", OP),
        frames.ops_part(STORED),
        frames.acks_part(message.acks),
        frames.rejects_part(message.rejects),
        frames.presence_part(message.presence),
        frames.events_part(message.events),
        frames.notices_part(message.notices),
        frames.degraded_part(False),
        frames.bye_part(Bye("superseded", "", 5)),
        frames.through_part(4),
    ]
    frame = b"".join(parts)

    assert decode_server_message(frame, Limits()) == message
    assert pb.ServerMessage.FromString(frame).SerializeToString() == frame


def test_nothing_to_send_is_no_bytes():
    no_parts = [
        frames.ops_part(()),
        frames.acks_part(()),
        frames.rejects_part(()),
        frames.presence_part(()),
        frames.events_part(()),
        frames.notices_part(()),
        frames.through_part(0),
    ]

    assert b"".join(no_parts) == b""


def test_no_longer_degraded_is_said():
    assert decode_server_message(frames.degraded_part(False), Limits()).degraded is False
    assert decode_server_message(b"", Limits()).degraded is None


def test_actors_are_named_once():
    part = frames.ops_part(STORED)

    assert part.count(b"ann") == 1
    assert decode_server_message(part, Limits()).ops == STORED


@given(stored_envelopes())
def test_ops_from_encoded_operations_are_the_same_bytes(stored: list[StoredEnvelope]):
    encoded = [[encode_op(op) for op in each.envelope.ops] for each in stored]

    assert frames.ops_part(stored, encoded) == frames.ops_part(stored)


def test_several_ops_parts_are_one_run():
    frame = frames.ops_part(STORED[:1]) + frames.ops_part(STORED[1:])

    assert decode_server_message(frame, Limits()).ops == STORED


def test_large_snapshot_is_deflated_and_comes_back():
    state = b"the same again, " * 10_000

    part = frames.snapshot_part(7, state, OP)

    assert len(part) < len(state) / 10
    assert decode_server_message(part, Limits()).snapshot == Snapshot(7, state, OP)


def test_snapshot_that_does_not_shrink_is_sent_as_it_is():
    state = os.urandom(100_000)

    part = frames.snapshot_part(7, state, OP)

    assert state in part
    assert decode_server_message(part, Limits()).snapshot == Snapshot(7, state, OP)
