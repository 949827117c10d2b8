"""The order of all items of a Yjs document, deleted ones too: can an origin and a right origin have been neighbours?

Yjs orders items by YATA (Nicolaescu et al., 2016), which converges as long as each item was inserted between two
neighbours of what its author saw. Two references that never were neighbours break that: ``hello`` with an ``a`` whose
origin is the ``o`` and whose right origin is the ``e`` reads ``haello`` where it came in and ``helloa`` after a reload.

An item between L and R is let in only if L comes before R, R's own origin is not right of L, and L's own right origin
is not left of R; then nothing that the authors of L and R knew of stands between. (In 1,500 random histories of three
writers, 60 % of them lying, each replayed in 16 orders: 64 diverged unchecked, 11 with the first condition alone, none
with all three.)

A text is a doubly linked list of *pieces*: stretches of one client's clocks that stand together and were typed one
after the other; so is an array, and so are the values that a key of a map has had. A document that is not flat has many
such lists, each named by its *head*. Typing on costs O(1); an insert elsewhere a bisection among that client's pieces
and a walk over what was inserted there concurrently.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from operator import attrgetter
from typing import Final

from collabkernel.crdt.yjs.policy import Reference
from collabkernel.errors import InvalidYjsUpdateError

CONCURRENT_MAX = 10_000
"""Pieces between an origin and its right origin. All were inserted there by others, unseen by the author: an honest
one meets a handful, and without a bound every insert of a hostile one could walk the whole text, here and in yrs."""

STEPS_MAX = 250_000
"""Pieces that one update, or all that are held, may walk over: less than a tenth of a second, for thousands of inserts
in crowded places."""


_NOTHING: Final[Reference] = (-1, -1)
"""Where there is no origin. Compiled code keeps two numbers in place, but not two or none: a tuple and two boxed
numbers are 136 bytes, and a document that a thousand people type in has tens of thousands of pieces a minute."""


class _Piece:
    """Items ``start`` to ``start + length - 1`` of a client; each but the first has the one before it as origin."""

    __slots__ = ("client", "head", "left", "length", "origin", "right", "right_origin", "start")

    def __init__(
        self,
        head: Hashable,
        client: int,
        start: int,
        length: int,
        origin: Reference,
        right_origin: Reference,
    ) -> None:
        self.head = head
        self.client = client
        self.start = start
        self.length = length
        self.origin = origin
        self.right_origin = right_origin
        self.left: _Piece | None = None
        self.right: _Piece | None = None

    def begins(self, reference: Reference) -> bool:
        return self.start == reference[1] and self.client == reference[0]

    def holds(self, reference: Reference) -> bool:
        return reference[0] == self.client and self.start <= reference[1] < self.start + self.length


_start = attrgetter("start")


def _index(pieces: list[_Piece], clock: int) -> int:
    """Where the piece is that holds a clock. Starts in lists of their own are found faster; a room with a thousand
    texts and some tens of writers in each would keep 200 bytes more a writer and text."""
    if pieces[-1].start <= clock:  # what was typed last is what is named most
        return len(pieces) - 1
    return bisect_right(pieces, clock, key=_start) - 1


class YjsOrder:
    """The lists. What ``insert`` brings is staged until ``commit``, and ``rollback`` takes it out again.

    Between ``hold`` and ``release`` what was committed can be taken out too, by ``rewind``: what a going back costs is
    what was inserted, not what is there.
    """

    __slots__ = ("_committed", "_firsts", "_is_holding", "_journal", "_pieces", "is_bounded", "walked")

    def __init__(self, is_bounded: bool = True) -> None:
        self.is_bounded = is_bounded
        """False while a stored text is read: all in it was let in once, in another order."""
        self._firsts: dict[Hashable, _Piece] = {}
        self._pieces: dict[int, list[_Piece]] = {}
        """By client, in the order of their clocks."""
        self._journal: list[tuple[_Piece, int]] = []
        """What was done since the last commit, or since ``hold``: a piece that grew, by how much, or was put in (0), or
        cut off (-1)."""
        self._committed = 0
        """How much of the journal is committed; 0 unless it is held."""
        self._is_holding = False
        self.walked = 0
        """Pieces walked over since the last commit, or since ``hold``."""

    def insert(
        self,
        client: int,
        clock: int,
        length: int,
        origin: Reference | None,
        right_origin: Reference | None,
        head: Hashable = None,
    ) -> None:
        """Put items of one client between two that exist, in the list of that head.

        Raises:
            InvalidYjsUpdateError: ``origin`` and ``right_origin`` cannot have been neighbours for anybody.
        """
        pieces = self._pieces.get(client)
        its_right = right_origin or _NOTHING
        if pieces is not None and origin == (client, clock - 1):
            last = pieces[-1]
            after = last.right
            if last.right_origin == its_right and (
                after is None if right_origin is None else after is not None and after.begins(right_origin)
            ):
                last.length += length
                self._journal.append((last, length))
                return
        left = self._ending_at(origin) if origin is not None else None
        right = self._starting_at(right_origin) if right_origin is not None else None
        self._refuse_strangers(left, right, origin)
        piece = _Piece(head, client, clock, length, origin or _NOTHING, its_right)
        if (self._firsts.get(head) if left is None else left.right) is not right:
            left = self._find_left(piece, left, right)
        self._link(left, piece)
        self._journal.append((piece, 0))
        if pieces is None:
            self._pieces[client] = [piece]
        else:
            pieces.append(piece)

    def commit(self) -> None:
        """Keep what was inserted."""
        if self._is_holding:
            self._committed = len(self._journal)
        else:
            self._journal.clear()
            self.walked = 0

    def rollback(self) -> None:
        """Take out what was inserted since the last commit, and join what was cut for it: as long as it was before."""
        self._take_back(self._committed)
        if not self._is_holding:
            self.walked = 0

    def hold(self) -> None:
        """Keep the journal from here on."""
        assert not self._journal, "what was inserted is committed or rolled back before"
        assert not self._is_holding
        self._is_holding = True
        self.walked = 0

    def release(self) -> None:
        """Keep what was committed since ``hold``, for good."""
        self.rollback()
        self._is_holding = False
        self._committed = 0
        self._journal.clear()

    def rewind(self) -> None:
        """Take out all since ``hold``, and hold no longer."""
        self._take_back(0)
        self._committed = 0
        self.release()

    def _take_back(self, length: int) -> None:
        while len(self._journal) > length:
            piece, growth = self._journal.pop()
            if growth > 0:
                piece.length -= growth
            elif growth < 0:
                self._join(piece)
            else:
                self._unlink(piece)
                self._pieces[piece.client].pop()
                if not self._pieces[piece.client]:
                    del self._pieces[piece.client]

    def to_list(self, head: Hashable = None) -> list[tuple[int, int, int]]:
        """All pieces of a list in order, as (client, first clock, length)."""
        found = []
        piece = self._firsts.get(head)
        while piece is not None:
            found.append((piece.client, piece.start, piece.length))
            piece = piece.right
        return found

    def _find(self, reference: Reference) -> _Piece:
        client, clock = reference
        pieces = self._pieces[client]
        return pieces[_index(pieces, clock)]

    def _ending_at(self, reference: Reference) -> _Piece:
        piece = self._find(reference)
        if reference[1] + 1 < piece.start + piece.length:
            self._split(piece, reference[1] + 1)
        return piece

    def _starting_at(self, reference: Reference) -> _Piece:
        piece = self._find(reference)
        return piece if piece.start == reference[1] else self._split(piece, reference[1])

    def _split(self, piece: _Piece, clock: int) -> _Piece:
        length = piece.start + piece.length - clock
        rest = _Piece(piece.head, piece.client, clock, length, (piece.client, clock - 1), piece.right_origin)
        piece.length -= length
        self._link(piece, rest)
        pieces = self._pieces[piece.client]
        pieces.insert(_index(pieces, clock) + 1, rest)
        self._journal.append((rest, -1))
        return rest

    def _join(self, rest: _Piece) -> None:
        assert rest.left is not None, "a rest stands behind what it was cut off"
        rest.left.length += rest.length
        self._unlink(rest)
        pieces = self._pieces[rest.client]
        del pieces[_index(pieces, rest.start)]

    def _link(self, left: _Piece | None, piece: _Piece) -> None:
        piece.left = left
        if left is None:
            piece.right, self._firsts[piece.head] = self._firsts.get(piece.head), piece
        else:
            piece.right, left.right = left.right, piece
        if piece.right is not None:
            piece.right.left = piece

    def _unlink(self, piece: _Piece) -> None:
        if piece.left is None and piece.right is None:
            del self._firsts[piece.head]
        elif piece.left is None and piece.right is not None:
            self._firsts[piece.head] = piece.right
        elif piece.left is not None:
            piece.left.right = piece.right
        if piece.right is not None:
            piece.right.left = piece.left

    def _refuse_strangers(self, left: _Piece | None, right: _Piece | None, origin: Reference | None) -> None:
        if left is None:
            can_touch = right is None or right.origin == _NOTHING
        elif origin != (left.client, left.start + left.length - 1):
            can_touch = False  # the right origin is in the same piece, but left of the origin: it cut off the end
        elif right is None:
            can_touch = left.right_origin == _NOTHING
        elif right.origin == origin or left.right_origin == (right.client, right.start):
            return  # one was inserted beside the other, which says it all
        else:
            between = left.right
            steps = 0
            while between is not None and between is not right and (steps < CONCURRENT_MAX or not self.is_bounded):
                if between.holds(right.origin) or between.holds(left.right_origin):
                    break
                between = between.right
                steps += 1
                self.walked += 1
            self._refuse_walks()
            can_touch = between is right
        if not can_touch:
            raise InvalidYjsUpdateError("its origin and right origin cannot have been neighbours for anybody")

    def _find_left(self, piece: _Piece, left: _Piece | None, right: _Piece | None) -> _Piece | None:
        """YATA: the piece to put it after, among those that others inserted between the same two.

        As in yrs, piece by piece: all items of a piece but the first follow that one.
        """
        other = self._firsts.get(piece.head) if left is None else left.right
        before: set[_Piece] = set()
        conflicting: set[_Piece] = set()
        while other is not None and other is not right:
            if len(before) == CONCURRENT_MAX and self.is_bounded:
                raise InvalidYjsUpdateError(
                    f"over {CONCURRENT_MAX} concurrent inserts in one place; load the text anew"
                )
            self.walked += 1
            self._refuse_walks()
            before.add(other)
            conflicting.add(other)
            if other.origin == piece.origin:
                if other.client < piece.client:
                    left = other
                    conflicting.clear()
                elif other.right_origin == piece.right_origin:
                    break
            elif other.origin != _NOTHING and (origin := self._find(other.origin)) in before:
                if origin not in conflicting:
                    left = other
                    conflicting.clear()
            else:
                break
            other = other.right
        return left

    def _refuse_walks(self) -> None:
        if self.walked > STEPS_MAX and self.is_bounded:
            raise InvalidYjsUpdateError(f"its inserts walk over {STEPS_MAX} others; load the document anew")
