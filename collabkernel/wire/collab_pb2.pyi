from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ContainerKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTAINER_KIND_UNSPECIFIED: _ClassVar[ContainerKind]
    OBJECT: _ClassVar[ContainerKind]
    MAP: _ClassVar[ContainerKind]
    LIST: _ClassVar[ContainerKind]
    TEXT: _ClassVar[ContainerKind]

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    LEFT: _ClassVar[Side]
    RIGHT: _ClassVar[Side]

class Slot(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLOT_UNSPECIFIED: _ClassVar[Slot]
    CHILD: _ClassVar[Slot]
    INLINE: _ClassVar[Slot]

class SessionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_KIND_UNSPECIFIED: _ClassVar[SessionKind]
    PERSON: _ClassVar[SessionKind]
    SCRIPT: _ClassVar[SessionKind]
    AGENT: _ClassVar[SessionKind]

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    READER: _ClassVar[Role]
    WRITER: _ClassVar[Role]

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IDENTITY: _ClassVar[Encoding]
    DEFLATE: _ClassVar[Encoding]
CONTAINER_KIND_UNSPECIFIED: ContainerKind
OBJECT: ContainerKind
MAP: ContainerKind
LIST: ContainerKind
TEXT: ContainerKind
SIDE_UNSPECIFIED: Side
LEFT: Side
RIGHT: Side
SLOT_UNSPECIFIED: Slot
CHILD: Slot
INLINE: Slot
SESSION_KIND_UNSPECIFIED: SessionKind
PERSON: SessionKind
SCRIPT: SessionKind
AGENT: SessionKind
ROLE_UNSPECIFIED: Role
READER: Role
WRITER: Role
IDENTITY: Encoding
DEFLATE: Encoding

class OpId(_message.Message):
    __slots__ = ("site", "counter")
    SITE_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    site: int
    counter: int
    def __init__(self, site: _Optional[int] = ..., counter: _Optional[int] = ...) -> None: ...

class NewContainer(_message.Message):
    __slots__ = ("kind", "shared", "after_hlc", "after_site")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    AFTER_HLC_FIELD_NUMBER: _ClassVar[int]
    AFTER_SITE_FIELD_NUMBER: _ClassVar[int]
    kind: ContainerKind
    shared: bool
    after_hlc: int
    after_site: int
    def __init__(self, kind: _Optional[_Union[ContainerKind, str]] = ..., shared: bool = ..., after_hlc: _Optional[int] = ..., after_site: _Optional[int] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("null", "boolean", "integer", "number", "text", "data", "container")
    NULL_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    null: bool
    boolean: bool
    integer: int
    number: float
    text: str
    data: bytes
    container: NewContainer
    def __init__(self, null: bool = ..., boolean: bool = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., data: _Optional[bytes] = ..., container: _Optional[_Union[NewContainer, _Mapping]] = ...) -> None: ...

class MapSet(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: Value
    def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class MapDelete(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class ListInsert(_message.Message):
    __slots__ = ("parent", "side", "value")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    parent: OpId
    side: Side
    value: Value
    def __init__(self, parent: _Optional[_Union[OpId, _Mapping]] = ..., side: _Optional[_Union[Side, str]] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class ListDelete(_message.Message):
    __slots__ = ("element",)
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    element: OpId
    def __init__(self, element: _Optional[_Union[OpId, _Mapping]] = ...) -> None: ...

class ListMove(_message.Message):
    __slots__ = ("element", "parent", "side")
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    element: OpId
    parent: OpId
    side: Side
    def __init__(self, element: _Optional[_Union[OpId, _Mapping]] = ..., parent: _Optional[_Union[OpId, _Mapping]] = ..., side: _Optional[_Union[Side, str]] = ...) -> None: ...

class ListSet(_message.Message):
    __slots__ = ("element", "value")
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    element: OpId
    value: Value
    def __init__(self, element: _Optional[_Union[OpId, _Mapping]] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class TextEdit(_message.Message):
    __slots__ = ("update",)
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    update: bytes
    def __init__(self, update: _Optional[bytes] = ...) -> None: ...

class NewDocument(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class BlockInsert(_message.Message):
    __slots__ = ("slot", "key", "type", "split")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    slot: Slot
    key: str
    type: str
    split: OpId
    def __init__(self, slot: _Optional[_Union[Slot, str]] = ..., key: _Optional[str] = ..., type: _Optional[str] = ..., split: _Optional[_Union[OpId, _Mapping]] = ...) -> None: ...

class BlockMove(_message.Message):
    __slots__ = ("parent", "slot", "key")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    parent: OpId
    slot: Slot
    key: str
    def __init__(self, parent: _Optional[_Union[OpId, _Mapping]] = ..., slot: _Optional[_Union[Slot, str]] = ..., key: _Optional[str] = ...) -> None: ...

class BlockDelete(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BlockKey(_message.Message):
    __slots__ = ("block", "key")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    block: OpId
    key: str
    def __init__(self, block: _Optional[_Union[OpId, _Mapping]] = ..., key: _Optional[str] = ...) -> None: ...

class BlockRekey(_message.Message):
    __slots__ = ("slot", "keys")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    slot: Slot
    keys: _containers.RepeatedCompositeFieldContainer[BlockKey]
    def __init__(self, slot: _Optional[_Union[Slot, str]] = ..., keys: _Optional[_Iterable[_Union[BlockKey, _Mapping]]] = ...) -> None: ...

class IdRun(_message.Message):
    __slots__ = ("site", "counter", "more")
    SITE_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    site: int
    counter: int
    more: int
    def __init__(self, site: _Optional[int] = ..., counter: _Optional[int] = ..., more: _Optional[int] = ...) -> None: ...

class Purge(_message.Message):
    __slots__ = ("runs", "floor_hlc", "floor_site")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    FLOOR_HLC_FIELD_NUMBER: _ClassVar[int]
    FLOOR_SITE_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[IdRun]
    floor_hlc: int
    floor_site: int
    def __init__(self, runs: _Optional[_Iterable[_Union[IdRun, _Mapping]]] = ..., floor_hlc: _Optional[int] = ..., floor_site: _Optional[int] = ...) -> None: ...

class Op(_message.Message):
    __slots__ = ("target_site", "target_counter", "map_set", "map_delete", "list_insert", "list_delete", "list_move", "list_set", "text_edit", "new_document", "block_insert", "block_move", "block_delete", "block_rekey", "purge")
    TARGET_SITE_FIELD_NUMBER: _ClassVar[int]
    TARGET_COUNTER_FIELD_NUMBER: _ClassVar[int]
    MAP_SET_FIELD_NUMBER: _ClassVar[int]
    MAP_DELETE_FIELD_NUMBER: _ClassVar[int]
    LIST_INSERT_FIELD_NUMBER: _ClassVar[int]
    LIST_DELETE_FIELD_NUMBER: _ClassVar[int]
    LIST_MOVE_FIELD_NUMBER: _ClassVar[int]
    LIST_SET_FIELD_NUMBER: _ClassVar[int]
    TEXT_EDIT_FIELD_NUMBER: _ClassVar[int]
    NEW_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_INSERT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_MOVE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_DELETE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_REKEY_FIELD_NUMBER: _ClassVar[int]
    PURGE_FIELD_NUMBER: _ClassVar[int]
    target_site: int
    target_counter: int
    map_set: MapSet
    map_delete: MapDelete
    list_insert: ListInsert
    list_delete: ListDelete
    list_move: ListMove
    list_set: ListSet
    text_edit: TextEdit
    new_document: NewDocument
    block_insert: BlockInsert
    block_move: BlockMove
    block_delete: BlockDelete
    block_rekey: BlockRekey
    purge: Purge
    def __init__(self, target_site: _Optional[int] = ..., target_counter: _Optional[int] = ..., map_set: _Optional[_Union[MapSet, _Mapping]] = ..., map_delete: _Optional[_Union[MapDelete, _Mapping]] = ..., list_insert: _Optional[_Union[ListInsert, _Mapping]] = ..., list_delete: _Optional[_Union[ListDelete, _Mapping]] = ..., list_move: _Optional[_Union[ListMove, _Mapping]] = ..., list_set: _Optional[_Union[ListSet, _Mapping]] = ..., text_edit: _Optional[_Union[TextEdit, _Mapping]] = ..., new_document: _Optional[_Union[NewDocument, _Mapping]] = ..., block_insert: _Optional[_Union[BlockInsert, _Mapping]] = ..., block_move: _Optional[_Union[BlockMove, _Mapping]] = ..., block_delete: _Optional[_Union[BlockDelete, _Mapping]] = ..., block_rekey: _Optional[_Union[BlockRekey, _Mapping]] = ..., purge: _Optional[_Union[Purge, _Mapping]] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("counter", "base", "hlc", "ops")
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    HLC_FIELD_NUMBER: _ClassVar[int]
    OPS_FIELD_NUMBER: _ClassVar[int]
    counter: int
    base: int
    hlc: int
    ops: _containers.RepeatedCompositeFieldContainer[Op]
    def __init__(self, counter: _Optional[int] = ..., base: _Optional[int] = ..., hlc: _Optional[int] = ..., ops: _Optional[_Iterable[_Union[Op, _Mapping]]] = ...) -> None: ...

class StoredEnvelope(_message.Message):
    __slots__ = ("seq", "site", "actor", "envelope")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    site: int
    actor: int
    envelope: Envelope
    def __init__(self, seq: _Optional[int] = ..., site: _Optional[int] = ..., actor: _Optional[int] = ..., envelope: _Optional[_Union[Envelope, _Mapping]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("site", "secret", "through", "through_op")
    SITE_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    THROUGH_OP_FIELD_NUMBER: _ClassVar[int]
    site: int
    secret: bytes
    through: int
    through_op: OpId
    def __init__(self, site: _Optional[int] = ..., secret: _Optional[bytes] = ..., through: _Optional[int] = ..., through_op: _Optional[_Union[OpId, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("kind", "client", "resume")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    kind: SessionKind
    client: str
    resume: Resume
    def __init__(self, kind: _Optional[_Union[SessionKind, str]] = ..., client: _Optional[str] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ...) -> None: ...

class Submit(_message.Message):
    __slots__ = ("envelopes",)
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    envelopes: _containers.RepeatedCompositeFieldContainer[Envelope]
    def __init__(self, envelopes: _Optional[_Iterable[_Union[Envelope, _Mapping]]] = ...) -> None: ...

class Presence(_message.Message):
    __slots__ = ("state_json", "block")
    STATE_JSON_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    state_json: str
    block: OpId
    def __init__(self, state_json: _Optional[str] = ..., block: _Optional[_Union[OpId, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("name", "payload_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    payload_json: str
    def __init__(self, name: _Optional[str] = ..., payload_json: _Optional[str] = ...) -> None: ...

class Resync(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Viewport(_message.Message):
    __slots__ = ("blocks",)
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedCompositeFieldContainer[OpId]
    def __init__(self, blocks: _Optional[_Iterable[_Union[OpId, _Mapping]]] = ...) -> None: ...

class ClientMessage(_message.Message):
    __slots__ = ("hello", "submit", "presence", "event", "resync", "viewport")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    RESYNC_FIELD_NUMBER: _ClassVar[int]
    VIEWPORT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    submit: Submit
    presence: Presence
    event: Event
    resync: Resync
    viewport: Viewport
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., submit: _Optional[_Union[Submit, _Mapping]] = ..., presence: _Optional[_Union[Presence, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., resync: _Optional[_Union[Resync, _Mapping]] = ..., viewport: _Optional[_Union[Viewport, _Mapping]] = ...) -> None: ...

class ClientLimits(_message.Message):
    __slots__ = ("frame_bytes", "key_bytes", "value_bytes", "envelope_ops", "depth", "presence_bytes", "ops_per_s")
    FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_OPS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPS_PER_S_FIELD_NUMBER: _ClassVar[int]
    frame_bytes: int
    key_bytes: int
    value_bytes: int
    envelope_ops: int
    depth: int
    presence_bytes: int
    ops_per_s: int
    def __init__(self, frame_bytes: _Optional[int] = ..., key_bytes: _Optional[int] = ..., value_bytes: _Optional[int] = ..., envelope_ops: _Optional[int] = ..., depth: _Optional[int] = ..., presence_bytes: _Optional[int] = ..., ops_per_s: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("site", "secret", "seq", "server_time_ms", "role", "actor", "name", "color", "limits", "next_counter", "resync")
    SITE_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_COUNTER_FIELD_NUMBER: _ClassVar[int]
    RESYNC_FIELD_NUMBER: _ClassVar[int]
    site: int
    secret: bytes
    seq: int
    server_time_ms: int
    role: Role
    actor: str
    name: str
    color: str
    limits: ClientLimits
    next_counter: int
    resync: bool
    def __init__(self, site: _Optional[int] = ..., secret: _Optional[bytes] = ..., seq: _Optional[int] = ..., server_time_ms: _Optional[int] = ..., role: _Optional[_Union[Role, str]] = ..., actor: _Optional[str] = ..., name: _Optional[str] = ..., color: _Optional[str] = ..., limits: _Optional[_Union[ClientLimits, _Mapping]] = ..., next_counter: _Optional[int] = ..., resync: bool = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("seq", "encoding", "state", "op")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    seq: int
    encoding: Encoding
    state: bytes
    op: OpId
    def __init__(self, seq: _Optional[int] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., state: _Optional[bytes] = ..., op: _Optional[_Union[OpId, _Mapping]] = ...) -> None: ...

class Ops(_message.Message):
    __slots__ = ("actors", "envelopes")
    ACTORS_FIELD_NUMBER: _ClassVar[int]
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    actors: _containers.RepeatedScalarFieldContainer[str]
    envelopes: _containers.RepeatedCompositeFieldContainer[StoredEnvelope]
    def __init__(self, actors: _Optional[_Iterable[str]] = ..., envelopes: _Optional[_Iterable[_Union[StoredEnvelope, _Mapping]]] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("counter", "seq", "hlc", "buffered")
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HLC_FIELD_NUMBER: _ClassVar[int]
    BUFFERED_FIELD_NUMBER: _ClassVar[int]
    counter: int
    seq: int
    hlc: int
    buffered: bool
    def __init__(self, counter: _Optional[int] = ..., seq: _Optional[int] = ..., hlc: _Optional[int] = ..., buffered: bool = ...) -> None: ...

class Reject(_message.Message):
    __slots__ = ("counter", "code", "reason", "final", "retry_after_ms")
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    counter: int
    code: str
    reason: str
    final: bool
    retry_after_ms: int
    def __init__(self, counter: _Optional[int] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ..., final: bool = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class PresenceEntry(_message.Message):
    __slots__ = ("site", "actor", "name", "color", "kind", "state_json", "left", "block")
    SITE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_JSON_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    site: int
    actor: str
    name: str
    color: str
    kind: SessionKind
    state_json: str
    left: bool
    block: OpId
    def __init__(self, site: _Optional[int] = ..., actor: _Optional[str] = ..., name: _Optional[str] = ..., color: _Optional[str] = ..., kind: _Optional[_Union[SessionKind, str]] = ..., state_json: _Optional[str] = ..., left: bool = ..., block: _Optional[_Union[OpId, _Mapping]] = ...) -> None: ...

class PresenceMove(_message.Message):
    __slots__ = ("site", "state_json", "block")
    SITE_FIELD_NUMBER: _ClassVar[int]
    STATE_JSON_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    site: int
    state_json: str
    block: OpId
    def __init__(self, site: _Optional[int] = ..., state_json: _Optional[str] = ..., block: _Optional[_Union[OpId, _Mapping]] = ...) -> None: ...

class PresenceCluster(_message.Message):
    __slots__ = ("block", "count")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    block: OpId
    count: int
    def __init__(self, block: _Optional[_Union[OpId, _Mapping]] = ..., count: _Optional[int] = ...) -> None: ...

class PresenceBatch(_message.Message):
    __slots__ = ("entries", "moves", "clusters", "whole")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[PresenceEntry]
    moves: _containers.RepeatedCompositeFieldContainer[PresenceMove]
    clusters: _containers.RepeatedCompositeFieldContainer[PresenceCluster]
    whole: bool
    def __init__(self, entries: _Optional[_Iterable[_Union[PresenceEntry, _Mapping]]] = ..., moves: _Optional[_Iterable[_Union[PresenceMove, _Mapping]]] = ..., clusters: _Optional[_Iterable[_Union[PresenceCluster, _Mapping]]] = ..., whole: bool = ...) -> None: ...

class RoomEvent(_message.Message):
    __slots__ = ("site", "actor", "name", "payload_json")
    SITE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    site: int
    actor: str
    name: str
    payload_json: str
    def __init__(self, site: _Optional[int] = ..., actor: _Optional[str] = ..., name: _Optional[str] = ..., payload_json: _Optional[str] = ...) -> None: ...

class Degraded(_message.Message):
    __slots__ = ("on",)
    ON_FIELD_NUMBER: _ClassVar[int]
    on: bool
    def __init__(self, on: bool = ...) -> None: ...

class Bye(_message.Message):
    __slots__ = ("code", "reason", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    reason: str
    retry_after_ms: int
    def __init__(self, code: _Optional[str] = ..., reason: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("code", "reason", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    reason: str
    retry_after_ms: int
    def __init__(self, code: _Optional[str] = ..., reason: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Contents(_message.Message):
    __slots__ = ("encoding", "blocks", "lost")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    encoding: Encoding
    blocks: bytes
    lost: _containers.RepeatedCompositeFieldContainer[OpId]
    def __init__(self, encoding: _Optional[_Union[Encoding, str]] = ..., blocks: _Optional[bytes] = ..., lost: _Optional[_Iterable[_Union[OpId, _Mapping]]] = ...) -> None: ...

class ServerMessage(_message.Message):
    __slots__ = ("welcome", "snapshot", "ops", "acks", "rejects", "presence", "events", "notices", "degraded", "bye", "through", "filtered", "through_op", "contents")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    OPS_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    REJECTS_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    BYE_FIELD_NUMBER: _ClassVar[int]
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    THROUGH_OP_FIELD_NUMBER: _ClassVar[int]
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    snapshot: Snapshot
    ops: _containers.RepeatedCompositeFieldContainer[Ops]
    acks: _containers.RepeatedCompositeFieldContainer[Ack]
    rejects: _containers.RepeatedCompositeFieldContainer[Reject]
    presence: _containers.RepeatedCompositeFieldContainer[PresenceBatch]
    events: _containers.RepeatedCompositeFieldContainer[RoomEvent]
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    degraded: Degraded
    bye: Bye
    through: int
    filtered: _containers.RepeatedCompositeFieldContainer[Ops]
    through_op: OpId
    contents: _containers.RepeatedCompositeFieldContainer[Contents]
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., ops: _Optional[_Iterable[_Union[Ops, _Mapping]]] = ..., acks: _Optional[_Iterable[_Union[Ack, _Mapping]]] = ..., rejects: _Optional[_Iterable[_Union[Reject, _Mapping]]] = ..., presence: _Optional[_Iterable[_Union[PresenceBatch, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[RoomEvent, _Mapping]]] = ..., notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., degraded: _Optional[_Union[Degraded, _Mapping]] = ..., bye: _Optional[_Union[Bye, _Mapping]] = ..., through: _Optional[int] = ..., filtered: _Optional[_Iterable[_Union[Ops, _Mapping]]] = ..., through_op: _Optional[_Union[OpId, _Mapping]] = ..., contents: _Optional[_Iterable[_Union[Contents, _Mapping]]] = ...) -> None: ...

class Register(_message.Message):
    __slots__ = ("hlc", "site", "value")
    HLC_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    hlc: int
    site: int
    value: StoredValue
    def __init__(self, hlc: _Optional[int] = ..., site: _Optional[int] = ..., value: _Optional[_Union[StoredValue, _Mapping]] = ...) -> None: ...

class StoredValue(_message.Message):
    __slots__ = ("null", "boolean", "integer", "number", "text", "data", "container")
    NULL_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    null: bool
    boolean: bool
    integer: int
    number: float
    text: str
    data: bytes
    container: OpId
    def __init__(self, null: bool = ..., boolean: bool = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., data: _Optional[bytes] = ..., container: _Optional[_Union[OpId, _Mapping]] = ...) -> None: ...

class MapEntry(_message.Message):
    __slots__ = ("key", "register")
    KEY_FIELD_NUMBER: _ClassVar[int]
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    key: str
    register: Register
    def __init__(self, key: _Optional[str] = ..., register: _Optional[_Union[Register, _Mapping]] = ...) -> None: ...

class SlotState(_message.Message):
    __slots__ = ("id", "parent", "side")
    ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    id: OpId
    parent: OpId
    side: Side
    def __init__(self, id: _Optional[_Union[OpId, _Mapping]] = ..., parent: _Optional[_Union[OpId, _Mapping]] = ..., side: _Optional[_Union[Side, str]] = ...) -> None: ...

class ElementState(_message.Message):
    __slots__ = ("id", "value", "position_hlc", "position_site", "slot", "deleted")
    ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    POSITION_HLC_FIELD_NUMBER: _ClassVar[int]
    POSITION_SITE_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    id: OpId
    value: Register
    position_hlc: int
    position_site: int
    slot: OpId
    deleted: bool
    def __init__(self, id: _Optional[_Union[OpId, _Mapping]] = ..., value: _Optional[_Union[Register, _Mapping]] = ..., position_hlc: _Optional[int] = ..., position_site: _Optional[int] = ..., slot: _Optional[_Union[OpId, _Mapping]] = ..., deleted: bool = ...) -> None: ...

class ContainerState(_message.Message):
    __slots__ = ("id", "kind", "home", "home_key", "home_element", "after_hlc", "after_site", "entries", "slots", "elements", "yjs_state", "floor_hlc", "floor_site")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    HOME_FIELD_NUMBER: _ClassVar[int]
    HOME_KEY_FIELD_NUMBER: _ClassVar[int]
    HOME_ELEMENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_HLC_FIELD_NUMBER: _ClassVar[int]
    AFTER_SITE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    YJS_STATE_FIELD_NUMBER: _ClassVar[int]
    FLOOR_HLC_FIELD_NUMBER: _ClassVar[int]
    FLOOR_SITE_FIELD_NUMBER: _ClassVar[int]
    id: OpId
    kind: ContainerKind
    home: OpId
    home_key: str
    home_element: OpId
    after_hlc: int
    after_site: int
    entries: _containers.RepeatedCompositeFieldContainer[MapEntry]
    slots: _containers.RepeatedCompositeFieldContainer[SlotState]
    elements: _containers.RepeatedCompositeFieldContainer[ElementState]
    yjs_state: bytes
    floor_hlc: int
    floor_site: int
    def __init__(self, id: _Optional[_Union[OpId, _Mapping]] = ..., kind: _Optional[_Union[ContainerKind, str]] = ..., home: _Optional[_Union[OpId, _Mapping]] = ..., home_key: _Optional[str] = ..., home_element: _Optional[_Union[OpId, _Mapping]] = ..., after_hlc: _Optional[int] = ..., after_site: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[MapEntry, _Mapping]]] = ..., slots: _Optional[_Iterable[_Union[SlotState, _Mapping]]] = ..., elements: _Optional[_Iterable[_Union[ElementState, _Mapping]]] = ..., yjs_state: _Optional[bytes] = ..., floor_hlc: _Optional[int] = ..., floor_site: _Optional[int] = ...) -> None: ...

class RekeyState(_message.Message):
    __slots__ = ("parent", "slot", "seq", "site", "old_keys", "new_keys")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    OLD_KEYS_FIELD_NUMBER: _ClassVar[int]
    NEW_KEYS_FIELD_NUMBER: _ClassVar[int]
    parent: OpId
    slot: Slot
    seq: int
    site: int
    old_keys: _containers.RepeatedScalarFieldContainer[str]
    new_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, parent: _Optional[_Union[OpId, _Mapping]] = ..., slot: _Optional[_Union[Slot, str]] = ..., seq: _Optional[int] = ..., site: _Optional[int] = ..., old_keys: _Optional[_Iterable[str]] = ..., new_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class TreeState(_message.Message):
    __slots__ = ("sites", "names", "id_sites", "id_counters", "places", "deleted_from", "key_heads", "key_tails", "seqs", "seq_sites", "types", "row_types", "type_hlcs", "type_sites", "split_rows", "split_sites", "split_counters", "joined_rows", "joined_seqs", "joined_sites", "joined_bases", "rekeys")
    SITES_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    ID_SITES_FIELD_NUMBER: _ClassVar[int]
    ID_COUNTERS_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    DELETED_FROM_FIELD_NUMBER: _ClassVar[int]
    KEY_HEADS_FIELD_NUMBER: _ClassVar[int]
    KEY_TAILS_FIELD_NUMBER: _ClassVar[int]
    SEQS_FIELD_NUMBER: _ClassVar[int]
    SEQ_SITES_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    ROW_TYPES_FIELD_NUMBER: _ClassVar[int]
    TYPE_HLCS_FIELD_NUMBER: _ClassVar[int]
    TYPE_SITES_FIELD_NUMBER: _ClassVar[int]
    SPLIT_ROWS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_SITES_FIELD_NUMBER: _ClassVar[int]
    SPLIT_COUNTERS_FIELD_NUMBER: _ClassVar[int]
    JOINED_ROWS_FIELD_NUMBER: _ClassVar[int]
    JOINED_SEQS_FIELD_NUMBER: _ClassVar[int]
    JOINED_SITES_FIELD_NUMBER: _ClassVar[int]
    JOINED_BASES_FIELD_NUMBER: _ClassVar[int]
    REKEYS_FIELD_NUMBER: _ClassVar[int]
    sites: _containers.RepeatedScalarFieldContainer[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    id_sites: _containers.RepeatedScalarFieldContainer[int]
    id_counters: _containers.RepeatedScalarFieldContainer[int]
    places: _containers.RepeatedScalarFieldContainer[int]
    deleted_from: _containers.RepeatedScalarFieldContainer[int]
    key_heads: _containers.RepeatedScalarFieldContainer[int]
    key_tails: str
    seqs: _containers.RepeatedScalarFieldContainer[int]
    seq_sites: _containers.RepeatedScalarFieldContainer[int]
    types: _containers.RepeatedScalarFieldContainer[str]
    row_types: _containers.RepeatedScalarFieldContainer[int]
    type_hlcs: _containers.RepeatedScalarFieldContainer[int]
    type_sites: _containers.RepeatedScalarFieldContainer[int]
    split_rows: _containers.RepeatedScalarFieldContainer[int]
    split_sites: _containers.RepeatedScalarFieldContainer[int]
    split_counters: _containers.RepeatedScalarFieldContainer[int]
    joined_rows: _containers.RepeatedScalarFieldContainer[int]
    joined_seqs: _containers.RepeatedScalarFieldContainer[int]
    joined_sites: _containers.RepeatedScalarFieldContainer[int]
    joined_bases: _containers.RepeatedScalarFieldContainer[int]
    rekeys: _containers.RepeatedCompositeFieldContainer[RekeyState]
    def __init__(self, sites: _Optional[_Iterable[int]] = ..., names: _Optional[_Iterable[str]] = ..., id_sites: _Optional[_Iterable[int]] = ..., id_counters: _Optional[_Iterable[int]] = ..., places: _Optional[_Iterable[int]] = ..., deleted_from: _Optional[_Iterable[int]] = ..., key_heads: _Optional[_Iterable[int]] = ..., key_tails: _Optional[str] = ..., seqs: _Optional[_Iterable[int]] = ..., seq_sites: _Optional[_Iterable[int]] = ..., types: _Optional[_Iterable[str]] = ..., row_types: _Optional[_Iterable[int]] = ..., type_hlcs: _Optional[_Iterable[int]] = ..., type_sites: _Optional[_Iterable[int]] = ..., split_rows: _Optional[_Iterable[int]] = ..., split_sites: _Optional[_Iterable[int]] = ..., split_counters: _Optional[_Iterable[int]] = ..., joined_rows: _Optional[_Iterable[int]] = ..., joined_seqs: _Optional[_Iterable[int]] = ..., joined_sites: _Optional[_Iterable[int]] = ..., joined_bases: _Optional[_Iterable[int]] = ..., rekeys: _Optional[_Iterable[_Union[RekeyState, _Mapping]]] = ...) -> None: ...

class BlockState(_message.Message):
    __slots__ = ("id", "properties", "yjs_state")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    YJS_STATE_FIELD_NUMBER: _ClassVar[int]
    id: OpId
    properties: _containers.RepeatedCompositeFieldContainer[MapEntry]
    yjs_state: bytes
    def __init__(self, id: _Optional[_Union[OpId, _Mapping]] = ..., properties: _Optional[_Iterable[_Union[MapEntry, _Mapping]]] = ..., yjs_state: _Optional[bytes] = ...) -> None: ...

class RoomState(_message.Message):
    __slots__ = ("seq", "hlc", "containers", "tree", "blocks", "purged_seq")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HLC_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    PURGED_SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    hlc: int
    containers: _containers.RepeatedCompositeFieldContainer[ContainerState]
    tree: TreeState
    blocks: _containers.RepeatedCompositeFieldContainer[BlockState]
    purged_seq: int
    def __init__(self, seq: _Optional[int] = ..., hlc: _Optional[int] = ..., containers: _Optional[_Iterable[_Union[ContainerState, _Mapping]]] = ..., tree: _Optional[_Union[TreeState, _Mapping]] = ..., blocks: _Optional[_Iterable[_Union[BlockState, _Mapping]]] = ..., purged_seq: _Optional[int] = ...) -> None: ...
