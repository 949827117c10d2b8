"""Undo and redo of one's own edits, as new edits that take back what survives of the old ones.

Undo never brings others' work down: a key or item that somebody else has written since stays as it is. The rules:

- A register is put back only if the write to be undone still stands, or was itself put back by an undo since.
- What was inserted is deleted; what was deleted is inserted again beside its former neighbour, as a deep copy.
- A move goes back beside the former neighbour. Text is undone by its rope (``crdt/text.py``), as long as that rope is
  there: not once a snapshot has replaced it, nor in a text that was itself deleted and put back.

Since what is put back gets new names and stamps, the history keeps *aliases*: which name or stamp stands for which.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar, cast

from collabkernel.client.edit import Before, Done, Edit, list_before
from collabkernel.client.live import Context
from collabkernel.client.sketch import Sketch, Source, put, sketch_of_tree
from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.lww import TOMBSTONE
from collabkernel.document.block import TYPE
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.live_tree import Absent, ListNode, LiveTree, MapNode, TextNode
from collabkernel.document.operations import (
    BlockDelete,
    ContainerRef,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    NewContainer,
    Op,
    OpValue,
    Scalar,
    TextEdit,
)
from collabkernel.errors import LocalProtocolError, NotLoadedError, PurgedError

K = TypeVar("K", OpId, Stamp)
GONE = "what this step took away was deleted long ago, and is gone by now"


class Step:
    """What one undo takes back: the operations of an envelope, or of all between pause and resume."""

    __slots__ = ("done", "made")

    def __init__(self, done: Sequence[Done]) -> None:
        self.done = list(done)
        self.made = {each.op_id for each in done if _makes_container(each.op)}

    def extend(self, done: Sequence[Done]) -> None:
        """Take more operations into this step."""
        self.done.extend(done)
        self.made.update(each.op_id for each in done if _makes_container(each.op))


def _makes_container(op: Op) -> bool:
    return isinstance(op, MapSet | ListInsert | ListSet) and isinstance(op.value, NewContainer)


class StepLog:
    """The steps that can be undone and redone. Pure; ``History`` is its face."""

    def __init__(self, steps_max: int) -> None:
        self._steps_max = steps_max
        self._undo: deque[Step] = deque()
        self._redo: deque[Step] = deque()
        self._tree: LiveTree | None = None
        self._is_paused = False
        self._is_group_open = False
        self._container_alias: dict[OpId, OpId] = {}
        self._element_alias: dict[OpId, OpId] = {}
        self._value_alias: dict[Stamp, Stamp] = {}
        self._position_alias: dict[Stamp, Stamp] = {}

    @property
    def undo_count(self) -> int:
        """Steps that can be undone."""
        return len(self._undo)

    @property
    def redo_count(self) -> int:
        """Steps that can be redone."""
        return len(self._redo)

    def record(self, done: Sequence[Done], tree: LiveTree) -> list[Done]:
        """Take note of an edit, which makes what was undone final; give what is no longer kept."""
        self._follow(tree)
        dropped = [each for step in self._redo for each in step.done]
        self._redo.clear()
        if self._is_group_open and self._undo:
            self._undo[-1].extend(done)
        else:
            self._undo.append(Step(done))
            self._is_group_open = self._is_paused
        while len(self._undo) > self._steps_max:
            dropped.extend(self._undo.popleft().done)
        return dropped

    def pause(self) -> None:
        """From here on all edits are one step."""
        self._is_paused, self._is_group_open = True, False

    def resume(self) -> None:
        """Each edit is a step of its own again."""
        self._is_paused = self._is_group_open = False

    def clear(self) -> None:
        """Forget everything."""
        for part in (self._undo, self._redo):
            part.clear()
        for aliases in (self._container_alias, self._element_alias, self._value_alias, self._position_alias):
            aliases.clear()
        self._is_group_open = False

    def forget_texts(self, ropes: Collection[OpId]) -> None:
        """Drop the text steps of ropes that are gone, or were loaded anew; see ``_follow``."""
        for step in (*self._undo, *self._redo):
            step.done = [done for done in step.done if not (isinstance(done.op, TextEdit) and done.op.target in ropes)]

    def _follow(self, tree: LiveTree) -> None:
        """Drop the text steps of a tree that a snapshot has replaced: yrs panics on items that it does not have."""
        if tree is self._tree:
            return
        self._tree = tree
        for step in (*self._undo, *self._redo):
            step.done = [done for done in step.done if not isinstance(done.op, TextEdit)]

    def undo(self, edit: Edit, tree: LiveTree) -> bool:
        """Take back the last step of which something survives; return whether there was one."""
        return self._take(self._undo, self._redo, edit, tree)

    def redo(self, edit: Edit, tree: LiveTree) -> bool:
        """Take back the last undo of which something survives; return whether there was one."""
        return self._take(self._redo, self._undo, edit, tree)

    def _take(self, from_: deque[Step], to: deque[Step], edit: Edit, tree: LiveTree) -> bool:
        self._is_group_open = False
        self._follow(tree)
        while from_:
            step = from_.pop()
            first = len(edit.done)
            try:
                for done in reversed(step.done):
                    if done.op.target not in step.made:
                        self._invert(edit, tree, done)
            except NotLoadedError:
                from_.append(step)  # to be taken back when what it changed is in sight again
                raise
            if len(edit.done) > first:
                to.append(Step(edit.done[first:]))
                return True
        return False

    # -- one operation

    def _invert(self, edit: Edit, tree: LiveTree, done: Done) -> None:
        op = done.op
        blocks = edit.blocks_if_any
        if blocks is not None and (done.inverse is not None or op.target in blocks):
            self._invert_on_block(edit, blocks, done)
            return
        node = tree.nodes.get(_latest(self._container_alias, op.target))
        if node is None or tree.path(node.id) is None:
            return
        match op:
            case MapSet() | MapDelete() if isinstance(node, MapNode):
                self._restore_key(edit, tree, node, op.key, done)
            case ListInsert() if isinstance(node, ListNode):
                self._delete_again(edit, node, done)
            case ListDelete() if isinstance(node, ListNode):
                self._insert_again(edit, tree, node, op, done)
            case ListSet() if isinstance(node, ListNode):
                self._restore_item(edit, tree, node, op, done)
            case ListMove() if isinstance(node, ListNode):
                self._move_back(edit, node, op, done)
            case TextEdit() if isinstance(node, TextNode) and done.step is not None and node.id == op.target:
                edit.undo_text(node.id, done.step)
            case _:
                pass

    def _invert_on_block(self, edit: Edit, blocks: BlockDocument, done: Done) -> None:
        op = done.op
        if op.target not in blocks:
            if isinstance(op, BlockDelete):
                raise PurgedError(GONE)
        elif isinstance(op, MapSet | MapDelete):
            self._restore_property(edit, blocks, op, done)
        elif isinstance(op, TextEdit) and done.step is not None:
            edit.undo_block_text(op.target, done.step)
        if done.inverse is not None:
            edit.run(done.inverse(blocks, edit.next_id))

    def _restore_property(self, edit: Edit, blocks: BlockDocument, op: MapSet | MapDelete, done: Done) -> None:
        block = blocks.block(op.target) if op.key == TYPE else blocks.known_block(op.target)
        register = block.properties.register(op.key)
        if register is None or not self._is_same(self._value_alias, register[0], done.stamp):
            return
        before = done.before.value
        if isinstance(before, Absent):
            put_back = edit.perform(MapDelete(op.target, op.key))
        else:
            put_back = edit.perform(MapSet(op.target, op.key, cast(Scalar, before)))
        self._note(self._value_alias, put_back.stamp, done.before.stamp)

    def _restore_key(self, edit: Edit, tree: LiveTree, node: MapNode, key: str, done: Done) -> None:
        register = node.entries.register(key)
        if register is None or not self._is_same(self._value_alias, register[0], done.stamp):
            return
        before = done.before
        if isinstance(before.value, Absent):
            if register[1] is TOMBSTONE:
                return
            put_back = edit.perform(MapDelete(node.id, key))
        else:
            put_back = self._put(edit, tree, _key_writer(node.id, key), before)
        self._note(self._value_alias, put_back.stamp, before.stamp)

    def _delete_again(self, edit: Edit, node: ListNode, done: Done) -> None:
        element = _latest(self._element_alias, done.op_id)
        if element in node.items:
            edit.perform(ListDelete(node.id, element))

    def _insert_again(self, edit: Edit, tree: LiveTree, node: ListNode, op: ListDelete, done: Done) -> None:
        before = done.before
        if before.index is None or isinstance(before.value, Absent):
            return
        index = self._index_beside(node, before)
        parent, side = node.items.insertion_point(min(index, len(node.items)))
        target = node.id
        put_back = self._put(edit, tree, lambda value: ListInsert(target, parent, side, value), before)
        self._element_alias[op.element] = put_back.op_id
        self._note(self._value_alias, put_back.stamp, before.stamp)
        self._note(self._position_alias, put_back.stamp, before.position_stamp)

    def _restore_item(self, edit: Edit, tree: LiveTree, node: ListNode, op: ListSet, done: Done) -> None:
        element = _latest(self._element_alias, op.element)
        now, before = list_before(node, element), done.before
        if now.stamp is None or not self._is_same(self._value_alias, now.stamp, done.stamp):
            return
        target = node.id
        put_back = self._put(edit, tree, lambda value: ListSet(target, element, value), before)
        self._note(self._value_alias, put_back.stamp, before.stamp)

    def _move_back(self, edit: Edit, node: ListNode, op: ListMove, done: Done) -> None:
        element = _latest(self._element_alias, op.element)
        now, before = list_before(node, element), done.before
        if now.position_stamp is None or now.index is None:
            return
        if not self._is_same(self._position_alias, now.position_stamp, done.stamp):
            return
        index = self._index_beside(node, before)
        if index > now.index and before.neighbour is not None:
            index -= 1  # the neighbour stands one place further up once this element has left
        index = min(index, len(node.items) - 1)
        parent, side = node.items.move_point(element, index)
        put_back = edit.perform(ListMove(node.id, element, parent, side))
        self._note(self._position_alias, put_back.stamp, before.position_stamp)

    def _index_beside(self, node: ListNode, before: Before) -> int:
        if before.neighbour is not None:
            neighbour = _latest(self._element_alias, before.neighbour)
            if neighbour in node.items:
                return (node.items.index_of(neighbour) or 0) + 1
        return before.index or 0

    # -- copies and their names

    def _put(self, edit: Edit, tree: LiveTree, op_of: Callable[[OpValue], Op], before: Before) -> Done:
        assert not isinstance(before.value, Absent), "there is something to put back"
        if isinstance(before.value, ContainerRef) and before.value.id not in tree.nodes:
            raise PurgedError(GONE)
        return put(edit, op_of, sketch_of_tree(tree, before.value), self._on_made, self._on_item)

    def _on_made(self, made: Sketch, id: OpId) -> None:
        if made.source is not None:
            self._container_alias[made.source] = id

    def _on_item(self, source: Source, done: Done) -> None:
        self._note(self._value_alias, done.stamp, source.stamp)
        if source.element is not None:
            self._element_alias[source.element] = done.op_id

    def _note(self, aliases: dict[Stamp, Stamp], new: Stamp, old: Stamp | None) -> None:
        if old is not None:
            aliases[new] = old

    def _is_same(self, aliases: dict[Stamp, Stamp], a: Stamp, b: Stamp) -> bool:
        return _latest(aliases, a) == _latest(aliases, b)


class History:
    """Undo and redo of this session's own edits; others' edits stay."""

    def __init__(self, room: Context, steps: StepLog) -> None:
        self._room = room
        self._steps = steps

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return self._steps.undo_count > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to redo."""
        return self._steps.redo_count > 0

    def undo(self) -> bool:
        """Take back the last step of which something survives; False when there is none.

        Raises:
            PurgedError: What it took away was deleted long ago, and is gone; the step before is the next.
        """
        return self._step(self._steps.undo)

    def redo(self) -> bool:
        """Take back the last undo; False when there is none."""
        return self._step(self._steps.redo)

    def _step(self, take: Callable[..., bool]) -> bool:
        room = self._room
        with room.lock:
            if room.replica.is_editing:
                raise LocalProtocolError("undo and redo are edits of their own: leave the batch first")
            with room.editing(is_batch=True, is_undoable=False) as edit:
                return take(edit, room.replica.tree)

    def pause(self) -> None:
        """Make all edits from here on one step, until ``resume``."""
        with self._room.lock:
            self._steps.pause()

    def resume(self) -> None:
        """Make each edit a step of its own again."""
        with self._room.lock:
            self._steps.resume()

    def clear(self) -> None:
        """Forget all steps."""
        with self._room.lock:
            self._steps.clear()


def _latest(aliases: dict[K, K], name: K) -> K:
    while name in aliases:
        name = aliases[name]
    return name


def _key_writer(target: OpId, key: str) -> Callable[[OpValue], Op]:
    return lambda value: MapSet(target, key, value)
