"""A replicated list with insert, delete, set and move, in which an element keeps its identity.

The rules:

- The list is a tree of *slots* (``slot_tree``: Fugue, Weidner & Kleppmann 2023), so that concurrent runs of inserts
  never interleave, typed forwards or backwards.
- An *element*, named by the op that inserted it, has a value register and a position register (the slot that shows
  it). Each is last-writer-wins by stamp (Kleppmann, "Moving Elements in List CRDTs", 2020). So of concurrent moves the
  later stamp wins and the element is there once; a set and a move do not touch each other.
- A delete is for ever and wins over any set or move, whatever their stamps. A deleted element has no registers any
  more; its slots stay as tombstones, since others may hang from them, until they are purged.
- Any order that respects causality (an op comes after those that made the slots and elements it names) and any
  duplication give the same state.

Where we differ: Fugue has no move and one value a slot; here an insert makes a slot and an element, a move makes a slot
alone. A slot may hang left or right of any slot, but only right of the root.

Indexes count what is shown. ``SequenceIndex`` makes them sub-linear; values are opaque.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.crdt.slot_tree import Slot, SlotTree
from collabkernel.errors import LocalProtocolError, UnknownReferenceError


class SlotState(NamedTuple):
    """A slot as snapshots keep it."""

    slot: OpId
    parent: OpId | None
    """None is the root."""
    side: Side


class ElementState(NamedTuple):
    """An element as snapshots keep it; a deleted one has no registers."""

    element: OpId
    value: tuple[Stamp, object] | None
    position: tuple[Stamp, OpId] | None
    is_deleted: bool


class Revert(NamedTuple):
    """How to take back one op; see ``RgaList.revert``."""

    before: ElementState | None
    """The op's element before it; None if the op inserts it."""
    made: OpId | None
    """The slot that the op makes."""


class _Element:
    __slots__ = ("id", "position_stamp", "slot", "value", "value_stamp")

    def __init__(self, element_id: OpId, value_stamp: Stamp, value: object, position_stamp: Stamp) -> None:
        self.id = element_id
        self.value_stamp = value_stamp
        self.value = value
        self.position_stamp = position_stamp
        self.slot: Slot[_Element] | None = None
        """Where it is shown; None: it is deleted, and value and stamps mean nothing."""


class RgaList:
    """The state of one list on one replica."""

    __slots__ = ("_index", "_slots", "_tree", "is_loose")

    def __init__(self) -> None:
        self.is_loose = False
        """Between ``loosen`` and ``order``: nothing is known by index, and operations give 0 for one."""
        self._tree: SlotTree[_Element] = SlotTree()
        self._index = self._tree.index
        self._slots: dict[OpId, Slot[_Element]] = {}
        """By id. An element is found by the slot that it was born in, which has the same id."""

    # Operations

    def insert(self, op_id: OpId, stamp: Stamp, parent: OpId | None, side: Side, value: object) -> int | None:
        """Make a slot and an element in it, both named ``op_id``.

        Returns:
            The element's index, or None if the op was there already.

        Raises:
            UnknownReferenceError: If there is no such parent; nothing is changed then.
        """
        if op_id in self._slots:
            return None
        parent_slot = self._parent(parent, side)
        element = _Element(op_id, stamp, value, stamp)
        element.slot = slot = Slot(op_id, parent_slot, side, element, element)
        self._slots[op_id] = slot
        return self._add(slot)

    def delete(self, element: OpId) -> int | None:
        """Delete an element for ever; return the index it had, or None if it was deleted already.

        Raises:
            UnknownReferenceError: If there is no such element.
        """
        found = self._element(element)
        slot = found.slot
        if slot is None:
            return None
        found.slot = slot.held = found.value = None
        return 0 if self.is_loose else self._index.set_shown(slot, False)

    def set(self, element: OpId, stamp: Stamp, value: object) -> int | None:
        """Write an element's value; return its index, or None if a later write or a delete stands.

        Raises:
            UnknownReferenceError: If there is no such element.
        """
        found = self._element(element)
        if found.slot is None or stamp <= found.value_stamp:
            return None
        found.value_stamp = stamp
        found.value = value
        return 0 if self.is_loose else self._index.rank(found.slot)

    def move(self, op_id: OpId, stamp: Stamp, element: OpId, parent: OpId | None, side: Side) -> tuple[int, int] | None:
        """Make a slot named ``op_id`` and show the element there, unless a later move or a delete stands.

        Returns:
            The element's index before and after, or None if it stays where it was or is deleted.

        Raises:
            UnknownReferenceError: If there is no such element or parent; nothing is changed then.
        """
        found = self._element(element)
        if op_id in self._slots:
            return None
        slot: Slot[_Element] = Slot(op_id, self._parent(parent, side), side, None, None)
        self._slots[op_id] = slot
        old_slot = found.slot
        if old_slot is None or stamp <= found.position_stamp:
            self._add(slot)
            return None
        old_index = 0 if self.is_loose else self._index.set_shown(old_slot, False)
        old_slot.held = None
        slot.held = found
        found.slot = slot
        found.position_stamp = stamp
        return old_index, self._add(slot)

    def check_slot(self, parent: OpId | None, side: Side) -> None:
        """Check that a slot may hang there.

        Raises:
            UnknownReferenceError: There is no such parent, or it is the root and the side is left.
        """
        self._parent(parent, side)

    # Many operations at once

    def loosen(self) -> None:
        """Keep no order until ``order``: operations do all but that, and many of them take a third of the time."""
        self.is_loose = True

    def order(self) -> None:
        """Make out the order of everything, in one walk."""
        self.is_loose = False
        self._tree.order()

    # Letting go of tombstones

    def dead_slots(self) -> Iterator[OpId]:
        """The slots that will never show anything again, and whose elements are deleted, in no order."""
        return (slot.id for slot in self._slots.values() if _is_dead(slot))

    def is_dead(self, slot: OpId) -> bool:
        """Whether there is such a slot, and it is one of ``dead_slots``."""
        found = self._slots.get(slot)
        return found is not None and _is_dead(found)

    def purge(self, slots: Sequence[OpId]) -> list[OpId]:
        """Let go of dead slots, and of the elements that were born in them; the ids of those that went.

        One from which two others hang stays, until one of these has gone; so does one whose only child would not stand
        in its place. At most twice as many stay as elements are left. This does not commute with what names them.
        """
        asked, gone = set(slots), []
        for slot_id in slots:
            slot = self._slots.get(slot_id)
            while slot is not None and slot.id in asked and _is_dead(slot):
                above = slot.parent
                if slot.id not in self._slots or not self._tree.take_out(slot, is_loose=self.is_loose):
                    break
                del self._slots[slot.id]
                gone.append(slot.id)
                slot = above  # it may have waited for this one
        if gone and not self.is_loose:
            self._tree.reset_depths()
        return gone

    # Undoing one's own unsent ops

    def revert_token(self, element: OpId, made: OpId | None = None) -> Revert:
        """What ``revert`` needs to take back an op; ask before applying it.

        Args:
            element: The op's element (for an insert, the op's id).
            made: The id of the op, if it is an insert or a move.
        """
        if made in self._slots:  # The op will change nothing.
            made = None
        born_in = self._slots.get(element)
        return Revert(None if born_in is None or born_in.born is None else _state(born_in.born), made)

    def revert(self, token: Revert) -> None:
        """Take back an op as if it had never been: the last one first, and only if no other replica has seen them.

        Raises:
            LocalProtocolError: If something hangs from the slot that the op made.
        """
        before, made = token
        slot = None if made is None else self._slots.get(made)  # Not there: the op was refused.
        if slot is not None and (slot.first_left or slot.last_right):
            raise LocalProtocolError(f"cannot take back {made}: other slots hang from it; take those back first")
        if before is not None:
            self._put_back(before)
        if slot is not None:
            self._tree.remove(slot)
            del self._slots[slot.id]

    def _put_back(self, before: ElementState) -> None:
        element = self._element(before.element)
        if before.value is None or before.position is None:  # Deleted before as now.
            return
        element.value_stamp, element.value = before.value
        element.position_stamp, slot_id = before.position
        slot = self._slots[slot_id]
        if element.slot is slot:
            return
        if element.slot is not None:
            element.slot.held = None
            self._index.set_shown(element.slot, False)
        element.slot, slot.held = slot, element
        self._index.set_shown(slot, True)

    # Lookups

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, element: object) -> bool:
        """Whether an element is there and not deleted."""
        slot = self._slots.get(element)  # type: ignore[call-overload]  # any object may be asked for
        return slot is not None and slot.born is not None and slot.born.slot is not None

    def knows(self, element: OpId) -> bool:
        """Whether an element has ever been inserted, be it deleted now."""
        slot = self._slots.get(element)
        return slot is not None and slot.born is not None

    def value_of(self, element: OpId) -> object:
        """An element's value.

        Raises:
            UnknownReferenceError: If there is no such element, or it is deleted.
        """
        found = self._element(element)
        if found.slot is None:
            raise UnknownReferenceError(f"list element {element} is deleted")
        return found.value

    def get(self, element: OpId, default: object) -> object:
        """An element's value, or ``default`` if it is deleted.

        Raises:
            UnknownReferenceError: If there is no such element.
        """
        found = self._element(element)
        return default if found.slot is None else found.value

    def index_of(self, element: OpId) -> int | None:
        """Where an element is, or None if it is deleted.

        Raises:
            UnknownReferenceError: If there is no such element.
        """
        slot = self._element(element).slot
        return None if slot is None else self._index.rank(slot)

    def element_at(self, index: int) -> OpId:
        """The id of the element at an index; IndexError outside ``0 <= index < len``."""
        return _held(self._slot_at(index)).id

    def value_at(self, index: int) -> object:
        """The value at an index; IndexError outside ``0 <= index < len``."""
        return _held(self._slot_at(index)).value

    def items(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[OpId, object]]:
        """(element id, value) of ``start <= index < stop``, in order; the list must not change meanwhile."""
        for element in self._held_from(start, stop):
            yield element.id, element.value

    def values(self, start: int = 0, stop: int | None = None) -> list[object]:
        """The values of ``start <= index < stop``, in order."""
        return [element.value for element in self._held_from(start, stop)]

    def shown_before(self, parent: OpId, side: Side) -> list[OpId]:
        """The elements that are shown before what would hang there, from the nearest on. O(n).

        Raises:
            UnknownReferenceError: If there is no such slot.
        """
        end = self._parent(parent, side)
        before = []
        for slot in self._index:
            if slot is end and side == Side.LEFT:
                break
            if slot.held is not None:
                before.append(slot.held.id)
            if slot is end:
                break
        return before[::-1]

    def insertion_point(self, index: int) -> tuple[OpId | None, Side]:
        """The parent and side of an insert whose element shall have this index, by Fugue's rule.

        Right of the slot before, tombstones not counted, unless it has right children; then left of the slot after it,
        tombstones counted.

        Raises:
            IndexError: Outside ``0 <= index <= len``.
        """
        if not 0 <= index <= len(self._index):
            raise IndexError(f"insert at {index} in a list of {len(self._index)}")
        before = self._index.at(index - 1) if index else self._tree.root
        if before.last_right is None:
            return (before.id if index else None), Side.RIGHT
        after = self._index.next_after(before)
        assert after is not None, "a slot with right children is not the last"
        return after.id, Side.LEFT

    def move_point(self, element: OpId, index: int) -> tuple[OpId | None, Side]:
        """The parent and side of a move after which the element shall have this index.

        Raises:
            IndexError: Outside ``0 <= index < len``.
            UnknownReferenceError: If there is no such element, or it is deleted.
        """
        old_index = self.index_of(element)
        if old_index is None:
            raise UnknownReferenceError(f"list element {element} is deleted")
        if not 0 <= index < len(self._index):
            raise IndexError(f"move to {index} in a list of {len(self._index)}")
        return self.insertion_point(index if index <= old_index else index + 1)

    # Snapshots

    def slots(self) -> Iterator[SlotState]:
        """Every slot, in list order: a function of the ops alone."""
        root = self._tree.root
        for slot in islice(self._index, 1, None):
            parent = slot.parent
            yield SlotState(slot.id, None if parent is root or parent is None else parent.id, slot.side)

    def elements(self) -> Iterator[ElementState]:
        """Every element, deleted ones too, in the order of the slots they were born in: a function of the ops alone."""
        for slot in islice(self._index, 1, None):
            if slot.born is not None:
                yield _state(slot.born)

    @classmethod
    def restore(
        cls,
        slots: Iterable[tuple[OpId, OpId | None, Side]],
        elements: Iterable[tuple[OpId, tuple[Stamp, object] | None, tuple[Stamp, OpId] | None, bool]],
    ) -> RgaList:
        """Build a list from what ``slots`` and ``elements`` of another gave, in the order they gave it.

        Raises:
            UnknownReferenceError: If a slot hangs from one that is not there, or an element is shown in one.
        """
        restored = cls()
        try:
            restored._restore_slots(slots)
            restored._restore_elements(elements)
        except KeyError as error:
            raise UnknownReferenceError(f"no list slot {error.args[0]}") from None
        restored._tree.load(list(restored._slots.values()))
        return restored

    def _restore_slots(self, slots: Iterable[tuple[OpId, OpId | None, Side]]) -> None:
        root, by_id = self._tree.root, self._slots
        parents = []
        for slot_id, parent_id, side in slots:
            by_id[slot_id] = Slot(slot_id, root, side, None, None)
            parents.append(parent_id)
        # Only now, since a left child comes before its parent.
        for slot, parent_id in zip(by_id.values(), parents, strict=True):
            if parent_id is not None:
                slot.parent = by_id[parent_id]

    def _restore_elements(
        self, elements: Iterable[tuple[OpId, tuple[Stamp, object] | None, tuple[Stamp, OpId] | None, bool]]
    ) -> None:
        slots = self._slots
        for element_id, value, position, is_deleted in elements:
            if is_deleted or value is None or position is None:
                slots[element_id].born = _Element(element_id, _NEVER, None, _NEVER)
                continue
            slots[element_id].born = element = _Element(element_id, value[0], value[1], position[0])
            element.slot = slot = slots[position[1]]
            slot.held = element

    # Parts

    def _add(self, slot: Slot[_Element]) -> int:
        if self.is_loose:
            self._tree.hang(slot)
            return 0
        return self._tree.add(slot)

    def _parent(self, parent: OpId | None, side: Side) -> Slot[_Element]:
        if parent is None:
            if side == Side.LEFT:
                raise UnknownReferenceError("nothing stands left of a list's root")
            return self._tree.root
        slot = self._slots.get(parent)
        if slot is None:
            raise UnknownReferenceError(f"no list slot {parent}")
        return slot

    def _element(self, element: OpId) -> _Element:
        slot = self._slots.get(element)
        if slot is None or slot.born is None:
            raise UnknownReferenceError(f"no list element {element}")
        return slot.born

    def _slot_at(self, index: int) -> Slot[_Element]:
        if not 0 <= index < len(self._index):
            raise IndexError(f"index {index} in a list of {len(self._index)}")
        return self._index.at(index)

    def _held_from(self, start: int, stop: int | None) -> Iterator[_Element]:
        if start < 0:
            raise IndexError(f"items from {start}")
        count = None if stop is None else max(stop - start, 0)
        return map(_held, islice(self._index.shown(start), count))


_NEVER = Stamp(0, 0)


def _held(slot: Slot[_Element]) -> _Element:
    held = slot.held
    assert held is not None, "a shown slot holds an element"
    return held


def _is_dead(slot: Slot[_Element]) -> bool:
    return slot.held is None and (slot.born is None or slot.born.slot is None)


def _state(element: _Element) -> ElementState:
    slot = element.slot
    if slot is None:
        return ElementState(element.id, None, None, True)
    return ElementState(element.id, (element.value_stamp, element.value), (element.position_stamp, slot.id), False)
