"""A block of a document: a paragraph, a heading, a list item, as its users see and change it.

A block is named by the edit that made it, as in ``b7.3735928559``: the seventh operation of that site. The name is good
for ever, also when the block is moved, split or merged. ``doc["b7"]`` does where only one block of the document has
that number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Self, cast

from collabkernel.client.edit import Done
from collabkernel.client.live import Context
from collabkernel.client.observers import Callback
from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.text_delta import Delta
from collabkernel.document import block_edits
from collabkernel.document.block import TYPE
from collabkernel.document.block import Block as KnownBlock
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_edits import Plan
from collabkernel.document.operations import Scalar
from collabkernel.errors import DetachedError, InvalidValueError

_NAME = re.compile(r"b([1-9][0-9]*)(?:\.([1-9][0-9]*))?")


def block_name(id: OpId) -> str:
    """How a block is called, for ever: ``b7.3735928559``."""
    return f"b{id.counter}.{id.site}"


def parse_block_name(name: str) -> tuple[int, int | None]:
    """Counter and site in a block's name; None when the site is left out.

    Raises:
        InvalidValueError: It is no name of a block.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidValueError(f"{name!r} is no name of a block: it looks like b7 or b7.3735928559")
    return int(found[1]), int(found[2]) if found[2] else None


class Block:
    """A block. It stays the same block wherever it is moved; equal are those of one name in one room."""

    __slots__ = ("_context", "_id")

    def __init__(self, context: Context, id: OpId) -> None:
        self._context = context
        self._id = id

    # -- who and where it is

    @property
    def id(self) -> str:
        """Its name in the room, for ever."""
        return block_name(self._id)

    @property
    def is_alive(self) -> bool:
        """Whether it is in its document: neither it nor anything above it was deleted."""
        with self._context.lock:
            blocks = self._context.replica.state.blocks
            return blocks is not None and blocks.tree.is_alive(self._id)

    @property
    def parent(self) -> Block | None:
        """The block below which it is shown; None at the top of the document."""
        with self._context.lock:
            blocks, _ = self._attached()
            parent = blocks.tree.shown_parent(self._id)
            return None if parent is None or blocks.block(parent).is_root else Block(self._context, parent)

    @property
    def children(self) -> list[Block]:
        """The blocks shown right below it."""
        with self._context.lock:
            blocks, _ = self._attached()
            return [Block(self._context, each) for each in blocks.tree.shown_children(self._id)]

    @property
    def depth(self) -> int:
        """How many blocks it is nested in."""
        above = self.parent
        return 0 if above is None else above.depth + 1

    def __iter__(self) -> Iterator[Block]:
        """All blocks below it, in document order."""
        with self._context.lock:
            blocks, _ = self._attached()
            below = list(blocks.tree.in_order(self._id))
        return iter([Block(self._context, each) for each in below])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and other._id == self._id and other._context is self._context

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        if not self.is_alive:
            return f"<Block {self.id}, no longer in its document>"
        return f"<Block {self.id} {self.type}: {self.text!r}>" if self.is_loaded else f"<Block {self.id}, not loaded>"

    # -- what it is

    @property
    def is_loaded(self) -> bool:
        """Whether its text and properties are here; ``doc.show(block)`` loads them, and ``observe`` tells of it."""
        with self._context.lock:
            return self._blocks.is_loaded(self._id)

    @property
    def type(self) -> str:
        """``paragraph``, ``heading``, ...; others may be there."""
        with self._context.lock:
            return self._block().type

    @type.setter
    def type(self, value: str) -> None:
        self[TYPE] = value

    @property
    def level(self) -> int:
        """Of a heading: 1 to 6."""
        level = self.get("level", 1)
        return level if isinstance(level, int) else 1

    @level.setter
    def level(self, value: int) -> None:
        self["level"] = value

    @property
    def properties(self) -> dict[str, Scalar]:
        """A copy of its properties, the type among them."""
        with self._context.lock:
            found = self._blocks.known_block(self._id)
            return {name: cast(Scalar, value) for name, value in found.properties.items()}

    def get(self, name: str, default: Scalar = None) -> Scalar:
        """A property, or ``default``."""
        return self.properties.get(name, default)

    def __getitem__(self, name: str) -> Scalar:
        return self.properties[name]

    def __setitem__(self, name: str, value: Scalar) -> None:
        self._edit(lambda blocks, id: block_edits.set_property(blocks, id, self._id, name, value))

    def __delitem__(self, name: str) -> None:
        if name not in self.properties:
            raise KeyError(name)
        self._edit(lambda blocks, id: block_edits.delete_property(blocks, id, self._id, name))

    # -- its text

    @property
    def text(self) -> str:
        """Its text. Assigning another sends what differs alone, so ``block.text += "..."`` is an insert at the end."""
        with self._context.lock:
            self._block()
            return self._blocks.text(self._id)

    @text.setter
    def text(self, value: str) -> None:
        if not isinstance(value, str):
            raise InvalidValueError(f"a text takes a str, not {type(value).__name__}: use str(value)")
        with self._context.lock:
            index, length, text = smallest_splice(self.text, value)
            if length or text:
                self.replace(index, index + length, text)

    def to_delta(self) -> Delta:
        """Its text as runs of one formatting each, in Quill's form."""
        with self._context.lock:
            self._block()
            return self._blocks.delta(self._id)

    def insert(self, index: int, text: str, **attributes: Any) -> None:
        """Put ``text`` before the character at ``index``; ``bold=True`` and the like format it."""
        self.replace(index, index, text, **attributes)

    def replace(self, start: int, stop: int, text: str, **attributes: Any) -> None:
        """Put ``text`` in the place of the characters from ``start`` to before ``stop``."""
        with self._context.lock:
            first, last = self._range(start, stop)
            made = attributes or None
            self._edit(lambda blocks, id: block_edits.edit_text(blocks, id, self._id, first, last - first, text, made))

    def format(self, start: int, stop: int, **attributes: Any) -> None:
        """Format the characters from ``start`` to before ``stop``: ``bold=True``; None takes a format away."""
        with self._context.lock:
            first, last = self._range(start, stop)
            self._edit(lambda blocks, id: block_edits.format_text(blocks, id, self._id, first, last, attributes))

    # -- where it stands

    def move(self, *, after: Block | None = None, before: Block | None = None, into: Block | None = None) -> None:
        """Put it, with all below it, behind or before another block, or last below one.

        Raises:
            InvalidValueError: Not one of the three is given, or it would come below itself.
        """
        targets = [each for each in (after, before, into) if each is not None]
        if len(targets) != 1:
            raise InvalidValueError("say one of after=, before=, into=")
        target = targets[0]
        if target._context is not self._context:
            raise InvalidValueError("blocks move within one room")

        def plan(blocks: BlockDocument, next_id: OpId) -> Plan:
            parent, index = place_beside(blocks, target._id, is_after=after is not None, is_into=into is not None)
            index = _index_without(blocks, self._id, parent, index)
            return block_edits.move_block(blocks, next_id, self._id, parent, index)

        if target._id != self._id:
            target._attached()
            self._edit(plan)

    def split(self, index: int) -> Block:
        """Cut it in two at a character, as Enter does, and return the new block; at 0 that is an empty one before."""
        with self._context.lock:
            first, _ = self._range(index, index)
            done = self._edit(lambda blocks, id: block_edits.split_block(blocks, id, self._id, first))
            made = next(each.op_id for each in done if each.op_id in self._blocks)
            return Block(self._context, made)

    def merge(self) -> Block:
        """Put its text behind that of the block before it, as Backspace at its start does; return that one.

        If somebody else has done so already, that is all.

        Raises:
            InvalidValueError: There is no block before it.
        """
        with self._context.lock:
            blocks, _ = self._attached()
            host = blocks.tree.host_of(self._id)
            if host != self._id:
                return Block(self._context, host)
            host = self._block_before()
            self._edit(lambda blocks, id: block_edits.merge_blocks(blocks, id, host, self._id))
            return Block(self._context, host)

    def delete(self) -> None:
        """Take it away, with all below it."""
        self._edit(lambda blocks, id: block_edits.delete_block(blocks, id, self._id))

    # -- watching

    def observe(self, callback: Callback) -> None:
        """Call ``callback(change)`` when it is written to, moved, or deleted; see ``Doc.observe``."""
        with self._context.lock:
            self._context.observers.add(self._id, callback, None, self)

    def unobserve(self, callback: Callback) -> None:
        """Stop calling ``callback``."""
        with self._context.lock:
            self._context.observers.remove(self._id, callback, None)

    # -- inside

    @property
    def _blocks(self) -> BlockDocument:
        blocks = self._context.replica.state.blocks
        if blocks is None or self._id not in blocks:
            why = "its edit was refused or undone, or it was deleted long ago"
            raise DetachedError(f"block {self.id} is no longer in its room: {why}")
        return blocks

    def _block(self) -> KnownBlock:
        return self._blocks.block(self._id)

    def _attached(self) -> tuple[BlockDocument, Self]:
        blocks = self._blocks
        if not blocks.tree.is_alive(self._id):
            raise DetachedError(f"block {self.id} was deleted from its document")
        return blocks, self

    def in_room(self, context: Context) -> OpId:
        """Its id, for somebody of this room who needs it there.

        Raises:
            InvalidValueError: It is another room's.
            DetachedError: It was deleted.
        """
        if self._context is not context:
            raise InvalidValueError("that block is another room's")
        self._attached()
        return self._id

    def _edit(self, make: Callable[[BlockDocument, OpId], Plan]) -> list[Done]:
        with self._context.lock:
            self._attached()
            with self._context.editing(is_batch=True) as edit:
                return edit.run(make(edit.blocks, edit.next_id))

    def _range(self, start: int, stop: int) -> tuple[int, int]:
        """Start and stop as slices read them: negative from the end, cut to the text."""
        first, last, _ = slice(start, stop).indices(len(self.text))
        return first, max(first, last)

    def _block_before(self) -> OpId:
        blocks, _ = self._attached()
        root = root_of(blocks, self._id)
        last: OpId | None = None
        for each in blocks.tree.in_order(root):
            if each == self._id:
                break
            last = each
        if last is None:
            raise InvalidValueError("there is no block before this one to merge it into")
        return last


def root_of(blocks: BlockDocument, block: OpId) -> OpId:
    """The document that a block is or was in."""
    above = blocks.tree.parent_of(block)
    while above is not None:
        block, above = above, blocks.tree.parent_of(above)
    return block


def place_beside(blocks: BlockDocument, target: OpId, *, is_after: bool, is_into: bool) -> tuple[OpId, int]:
    """Parent and index of the place right behind, before, or last below a block that is shown."""
    tree = blocks.tree
    if is_into:
        return target, len(tree.children(target))
    place = tree.place_of(target)
    if place is None or place.slot is not Slot.CHILD:
        raise InvalidValueError("a document itself, or a block that was merged into another, has nothing beside it")
    return place.parent, tree.index_of(target) + is_after


def _index_without(blocks: BlockDocument, block: OpId, parent: OpId, index: int) -> int:
    """An index among the children of ``parent`` as it is counted without ``block``."""
    place = blocks.tree.place_of(block)
    is_sibling = place is not None and place.parent == parent and place.slot is Slot.CHILD
    return index - (is_sibling and blocks.tree.index_of(block) < index)


def smallest_splice(old: str, new: str) -> tuple[int, int, str]:
    """Index, length and text of the one replacement that makes ``new`` of ``old``."""
    start, shared = 0, min(len(old), len(new))
    while start < shared and old[start] == new[start]:
        start += 1
    end = 0
    while end < shared - start and old[len(old) - 1 - end] == new[len(new) - 1 - end]:
        end += 1
    return start, len(old) - end - start, new[start : len(new) - end]
