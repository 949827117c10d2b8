"""The validator that stands before pycrdt: Yjs updates (version 1) are parsed whole, and let through or refused.

yrs trusts its input. Seven bytes can make a text vanish; others panic, hang, abort the process by a giant allocation,
or wait as *pending* for clocks that come later and eat what is typed then. So nothing reaches pycrdt before
:meth:`YjsState.check` has found that

* the bytes are one update, in shortest form, with nothing behind it and something in it;
* new structs are the sender's alone (his client id), start at exactly the clock that the document has for him, have a
  length of at least 1 and stay below 2**31;
* every origin, right origin, parent and deleted range exists already (own structs earlier in the same update count),
  so that nothing can ever be pending;
* origin and right origin are in one container, of a kind that may hold the content, under a root that the policy
  names, at most ``depth_max`` deep;
* origin and right origin can have been neighbours (``yjs_order``; flat documents only), or replicas would disagree;
* no reference cuts a surrogate pair in two: yrs, Yjs and a Python string would disagree on what is left;
* delete ranges rise and do not overlap, each client once (yrs keeps the last, Yjs all of them);
* kinds that implementations read differently (JSON, hooks, weak links, subdocuments) and gaps (Skip) do not occur.

The layout, from ``INTERNALS.md`` of Yjs and the source of yrs 0.28 (``yjs_parse`` has the primitives)::

    update     clients:uint (structs:uint client:uint clock:uint struct{structs}){clients} deletes
    struct     info:byte; GC (0) and Skip (10): length:uint; else an item of kind info & 31:
               [0x80 origin] [0x40 right origin] [neither: parent [0x20 key:string]] content
    reference  client:uint clock:uint
    parent     1:uint root name:string, or 0:uint reference
    content    1 Deleted length; 2 JSON; 3 Binary buffer; 4 String string; 5 Embed json; 6 Format string json;
               7 Type uint; 8 Any count:uint any{count}; 9 Doc
    deletes    clients:uint (client:uint ranges:uint (clock:uint length:uint){ranges}){clients}

``tests/fixtures/yjs/refused.json`` freezes what was found to hurt.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Set
from typing import NamedTuple

from collabkernel.crdt.yjs_order import YjsOrder
from collabkernel.crdt.yjs_parse import Reader, low_surrogates, read_uint, write_uint
from collabkernel.crdt.yjs_places import Item, Place, PlaceIndex, Placer, in_causal_order
from collabkernel.crdt.yjs_policy import (
    ANY,
    BINARY,
    DELETED,
    EMBED,
    FORMAT,
    GC,
    HAS_KEY,
    HAS_ORIGIN,
    HAS_RIGHT_ORIGIN,
    KIND_NAMES,
    SKIP,
    STRING,
    TEXT_POLICY,
    TYPE,
    Owner,
    Reference,
    YjsPolicy,
)
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.limits import YJS_CLOCK_MAX


class YjsUpdate(NamedTuple):
    """What an accepted update brings; :meth:`YjsState.commit` takes it once pycrdt has applied the bytes."""

    clocks: dict[int, int]
    """The next clock by client, for clients with new structs."""
    deleted: tuple[tuple[int, int, int], ...] = ()
    """Ranges as (client, clock, length)."""
    inserted_chars: int = 0
    """Code points of text."""
    is_ascii: bool = True
    """Whether all of that text is ASCII."""
    embeds: int = 0
    low_surrogates: tuple[Reference, ...] = ()
    """Clocks at which the second half of a surrogate pair stands."""
    format_keys: frozenset[str] = frozenset()
    """Format keys that the document has not seen before."""
    places: tuple[tuple[int, int, Place], ...] = ()
    """(client, first clock, place) of new items, unless the document is flat."""
    containers: tuple[tuple[Owner, tuple[int, int]], ...] = ()
    """New containers, each with its kind and depth."""
    state: bytes = b""
    """The bytes themselves if they are the stored state of a flat document, whose order is made out later."""


class YjsState:
    """What the validator remembers of one document: clocks, halves of surrogate pairs, and, if nested, places.

    Bounded by what the document holds: a few words a client, four bytes an astral character, and for documents that
    are not flat one entry for each stretch of a client's items in one container.
    """

    __slots__ = (
        "_format_keys",
        "_header_by_client",
        "_lows",
        "_order",
        "_root",
        "_unordered",
        "clocks",
        "contents",
        "places",
        "policy",
    )

    def __init__(self, policy: YjsPolicy = TEXT_POLICY) -> None:
        self.policy = policy
        self.places = None if policy.is_flat else PlaceIndex(policy)
        self.contents = policy.allowed(None)
        """Kinds of content that may occur at all."""
        self.clocks: dict[int, int] = {}
        """The next clock by client: the state vector."""
        self._format_keys: set[str] = set()
        self._header_by_client: dict[int, bytes] = {}
        self._lows: dict[int, array[int]] = {}
        self._order = YjsOrder()
        self._unordered = b""
        root = next(iter(policy.roots)).encode()
        self._root = b"\x01" + write_uint(len(root)) + root

    def check(self, update: bytes, client: int | None) -> YjsUpdate:
        """Parse an update whole and hold it against this document; nothing is changed.

        Args:
            update: The bytes of one update, version 1.
            client: The sender's Yjs client id, under which alone there may be new structs; None for our own stored
                state, which may bring many clients (and nothing, if it is the state of an empty document), and comes
                before anything else.

        Raises:
            InvalidYjsUpdateError: It must not reach pycrdt.
        """
        if client is None:
            if self.clocks:
                raise InvalidYjsUpdateError("a stored state belongs in an empty document")
            return _Check(self, update, None).run()
        self._order.rollback()  # of an update that was checked but not committed
        return self._check_typing(update, client) or _Check(self, update, client).run()

    def commit(self, update: YjsUpdate) -> None:
        """Advance past an update that ``check`` returned for this very state and that has been applied."""
        self.clocks.update(update.clocks)
        self._order.commit()
        if update.state:
            self._unordered = update.state
        if update.format_keys:
            self._format_keys |= update.format_keys
        for client, clock in update.low_surrogates:
            self._lows.setdefault(client, array("L")).append(clock)
        if self.places is not None:
            self.places.add(update.places, update.containers)

    def splits_pair(self, client: int, clock: int) -> bool:
        """Whether a cut before ``clock`` falls between the halves of a surrogate pair."""
        lows = self._lows.get(client)
        if lows is None:
            return False
        index = bisect_left(lows, clock)
        return index < len(lows) and lows[index] == clock

    @property
    def order(self) -> YjsOrder:
        """The order of items of a flat document. Made out only when somebody inserts: many documents are just read."""
        if self._unordered:
            stored = _Check(YjsState(self.policy), self._unordered, None)
            stored.run()
            for item in in_causal_order(stored.items):
                self._order.insert(item.client, item.clock, item.length, item.origin, item.right)
            self._order.commit()
            self._unordered = b""
        return self._order

    @property
    def format_keys(self) -> Set[str]:
        """Format keys that the document has seen."""
        return self._format_keys

    def _check_typing(self, data: bytes, client: int) -> YjsUpdate | None:
        """The common case at a third of the cost: one string typed into a flat text, nothing deleted.

        None means only that the full check has to look, which is also who words every refusal.
        """
        header = self._header_by_client.get(client)
        if header is None:
            header = self._header_by_client[client] = b"\x01\x01" + write_uint(client)
        if self.places is not None or not data.startswith(header):
            return None
        clocks = self.clocks
        own = header[2:]
        at = len(header)
        try:
            clock, at = read_uint(data, at)
            info = data[at]
            at += 1
            if clock != clocks.get(client, 0) or info & 0x3F != STRING:
                return None
            origin = right = None
            for bit, cut in ((HAS_ORIGIN, 1), (HAS_RIGHT_ORIGIN, 0)):
                if info & bit:
                    if data.startswith(own, at):
                        origin_client = client
                        at += len(own)
                    else:
                        origin_client, at = read_uint(data, at)
                    origin_clock, at = read_uint(data, at)
                    if origin_clock >= clocks.get(origin_client, 0):
                        return None
                    if origin_client in self._lows and self.splits_pair(origin_client, origin_clock + cut):
                        return None
                    if cut:
                        origin = (origin_client, origin_clock)
                    else:
                        right = (origin_client, origin_clock)
            if info == STRING:
                if not data.startswith(self._root, at):
                    return None
                at += len(self._root)
            size, at = read_uint(data, at)
            end = at + size
            if data[end] != 0 or end + 1 != len(data):
                return None
        except (IndexError, InvalidYjsUpdateError):
            return None
        found = _typed(data[at:end], client, clock)
        if found is not None:
            self.order.insert(client, clock, found.clocks[client] - clock, origin, right)
        return found


def _typed(raw: bytes, client: int, clock: int) -> YjsUpdate | None:
    size = chars = len(raw)
    lows: tuple[Reference, ...] = ()
    if not (is_ascii := raw.isascii()):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        size = chars = len(text)
        if max(text) > "\uffff":
            lows = tuple((client, low) for low in low_surrogates(text, clock))
            size += len(lows)
    clock += size
    if not size or clock > YJS_CLOCK_MAX:
        return None
    return YjsUpdate({client: clock}, (), chars, is_ascii, 0, lows)


class _Check:
    """One update on its way through the validator."""

    def __init__(self, state: YjsState, update: bytes, own: int | None) -> None:
        self.state = state
        self.policy = state.policy
        self.reader = Reader(update)
        self.own = own
        self.client = -1
        self.clock = 0
        self.clocks: dict[int, int] = {}
        self.lows: dict[Reference, None] = {}
        self.format_keys: set[str] = set()
        self.inserted_chars = 0
        self.is_ascii = True
        self.embeds = 0
        self.references: dict[int, int] = {}
        self.items: dict[int, list[Item]] = {}
        self.placer = None if state.places is None else Placer(state.places)

    def run(self) -> YjsUpdate:
        reader = self.reader
        clients = reader.uint("the number of clients")
        if clients > 1 and self.own is not None:
            raise InvalidYjsUpdateError(f"structs of {clients} clients; a sender writes under his own client id alone")
        for _ in range(clients):
            self._client()
        self._check_references()
        deleted = self._deletes()
        if reader.at != len(reader.data):
            raise InvalidYjsUpdateError(f"{len(reader.data) - reader.at} bytes behind the end of the update")
        if not self.clocks and not deleted and self.own is not None:
            raise InvalidYjsUpdateError("there is nothing in the update; do not send empty ones")
        if self.own is None and self.placer is not None:
            for item in in_causal_order(self.items):
                self.placer.place(item)
        found = YjsUpdate(
            self.clocks,
            deleted,
            self.inserted_chars,
            self.is_ascii,
            self.embeds,
            tuple(self.lows),
            frozenset(self.format_keys),
        )
        if self.placer is None:
            return found if self.own is not None else found._replace(state=self.reader.data)
        return found._replace(
            places=tuple(self.placer.new_places), containers=tuple(self.placer.new_containers.items())
        )

    def _client(self) -> None:
        structs = self.reader.uint("a number of structs")
        client = self.reader.uint("a client id")
        clock = self.reader.uint("a clock")
        if self.own is not None and client != self.own:
            raise InvalidYjsUpdateError(f"new structs of client {client}; this session writes as client {self.own}")
        self._refuse_many(structs, "structs")
        if client in self.clocks:
            raise InvalidYjsUpdateError(f"client {client} comes twice")
        if structs == 0:
            raise InvalidYjsUpdateError(f"client {client} comes without structs")
        known = self.state.clocks.get(client, 0)
        if clock < known:
            raise InvalidYjsUpdateError(f"clock {clock} of client {client} is known already; the next is {known}")
        if clock > known:
            raise InvalidYjsUpdateError(f"clock {clock} of client {client} leaves a gap; the next is {known}")
        self.client = client
        self.clock = clock
        for _ in range(structs):
            self.clock += self._struct()
            if self.clock > YJS_CLOCK_MAX:
                raise InvalidYjsUpdateError(f"clock {self.clock} of client {client} is over {YJS_CLOCK_MAX}")
        self.clocks[client] = self.clock

    def _struct(self) -> int:
        info = self.reader.byte("a struct")
        if info == GC and self.placer is not None and self.policy.has_gc:
            length = self.reader.uint("the length of a GC struct")
            self._place(Item(self.client, self.clock, length, GC, None, None, None, None, None))
            return length
        kind = info & 0x1F
        if kind not in self.state.contents:
            name = KIND_NAMES[kind] if kind <= SKIP else f"unknown ({kind})"
            raise InvalidYjsUpdateError(f"content of kind {name} may not be in this document")
        origin = self._reference("an origin", 1) if info & HAS_ORIGIN else None
        right = self._reference("a right origin", 0) if info & HAS_RIGHT_ORIGIN else None
        parent: Owner = None
        key: str | None = None
        if origin is None and right is None:
            parent = self._parent()
            if info & HAS_KEY:
                key = self._key()
        length, container = self._content(kind)
        if self.placer is None and info & HAS_KEY:
            raise InvalidYjsUpdateError("a text has no keys")
        self._place(Item(self.client, self.clock, length, kind, origin, right, parent, key, container))
        return length

    def _refuse_many(self, count: int, what: str) -> None:
        if self.own is not None and count > self.policy.structs_max:
            raise InvalidYjsUpdateError(f"{count} {what} in one update; at most {self.policy.structs_max}")

    def _place(self, item: Item) -> None:
        if item.length == 0:
            raise InvalidYjsUpdateError(f"the struct at clock {item.clock} has no length")
        if self.own is None:
            self.items.setdefault(item.client, []).append(item)
        elif self.placer is not None:
            self.placer.place(item)
        else:
            self.state.order.insert(item.client, item.clock, item.length, item.origin, item.right)

    def _reference(self, what: str, cut: int) -> Reference:
        """A reference to an item that exists; the document is cut ``cut`` after its clock."""
        client = self.reader.uint(what)
        clock = self.reader.uint(what)
        if self.own is None:
            if clock >= self.references.get(client, 0):
                self.references[client] = clock + 1
            return client, clock
        end = self.clock if client == self.client else self.state.clocks.get(client, 0)
        if clock >= end:
            raise InvalidYjsUpdateError(f"{what} names clock {clock} of client {client}, which has only {end}")
        self._refuse_cut(what, client, clock + cut)
        return client, clock

    def _refuse_cut(self, what: str, client: int, clock: int) -> None:
        if self.state.splits_pair(client, clock) or (client, clock) in self.lows:
            raise InvalidYjsUpdateError(f"{what} cuts a surrogate pair in two at clock {clock} of client {client}")

    def _check_references(self) -> None:
        """For our own stored state, whose clients may name each other's structs in any order."""
        for client, end in self.references.items():
            known = self.clocks.get(client, self.state.clocks.get(client, 0))
            if end > known:
                raise InvalidYjsUpdateError(f"clock {end - 1} of client {client} is named but not there")

    def _parent(self) -> Owner:
        what = "a parent"
        is_root = self.reader.uint(what)
        if is_root > 1:
            raise InvalidYjsUpdateError(f"a parent is 0 (an item) or 1 (a root), not {is_root}")
        if is_root:
            name = self.reader.string("the name of a root")
            if name not in self.policy.roots:
                raise InvalidYjsUpdateError(f"root {name[:40]!r}; this document has {', '.join(self.policy.roots)}")
            return name
        if self.placer is None:
            raise InvalidYjsUpdateError("nothing in this document can be a parent but its root")
        return self._reference(what, 0)

    def _key(self) -> str:
        raw = self.reader.string("a key")
        if len(raw.encode()) > self.policy.key_bytes_max:
            raise InvalidYjsUpdateError(f"a key is over the limit of {self.policy.key_bytes_max} bytes")
        return raw

    def _content(self, kind: int) -> tuple[int, int | None]:
        """Step over a content: its length in clocks, and the kind of container that it makes."""
        reader = self.reader
        if kind == STRING:
            return self._string(), None
        if kind == DELETED:
            return reader.uint("a deleted length"), None
        if kind == FORMAT:
            self._format()
        elif kind == EMBED:
            # Anything else, a string above all, yrs would hand out as if it were text.
            if not isinstance(reader.json("an embed", self.policy.embed_bytes_max), dict):
                raise InvalidYjsUpdateError("an embed is a JSON object")
            self.embeds += 1
        elif kind == BINARY:
            reader.buffer("a binary")
        elif kind == ANY:
            count = reader.uint("a number of values")
            for _ in range(count):
                reader.any("a value")
            return count, None
        elif kind == TYPE:
            container = reader.byte("a type")
            if container not in self.policy.contents:
                raise InvalidYjsUpdateError(f"a container of type {container} may not be in this document")
            return 1, container
        else:  # a policy asks for JSON, Doc or Skip, which nobody may send
            raise InvalidYjsUpdateError(f"content of kind {KIND_NAMES[kind]} is not supported")
        return 1, None

    def _string(self) -> int:
        text = self.reader.string("a text")
        length = len(text)
        self.inserted_chars += length
        if text.isascii():
            return length
        self.is_ascii = False
        if max(text) > "\uffff":
            lows = low_surrogates(text, self.clock)
            self.lows.update(dict.fromkeys((self.client, low) for low in lows))
            length += len(lows)
        return length

    def _format(self) -> None:
        policy = self.policy
        key = self.reader.string("a format key")
        if not 0 < len(key.encode()) <= policy.format_key_bytes_max:
            raise InvalidYjsUpdateError(f"a format key has 1 to {policy.format_key_bytes_max} bytes")
        self.reader.json("the value of a format", policy.format_bytes_max)
        if key not in self.state.format_keys:
            self.format_keys.add(key)
            if len(self.state.format_keys) + len(self.format_keys) > policy.format_keys_max:
                raise InvalidYjsUpdateError(f"over {policy.format_keys_max} different format keys in one document")

    def _deletes(self) -> tuple[tuple[int, int, int], ...]:
        reader = self.reader
        deleted: list[tuple[int, int, int]] = []
        seen: set[int] = set()
        for _ in range(reader.uint("the number of clients with deletes")):
            client = reader.uint("a client id with deletes")
            ranges = reader.uint("a number of delete ranges")
            if client in seen:
                raise InvalidYjsUpdateError(f"deletes of client {client} come twice")
            if ranges == 0:
                raise InvalidYjsUpdateError(f"deletes of client {client} come without ranges")
            seen.add(client)
            self._refuse_many(len(deleted) + ranges, "delete ranges")
            end = 0
            known = self.clocks.get(client, self.state.clocks.get(client, 0))
            for _ in range(ranges):
                clock = reader.uint("the clock of a delete range")
                length = reader.uint("the length of a delete range")
                if clock < end or length == 0:
                    raise InvalidYjsUpdateError(f"delete ranges of client {client} do not rise at clock {clock}")
                end = clock + length
                if end > known:
                    raise InvalidYjsUpdateError(f"deletes clock {end - 1} of client {client}, which has only {known}")
                self._refuse_cut("a delete range", client, clock)
                self._refuse_cut("a delete range", client, end)
                deleted.append((client, clock, length))
        return tuple(deleted)
