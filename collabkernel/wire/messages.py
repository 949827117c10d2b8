"""The decoded messages of the protocol: plain values, so that rooms and replicas know no protobuf."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from collabkernel.crdt.ids import OpId
from collabkernel.document.operations import Envelope, StoredEnvelope


class SessionKind(IntEnum):
    """Who sits at the other end."""

    PERSON = 1
    SCRIPT = 2
    AGENT = 3


class Role(IntEnum):
    """What a session may do."""

    READER = 1
    WRITER = 2


# -- client to server


@dataclass(frozen=True, slots=True)
class Resume:
    """A replica comes back with its site."""

    site: int
    secret: bytes
    through: int
    through_op: OpId | None


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a socket."""

    kind: SessionKind
    client: str
    resume: Resume | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """Envelopes, in counter order."""

    envelopes: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class Presence:
    """Replaces the session's presence state, a JSON object."""

    state_json: str
    block: OpId | None = None
    """Where the session is in a document; then those who look there are told, else all."""


@dataclass(frozen=True, slots=True)
class Event:
    """A broadcast to the others in the room; never stored."""

    name: str
    payload_json: str


@dataclass(frozen=True, slots=True)
class Resync:
    """Asks for a snapshot and what follows it."""


@dataclass(frozen=True, slots=True)
class Viewport:
    """What the session looks at: from its first one on it is sent contents of these blocks, and of some near, alone."""

    blocks: tuple[OpId, ...]


ClientMessage = Hello | Submit | Presence | Event | Resync | Viewport


# -- server to client


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """The limits that a client keeps by itself; see ``limits.Limits``."""

    frame_bytes: int
    key_bytes: int
    value_bytes: int
    envelope_ops: int
    depth: int
    presence_bytes: int
    ops_per_s: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to Hello."""

    site: int
    secret: bytes
    """16 bytes for a new site, empty on resume."""
    seq: int
    server_time_ms: int
    role: Role
    actor: str
    name: str
    color: str
    limits: ClientLimits
    next_counter: int
    resync: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The room's state at ``seq``; ``state`` is an encoded RoomState, decompressed."""

    seq: int
    state: bytes
    op: OpId | None
    """The operation at ``seq``, which a resume names; None at seq 0."""


@dataclass(frozen=True, slots=True)
class Ack:
    """An envelope is durable."""

    counter: int
    seq: int
    hlc: int | None = None
    """The envelope's new first HLC when the server lowered it."""
    buffered: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """An envelope was not stored."""

    counter: int
    code: str
    reason: str
    final: bool
    retry_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class PresenceEntry:
    """What a room shows of one session."""

    site: int
    actor: str
    name: str
    color: str
    kind: SessionKind
    state_json: str = ""
    left: bool = False
    block: OpId | None = None


@dataclass(frozen=True, slots=True)
class PresenceMove:
    """What a session shows now of which the client has the entry."""

    site: int
    state_json: str
    block: OpId | None = None


@dataclass(frozen=True, slots=True)
class PresenceCluster:
    """How many sessions are in one block, where they are, or were, more than are told of."""

    block: OpId
    count: int


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """A broadcast by another session."""

    site: int
    actor: str
    name: str
    payload_json: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A refusal of one frame that was no envelope's."""

    code: str
    reason: str
    retry_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Bye:
    """The server ends this connection."""

    code: str
    reason: str
    retry_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Contents:
    """Blocks that a session with a viewport has all of from here on, and those that it has no longer."""

    blocks: bytes
    """For ``wire.room_state.decode_contents``; decompressed."""
    lost: tuple[OpId, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """All that one frame to a client holds, to be taken in the order of the fields, but ``contents`` before the rest.

    ``filtered`` is what a session with a viewport is sent of the log: complete up to ``through`` for what it has.
    """

    welcome: Welcome | None = None
    snapshot: Snapshot | None = None
    ops: tuple[StoredEnvelope, ...] = ()
    acks: tuple[Ack, ...] = ()
    rejects: tuple[Reject, ...] = ()
    presence: tuple[PresenceEntry, ...] = ()
    moves: tuple[PresenceMove, ...] = ()
    clusters: tuple[PresenceCluster, ...] = ()
    is_presence_whole: bool = False
    """Who is in a block of the viewport and is not in ``moves``, is not there any more."""
    events: tuple[RoomEvent, ...] = ()
    notices: tuple[Notice, ...] = ()
    degraded: bool | None = None
    bye: Bye | None = None
    through: int = field(default=0)
    filtered: tuple[StoredEnvelope, ...] = ()
    through_op: OpId | None = None
    """The operation at ``through``, where ``filtered`` may not have it."""
    contents: tuple[Contents, ...] = ()
