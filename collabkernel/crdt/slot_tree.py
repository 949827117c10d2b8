"""The Fugue tree of list slots and where in it a slot stands.

Each slot is a left or a right child of another slot (or a right child of the root); siblings on one side are ordered by
id; the list is the in-order traversal: left children, the slot, right children (Weidner & Kleppmann, "The Art of the
Fugue: Minimizing Interleaving in Collaborative Text Editing", 2023). A slot never changes its place among the others,
so replicas that know the same slots have them in the same order. The tree grows; what leaves it (``take_out``) leaves
it at the same point of the log everywhere.

A new slot with a younger sibling stands next to the far end of that sibling's subtree. The end is usually a few steps
away; behind a long chain it is found by binary search over the sequence (a subtree is one stretch of it), asking for
each slot "is it within?" through jump pointers to ancestors (Myers, "An Applicative Random-Access Stack", 1983). So no
shape of the tree, however deep or wide, makes an insert cost more than O(log^2 n) steps, and nothing recurses.
"""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections.abc import Sequence
from typing import Generic, TypeVar

from collabkernel.crdt.ids import ROOT, OpId, Side
from collabkernel.crdt.sequence_index import Block, SequenceIndex

DESCENT_STEPS_MAX = 16
"""Steps down a chain before binary search takes over."""

T = TypeVar("T")


class Slot(Generic[T]):
    """A place in the list; what it holds may leave, the place stays."""

    __slots__ = ("block", "born", "depth", "first_left", "held", "id", "jump", "last_right", "offset", "parent", "side")

    block: Block[Slot[T]]
    offset: int
    """Where in the sequence it is; the index writes them."""
    jump: Slot[T]
    """An ancestor, some way up; written when ``depth`` is."""

    def __init__(self, slot_id: OpId, parent: Slot[T] | None, side: Side, born: T | None, held: T | None) -> None:
        self.id = slot_id
        self.parent = parent
        self.side = side
        self.born = born
        """What was made together with the slot, or None."""
        self.held = held
        """What is shown here, or None: a tombstone."""
        self.first_left: Slot[T] | None = None
        """The left child with the least id, which is the first in order."""
        self.last_right: Slot[T] | None = None
        """The right child with the greatest id, which is the last in order."""
        self.depth = -1
        """Steps to the root; -1 until somebody asks."""


class SlotTree(Generic[T]):
    """All slots of a list, in a tree and in a sequence. The root stands first in the sequence and is never shown."""

    __slots__ = ("_siblings", "index", "root")

    def __init__(self) -> None:
        self.root: Slot[T] = Slot(ROOT, None, Side.RIGHT, None, None)
        self.index: SequenceIndex[Slot[T]] = SequenceIndex(self.root)
        self._siblings: dict[tuple[Slot[T], Side], list[Slot[T]]] = {}
        """The children of a parent on one side, by id, where there are two or more: rare, so not in each slot."""

    def add(self, slot: Slot[T]) -> int:
        """Hang a new slot under its parent and into the sequence; return how many shown slots stand before it."""
        parent = slot.parent
        assert parent is not None, "the root is never added"
        is_shown = slot.held is not None
        if slot.side == Side.RIGHT:
            if parent.last_right is None:
                parent.last_right = slot
                return self.index.insert(parent, True, slot, is_shown)
            siblings, place = self._add_sibling(parent, parent.last_right, slot)
            parent.last_right = siblings[-1]
            before = self._last_of(siblings[place - 1]) if place else parent
            return self.index.insert(before, True, slot, is_shown)
        if parent.first_left is None:
            parent.first_left = slot
            return self.index.insert(parent, False, slot, is_shown)
        siblings, place = self._add_sibling(parent, parent.first_left, slot)
        parent.first_left = siblings[0]
        after = self._first_of(siblings[place + 1]) if place + 1 < len(siblings) else parent
        return self.index.insert(after, False, slot, is_shown)

    def remove(self, slot: Slot[T]) -> None:
        """Take out a slot that has no children, as if it had never been added."""
        parent = slot.parent
        assert parent is not None, "the root is never removed"
        siblings = self._siblings.get((parent, slot.side), [slot])
        self._put_in_place_of(slot, siblings, siblings.index(slot), None)
        self.index.remove(slot)

    def _put_in_place_of(self, slot: Slot[T], siblings: list[Slot[T]], place: int, child: Slot[T] | None) -> None:
        """Hang what hangs from a slot, if anything does, where that is among the children of its side."""
        parent = slot.parent
        assert parent is not None, "the root hangs nowhere"
        if child is None:
            del siblings[place]
        else:
            siblings[place] = child
            child.parent, child.side = parent, slot.side
        if slot.side == Side.RIGHT:
            parent.last_right = siblings[-1] if siblings else None
        else:
            parent.first_left = siblings[0] if siblings else None
        if len(siblings) < 2:
            self._siblings.pop((parent, slot.side), None)

    def take_out(self, slot: Slot[T], *, is_loose: bool) -> bool:
        """Take out a slot for ever; what hangs from it takes its place. False, with nothing done, where none fits.

        One slot at most may hang from it, and has to stand between its siblings by its own id: all others keep their
        order then, and so do those that are still to come. ``reset_depths`` when all have left.

        Args:
            slot: Shows nothing.
            is_loose: Slots are in no sequence now.
        """
        parent, child = slot.parent, slot.first_left or slot.last_right
        assert parent is not None, "the root is never taken out"
        if slot.first_left is not None and slot.last_right is not None:
            return False
        if (slot, Side.LEFT) in self._siblings or (slot, Side.RIGHT) in self._siblings:
            return False
        siblings = self._siblings.get((parent, slot.side), [slot])
        place = bisect_left(siblings, slot.id, key=_slot_id)
        if child is not None and not _fits(siblings, place, child):
            return False
        self._put_in_place_of(slot, siblings, place, child)
        if not is_loose:
            self.index.remove(slot)
        return True

    def reset_depths(self) -> None:
        """Forget how deep slots are, since slots above them have left."""
        for slot in self.index:
            slot.depth = -1

    def load(self, slots: Sequence[Slot[T]]) -> None:
        """Take all slots of an empty tree at once, in list order, their parents set."""
        for slot in slots:
            self.hang(slot)
        self._fill(slots)

    def hang(self, slot: Slot[T]) -> None:
        """Hang a new slot under its parent alone; it is in no sequence until ``order``."""
        parent = slot.parent
        assert parent is not None, "the root is never hung"
        if slot.side == Side.RIGHT:
            if parent.last_right is None:
                parent.last_right = slot
            else:
                parent.last_right = self._add_sibling(parent, parent.last_right, slot)[0][-1]
        elif parent.first_left is None:
            parent.first_left = slot
        else:
            parent.first_left = self._add_sibling(parent, parent.first_left, slot)[0][0]

    def order(self) -> None:
        """Put all slots into the sequence anew, by walking the tree; O(n), and does not recurse."""
        slots: list[Slot[T]] = []
        todo: list[Slot[T] | None] = [self.root]
        while todo:
            slot = todo.pop()
            if slot is None:  # What is left of the next one has been taken.
                slot = todo.pop()
                assert slot is not None
                slots.append(slot)
                continue
            if slot.last_right is not None:
                todo += reversed(self._siblings.get((slot, Side.RIGHT), (slot.last_right,)))
            if slot.first_left is None:
                slots.append(slot)
            else:
                todo += (slot, None)
                todo += reversed(self._siblings.get((slot, Side.LEFT), (slot.first_left,)))
        self._fill(slots[1:])

    def _fill(self, slots: Sequence[Slot[T]]) -> None:
        shown = bytearray([slot.held is not None for slot in slots])
        self.index.load([self.root, *slots], bytearray(1) + shown)

    def _add_sibling(self, parent: Slot[T], only: Slot[T], slot: Slot[T]) -> tuple[list[Slot[T]], int]:
        """Add a second or later child on a side; return all of that side by id, and its place among them."""
        siblings = self._siblings.setdefault((parent, slot.side), [])
        if not siblings:
            siblings.append(only)
        place = bisect(siblings, slot.id, key=_slot_id)
        siblings.insert(place, slot)
        return siblings, place

    def _last_of(self, top: Slot[T]) -> Slot[T]:
        """The last slot of a subtree."""
        last = top
        for _ in range(DESCENT_STEPS_MAX):
            if last.last_right is None:
                return last
            last = last.last_right
        return self.index.last_in_run(last, lambda slot: _is_within(slot, top))

    def _first_of(self, top: Slot[T]) -> Slot[T]:
        """The first slot of a subtree."""
        first = top
        for _ in range(DESCENT_STEPS_MAX):
            if first.first_left is None:
                return first
            first = first.first_left
        return self.index.first_in_run(first, lambda slot: _is_within(slot, top))


def _slot_id(slot: Slot[T]) -> OpId:
    return slot.id


def _fits(siblings: Sequence[Slot[T]], place: int, slot: Slot[T]) -> bool:
    """Whether siblings stay in the order of their ids with another slot at a place."""
    before, after = siblings[max(place - 1, 0) : place], siblings[place + 1 : place + 2]
    return all(each.id < slot.id for each in before) and all(slot.id < each.id for each in after)


def _is_within(slot: Slot[T], top: Slot[T]) -> bool:
    """Whether a slot is ``top`` or one of its descendants, in O(log depth) steps."""
    depth = _depth(top)
    if _depth(slot) < depth:
        return False
    while slot.depth > depth:
        if slot.jump.depth >= depth:
            slot = slot.jump
        else:
            assert slot.parent is not None, "only the root has no parent, and it has depth 0"
            slot = slot.parent
    return slot is top


def _depth(slot: Slot[T]) -> int:
    """Steps to the root. Works out depth and jump of the slot and its ancestors, once in their life."""
    if slot.depth >= 0:
        return slot.depth
    path = []
    unmeasured: Slot[T] = slot
    while unmeasured.depth < 0 and unmeasured.parent is not None:
        path.append(unmeasured)
        unmeasured = unmeasured.parent
    if unmeasured.depth < 0:
        unmeasured.depth, unmeasured.jump = 0, unmeasured
    parent = unmeasured
    for child in reversed(path):
        jump = parent.jump
        # Myers: two jumps of one length make one of twice and one more.
        child.jump = jump.jump if parent.depth - jump.depth == jump.depth - jump.jump.depth else parent
        child.depth = parent.depth + 1
        parent = child
    return slot.depth
