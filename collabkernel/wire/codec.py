"""Frames to decoded messages and, on the client's side, back.

Bytes from a peer are decoded or refused with ``MalformedFrameError`` or ``FrameTooLargeError``; there is no third
outcome (``tests/fuzz/test_wire_fuzz.py``). Sizes of keys, values, envelopes and presence are judged where they are
admitted, so that a refusal can name the envelope. Frozen by ``tests/fixtures/wire/``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final, Literal, TypedDict

from collabkernel.crdt.ids import OpId
from collabkernel.document.operations import StoredEnvelope
from collabkernel.errors import FrameTooLargeError, MalformedFrameError
from collabkernel.limits import VIEWPORT_BLOCKS_MAX, Limits
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import fast_messages, fast_reader, strict
from collabkernel.wire.messages import (
    Ack,
    Bye,
    ClientLimits,
    ClientMessage,
    Contents,
    Event,
    Hello,
    Notice,
    Presence,
    PresenceCluster,
    PresenceEntry,
    PresenceMove,
    Reject,
    Resume,
    Resync,
    Role,
    RoomEvent,
    ServerMessage,
    SessionKind,
    Snapshot,
    Submit,
    Viewport,
    Welcome,
)
from collabkernel.wire.ops import decode_op, encode_op, envelope_bytes, envelope_of, op_id_bytes, op_kind
from collabkernel.wire.writer import field_bytes

__all__ = [
    "decode_client_message",
    "decode_op",
    "decode_server_message",
    "encode_client_message",
    "encode_op",
    "op_kind",
]

SECRET_BYTES: Final = 16
"""A resume secret."""
CLIENT_NAME_BYTES_MAX: Final = 256
"""``Hello.client`` goes to logs and metrics of operators."""

_SESSION_KINDS: Final = {int(kind): kind for kind in SessionKind}
_ROLES: Final = {int(role): role for role in Role}


# -- client to server


def encode_client_message(message: ClientMessage) -> bytes:
    """A frame to the server.

    Raises:
        InvalidValueError: If a value in a Submit cannot be sent.
    """
    match message:
        case Submit():
            return field_bytes(2, b"".join([field_bytes(1, envelope_bytes(each)) for each in message.envelopes]))
        case Hello():
            return pb.ClientMessage(hello=_hello_message(message)).SerializeToString()
        case Presence():
            block = field_bytes(2, op_id_bytes(message.block)) if message.block is not None else b""
            return field_bytes(3, field_bytes(1, message.state_json.encode()) + block)
        case Event():
            event = pb.Event(name=message.name, payload_json=message.payload_json)
            return pb.ClientMessage(event=event).SerializeToString()
        case Resync():
            return pb.ClientMessage(resync=pb.Resync()).SerializeToString()
        case Viewport():
            blocks = [pb.OpId(site=id.site, counter=id.counter) for id in message.blocks]
            return pb.ClientMessage(viewport=pb.Viewport(blocks=blocks)).SerializeToString()


def _hello_message(hello: Hello) -> pb.Hello:
    message = pb.Hello(kind=hello.kind.name, client=hello.client)
    if hello.resume is not None:
        resume = hello.resume
        message.resume.site = resume.site
        message.resume.secret = resume.secret
        message.resume.through = resume.through
        if resume.through_op is not None:
            message.resume.through_op.site, message.resume.through_op.counter = resume.through_op
    return message


def decode_client_message(frame: bytes, limits: Limits) -> ClientMessage:
    """The message in a frame from a client.

    Raises:
        FrameTooLargeError: If the frame is over ``limits.frame_bytes``.
        MalformedFrameError: If it holds no message of the protocol.
    """
    if len(frame) > limits.frame_bytes:
        raise FrameTooLargeError(len(frame), limits.frame_bytes)
    try:
        return fast_messages.read_client_message(frame)
    except fast_reader.NOT_READ:
        return strictly_decode_client_message(frame)


def strictly_decode_client_message(frame: bytes) -> ClientMessage:
    """``decode_client_message`` through protobuf, whatever the size."""
    message = strict.parse(pb.ClientMessage, frame)
    match message.WhichOneof("kind"):
        case "submit":
            return _submit_of(message.submit)
        case "presence":
            return _presence_of(message.presence)
        case "event":
            return _event_of(message.event)
        case "hello":
            return _hello_of(message.hello)
        case "resync":
            return Resync()
        case "viewport":
            return _viewport_of(message.viewport)
        case _:
            raise strict.missing("message")


def _submit_of(message: pb.Submit) -> Submit:
    if not message.envelopes:
        raise strict.missing("envelopes")
    return Submit(tuple([envelope_of(envelope) for envelope in message.envelopes]))


def _presence_of(message: pb.Presence) -> Presence:
    return Presence(_state_json_of(message.state_json), _block_of(message))


def _state_json_of(text: str) -> str:
    return strict.check_json(text, "presence", must_be_object=True)


def _block_of(message: pb.Presence | pb.PresenceEntry | pb.PresenceMove) -> OpId | None:
    return strict.container_id(message.block.site, message.block.counter) if message.HasField("block") else None


def _event_of(message: pb.Event) -> Event:
    if not message.name:
        raise strict.missing("event name")
    return Event(message.name, strict.check_json(message.payload_json, "event payload"))


def _viewport_of(message: pb.Viewport) -> Viewport:
    if len(message.blocks) > VIEWPORT_BLOCKS_MAX:
        raise strict.out_of_range("blocks of a viewport", len(message.blocks))
    return Viewport(tuple([strict.container_id(id.site, id.counter) for id in message.blocks]))


def _session_kind(number: int) -> SessionKind:
    kind = _SESSION_KINDS.get(number)
    if kind is None:
        raise strict.out_of_range("session kind", number)
    return kind


def _hello_of(message: pb.Hello) -> Hello:
    kind = _session_kind(message.kind)
    if len(message.client.encode()) > CLIENT_NAME_BYTES_MAX:
        raise strict.out_of_range("client name", message.client)
    return Hello(kind, message.client, _resume_of(message.resume) if message.HasField("resume") else None)


def _resume_of(message: pb.Resume) -> Resume:
    if len(message.secret) != SECRET_BYTES:
        raise strict.out_of_range("secret size", len(message.secret))
    through = strict.check_seq(message.through, "through")
    through_op = _op_at(through, message, "through_op")
    return Resume(strict.check_site(message.site), message.secret, through, through_op)


def _op_at(seq: int, message: pb.Resume | pb.Snapshot, field: Literal["op", "through_op"]) -> OpId | None:
    """The id in ``field``, which is there when ``seq`` is not 0, and only then."""
    if message.HasField(field) != bool(seq):
        raise strict.out_of_range(field, "only, and always, with its seq")
    return strict.operation_id(getattr(message, field), field) if seq else None


# -- server to client


def decode_server_message(frame: bytes, limits: Limits) -> ServerMessage:
    """The message in a frame from the server, its snapshot decompressed.

    Raises:
        FrameTooLargeError: If the frame, or the snapshot in it, is over ``limits.server_frame_bytes``.
        MalformedFrameError: If it holds no message of the protocol.
    """
    if len(frame) > limits.server_frame_bytes:
        raise FrameTooLargeError(len(frame), limits.server_frame_bytes)
    try:
        ops, through = fast_reader.read_ops_frame(frame)
    except fast_reader.NOT_READ:
        return strictly_decode_server_message(frame, limits)
    return ServerMessage(ops=ops, through=through)


def strictly_decode_server_message(frame: bytes, limits: Limits) -> ServerMessage:
    """``decode_server_message`` through protobuf, whatever the size."""
    message = strict.parse(pb.ServerMessage, frame)
    return ServerMessage(
        welcome=_welcome_of(message.welcome) if message.HasField("welcome") else None,
        snapshot=_snapshot_of(message.snapshot, limits) if message.HasField("snapshot") else None,
        ops=_stored_envelopes_of(message.ops, is_whole=True),
        acks=tuple([_ack_of(ack) for ack in message.acks]),
        rejects=tuple([_reject_of(reject) for reject in message.rejects]),
        **_presence_batches_of(message.presence),
        events=tuple([_room_event_of(event) for event in message.events]),
        notices=tuple([_notice_of(notice) for notice in message.notices]),
        degraded=message.degraded.on if message.HasField("degraded") else None,
        bye=_bye_of(message.bye) if message.HasField("bye") else None,
        through=strict.check_seq(message.through, "through"),
        filtered=_stored_envelopes_of(message.filtered, is_whole=False),
        through_op=_through_op_of(message) if message.HasField("through_op") else None,
        contents=tuple([_contents_of(contents, limits) for contents in message.contents]),
    )


def _through_op_of(message: pb.ServerMessage) -> OpId:
    if not message.through:
        raise strict.missing("through of through_op")
    return strict.operation_id(message.through_op, "through_op")


def _contents_of(message: pb.Contents, limits: Limits) -> Contents:
    lost = tuple([strict.container_id(id.site, id.counter) for id in message.lost])
    blocks = _state_of(message.encoding, message.blocks, limits)
    if not blocks and not lost:
        raise strict.missing("blocks")
    return Contents(blocks, lost)


def _welcome_of(message: pb.Welcome) -> Welcome:
    if len(message.secret) not in (0, SECRET_BYTES):
        raise strict.out_of_range("secret size", len(message.secret))
    role = _ROLES.get(message.role)
    if role is None:
        raise strict.out_of_range("role", message.role)
    if not message.HasField("limits"):
        raise strict.missing("limits")
    limits = message.limits
    return Welcome(
        site=strict.check_site(message.site),
        secret=message.secret,
        seq=strict.check_seq(message.seq, "seq"),
        server_time_ms=strict.check_seq(message.server_time_ms, "server time"),
        role=role,
        actor=message.actor,
        name=message.name,
        color=message.color,
        limits=ClientLimits(
            frame_bytes=limits.frame_bytes,
            key_bytes=limits.key_bytes,
            value_bytes=limits.value_bytes,
            envelope_ops=limits.envelope_ops,
            depth=limits.depth,
            presence_bytes=limits.presence_bytes,
            ops_per_s=limits.ops_per_s,
        ),
        next_counter=strict.check_counter(message.next_counter, "next counter"),
        resync=message.resync,
    )


def _snapshot_of(message: pb.Snapshot, limits: Limits) -> Snapshot:
    seq = strict.check_seq(message.seq, "seq")
    op = _op_at(seq, message, "op")
    return Snapshot(seq, _state_of(message.encoding, message.state, limits), op)


def _state_of(encoding: int, state: bytes, limits: Limits) -> bytes:
    match encoding:
        case pb.IDENTITY:
            return state
        case pb.DEFLATE:
            return inflate(state, limits.server_frame_bytes)
        case _:
            raise strict.out_of_range("encoding", encoding)


def inflate(data: bytes, limit_bytes: int) -> bytes:
    """Decompress one whole zlib stream without ever holding more than ``limit_bytes`` of it.

    Raises:
        FrameTooLargeError: If there is more in it.
        MalformedFrameError: If it is no zlib stream, is cut off, or has bytes after its end.
    """
    decompressor = zlib.decompressobj()
    try:
        state = decompressor.decompress(data, limit_bytes + 1)
    except zlib.error as error:
        raise MalformedFrameError(f"snapshot: {error}") from error
    if len(state) > limit_bytes:
        raise FrameTooLargeError(len(state), limit_bytes)
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedFrameError("snapshot: not one whole zlib stream")
    return state


def _stored_envelopes_of(parts: Iterable[pb.Ops], is_whole: bool) -> tuple[StoredEnvelope, ...]:
    """The envelopes of some parts: without gaps when they are whole, else each part for itself in seq order."""
    envelopes: list[StoredEnvelope] = []
    for ops in parts:
        next_seq = envelopes[-1].last_seq + 1 if is_whole and envelopes else 0
        if not ops.envelopes:
            raise strict.missing("envelopes")
        actors_named = 0
        for each in ops.envelopes:
            # The table has each actor once, in the order of his first envelope: one way to write it.
            if each.actor > actors_named or each.actor >= len(ops.actors):
                raise strict.out_of_range("actor index", each.actor)
            actors_named = max(actors_named, each.actor + 1)
            envelope = envelope_of(each.envelope, each.seq)
            stored = StoredEnvelope(each.seq, strict.check_site(each.site), ops.actors[each.actor], envelope)
            if next_seq and (stored.seq < next_seq or (is_whole and stored.seq > next_seq)):
                raise strict.out_of_range("seq after a gap, or out of order", stored.seq)
            next_seq = stored.last_seq + 1
            envelopes.append(stored)
        if actors_named != len(ops.actors) or len(set(ops.actors)) != len(ops.actors):
            raise strict.out_of_range("actors", "unused or doubled")
    return tuple(envelopes)


def _ack_of(message: pb.Ack) -> Ack:
    return Ack(
        counter=strict.check_counter(message.counter),
        seq=strict.check_counter(message.seq, "seq"),
        hlc=message.hlc or None,
        buffered=message.buffered,
    )


def _reject_of(message: pb.Reject) -> Reject:
    if not message.code:
        raise strict.missing("code")
    counter = strict.check_counter(message.counter)
    return Reject(counter, message.code, message.reason, message.final, message.retry_after_ms)


class _PresenceBatches(TypedDict):
    presence: tuple[PresenceEntry, ...]
    moves: tuple[PresenceMove, ...]
    clusters: tuple[PresenceCluster, ...]
    is_presence_whole: bool


def _presence_batches_of(batches: Iterable[pb.PresenceBatch]) -> _PresenceBatches:
    entries: list[PresenceEntry] = []
    moves: list[PresenceMove] = []
    clusters: list[PresenceCluster] = []
    is_whole = False
    for batch in batches:
        if not (batch.entries or batch.moves or batch.clusters or batch.whole):
            raise strict.missing("entries")
        is_whole = is_whole or batch.whole
        entries.extend(map(_presence_entry_of, batch.entries))
        moves.extend(map(_presence_move_of, batch.moves))
        clusters.extend(map(_presence_cluster_of, batch.clusters))
    return _PresenceBatches(
        presence=tuple(entries), moves=tuple(moves), clusters=tuple(clusters), is_presence_whole=is_whole
    )


def _presence_move_of(message: pb.PresenceMove) -> PresenceMove:
    return PresenceMove(strict.check_site(message.site), _state_json_of(message.state_json), _block_of(message))


def _presence_cluster_of(message: pb.PresenceCluster) -> PresenceCluster:
    if not message.HasField("block"):
        raise strict.missing("block")
    return PresenceCluster(strict.container_id(message.block.site, message.block.counter), message.count)


def _presence_entry_of(message: pb.PresenceEntry) -> PresenceEntry:
    if message.state_json:
        _state_json_of(message.state_json)
    return PresenceEntry(
        site=strict.check_site(message.site),
        actor=message.actor,
        name=message.name,
        color=message.color,
        kind=_session_kind(message.kind),
        state_json=message.state_json,
        left=message.left,
        block=_block_of(message),
    )


def _room_event_of(message: pb.RoomEvent) -> RoomEvent:
    if not message.name:
        raise strict.missing("event name")
    payload_json = strict.check_json(message.payload_json, "event payload")
    return RoomEvent(strict.check_site(message.site), message.actor, message.name, payload_json)


def _notice_of(message: pb.Notice) -> Notice:
    if not message.code:
        raise strict.missing("code")
    return Notice(message.code, message.reason, message.retry_after_ms)


def _bye_of(message: pb.Bye) -> Bye:
    if not message.code:
        raise strict.missing("code")
    return Bye(message.code, message.reason, message.retry_after_ms)
