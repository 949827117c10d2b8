"""The block documents of a room: what each block is, where it stands, and what is written in it.

Three things are known of a block, and each has its own way to converge:

- its *properties*, the type among them, are last-writer-wins registers; its *text* is a stretch of a Yjs rope
  (``block_text.py``). Both commute, so they are applied when an operation is admitted, like live values
  (docs/decisions/0002), in any order;
- its *place* is in a move tree (``crdt/move_tree.py``), where the order of the log decides: ``judge`` folds that.

So an insert is taken in twice: ``admit`` enters the block, ``judge`` gives it a place. A block that was never typed in
has no rope. Text of a block that was deleted stays in its rope, and comes back with the block.

A client may know the *contents* (properties but for the type, and text) of some blocks alone: ``known``. Those of the
others are unknown, not empty: who reads or edits them gets ``NotLoadedError``. The tree, types and ropes' names are
always whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.lww import TOMBSTONE, LwwMap, Register
from collabkernel.crdt.move_tree import MoveTree, Verdict
from collabkernel.crdt.order_key import validate
from collabkernel.crdt.text import TextRope, TextStep
from collabkernel.crdt.text_delta import Delta, shifted
from collabkernel.crdt.text_doc import EMPTY_STATE
from collabkernel.crdt.text_values import Attributes
from collabkernel.crdt.tree.rekeys import check_rekey
from collabkernel.document.block import BLOCK_BYTES, BLOCK_TEXT_BYTES, DOCUMENT, FOUNDED, NAME, TYPE, Block, Placed
from collabkernel.document.block_registry import BlockRegistry, StoredBlocks
from collabkernel.document.block_text import BlockEdit, BlockRope, Stretch
from collabkernel.document.live_tree import ABSENT, REGISTER_BYTES, Absent, Change, Undo, registers_bytes, value_bytes
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    MapDelete,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    Scalar,
    TextEdit,
    TreeOp,
    document_id,
)
from collabkernel.document.pending_tree import judge
from collabkernel.errors import (
    DetachedError,
    InvalidOperationError,
    NotLoadedError,
    UnknownReferenceError,
    UnknownTargetError,
    WrongTargetKindError,
)
from collabkernel.limits import BLOCK_TYPE_BYTES_MAX, READY_TEXT_BYTES


class Line(NamedTuple):
    """A block of an outline."""

    block: OpId
    depth: int
    type: str
    text: str


class TextMade(NamedTuple):
    """An operation that an edit made here, to be sent, and what it changed."""

    op: TextEdit
    changes: list[Change]


class BlockDocument:
    """The block documents of one room.

    Args:
        client_id: Yjs client id of local text edits, the replica's site; 0 where nothing is edited locally.
        tree: The places; on a client with its pending operations on top.
        has_all_texts: False on a client that loads texts when it needs them.
    """

    def __init__(self, client_id: int = 0, tree: MoveTree | None = None, *, has_all_texts: bool = True) -> None:
        self.client_id = client_id
        self.tree = MoveTree() if tree is None else tree
        self.has_all_texts = has_all_texts
        self.tells_changes = True
        """Whether ``admit`` tells what changed, which for a text takes two to three times the time."""
        self.size_bytes = 0
        self.blocks = BlockRegistry()
        """Every block that ever was, deleted ones and the roots of documents too."""
        self.known: set[OpId] | None = None
        """The blocks whose contents are here, some before their inserts; None: all. See ``block_loading.py``."""
        self.ropes: dict[OpId, BlockRope] = {}
        """Those that something was typed in, by their first blocks; the one that was edited last comes last."""

    def __contains__(self, block: object) -> bool:
        return block in self.blocks

    # -- reading

    def block(self, block: OpId) -> Block:
        """What is known of a block.

        Raises:
            UnknownTargetError: There is none.
        """
        found = self.blocks.get(block)
        if found is None:
            raise UnknownTargetError(f"there is no block {block.site}.{block.counter} in this room")
        return found

    def is_known(self, block: OpId) -> bool:
        """Whether the properties of a block are here, and the rope that begins with it."""
        return self.known is None or block in self.known

    def is_loaded(self, block: OpId) -> bool:
        """Whether all that a block shows is here, also of what is merged into it."""
        return self.known is None or all(
            part in self.known and self.blocks[part].rope_id in self.known for part in self.parts(block)
        )

    def known_block(self, block: OpId) -> Block:
        """``block``, for whoever needs its contents.

        Raises:
            UnknownTargetError: There is none.
            NotLoadedError: They are not here.
        """
        found = self.block(block)
        if not self.is_known(block):
            raise NotLoadedError(f"b{block.counter}.{block.site}")
        return found

    def documents(self) -> dict[str, OpId]:
        """The documents of the room: root by name."""
        return {cast(str, self.blocks[root].properties.get(NAME)): root for root in self.tree.roots()}

    def parts(self, block: OpId) -> list[OpId]:
        """The blocks whose texts make up the text that a block shows: itself, and what was merged into it."""
        return [block, *self.tree.inline_parts(block)] if block in self.tree else [block]

    def text(self, block: OpId) -> str:
        """The text that a block shows."""
        return "".join([self._own_text(part) for part in self.parts(block)])

    def delta(self, block: OpId) -> Delta:
        """The text that a block shows, as runs of one formatting each."""
        found: Delta = []
        for part in self.parts(block):
            stretch = self.stretch(part)
            if stretch is not None:
                found += self.ropes[self.block(part).rope_id].delta(stretch)
        return found

    def length(self, block: OpId) -> int:
        """Characters of the text that a block shows."""
        return sum([self.own_length(part) for part in self.parts(block)])

    def own_length(self, part: OpId) -> int:
        """Characters of a block's own text, without what was merged into it."""
        stretch = self.stretch(part)
        return 0 if stretch is None else stretch.length

    def outline(self, root: OpId) -> Iterator[Line]:
        """The blocks shown below a root or block in document order, with their texts."""
        for block, depth in self.tree.walk(root):
            yield Line(block, depth, self.blocks[block].type, self.text(block))

    def stretch(self, block: OpId) -> Stretch | None:
        """Where a block's own text is in its rope; None if nothing was typed there.

        Raises:
            NotLoadedError: The rope is not here.
        """
        rope = self.ropes.get(self.known_block(self.block(block).rope_id).id)
        return None if rope is None else rope.stretch(block, self.counts(rope))

    def counts(self, rope: BlockRope) -> Callable[[OpId], bool]:
        """Whether a block's marker counts in a rope: it was split off from this one, and has a place."""
        tree, blocks, rope_id = self.tree, self.blocks, rope.id
        return lambda name: name in tree and blocks[name].rope_id == rope_id

    def _own_text(self, part: OpId) -> str:
        stretch = self.stretch(part)
        return "" if stretch is None else self.ropes[self.blocks[part].rope_id].text(stretch)

    # -- operations, when they are admitted

    def admit(self, op_id: OpId, stamp: Stamp, op: Op) -> list[Change]:
        """Take the commuting part of one operation, and check the rest of it.

        Applied twice, it changes nothing.

        Raises:
            InvalidOperationError: Its target, references, key or kind do not fit.
            InvalidYjsUpdateError: Its text update is refused.
        """
        match op:
            case TextEdit():
                return self._admit_text(op_id.site, op)
            case MapSet() | MapDelete():
                return self._admit_property(stamp, op)
            case NewDocument():
                self._admit_document(op_id, op)
            case BlockInsert():
                self._admit_insert(op_id, stamp, op)
            case BlockMove():
                self._check_moved(op.target)
                self._check_place(op.parent, op.key, op_id.site)
            case BlockDelete():
                self._check_moved(op.target)
            case BlockRekey():
                self.block(op.target)
                check_rekey(op.keys, op_id.site)
            case _:
                raise WrongTargetKindError(f"{type(op).__name__} does not fit a block")
        return []

    def admit_undoable(self, op_id: OpId, stamp: Stamp, op: Op) -> tuple[list[Change], Undo]:
        """``admit`` that can be taken back, as long as nothing later is admitted."""
        size_bytes = self.size_bytes
        undo_part = self._undo_of(op_id, op)
        changes = self.admit(op_id, stamp, op)

        def undo() -> None:
            undo_part()
            self.size_bytes = size_bytes

        return changes, undo

    def _undo_of(self, op_id: OpId, op: Op) -> Undo:
        """What takes ``op`` back; asked before it is admitted."""
        match op:
            case TextEdit():
                rope = self.rope(op.target)
                return partial(rope.rewind, rope.mark())
            case MapSet() | MapDelete():
                properties = self.block(op.target).properties
                return partial(properties.restore, op.key, properties.register(op.key))
            case NewDocument() | BlockInsert():
                made = document_id(op.name) if isinstance(op, NewDocument) else op_id
                if made not in self.blocks:
                    return partial(self._forget, made)
            case _:
                pass
        return _nothing

    def _forget(self, made: OpId) -> None:
        self.blocks.pop(made)
        if self.known is not None:
            self.known.discard(made)

    def judge(self, op_id: OpId, op: TreeOp, seq: int, base: int) -> Verdict:
        """Fold one operation of the log on the places of blocks; in order of seq, and after it was admitted."""
        verdict = judge(self.tree, op_id, op, seq, base)
        if verdict is Verdict.APPLIED:
            if isinstance(op, BlockInsert) and op.split is not None:
                self.blocks[op_id].placed = Placed(seq, op_id.site, base)
            elif isinstance(op, BlockMove) and op.slot is Slot.INLINE:
                self.blocks[op.target].placed = Placed(seq, op_id.site, base)
        return verdict

    # -- each kind

    def _admit_document(self, op_id: OpId, op: NewDocument) -> None:
        if op.target != ROOT:
            raise UnknownTargetError("documents are made in the room's root")
        id = document_id(op.name)
        known = self.blocks.get(id)
        if known is None:
            self._make(op_id, Block(id, id, [(TYPE, (FOUNDED, DOCUMENT)), (NAME, (FOUNDED, op.name))]))
        elif known.properties.get(NAME) != op.name:
            raise InvalidOperationError(f"another document has the id of {op.name!r}; take another name")

    def _admit_insert(self, op_id: OpId, stamp: Stamp, op: BlockInsert) -> None:
        if op_id in self.blocks:
            return
        self._check_place(op.target, op.key, op_id.site)
        _check_type(op.type)
        if op.split is not None:
            self._check_split(op_id, op.split)
        self._make(op_id, Block(op_id, op.split or op_id, [(TYPE, (stamp, op.type))]))

    def _make(self, op_id: OpId, made: Block) -> None:
        self.enter(made)
        if self.known is not None and op_id.site == self.client_id:  # nobody else has written to it yet
            self.known.add(made.id)

    def _check_split(self, op_id: OpId, rope_id: OpId) -> None:
        first = self.blocks.get(rope_id)
        if first is None or first.is_split:
            raise UnknownReferenceError(f"{rope_id.site}.{rope_id.counter} names no rope that could be split")
        rope = self.ropes.get(rope_id)
        if self.has_all_texts and self.is_known(rope_id) and (rope is None or op_id not in rope.rope.markers):
            raise UnknownReferenceError(f"no marker of {op_id.site}.{op_id.counter} is in that rope")

    def _check_place(self, parent: OpId, key: str, site: int) -> None:
        if parent not in self.blocks:
            raise UnknownReferenceError(f"there is no block {parent.site}.{parent.counter} to put anything below")
        validate(key, site)

    def _check_moved(self, block: OpId) -> None:
        if self.block(block).is_root:
            raise InvalidOperationError("the root of a document stays where it is")

    def _admit_property(self, stamp: Stamp, op: MapSet | MapDelete) -> list[Change]:
        block = self.block(op.target)
        key, value = op.key, op.value if isinstance(op, MapSet) else ABSENT
        if isinstance(value, NewContainer):
            raise WrongTargetKindError("a block's properties are plain values")
        if key == TYPE:
            _check_type(value)
        if key in (TYPE, NAME) and block.is_root:
            raise InvalidOperationError("a document keeps its name")
        before = block.properties.register(key)
        if isinstance(value, Absent):
            is_new = block.properties.apply_delete(key, stamp)
        else:
            is_new = block.properties.apply_set(key, stamp, value)
        if not is_new:
            return []
        old = ABSENT if before is None or before[1] is TOMBSTONE else cast(Scalar, before[1])
        if before is None:
            self.size_bytes += REGISTER_BYTES + value_bytes(key)
        self.size_bytes += _value_bytes(value) - _value_bytes(old)
        if not self.tells_changes or (isinstance(old, Absent) and isinstance(value, Absent)):
            return []
        return [Change(block.id, "delete" if isinstance(value, Absent) else "set", key, old, value)]

    def _admit_text(self, site: int, op: TextEdit) -> list[Change]:
        rope = self.rope(op.target)
        if rope.covers(op.update, site):
            return []
        was_empty, block_rope = rope.is_empty, self.ropes[op.target]
        if self.tells_changes:
            changes = self._shown(block_rope.apply(op.update, site, self.counts(block_rope)))
        else:
            rope.apply(op.update, site)
            changes = []
        self._count_text(op.update, was_empty)
        return changes

    # -- text

    def rope(self, target: OpId) -> TextRope:
        """The rope that a ``TextEdit`` names, made when it is first asked for.

        Raises:
            UnknownTargetError: There is no such block.
            WrongTargetKindError: Its text is in the rope of the block that it was split off from.
            NotLoadedError: It is not here.
        """
        return self._block_rope(target).rope

    def _block_rope(self, id: OpId) -> BlockRope:
        found = self.ropes.pop(id, None)
        if found is None:
            if id not in self.blocks or not self.is_known(id):
                self.known_block(id)  # tells what is wrong
            if self.blocks.rope_of(id) != id:
                raise WrongTargetKindError(f"the block {id.site}.{id.counter} has no rope of its own")
            found = BlockRope(id, self.client_id)
        self.ropes[id] = found
        return found

    def _place_for_text(self, part: OpId) -> tuple[BlockRope, Stretch]:
        rope = self._block_rope(self.block(part).rope_id)
        stretch = rope.stretch(part, self.counts(rope))
        if stretch is None:
            raise DetachedError(f"the text of block {part.site}.{part.counter} is not here: its edit was refused")
        return rope, stretch

    def splice(
        self, part: OpId, index: int, length: int, text: str, attributes: Attributes | None = None
    ) -> list[TextMade]:
        """Replace ``length`` characters of a block's own text from ``index`` on; see ``block_edits`` for what it shows.

        Raises:
            IndexError, InvalidValueError, DetachedError, NotLoadedError: It cannot be done.
        """
        rope, stretch = self._place_for_text(part)
        was_empty = rope.rope.is_empty
        return self._made(rope, rope.splice(stretch, index, length, text, attributes), was_empty)

    def format(self, part: OpId, start: int, end: int, attributes: Attributes) -> list[TextMade]:
        """Set attributes of a block's own characters from ``start`` to before ``end``; None takes one away."""
        rope, stretch = self._place_for_text(part)
        return self._made(rope, rope.format(stretch, start, end, attributes), was_empty=False)

    def mark(self, part: OpId, index: int, name: OpId) -> list[TextMade]:
        """Put the marker of a block of this site into a block's own text: the text behind it will be that block's."""
        rope, stretch = self._place_for_text(part)
        was_empty = rope.rope.is_empty
        return self._made(rope, [BlockEdit(rope.mark(stretch, index, name), {})], was_empty)

    def undo_text(self, rope_id: OpId, step: TextStep) -> tuple[list[TextMade], TextStep | None]:
        """Take back what survives of text edits in a rope, in whatever block it is now; and what takes that back."""
        rope = self._block_rope(rope_id)
        edit, redo = rope.undo(step, self.counts(rope))
        return (self._made(rope, [edit], was_empty=False) if edit.update else []), redo

    def _made(self, rope: BlockRope, edits: Iterable[BlockEdit], was_empty: bool) -> list[TextMade]:
        made: list[TextMade] = []
        for edit in edits:
            self._count_text(edit.update, was_empty)
            was_empty = False
            made.append(TextMade(TextEdit(rope.id, edit.update), self._shown(edit.delta_by_block)))
        return made

    def _count_text(self, update: bytes, was_empty: bool) -> None:
        self.size_bytes += len(update) + (BLOCK_TEXT_BYTES if was_empty else 0)

    def _shown(self, delta_by_part: Mapping[OpId, Delta]) -> list[Change]:
        """What changed in the texts of some parts, as changes of the blocks that show them, one after the other."""
        tree = self.tree
        hosts = dict.fromkeys(tree.host_of(part) if part in tree else part for part in delta_by_part)
        changes: list[Change] = []
        for host in hosts:
            parts, at = self.parts(host), 0
            if not self.is_loaded(host):
                continue  # where in what the host shows it is, is unknown
            for i, part in enumerate(parts):
                delta = delta_by_part.get(part)
                if delta:
                    changes.append(Change(host, "text", delta=tuple(shifted(delta, at))))
                if i < len(parts) - 1:
                    at += self.own_length(part)
        return changes

    # -- for snapshots

    def enter(self, block: Block) -> None:
        """Put a block into the registry."""
        self.blocks[block.id] = block
        self.size_bytes += BLOCK_BYTES + registers_bytes(block.properties.held())

    def enter_properties(self, block: Block, registers: Mapping[str, Register]) -> None:
        """Put stored properties into a block that has none of them."""
        block.properties = LwwMap([*block.properties.held(), *registers.items()])
        self.size_bytes += registers_bytes(registers.items())

    def enter_stored(self, ids: Sequence[OpId], stored: StoredBlocks) -> None:
        """Begin with the blocks of a snapshot; documents are entered next."""
        self.blocks.store(ids, stored)
        self.size_bytes += stored.types.size_bytes()

    def enter_rope(self, id: OpId, state: bytes, *, is_trusted: bool = False) -> None:
        """Put a stored rope in, as ``rope(id).encode_state()`` gave it.

        Args:
            id: The block that it begins with.
            state: Its bytes.
            is_trusted: Whether they are our own, and are looked at when somebody asks for the text.

        Raises:
            InvalidYjsUpdateError: The bytes are no state of a rope.
        """
        self._block_rope(id).restore(state, is_trusted=is_trusted)
        if len(state) > len(EMPTY_STATE):
            self.size_bytes += len(state) + BLOCK_TEXT_BYTES

    def cool(self, ropes_max: int) -> None:
        """Keep so many ropes ready to be edited, those asked for last; the others, long ones apart, are bytes until
        they are.

        For servers, when nothing that was admitted may be taken back any more.
        """
        for id in list(self.ropes)[: max(len(self.ropes) - ropes_max, 0)]:
            self.ropes[id].cool()

    def make_ready(self) -> None:
        """Do now what the first edits of long texts would wait for."""
        for rope in self.ropes.values():
            if rope.size_bytes > READY_TEXT_BYTES:
                rope.rope.make_ready()


def _check_type(value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value.encode("utf-8", "surrogatepass")) <= BLOCK_TYPE_BYTES_MAX:
        raise InvalidOperationError(f"the type of a block is a str of 1 to {BLOCK_TYPE_BYTES_MAX} bytes")


def _value_bytes(value: Scalar | Absent) -> int:
    return 0 if isinstance(value, Absent) else value_bytes(value)


def _nothing() -> None:
    pass
