"""Yjs updates as lists of structs: read whole from the bytes, brought into causal order, cut, and written again.

Reading holds an update against a policy alone; ``yjs.history`` holds it against a document. The layout of the bytes is
told in ``yjs.update``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from collabkernel.crdt.yjs.content import ContentReader, refuse_kind
from collabkernel.crdt.yjs.parse import Reader, write_uint
from collabkernel.crdt.yjs.policy import (
    ANY,
    DELETED,
    GC,
    HAS_KEY,
    HAS_ORIGIN,
    HAS_RIGHT_ORIGIN,
    KIND_NAMES,
    SKIP,
    STRING,
    Owner,
    Reference,
    YjsPolicy,
)
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.limits import YJS_CLOCK_MAX

NOTHING = b"\x00\x00"
"""The update that brings nothing."""


class Struct(NamedTuple):
    """One struct: what decides where it is, and where its bytes are."""

    client: int
    clock: int
    length: int
    kind: int
    origin: Reference | None = None
    right: Reference | None = None
    parent: Owner = None
    key: str | None = None
    container: int | None = None
    """The kind of container that it makes."""
    begin: int = 0
    content: int = 0
    end: int = 0
    skipped: int = 0
    """Clocks at its start that were cut off."""


class ParsedUpdate(NamedTuple):
    """An update that is one, whatever the document says to it."""

    data: bytes
    structs: dict[int, list[Struct]]
    """By client, in the order of the bytes; Skip structs too."""
    deletes: dict[int, list[tuple[int, int]]]
    """Ranges by client, as first clock and the clock behind the last."""
    contents: ContentReader
    """What all contents together bring."""


def read_update(data: bytes, policy: YjsPolicy, structs_max: int | None) -> ParsedUpdate:
    """Read an update whole.

    Args:
        data: The bytes.
        policy: Roots, kinds and sizes that are allowed.
        structs_max: Structs, and delete ranges, that there may be; None for a stored state.

    Raises:
        InvalidYjsUpdateError: It is malformed, or holds what the policy does not allow.
    """
    return _UpdateReader(data, policy, structs_max).read()


class _UpdateReader:
    def __init__(self, data: bytes, policy: YjsPolicy, structs_max: int | None) -> None:
        self.reader = Reader(data, value_depth_max=policy.value_depth_max)
        self.contents = ContentReader(policy, self.reader)
        self.has_gc = policy.has_gc
        self.kinds = policy.kinds
        self.structs_max = structs_max
        self.structs: dict[int, list[Struct]] = {}
        self.deletes: dict[int, list[tuple[int, int]]] = {}
        # Kept for as long as the document: one value for each, however often it is named.
        self.keys: dict[str, str] = {}
        self.parents: dict[Reference, Reference] = {}
        self.own_raw = b""
        self.count = 0
        self.ranges = 0

    def read(self) -> ParsedUpdate:
        reader = self.reader
        for _ in range(reader.uint("the number of clients")):
            self._client()
        for _ in range(reader.uint("the number of clients with deletes")):
            self._deletes()
        if reader.at != len(reader.data):
            raise InvalidYjsUpdateError(f"{len(reader.data) - reader.at} bytes behind the end of the update")
        return ParsedUpdate(reader.data, self.structs, self.deletes, self.contents)

    def _client(self) -> None:
        uint = self.reader.uint
        count = uint("a number of structs")
        client = uint("a client id")
        clock = uint("a clock")
        self.own_raw = write_uint(client)
        self.count += count
        self._refuse_many(self.count, "structs")
        if client in self.structs:
            raise InvalidYjsUpdateError(f"client {client} comes twice")
        if count == 0:
            raise InvalidYjsUpdateError(f"client {client} comes without structs")
        structs = self.structs[client] = []
        for _ in range(count):
            struct = self._struct(client, clock)
            length = struct.length
            clock += length
            if length == 0 or clock > YJS_CLOCK_MAX:
                raise _refuse_length(client, clock, length)
            structs.append(struct)

    def _struct(self, client: int, clock: int) -> Struct:
        reader = self.reader
        begin = reader.at
        info = reader.byte("a struct")
        if (info == GC and self.has_gc) or info == SKIP:
            length = reader.uint(f"the length of a {KIND_NAMES[info]} struct")
            return Struct(client, clock, length, info, begin=begin, content=begin + 1, end=reader.at)
        kind = info & 0x1F
        if kind not in self.kinds:
            raise refuse_kind(kind)
        origin = reader.reference("an origin", client, self.own_raw) if info & HAS_ORIGIN else None
        right = reader.reference("a right origin", client, self.own_raw) if info & HAS_RIGHT_ORIGIN else None
        parent: Owner = None
        key = None
        if origin is None and right is None:
            parent = self._parent(client)
            if info & HAS_KEY:
                key = self.contents.key()
                key = self.keys.setdefault(key, key)
        content = reader.at
        length, container = self.contents.content(kind, client, clock)
        return Struct(client, clock, length, kind, origin, right, parent, key, container, begin, content, reader.at)

    def _parent(self, client: int) -> Owner:
        is_root = self.reader.uint("a parent")
        if is_root > 1:
            raise InvalidYjsUpdateError(f"a parent is 0 (an item) or 1 (a root), not {is_root}")
        if is_root:
            return self.contents.root()
        parent = self.reader.reference("a parent", client, self.own_raw)
        return self.parents.setdefault(parent, parent)

    def _deletes(self) -> None:
        uint = self.reader.uint
        client = uint("a client id with deletes")
        count = uint("a number of delete ranges")
        if client in self.deletes:
            raise InvalidYjsUpdateError(f"deletes of client {client} come twice")
        if count == 0:
            raise InvalidYjsUpdateError(f"deletes of client {client} come without ranges")
        self.ranges += count
        self._refuse_many(self.ranges, "delete ranges")
        ranges = self.deletes[client] = []
        end = 0
        for _ in range(count):
            clock = uint("the clock of a delete range")
            length = uint("the length of a delete range")
            if clock < end or length == 0:
                raise InvalidYjsUpdateError(f"delete ranges of client {client} do not rise at clock {clock}")
            end = clock + length
            if end > YJS_CLOCK_MAX:
                raise InvalidYjsUpdateError(f"deletes clock {end - 1} of client {client}; the last is {YJS_CLOCK_MAX}")
            ranges.append((clock, end))

    def _refuse_many(self, count: int, what: str) -> None:
        if self.structs_max is not None and count > self.structs_max:
            raise InvalidYjsUpdateError(f"{count} {what} in one update; at most {self.structs_max}")


def _refuse_length(client: int, clock: int, length: int) -> InvalidYjsUpdateError:
    if length == 0:
        return InvalidYjsUpdateError(f"the struct at clock {clock} has no length")
    return InvalidYjsUpdateError(f"clock {clock} of client {client} is over {YJS_CLOCK_MAX}")


def in_causal_order(structs: Mapping[int, Sequence[Struct]], known: Mapping[int, int]) -> Iterator[Struct]:
    """Structs of many clients, each after those that it names; O(n log n).

    Args:
        structs: By client, in the order of their clocks.
        known: The next clock by client of what is there already.

    Raises:
        InvalidYjsUpdateError: Some wait for one another.
    """
    ends = dict(known)
    position = dict.fromkeys(structs, 0)
    waiting: dict[int, list[tuple[int, int]]] = {}
    ready = list(structs)
    left = sum(len(queue) for queue in structs.values())
    while ready:
        client = ready.pop()
        queue = structs[client]
        at = position[client]
        while at < len(queue):
            struct = queue[at]
            missing = _missing(struct, ends)
            if missing is not None:
                heappush(waiting.setdefault(missing[0], []), (missing[1], client))
                break
            yield struct
            left -= 1
            at += 1
            ends[client] = struct.clock + struct.length
        position[client] = at
        waiters = waiting.get(client)
        while waiters and waiters[0][0] < ends.get(client, 0):
            ready.append(heappop(waiters)[1])
    if left:
        raise InvalidYjsUpdateError("structs wait for one another")


def _missing(struct: Struct, ends: Mapping[int, int]) -> Reference | None:
    origin, right, parent = struct.origin, struct.right, struct.parent
    if origin is not None and origin[1] >= ends.get(origin[0], 0):
        return origin
    if right is not None and right[1] >= ends.get(right[0], 0):
        return right
    if isinstance(parent, tuple) and parent[1] >= ends.get(parent[0], 0):
        return parent
    return None


def without_start(struct: Struct, clocks: int) -> Struct:
    """What is left of a struct behind its first ``clocks``.

    Raises:
        InvalidYjsUpdateError: Nothing of its kind has a middle.
    """
    clock = struct.clock + clocks
    if struct.kind not in (GC, DELETED, STRING, ANY):
        raise InvalidYjsUpdateError(f"a {KIND_NAMES[struct.kind]} struct cannot be cut")
    origin = None if struct.kind == GC else (struct.client, clock - 1)
    return struct._replace(
        clock=clock,
        length=struct.length - clocks,
        origin=origin,
        parent=None,
        key=None,
        skipped=struct.skipped + clocks,
    )


def write_update(
    data: bytes, structs: Iterable[Sequence[Struct]], deletes: Mapping[int, Sequence[tuple[int, int]]]
) -> bytes:
    """An update of some of the structs of another, by client, and of delete ranges."""
    queues = [queue for queue in structs if queue]
    out = bytearray(write_uint(len(queues)))
    for queue in queues:
        out += write_uint(len(queue)) + write_uint(queue[0].client) + write_uint(queue[0].clock)
        for struct in queue:
            out += _rest(data, struct) if struct.skipped else data[struct.begin : struct.end]
    clients = [(client, ranges) for client, ranges in deletes.items() if ranges]
    out += write_uint(len(clients))
    for client, ranges in clients:
        out += write_uint(client) + write_uint(len(ranges))
        for clock, end in ranges:
            out += write_uint(clock) + write_uint(end - clock)
    return bytes(out)


def _rest(data: bytes, struct: Struct) -> bytes:
    """A struct whose start was cut off, as Yjs writes it."""
    if struct.kind == GC:
        return b"\x00" + write_uint(struct.length)
    assert struct.origin is not None, "what was cut off is the origin"
    head = bytes([data[struct.begin] | HAS_ORIGIN]) + _reference(struct.origin)
    if struct.right is not None:
        head += _reference(struct.right)
    if struct.kind == DELETED:
        return head + write_uint(struct.length)
    reader = Reader(data, at=struct.content)
    if struct.kind == STRING:
        units = reader.string("a text").encode("utf-16-le")
        raw = units[2 * struct.skipped :].decode("utf-16-le").encode()
        return head + write_uint(len(raw)) + raw
    reader.uint("a number of values")
    for _ in range(struct.skipped):
        reader.any("a value")
    return head + write_uint(struct.length) + data[reader.at : struct.end]


def _reference(reference: Reference) -> bytes:
    return write_uint(reference[0]) + write_uint(reference[1])
