"""What one session looks at: the blocks that it named, and the partitions that it has all of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from collabkernel.crdt.ids import OpId
from collabkernel.limits import VIEWPORT_BLOCKS_MAX


class View:
    """The viewport of one session.

    Invariant: of each partition in ``sees`` the session was given the contents, and all operations since that were
    shown to it.
    """

    __slots__ = ("_missed", "_seen", "blocks", "in_sight", "is_due", "met", "owed", "sees", "told_ms")

    def __init__(self) -> None:
        self.blocks: tuple[OpId, ...] = ()
        """What it named last."""
        self.sees: dict[int, None] = {}
        """Partitions, the one that was in sight last comes last."""
        self.in_sight: frozenset[int] = frozenset()
        """Those of the blocks that it named, when it was last looked: whose presence it is told of ..."""
        self.met: frozenset[int] = frozenset()
        """... and those where it knows who is there."""
        self.is_due = False
        """It may lack something that it wants to see."""
        self.owed: tuple[int, OpId] | None = None
        """A seq up to which it is complete and was not told so, and the operation there."""
        self.told_ms = 0
        """When it was last told."""
        self._seen: frozenset[int] | None = None
        """``sees`` as a set, until it changes."""
        self._missed: set[int] = set()
        """Partitions that got new blocks which it was not told of."""

    @property
    def seen(self) -> frozenset[int]:
        """What it sees, as a set, by which those who see the same are found."""
        if self._seen is None:
            self._seen = frozenset(self.sees)
        return self._seen

    def name(self, blocks: tuple[OpId, ...]) -> None:
        """It looks elsewhere."""
        self.blocks = blocks
        self.is_due = True

    def add(self, made: OpId, number: int) -> None:
        """It has inserted a block, into this partition: that counts as named until it looks elsewhere."""
        self.blocks = (*self.blocks, made)[-VIEWPORT_BLOCKS_MAX:]
        self.is_due = self.is_due or number not in self.sees

    def start_over(self) -> None:
        """It was given a snapshot, and has no contents."""
        self.sees, self._seen = {}, None
        self._missed = set()
        self.owed = None
        self.is_due = True

    def note_missed(self, joined: Iterable[int]) -> None:
        """New blocks joined these partitions while it was behind."""
        missed = self.sees.keys() & set(joined)
        if missed:
            self._missed |= missed
            self.is_due = True

    def note_divided(self, divided: Mapping[int, tuple[int, ...]]) -> None:
        """Partitions were divided: it has all that they became, or lacks all."""
        for old in divided.keys() & self.sees.keys():
            self._seen = None
            self.sees.update(dict.fromkeys(divided[old]))
            if old in self.in_sight:
                self.in_sight |= {*divided[old]}
            if old in self.met:
                self.met |= {*divided[old]}
            if old in self._missed:
                self._missed.update(divided[old])

    def look(self, wanted: set[int], known: Collection[int], kept: int) -> tuple[list[int], list[int]]:
        """See some partitions: those of which it needs the contents, and those that it sees no longer.

        Args:
            wanted: The partitions in sight.
            known: All that there are.
            kept: So many it goes on seeing, or all that are in sight, if those are more.
        """
        new = sorted((wanted - self.sees.keys()) | (self._missed & (wanted | self.sees.keys())))
        self._missed = set()
        self._seen = None
        self.in_sight = frozenset(wanted)
        for number in sorted(wanted):
            self.sees.pop(number, None)
            self.sees[number] = None
        over = list(self.sees)[: max(len(self.sees) - max(kept, len(wanted)), 0)]
        for number in over:
            del self.sees[number]
        return [number for number in new if number in self.sees], [number for number in over if number in known]
