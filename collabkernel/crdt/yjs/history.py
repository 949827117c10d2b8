"""The validator of a JupyterLab document's updates: what stock Yjs clients send is let through, cut to what is new.

A LiveText's validator (``yjs.update``) knows that each update is its sender's own next one. Here an update may bring
several clients' structs, in any order, and much that is known: a client that reconnects answers with all that the
server may lack. So :meth:`YjsHistory.check` reads an update whole (``yjs.structs``) and then

* drops structs and deletes that are known, cutting the struct that is known in part. What is left is what yrs sees and
  the log holds: a known clock that comes with other content would otherwise be one thing here and another elsewhere;
* answers a gap with :class:`~collabkernel.errors.YjsGapError`: a first new clock above the next one, or an origin,
  parent or deleted range that does not exist. Nothing waits: yrs would keep it as *pending* and let it eat later text;
* takes the new structs in causal order, whatever their order in the bytes;
* finds each one's container (``yjs.places``) and asks the policy; refuses neighbours that never were (``yjs.order``)
  and cuts through surrogate pairs, as for a LiveText.

GC structs come from real clients (what was inside a deleted container), and so do Skip structs (where an update was
merged over a hole): they stand for known clocks, or are a gap.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from collabkernel.crdt.clock_ranges import ClockRanges
from collabkernel.crdt.yjs.order import YjsOrder
from collabkernel.crdt.yjs.parse import splits_pair
from collabkernel.crdt.yjs.places import PlaceIndex, Placer, PlaceRuns
from collabkernel.crdt.yjs.policy import DELETED, GC, SKIP, TEXT, Owner, YjsPolicy
from collabkernel.crdt.yjs.structs import (
    ParsedUpdate,
    Struct,
    in_causal_order,
    read_update,
    without_start,
    write_update,
)
from collabkernel.crdt.yjs.typed import read_typed
from collabkernel.errors import SplitPairError, YjsGapError

Range = tuple[int, int, int]
"""Client, first clock, the clock behind the last."""


class YjsNews(NamedTuple):
    """What of an accepted update is new; :meth:`YjsHistory.commit` takes it once pycrdt has applied ``update``."""

    update: bytes
    clocks: dict[int, int]
    """The next clock by client, for clients with new structs."""
    deleted: tuple[Range, ...] = ()
    low_surrogates: tuple[tuple[int, int], ...] = ()
    format_keys: frozenset[str] = frozenset()
    places: Mapping[int, PlaceRuns] = {}
    """Of new items, by client."""
    containers: Mapping[Owner, tuple[int, int]] = {}
    """New containers, each with its kind and depth."""


class YjsHistory:
    """What the validator remembers of one document: clocks, deletes, halves of surrogate pairs, places and order.

    Bounded by what the document holds, deleted items included.
    """

    def __init__(self, policy: YjsPolicy) -> None:
        self.policy = policy
        self.clocks: dict[int, int] = {}
        """The next clock by client: the state vector."""
        self.deleted = ClockRanges()
        """What clients have deleted. A value that another one overwrote may be missing."""
        self._places = PlaceIndex(policy)
        self._order = YjsOrder()
        self._lows: dict[int, array[int]] = {}
        self._format_keys: set[str] = set()

    def check(self, update: bytes) -> YjsNews:
        """Parse an update whole and hold it against this document; nothing is changed.

        Raises:
            YjsGapError: It continues what is not here.
            InvalidYjsUpdateError: It must not reach pycrdt.
        """
        self._order.rollback()  # of an update that was checked but not committed
        return self._judge_typed(update) or self._judge(read_update(update, self.policy, self.policy.structs_max))

    def load(self, state: bytes) -> None:
        """Remember a stored state, into an empty history; it may be of any size.

        Raises:
            InvalidYjsUpdateError: It is no state of such a document.
        """
        assert not self.clocks, "a stored state belongs in an empty document"
        self._order.is_bounded = False
        self.commit(self._judge(read_update(state, self.policy, None), is_stored=True))
        self._order.is_bounded = True

    def commit(self, news: YjsNews) -> None:
        """Advance past what ``check`` returned last."""
        self._order.commit()
        self.clocks.update(news.clocks)
        self._places.add(news.places, news.containers)
        self._format_keys |= news.format_keys
        for client, start, end in news.deleted:
            self.deleted.add(client, start, end)
        for client, clock in news.low_surrogates:
            self._lows.setdefault(client, array("L")).append(clock)

    def splits_pair(self, client: int, clock: int) -> bool:
        """Whether a cut before ``clock`` falls between the halves of a surrogate pair."""
        return splits_pair(self._lows, client, clock)

    def _judge_typed(self, data: bytes) -> YjsNews | None:
        """The common case at a third of the cost; None means only that the full check has to look."""
        typed = read_typed(data)
        if typed is None:
            return None
        client, clock, end, origin, right, lows = typed
        clocks = self.clocks
        if clock != clocks.get(client, 0) or origin[1] >= clocks.get(origin[0], 0):
            return None
        if self.splits_pair(origin[0], origin[1] + 1):
            return None
        place = self._places.place(origin)
        container = self._places.container(place.owner)
        if container is None or container[0] != TEXT:
            return None
        if right is not None:
            if right[1] >= clocks.get(right[0], 0) or self.splits_pair(*right):
                return None
            if self._places.place(right).owner != place.owner:
                return None
        if place.is_dead:
            place = place._replace(is_dead=False)
        self._order.insert(client, clock, end - clock, origin, right, place)
        return YjsNews(data, {client: end}, (), lows, frozenset(), {client: PlaceRuns([clock], [place])})

    def _judge(self, parsed: ParsedUpdate, *, is_stored: bool = False) -> YjsNews:
        parsed.contents.refuse_many_keys(self._format_keys)
        fresh = {client: self._fresh(client, structs) for client, structs in parsed.structs.items()}
        clocks = {client: queue[-1].clock + queue[-1].length for client, queue in fresh.items() if queue}
        cuts = _Cuts(self, parsed, clocks)
        for queue in fresh.values():
            cuts.refuse_wrong_names(queue)
        deletes = cuts.new_deletes()
        placer = Placer(self._places, self.deleted.has)
        collected: list[Range] = []
        for struct in in_causal_order(fresh, self.clocks):
            place = placer.place(struct)
            if struct.kind in (GC, DELETED):
                collected.append((struct.client, struct.clock, struct.clock + struct.length))
            if place.owner is not None:
                head = place._replace(is_dead=False) if place.is_dead else place
                self._order.insert(struct.client, struct.clock, struct.length, struct.origin, struct.right, head)
        return YjsNews(
            parsed.data if is_stored else self._only_new(parsed, fresh, deletes),
            clocks,
            (*collected, *((client, *span) for client, spans in deletes.items() for span in spans)),
            tuple(low for low in parsed.contents.lows if low[1] >= self.clocks.get(low[0], 0)),
            frozenset(parsed.contents.format_keys),
            placer.new_places,
            placer.new_containers,
        )

    def _fresh(self, client: int, structs: Sequence[Struct]) -> list[Struct]:
        """The structs that are not known, the first one cut if need be."""
        known = self.clocks.get(client, 0)
        if structs[0].clock == known and structs[0].kind != SKIP:
            fresh = list(structs)
        else:
            fresh = [struct for struct in structs if struct.clock + struct.length > known]
            if fresh and fresh[0].clock < known and fresh[0].kind != SKIP:
                fresh[0] = without_start(fresh[0], known - fresh[0].clock)
        if fresh and fresh[0].clock > known:
            raise YjsGapError(f"clock {fresh[0].clock} of client {client} leaves a gap; the next is {known}")
        if any(struct.kind == SKIP for struct in fresh):
            raise YjsGapError(f"structs of client {client} are skipped; the next clock is {known}")
        return fresh

    @staticmethod
    def _only_new(
        parsed: ParsedUpdate, fresh: Mapping[int, Sequence[Struct]], deletes: Mapping[int, Sequence[tuple[int, int]]]
    ) -> bytes:
        if fresh == parsed.structs and deletes == parsed.deletes:
            return parsed.data
        return write_update(parsed.data, fresh.values(), deletes)


class _Cuts:
    """Where an update would cut the document, itself included: at existing items, and between whole characters."""

    def __init__(self, history: YjsHistory, parsed: ParsedUpdate, clocks: Mapping[int, int]) -> None:
        self._history = history
        self._parsed = parsed
        self._ends = clocks
        self._lows = parsed.contents.lows

    def refuse_wrong_names(self, structs: Iterable[Struct]) -> None:
        for struct in structs:
            if struct.skipped:
                self._refuse_half("what is known of a struct", struct.client, struct.clock)
            if (origin := struct.origin) is not None:
                self._refuse_missing("an origin", *origin)
                self._refuse_half("an origin", origin[0], origin[1] + 1)
            if (right := struct.right) is not None:
                self._refuse_missing("a right origin", *right)
                self._refuse_half("a right origin", *right)
            if isinstance(struct.parent, tuple):
                self._refuse_missing("a parent", *struct.parent)

    def new_deletes(self) -> dict[int, list[tuple[int, int]]]:
        """The delete ranges that are not known."""
        found: dict[int, list[tuple[int, int]]] = {}
        for client, ranges in self._parsed.deletes.items():
            missing: list[tuple[int, int]] = []
            for clock, end in ranges:
                self._refuse_missing("a delete range", client, end - 1)
                self._refuse_half("a delete range", client, clock)
                self._refuse_half("a delete range", client, end)
                missing += self._history.deleted.missing(client, clock, end)
            if missing:
                found[client] = missing
        return found

    def _refuse_missing(self, what: str, client: int, clock: int) -> None:
        end = self._ends.get(client) or self._history.clocks.get(client, 0)
        if clock >= end:
            raise YjsGapError(f"{what} names clock {clock} of client {client}, which has only {end}")

    def _refuse_half(self, what: str, client: int, clock: int) -> None:
        if (self._lows and (client, clock) in self._lows) or self._history.splits_pair(client, clock):
            raise SplitPairError(f"{what} cuts a surrogate pair in two at clock {clock} of client {client}")
