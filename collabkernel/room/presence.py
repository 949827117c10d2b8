"""Presence of a room: who is here and what he shows, gathered for a tick, encoded once, never stored.

That somebody came or left is told to all, as an *entry*. What he shows from then on is a *move*: it is told to those
who have the block in sight that he is in, or was in; without a block it is told to all, and who has no viewport is told
of all. Whoever gets other blocks in sight is told of everybody who is in sight: who else was there when he last knew is
not any more. Of more than ``CLUSTER`` in one block those that did something last are told of, and how many there are;
but that somebody came into a block, or left it, is told of everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice

from collabkernel.crdt.ids import OpId
from collabkernel.limits import CLUSTER
from collabkernel.room.busy import Busy
from collabkernel.room.effects import Effect, Send
from collabkernel.room.elsewhere import Elsewhere
from collabkernel.room.session import Session
from collabkernel.room.viewport import Viewports
from collabkernel.wire.frames import (
    PRESENCE_WHOLE,
    presence_cluster_field,
    presence_entry_field,
    presence_move_field,
    presence_of_fields,
    presence_part,
)
from collabkernel.wire.messages import PresenceCluster, PresenceEntry, PresenceMove

TICK_BYTES = 12 << 20
"""What a tick may send to all sessions together of one place: everybody's presence is everybody's traffic. Of 500 who
look at the same and move three times a second, each is told at once."""
FRAME_BYTES_MIN = 8 << 10
"""But one of 100 cursors, however many sessions there are."""
ENTRY_BYTES = 64
"""What an entry takes beside its state, about."""

EVERYWHERE, NOWHERE = -1, 0
"""Places that are no partition: that of all moves, for who has no viewport, and that of those without a block."""


class PresenceBoard:
    """What changed since the last tick, and what each slow session has missed of it."""

    __slots__ = (
        "_busy",
        "_crowds",
        "_elsewhere",
        "_fields",
        "_here",
        "_is_placed",
        "_looks",
        "_missed",
        "_moved",
        "_news",
        "_sent_at_ms",
        "_thronged",
        "_viewports",
    )

    def __init__(self, busy: Busy, viewports: Viewports, has_peers: bool = False) -> None:
        self._busy = busy
        self._viewports = viewports
        self._looks = viewports.looks
        self._elsewhere = Elsewhere() if has_peers else None
        self._sent_at_ms = 0
        self._here: dict[int, PresenceEntry] = {}
        """By site: the newest of all, guests too."""
        self._fields: dict[int, bytes] = {}
        """By site: the same, encoded when somebody came."""
        self._news: dict[int, PresenceEntry] = {}
        """By site: who came or left."""
        self._moved: dict[int, dict[int, bool]] = {}
        """By place: sites, the one that waits longest first; and whether they came from another block."""
        self._crowds: dict[OpId, dict[int, None]] = {}
        """By block: sites, the one that did something last comes last."""
        self._is_placed = False
        """Somebody was in a block: else nobody's sight is told of."""
        self._thronged: dict[int, dict[OpId, None]] = {}
        """By place: blocks of which is to be told how many are in them."""
        self._missed: dict[int, dict[int, PresenceEntry]] = {}
        """By session, then by site; bounded by the sites that changed while it was blocked."""

    # -- what happens

    def show(self, session: Session) -> None:
        """A session came, or shows something new."""
        self._change(session.entry())

    def hide(self, session: Session) -> None:
        """A session left."""
        self._change(session.entry(left=True))
        self._missed.pop(session.id, None)

    def hear(self, origin: bytes, entries: Iterable[PresenceEntry], is_asking: bool, now_ms: int) -> None:
        """Another server tells what its sessions show."""
        if self._elsewhere is not None:
            for entry in self._elsewhere.hear(origin, entries, is_asking, now_ms):
                self._note(entry)

    def part_for(self, session: Session) -> bytes:
        """What everybody else shows, for who has just come; encoded once for all who do."""
        fields = self._fields
        for site, entry in self._here.items():
            if site not in fields:
                fields[site] = presence_entry_field(entry)
        return presence_of_fields([field for site, field in fields.items() if site != session.site])

    def _change(self, entry: PresenceEntry) -> None:
        self._note(entry)
        if self._elsewhere is not None:
            self._elsewhere.show(entry)

    def _note(self, entry: PresenceEntry) -> None:
        site, known = entry.site, self._here.pop(entry.site, None)
        self._fields.pop(site, None)
        block, old_block = entry.block, None if known is None else known.block
        if block is not None and block == old_block:
            self._crowds[block][site] = self._crowds[block].pop(site)
        else:
            self._leave(old_block, site)
            self._enter(block, site)
        if not entry.left:
            self._here[site] = entry
        if known is None or entry.left or site in self._news or not entry.state_json:
            self._news[site] = entry
            for moved in self._moved.values():
                moved.pop(site, None)
            return
        places = {self._place(block), self._place(old_block)} if known.state_json else {self._place(block)}
        for place in (EVERYWHERE, *((NOWHERE,) if NOWHERE in places else places)):
            moved = self._moved.setdefault(place, {})
            moved[site] = moved.get(site, False) or block != old_block

    def _enter(self, block: OpId | None, site: int) -> None:
        if block is None:
            return
        self._is_placed = True
        crowd = self._crowds.setdefault(block, {})
        crowd[site] = None
        if len(crowd) > CLUSTER:
            self._throng(block)

    def _leave(self, block: OpId | None, site: int) -> None:
        if block is None:
            return
        crowd = self._crowds[block]
        del crowd[site]
        if len(crowd) >= CLUSTER:
            self._throng(block)
        if len(crowd) == CLUSTER:  # of what some of them did was not told
            for place in (EVERYWHERE, self._place(block)):
                self._moved.setdefault(place, {}).update(dict.fromkeys(crowd, True))
        if not crowd:
            del self._crowds[block]

    def _throng(self, block: OpId) -> None:
        """Tell how many are in a block."""
        for place in (EVERYWHERE, self._place(block)):
            self._thronged.setdefault(place, {})[block] = None
            self._moved.setdefault(place, {})

    def _place(self, block: OpId | None) -> int:
        return NOWHERE if block is None else self._viewports.home(block) or NOWHERE

    # -- a tick

    def due_ms(self) -> int | None:
        """When to ``send``; None when there is nothing."""
        has_news = self._news or self._moved or self._looks != self._viewports.looks
        if has_news or (self._elsewhere is not None and self._elsewhere.has_news()):
            return self._sent_at_ms + self._busy.presence_tick_ms
        return None if self._elsewhere is None else self._elsewhere.due_ms()

    def early_ms(self) -> int | None:
        """From when on to ``send`` beside something else that is sent; None when there is nothing."""
        due_ms = self.due_ms()
        return None if due_ms is None else due_ms - self._busy.presence_early_ms

    def send(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:
        """What changed, one frame for all who are told the same; what is over the tick's size waits."""
        told: list[Effect] = []
        if self._elsewhere is not None:
            for entry in self._elsewhere.forget(now_ms):
                self._note(entry)
            told += self._elsewhere.tell(now_ms)
        self._sent_at_ms, self._looks = now_ms, self._viewports.looks
        news = self._take_news(_bytes_max(len(sessions)))
        moves = self._take_moves(sessions)
        parts = {place: self._part(place, sites) for place, sites in moves.items()}
        first, wholes = presence_part(list(news.values())), _Wholes(self)
        ids_by_sight: dict[tuple[frozenset[int] | None, bool], list[int]] = {}
        for session in sessions:
            if session.is_blocked:
                self._miss(session, news, moves)
            else:
                ids_by_sight.setdefault(_sight(session, self._is_placed), []).append(session.id)
        ids_by_key: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        for (sight, is_new), some_ids in ids_by_sight.items():
            in_sight = () if sight is None or not self._is_placed else tuple(sorted(sight))
            places = (EVERYWHERE,) if sight is None else (NOWHERE,) if is_new else (NOWHERE, *in_sight)
            key = tuple([place for place in places if place in parts]), in_sight if is_new else ()
            ids_by_key.setdefault(key, []).extend(some_ids)
        for (places, in_sight), ids in ids_by_key.items():
            frame = b"".join([first, *[parts[place] for place in places], wholes.part(in_sight)])
            if frame:
                told.append(Send(tuple(ids), frame))
        return told

    def _take_news(self, bytes_max: int) -> dict[int, PresenceEntry]:
        """Of who came and left, what has waited longest, as much as one frame may have."""
        taken: dict[int, PresenceEntry] = {}
        while self._news and bytes_max > 0:
            site = next(iter(self._news))
            taken[site] = self._news.pop(site)
            bytes_max -= len(taken[site].state_json) + ENTRY_BYTES
        return taken

    def _take_moves(self, sessions: Collection[Session]) -> dict[int, list[PresenceEntry]]:
        """By place, what has waited longest, as much as one frame may have; of places that nobody sees nothing."""
        watchers = _watchers(sessions)
        taken: dict[int, list[PresenceEntry]] = {}
        for place in list(self._moved):
            bytes_max, moved = _bytes_max(watchers[place]), self._moved[place]
            found = taken[place] = []
            while moved and bytes_max > 0 and watchers[place]:
                site = next(iter(moved))
                is_from_elsewhere = moved.pop(site)
                entry = self._here.get(site)
                if entry is not None and (is_from_elsewhere or self._is_told_of(entry)):
                    found.append(entry)
                    bytes_max -= len(entry.state_json) + ENTRY_BYTES
            if not moved or not watchers[place]:
                del self._moved[place]
        return taken

    def _is_told_of(self, entry: PresenceEntry) -> bool:
        """Whether it is not one of many in its block that have done nothing lately."""
        crowd = self._crowds[entry.block] if entry.block is not None else {}
        return len(crowd) <= CLUSTER or entry.site in islice(reversed(crowd), CLUSTER)

    def _part(self, place: int, entries: Iterable[PresenceEntry]) -> bytes:
        counted = self._thronged.pop(place, ())
        return presence_part((), list(map(_move, entries)), self._clusters(counted))

    def fields_of(self, blocks: Iterable[OpId]) -> tuple[list[bytes], list[bytes]]:
        """Everybody who is in these blocks: moves, and how many there are where not all are told of."""
        crowds = [(block, self._crowds[block]) for block in blocks]
        moves = [
            presence_move_field(_move(entry))
            for _, crowd in crowds
            for site in islice(reversed(crowd), CLUSTER)
            if (entry := self._here[site]).state_json
        ]
        clusters = self._clusters([block for block, crowd in crowds if len(crowd) > CLUSTER])
        return moves, list(map(presence_cluster_field, clusters))

    def _clusters(self, blocks: Iterable[OpId]) -> list[PresenceCluster]:
        return [PresenceCluster(block, len(self._crowds.get(block, ()))) for block in blocks]

    def crowded(self) -> dict[int, list[OpId]]:
        """The blocks that somebody is in, by place."""
        found: dict[int, list[OpId]] = {}
        for block in self._crowds:
            found.setdefault(self._place(block), []).append(block)
        return found

    # -- the slow

    def _miss(self, session: Session, news: dict[int, PresenceEntry], moves: dict[int, list[PresenceEntry]]) -> None:
        missed = self._missed.setdefault(session.id, {})
        missed.update(news)
        place = EVERYWHERE if session.view is None else NOWHERE
        missed.update({entry.site: entry for entry in moves.get(place, ())})
        if session.view is not None:
            session.view.met = frozenset()  # what it has in sight it is told of anew

    def make_up(self, session: Session) -> list[Effect]:
        """What a session missed while it was blocked."""
        missed = self._missed.pop(session.id, None)
        if session.view is not None:
            self._looks = -1  # at the next tick
        return [Send((session.id,), presence_part(list(missed.values())))] if missed else []


class _Wholes:
    """Who is in the sight of those who have just got other places there, each place encoded once."""

    def __init__(self, board: PresenceBoard) -> None:
        self._board = board
        self._blocks: dict[int, list[OpId]] | None = None
        self._fields: dict[int, tuple[list[bytes], list[bytes]]] = {}
        self._parts: dict[tuple[int, ...], bytes] = {(): b""}

    def part(self, places: tuple[int, ...]) -> bytes:
        """Everybody who is in some places; nothing for none."""
        if places not in self._parts:
            fields = [self._fields_of(place) for place in places]
            moves, clusters = ([field for each in fields for field in each[i]] for i in (0, 1))
            self._parts[places] = presence_of_fields([*moves, *clusters, PRESENCE_WHOLE])
        return self._parts[places]

    def _fields_of(self, place: int) -> tuple[list[bytes], list[bytes]]:
        if self._blocks is None:
            self._blocks = self._board.crowded()
        if place not in self._fields:
            self._fields[place] = self._board.fields_of(self._blocks.get(place, ()))
        return self._fields[place]


def _move(entry: PresenceEntry) -> PresenceMove:
    return PresenceMove(entry.site, entry.state_json, entry.block)


def _watchers(sessions: Iterable[Session]) -> Counter[int]:
    """How many are told of the moves in each place; a thousand look at some tens of places."""
    sights = Counter([None if session.view is None else session.view.in_sight for session in sessions])
    watchers: Counter[int] = Counter()
    for sight, count in sights.items():
        for place in (EVERYWHERE,) if sight is None else (NOWHERE, *sight):
            watchers[place] += count
    return watchers


def _sight(session: Session, is_placed: bool) -> tuple[frozenset[int] | None, bool]:
    """The places in its sight, None for all; and whether it is to be told of all who are there: some are new to it."""
    view = session.view
    if view is None:
        return None, False
    if not is_placed:
        return view.in_sight, False
    met, view.met = view.met, view.in_sight
    return view.in_sight, not view.in_sight <= met


def _bytes_max(watchers: int) -> int:
    return max(FRAME_BYTES_MIN, TICK_BYTES // max(1, watchers))
