"""Encoded parts of a ServerMessage; a frame is ``b"".join(parts)`` in field order.

Concatenated protobuf is one message, so a part is encoded once and shared by every session that gets it:

=====  ===========  =======================================
field  part         shared
=====  ===========  =======================================
1      welcome      never
2      snapshot     by sessions that join at the same seq
3      ops          by all sessions of a room
4, 5   acks, ...    never
6      presence     by all sessions of a room, or all who look at a partition
7      events       by all sessions of a room
10     bye          by all when the server stops
11     through      by all sessions of a room
12     filtered     by all who see a partition
13     through_op   by all with a viewport
14     contents     by all who see a partition, or never
=====  ===========  =======================================
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from collabkernel.crdt.ids import OpId
from collabkernel.document.operations import StoredEnvelope
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.messages import (
    Ack,
    Bye,
    Notice,
    PresenceCluster,
    PresenceEntry,
    PresenceMove,
    Reject,
    RoomEvent,
    Welcome,
)
from collabkernel.wire.ops import envelope_bytes, op_id_bytes
from collabkernel.wire.writer import field_bytes, field_varint, varint

DEFLATE_FROM_BYTES = 16 << 10
"""Smaller snapshots are sent as they are: the saving is under one packet train, the cost 0.3 ms."""


def welcome_part(welcome: Welcome) -> bytes:
    """The answer to Hello."""
    limits = welcome.limits
    message = pb.Welcome(
        site=welcome.site,
        secret=welcome.secret,
        seq=welcome.seq,
        server_time_ms=welcome.server_time_ms,
        role=welcome.role.name,
        actor=welcome.actor,
        name=welcome.name,
        color=welcome.color,
        limits=pb.ClientLimits(
            frame_bytes=limits.frame_bytes,
            key_bytes=limits.key_bytes,
            value_bytes=limits.value_bytes,
            envelope_ops=limits.envelope_ops,
            depth=limits.depth,
            presence_bytes=limits.presence_bytes,
            ops_per_s=limits.ops_per_s,
        ),
        next_counter=welcome.next_counter,
        resync=welcome.resync,
    )
    return field_bytes(1, message.SerializeToString())


def snapshot_part(seq: int, state: bytes, op: OpId | None) -> bytes:
    """The room's state at ``seq``, compressed when it is large and that helps.

    Deflating takes about 20 ms a megabyte: call it away from the room's task, and once a seq.

    Args:
        seq: 0 for the empty room.
        state: An encoded RoomState.
        op: The operation at ``seq``; None when that is 0, and only then.
    """
    assert (op is None) == (seq == 0), "a snapshot names the operation at its seq"
    encoding, state = _deflated(state, level=6)
    message = pb.Snapshot(seq=seq, encoding=encoding, state=state)
    if op is not None:
        message.op.site, message.op.counter = op
    return field_bytes(2, message.SerializeToString())


def is_snapshot(part: bytes) -> bool:
    """Whether a part is a snapshot's."""
    return part[:1] == b"\x12"


def contents_part(blocks: bytes, lost: Sequence[OpId] = ()) -> bytes:
    """Contents of blocks as ``encode_contents`` gave them, compressed at once when they are large; nothing for none."""
    if not blocks and not lost:
        return b""
    encoding, blocks = _deflated(blocks, level=1)
    ids = [pb.OpId(site=id.site, counter=id.counter) for id in lost]
    message = pb.Contents(encoding=encoding, blocks=blocks, lost=ids)
    return field_bytes(14, message.SerializeToString())


def _deflated(state: bytes, level: int) -> tuple[pb.Encoding, bytes]:
    if len(state) > DEFLATE_FROM_BYTES:
        deflated = zlib.compress(state, level)
        if len(deflated) < len(state):
            return pb.DEFLATE, deflated
    return pb.IDENTITY, state


def ops_part(envelopes: Sequence[StoredEnvelope], encoded_ops: Sequence[Sequence[bytes]] | None = None) -> bytes:
    """Stored envelopes, contiguous in seq; nothing for none.

    Args:
        envelopes: In seq order.
        encoded_ops: The operations' bytes of each envelope, when the caller has them (from admission or the log).
    """
    return _ops_field(3, envelopes, encoded_ops)


def filtered_part(envelopes: Sequence[StoredEnvelope], encoded_ops: Sequence[Sequence[bytes]]) -> bytes:
    """What one partition has of the log: runs of stored envelopes in seq order, with gaps; nothing for none."""
    return _ops_field(12, envelopes, encoded_ops)


def _ops_field(field: int, envelopes: Sequence[StoredEnvelope], encoded_ops: Sequence[Sequence[bytes]] | None) -> bytes:
    if not envelopes:
        return b""
    index_by_actor: dict[str, int] = {}
    bodies = []
    for i, stored in enumerate(envelopes):
        actor = index_by_actor.setdefault(stored.actor, len(index_by_actor))
        envelope = envelope_bytes(stored.envelope, encoded_ops[i] if encoded_ops is not None else None)
        head = (
            b"\x08" + varint(stored.seq) + b"\x10" + varint(stored.site) + (b"\x18" + varint(actor) if actor else b"")
        )
        body = head + b"\x22" + varint(len(envelope)) + envelope
        bodies.append(b"\x12" + varint(len(body)) + body)
    actors = b"".join([field_bytes(1, actor.encode()) for actor in index_by_actor])
    return field_bytes(field, actors + b"".join(bodies))


def acks_part(acks: Sequence[Ack]) -> bytes:
    """Envelopes that are durable."""
    return b"".join([field_bytes(4, _ack_body(ack)) for ack in acks])


def _ack_body(ack: Ack) -> bytes:
    return (
        field_varint(1, ack.counter)
        + field_varint(2, ack.seq)
        + field_varint(3, ack.hlc or 0)
        + field_varint(4, ack.buffered)
    )


def rejects_part(rejects: Sequence[Reject]) -> bytes:
    """Envelopes that were not stored."""
    return pb.ServerMessage(
        rejects=[
            pb.Reject(
                counter=reject.counter,
                code=reject.code,
                reason=reject.reason,
                final=reject.final,
                retry_after_ms=reject.retry_after_ms,
            )
            for reject in rejects
        ]
    ).SerializeToString()


def presence_part(
    entries: Sequence[PresenceEntry],
    moves: Sequence[PresenceMove] = (),
    clusters: Sequence[PresenceCluster] = (),
    *,
    is_whole: bool = False,
) -> bytes:
    """Who is here, and what they show; nothing for none."""
    batch = [presence_entry_field(entry) for entry in entries]
    batch += [presence_move_field(move) for move in moves]
    batch += [presence_cluster_field(cluster) for cluster in clusters]
    return presence_of_fields([*batch, PRESENCE_WHOLE] if is_whole else batch)


PRESENCE_WHOLE = b"\x20\x01"
"""The last field of a batch that tells of all who are in sight."""


def presence_of_fields(fields: Sequence[bytes]) -> bytes:
    """``presence_part`` of what the functions below gave: to encode once what many are told. In their order here."""
    return field_bytes(6, b"".join(fields)) if fields else b""


def presence_entry_field(entry: PresenceEntry) -> bytes:
    """One entry of a ``presence_part``."""
    message = pb.PresenceEntry(
        site=entry.site,
        actor=entry.actor,
        name=entry.name,
        color=entry.color,
        kind=entry.kind.name,
        state_json=entry.state_json,
        left=entry.left,
    )
    return field_bytes(1, message.SerializeToString() + _block_field(8, entry.block))


def presence_cluster_field(cluster: PresenceCluster) -> bytes:
    """One cluster of a ``presence_part``."""
    return field_bytes(3, field_bytes(1, op_id_bytes(cluster.block)) + field_varint(2, cluster.count))


def presence_move_field(move: PresenceMove) -> bytes:
    """One move of a ``presence_part``."""
    assert move.state_json, "who shows nothing yet has an entry, and has not moved"
    body = field_varint(1, move.site) + field_bytes(2, move.state_json.encode()) + _block_field(3, move.block)
    return field_bytes(2, body)


def _block_field(number: int, block: OpId | None) -> bytes:
    return b"" if block is None else field_bytes(number, op_id_bytes(block))


def events_part(events: Sequence[RoomEvent]) -> bytes:
    """Broadcasts of other sessions."""
    return pb.ServerMessage(
        events=[
            pb.RoomEvent(site=event.site, actor=event.actor, name=event.name, payload_json=event.payload_json)
            for event in events
        ]
    ).SerializeToString()


def notices_part(notices: Sequence[Notice]) -> bytes:
    """Refusals of frames that were no envelope's."""
    return pb.ServerMessage(
        notices=[
            pb.Notice(code=notice.code, reason=notice.reason, retry_after_ms=notice.retry_after_ms)
            for notice in notices
        ]
    ).SerializeToString()


def degraded_part(is_on: bool) -> bytes:
    """Whether the log can be written at the moment."""
    return field_bytes(9, field_varint(1, is_on))


def bye_part(bye: Bye) -> bytes:
    """The server ends this connection."""
    message = pb.Bye(code=bye.code, reason=bye.reason, retry_after_ms=bye.retry_after_ms)
    return field_bytes(10, message.SerializeToString())


def through_part(seq: int) -> bytes:
    """Everything up to ``seq`` has been sent; nothing for 0."""
    return field_varint(11, seq)


def through_op_part(op: OpId) -> bytes:
    """The operation at ``through``."""
    return field_bytes(13, field_varint(1, op.site) + field_varint(2, op.counter))
