"""The validator of a LiveText's updates: Yjs updates (version 1) are parsed whole, and let through or refused.

yrs trusts its input. Seven bytes can make a text vanish; others panic, hang, abort the process by a giant allocation,
or wait as *pending* for clocks that come later and eat what is typed then. So nothing reaches pycrdt before
:meth:`YjsState.check` has found that

* the bytes are one update, in shortest form, with nothing behind it and something in it;
* new structs are the sender's alone (his client id), start at exactly the clock that the document has for him, have a
  length of at least 1 and stay below 2**31;
* every origin, right origin and deleted range exists already (own structs earlier in the same update count), so that
  nothing can ever be pending;
* all is in the one text that the document is; documents with more in them go through ``yjs.history``;
* origin and right origin can have been neighbours (``yjs.order``), or replicas would disagree;
* no reference cuts a surrogate pair in two: yrs, Yjs and a Python string would disagree on what is left;
* in a rope of blocks, embeds are the markers of the sender's own blocks, each once, and no marker is deleted;
* delete ranges rise and do not overlap, each client once (yrs keeps the last, Yjs all of them);
* kinds that implementations read differently (JSON, hooks, weak links, subdocuments) and gaps (Skip) do not occur.

The layout, from ``INTERNALS.md`` of Yjs and the source of yrs 0.28 (``yjs.parse`` has the primitives)::

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
from collections.abc import Set
from functools import lru_cache

from collabkernel.crdt.yjs.changes import HeldChanges, YjsUpdate
from collabkernel.crdt.yjs.content import ContentReader, refuse_kind
from collabkernel.crdt.yjs.markers import Markers
from collabkernel.crdt.yjs.order import YjsOrder
from collabkernel.crdt.yjs.parse import Reader, low_surrogates, read_uint, splits_pair, write_uint
from collabkernel.crdt.yjs.policy import (
    HAS_KEY,
    HAS_ORIGIN,
    HAS_RIGHT_ORIGIN,
    STRING,
    TEXT_POLICY,
    Reference,
    YjsPolicy,
)
from collabkernel.crdt.yjs.structs import Struct, in_causal_order
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.limits import YJS_CLOCK_MAX

CLIENTS_TYPING = 4096
"""Whose updates' first bytes are kept: more than type in all texts at any time."""


class YjsState:
    """What the validator remembers of one text: clocks, halves of surrogate pairs, and the order of its items.

    Bounded by what the text holds: a few words a client and a piece, four bytes an astral character.
    """

    __slots__ = (
        "_format_keys",
        "_held",
        "_lows",
        "_order",
        "_root",
        "_unordered",
        "clocks",
        "contents",
        "markers",
        "policy",
    )

    def __init__(self, policy: YjsPolicy = TEXT_POLICY) -> None:
        self.policy = policy
        self.contents = policy.kinds
        """Kinds of content that may occur at all."""
        self.clocks: dict[int, int] = {}
        """The next clock by client: the state vector."""
        self.markers = Markers()
        self._format_keys: set[str] = set()
        self._lows: dict[int, array[int]] = {}
        self._held: HeldChanges | None = None
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
        """Advance past an update that ``check`` returned for this very state and that has been applied, or will be."""
        if self._held is not None:
            self._held.note(self.clocks, update)
        self.clocks.update(update.clocks)
        self._order.commit()
        if update.state:
            self._unordered = update.state
        if update.format_keys:
            self._format_keys |= update.format_keys
        for client, clock in update.low_surrogates:
            self._lows.setdefault(client, array("L")).append(clock)
        for name, clock in update.markers:
            self.markers.add(name, clock)

    def hold(self) -> None:
        """Remember what commits change from here on, until ``release`` or ``rewind``."""
        self._order.rollback()
        self._order.hold()
        self._held = HeldChanges()

    def release(self) -> None:
        """What was committed since ``hold`` stays."""
        self._order.release()
        self._held = None

    def rewind(self) -> None:
        """Take back all since ``hold``: O(what it brought), whatever is there."""
        self._order.rewind()
        held, self._held = self._held, None
        if held is not None:
            held.take_back(self.clocks, self._format_keys, self._lows, self.markers)

    @property
    def walked(self) -> int:
        """Pieces of the text that were walked over since ``hold``: what an update may cost beside its bytes."""
        return self._order.walked

    def splits_pair(self, client: int, clock: int) -> bool:
        """Whether a cut before ``clock`` falls between the halves of a surrogate pair."""
        return splits_pair(self._lows, client, clock)

    @property
    def order(self) -> YjsOrder:
        """The order of items. Made out only when somebody inserts: many documents are just read."""
        if self._unordered:
            stored = _Check(YjsState(self.policy), self._unordered, None)
            stored.run()
            order = YjsOrder(is_bounded=False)
            for item in in_causal_order(stored.items, {}):
                order.insert(item.client, item.clock, item.length, item.origin, item.right)
                order.commit()
            order.is_bounded = True
            if self._held is not None:
                order.hold()
            self._order = order
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
        header = _header(client)
        if not data.startswith(header):
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


@lru_cache(maxsize=CLIENTS_TYPING)
def _header(client: int) -> bytes:
    """How an update begins that has structs of one client alone."""
    return b"\x01\x01" + write_uint(client)


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
        self.contents = ContentReader(state.policy, self.reader)
        self.own = own
        self.client = -1
        self.clock = 0
        self.clocks: dict[int, int] = {}
        self.references: dict[int, int] = {}
        self.items: dict[int, list[Struct]] = {}
        self.markers = Markers()

    def run(self) -> YjsUpdate:
        reader = self.reader
        clients = reader.uint("the number of clients")
        if clients > 1 and self.own is not None:
            raise InvalidYjsUpdateError(f"structs of {clients} clients; a sender writes under his own client id alone")
        for _ in range(clients):
            self._client()
        self._check_references()
        self.markers = self._new_markers()
        deleted = self._deletes()
        if reader.at != len(reader.data):
            raise InvalidYjsUpdateError(f"{len(reader.data) - reader.at} bytes behind the end of the update")
        if not self.clocks and not deleted and self.own is not None:
            raise InvalidYjsUpdateError("there is nothing in the update; do not send empty ones")
        contents = self.contents
        contents.refuse_many_keys(self.state.format_keys)
        return YjsUpdate(
            self.clocks,
            deleted,
            contents.inserted_chars,
            contents.is_ascii,
            contents.embeds,
            tuple(contents.lows),
            frozenset(contents.format_keys - self.state.format_keys),
            tuple(contents.markers),
            b"" if self.own is not None else reader.data,
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
        kind = info & 0x1F
        if kind not in self.state.contents:
            raise refuse_kind(kind)
        origin = self._reference("an origin", 1) if info & HAS_ORIGIN else None
        right = self._reference("a right origin", 0) if info & HAS_RIGHT_ORIGIN else None
        if origin is None and right is None:
            self._parent()
        if info & HAS_KEY:
            raise InvalidYjsUpdateError("a text has no keys")
        length, _ = self.contents.content(kind, self.client, self.clock)
        if length == 0:
            raise InvalidYjsUpdateError(f"the struct at clock {self.clock} has no length")
        if self.own is None:
            item = Struct(self.client, self.clock, length, kind, origin, right)
            self.items.setdefault(self.client, []).append(item)
        else:
            self.state.order.insert(self.client, self.clock, length, origin, right)
        return length

    def _refuse_many(self, count: int, what: str) -> None:
        if self.own is not None and count > self.policy.structs_max:
            raise InvalidYjsUpdateError(f"{count} {what} in one update; at most {self.policy.structs_max}")

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
        if self.state.splits_pair(client, clock) or (client, clock) in self.contents.lows:
            raise InvalidYjsUpdateError(f"{what} cuts a surrogate pair in two at clock {clock} of client {client}")

    def _check_references(self) -> None:
        """For our own stored state, whose clients may name each other's structs in any order."""
        for client, end in self.references.items():
            known = self.clocks.get(client, self.state.clocks.get(client, 0))
            if end > known:
                raise InvalidYjsUpdateError(f"clock {end - 1} of client {client} is named but not there")

    def _new_markers(self) -> Markers:
        found = Markers()
        for name, clock in self.contents.markers:
            if name in self.state.markers:
                raise InvalidYjsUpdateError(f"the marker of block {name.site}.{name.counter} is there already")
            found.add(name, clock)
        return found

    def _parent(self) -> None:
        is_root = self.reader.uint("a parent")
        if is_root > 1:
            raise InvalidYjsUpdateError(f"a parent is 0 (an item) or 1 (a root), not {is_root}")
        if not is_root:
            raise InvalidYjsUpdateError("nothing in this document can be a parent but its root")
        self.contents.root()

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
                self.state.markers.refuse_delete(client, clock, end)
                self.markers.refuse_delete(client, clock, end)
                deleted.append((client, clock, length))
        return tuple(deleted)
