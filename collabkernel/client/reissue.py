"""Making the edits of a lost site again under a new one, and telling two states apart.

A site is lost when the server does not let it resume. What the server has stored of it shows in the new state: slots,
elements and containers keep the names of the operations that made them, registers keep their stamps, texts their
clocks. The rest is made again with the stamps it had, so that an old edit does not beat a newer one. Texts are edited
by what their updates did (a delta), since the clocks of a lost site cannot be continued.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import Protocol

from collabkernel.client.block_refitting import refitted_block
from collabkernel.client.edit import Edit
from collabkernel.client.notifications import Notification, Refused, Renamed, Reset
from collabkernel.client.pending import PendingEnvelope, PendingQueue
from collabkernel.client.refitting import refitted
from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.text_delta import Delta
from collabkernel.crdt.yjs.policy import ROPE_POLICY, TEXT_POLICY
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.live_tree import ListNode, MapNode, Node
from collabkernel.document.operations import (
    BlockInsert,
    BlockMove,
    BlockRekey,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    Op,
    Purge,
    TextEdit,
)
from collabkernel.document.room_state import RoomState
from collabkernel.errors import (
    CollabKernelError,
    InvalidValueError,
    PurgedError,
    ReadOnlyError,
    RejectedError,
    UnknownReferenceError,
    UnknownTargetError,
)
from collabkernel.wire.messages import Role


@dataclass(frozen=True, slots=True)
class Orphans:
    """The unanswered envelopes of lost sites, in the order they were made."""

    state: RoomState
    """What the user saw."""
    entries: tuple[PendingEnvelope, ...]
    sites: tuple[int, ...]
    """The site of each entry."""

    @classmethod
    def join(cls, earlier: Orphans | None, state: RoomState, site: int, pending: PendingQueue) -> Orphans | None:
        """Add the unanswered envelopes of one more site; None when there are none at all."""
        entries = pending.left()
        for entry in entries:
            entry.stood_in = entry.stood_in or state
        if earlier is not None:
            return cls(earlier.state, earlier.entries + entries, earlier.sites + (site,) * len(entries))
        return cls(state, entries, (site,) * len(entries)) if entries else None


class Editor(Protocol):
    """What makes edits: a replica."""

    state: RoomState
    role: Role

    @property
    def edit(self) -> Edit:
        """The open edit."""

    def begin(self, now_ms: int, is_batch: bool = False, hlc: int | None = None) -> Edit:
        """Open an edit."""

    def commit(self) -> object:
        """Close it."""

    def roll_back(self) -> None:
        """Take it back."""


def adopt(replica: Editor, orphans: Orphans, now_ms: int) -> Iterator[Notification]:
    """Make again, under a new site, what the server did not store of the lost ones."""
    before = orphans.state
    if replica.role is Role.WRITER:
        new_id_by_old: dict[OpId, OpId] = {}
        for plan in reissue(orphans, replica.state):
            replica.begin(now_ms, is_batch=True, hlc=plan.hlc)
            try:
                plan.make(replica.edit, new_id_by_old)
            except (CollabKernelError, IndexError) as error:  # an index: of a text that an edit before was refused in
                replica.roll_back()
                code = error.code if isinstance(error, CollabKernelError) else InvalidValueError.code
                yield Refused(RejectedError(code, str(error)), plan.counter, plan.targets)
            else:
                replica.commit()
                if plan.purged is not None:
                    yield Refused(plan.purged, plan.counter, plan.targets)
        if new_id_by_old:
            yield Renamed(new_id_by_old)
    else:
        for entry in orphans.entries:
            refusal = RejectedError(ReadOnlyError.code, "you may no longer write to this room")
            yield Refused(refusal, entry.envelope.counter, tuple({op.target for op in entry.envelope.ops}))
    changed = changed_containers(before, replica.state)
    if changed:
        yield Reset(changed)


class Plan:
    """One envelope to be made again."""

    def __init__(self, entry: PendingEnvelope, site: int, scratch: ScratchTexts, now: RoomState) -> None:
        self.counter = entry.envelope.counter
        self.hlc = entry.envelope.hlc
        self.targets = tuple(dict.fromkeys(op.target for op in entry.envelope.ops))
        self._entry = entry
        self._site = site
        self._scratch = scratch
        self._stood_in = entry.stood_in or now
        self._now = now
        self.purged: RejectedError | None = None
        """Of what came to nothing, when it was made, and its author has to be told."""

    def make(self, edit: Edit, new_id_by_old: dict[OpId, OpId]) -> None:
        """Perform it in ``edit``; note the new names of what it makes.

        Raises:
            CollabKernelError: It does not fit any more.
        """
        made: dict[OpId, OpId] = {}
        for i, op in enumerate(self._entry.envelope.ops):
            names = {**new_id_by_old, **made}
            fitted = self._fitted(op, names)
            if fitted is None:
                continue
            if isinstance(fitted, TextEdit):
                target = names.get(fitted.target, fitted.target)
                apply_delta(edit, target, self._scratch.delta_of(fitted, self._site, target))
                continue
            done = edit.perform(_placed(_renamed(fitted, names), edit))
            made[self._entry.op_id(self._site, i)] = done.op_id
        new_id_by_old.update(made)

    def _fitted(self, op: Op, names: dict[OpId, OpId]) -> Op | None:
        """The operation as it fits the room as it is; None if there is nothing to do."""
        try:
            on_block = refitted_block(op, names, self._stood_in.blocks, self._now.blocks)
        except PurgedError as error:
            self.purged = RejectedError(error.code, str(error))
            return None
        return None if on_block is None else refitted(on_block, names, self._stood_in.tree, self._now.tree)


class ScratchTexts:
    """Copies of texts on which the updates of a lost site can still be applied."""

    def __init__(self, state: RoomState) -> None:
        self._state = state
        self._rope_by_id: dict[OpId, TextRope] = {}

    def has(self, op: TextEdit, site: int) -> bool | None:
        """Whether the new state has this update; None where it has not even the text."""
        rope = self._state.find_rope(op)
        return None if rope is None else rope.covers(op.update, site)

    def delta_of(self, op: TextEdit, site: int, target: OpId) -> Delta:
        """What an update does to the text as it is now."""
        rope = self._rope_by_id.get(op.target)
        if rope is None:
            found = self._state.find_rope(TextEdit(target, b""))
            if found is None:
                raise UnknownTargetError(f"the text {op.target.site}.{op.target.counter} is gone")
            is_of_blocks = isinstance(self._state.holder(TextEdit(target, b"")), BlockDocument)
            policy = ROPE_POLICY if is_of_blocks else TEXT_POLICY
            rope = TextRope.from_state(found.encode_state(), site, records_steps=False, policy=policy)
            self._rope_by_id[op.target] = rope
        return rope.apply_with_delta(op.update, site)


def reissue(orphans: Orphans, state: RoomState) -> Iterator[Plan]:
    """What of the orphans ``state`` does not have, one plan an envelope.

    A site's envelopes are stored in order, so what stands before one that shows was judged, though it may not show. And
    nothing is stored from one on whose text is not there: a block may stand where it was moved to and have been there
    before, but a clock of a text is one edit's. What the server has said that it did not store is not looked for.
    """
    scratch = ScratchTexts(state)
    pairs = tuple(zip(orphans.entries, orphans.sites, strict=True))
    judged: dict[int, int] = {}
    lost: set[int] = set()
    for i, (entry, site) in enumerate(pairs):
        has_lost_text = (isinstance(op, TextEdit) and scratch.has(op, site) is False for op in entry.envelope.ops)
        if entry.is_untaken or any(has_lost_text):
            lost.add(site)
        elif site not in lost and _is_stored(entry, site, state, scratch):
            judged[site] = i
    for i, (entry, site) in enumerate(pairs):
        if i > judged.get(site, -1):
            yield Plan(entry, site, scratch, state)


def _is_stored(entry: PendingEnvelope, site: int, state: RoomState, scratch: ScratchTexts) -> bool:
    """An envelope is stored whole or not at all, so one operation that shows is enough."""
    return any(
        scratch.has(op, site)
        if isinstance(op, TextEdit)
        else _shows(op, entry.op_id(site, i), entry.stamp(site, i), entry.envelope.base, state)
        for i, op in enumerate(entry.envelope.ops)
    )


def _shows(op: Op, op_id: OpId, stamp: Stamp, base: int, state: RoomState) -> bool:
    tree, blocks = state.tree, state.blocks
    node = tree.nodes.get(op.target)
    if op_id in tree.nodes or (blocks is not None and op_id in blocks):
        return True
    match op:
        case MapSet() | MapDelete() if blocks is not None and op.target in blocks:
            register = blocks.block(op.target).properties.register(op.key)
            return register is not None and register[0] == stamp
        case BlockMove() if blocks is not None:
            if blocks.tree.place_of(op.target) != (op.parent, op.slot, op.key):
                return False
            # An undo may give a block the very place that it had before.
            seq, author = blocks.tree.position_op_of(op.target)
            return author == op_id.site and seq > base
        case MapSet() | MapDelete() if isinstance(node, MapNode):
            register = node.entries.register(op.key)
            return register is not None and register[0] == stamp
        case ListInsert() if isinstance(node, ListNode):
            return node.items.knows(op_id)
        case ListMove() if isinstance(node, ListNode):
            return _has_slot(node, op_id)
        case ListSet() if isinstance(node, ListNode) and op.element in node.items:
            known = node.items.revert_token(op.element).before
            return known is not None and known.value is not None and known.value[0] == stamp
        case _:
            return False


def _has_slot(node: ListNode, slot: OpId) -> bool:
    try:
        node.items.check_slot(slot, Side.RIGHT)
    except UnknownReferenceError:
        return False
    return True


def _renamed(op: Op, names: dict[OpId, OpId]) -> Op:
    target = names.get(op.target, op.target)
    match op:
        case ListInsert() | ListMove():
            parent = None if op.parent is None else names.get(op.parent, op.parent)
            if isinstance(op, ListInsert):
                return replace(op, target=target, parent=parent)
            return replace(op, target=target, parent=parent, element=names.get(op.element, op.element))
        case ListDelete() | ListSet():
            return replace(op, target=target, element=names.get(op.element, op.element))
        case BlockMove():
            return replace(op, target=target, parent=names.get(op.parent, op.parent))
        case BlockInsert() if op.split is not None:
            return replace(op, target=target, split=names.get(op.split, op.split))
        case BlockRekey() | Purge():
            return op  # never a client's
        case _:
            return replace(op, target=target)


def _placed(op: Op, edit: Edit) -> Op:
    """An operation on a block's place with a key of the present site where its old key would be."""
    if not isinstance(op, BlockInsert | BlockMove):
        return op
    tree, site = edit.blocks.tree, edit.next_id.site
    parent = op.target if isinstance(op, BlockInsert) else op.parent
    own = None if isinstance(op, BlockInsert) else op.target
    for needed in (parent, own):
        if needed is not None and needed not in tree:
            raise UnknownTargetError(f"the block {needed.site}.{needed.counter} is gone")
    places = [tree.place_of(each) for each in tree.children(parent, op.slot) if each != own]
    index = sum([place is not None and place.key < op.key for place in places])
    return replace(op, key=tree.key_at(parent, op.slot, index, site, leaving_out=own))


def apply_delta(edit: Edit, target: OpId, delta: Delta) -> None:
    """Make the changes of a delta in a text, one operation a step."""
    at = 0
    for part in delta:
        attributes = part.get("attributes")
        if "insert" in part:
            text = part["insert"]
            if not isinstance(text, str):
                at += edit.mark_split(target, at)
                continue
            edit.splice_text(target, at, 0, text, attributes or {})
            at += len(text)
        elif "delete" in part:
            edit.splice_text(target, at, part["delete"], "")
        else:
            if attributes:
                edit.format_text(target, at, at + part["retain"], attributes)
            at += part["retain"]


# -- telling two states apart


def changed_containers(old: RoomState, new: RoomState) -> tuple[OpId, ...]:
    """The containers and blocks of both states that hold something else in the new one, parents first."""
    return tuple(
        node.id
        for node in new.tree.in_order()
        if (before := old.tree.nodes.get(node.id)) is not None and _contents(before) != _contents(node)
    ) + _changed_blocks(old.blocks, new.blocks)


def _changed_blocks(old: BlockDocument | None, new: BlockDocument | None) -> tuple[OpId, ...]:
    if old is None or new is None:
        return ()
    found = []
    doubtful = _doubtful_ropes(old, new)
    for id in new.blocks:
        if id in old.blocks and (
            _place(old, id) != _place(new, id)
            or (old.is_loaded(id) and new.is_loaded(id) and _contents_differ(old, new, id, doubtful))
        ):
            found.append(id)
    return tuple(found)


def _place(document: BlockDocument, id: OpId) -> object:
    tree = document.tree
    return tree.place_of(id), tree.children(id) if id in tree else []


def _contents_differ(old: BlockDocument, new: BlockDocument, id: OpId, doubtful: Set[OpId]) -> bool:
    if dict(old.blocks[id].properties.items()) != dict(new.blocks[id].properties.items()):
        return True
    parts = new.parts(id)
    is_clear = parts == old.parts(id) and not any(new.blocks[part].rope_id in doubtful for part in parts)
    return not is_clear and old.text(id) != new.text(id)


def _doubtful_ropes(old: BlockDocument, new: BlockDocument) -> set[OpId]:
    """The ropes that may read otherwise. Most are the same bytes in both, and stay bytes that nobody has parsed."""
    ropes, markers = old.ropes, _counting_markers(old) ^ _counting_markers(new)
    doubtful = {rope_id for rope_id, _ in markers} | (ropes.keys() ^ new.ropes.keys())
    return doubtful | {
        id for id, rope in new.ropes.items() if id in ropes and ropes[id].encode_state() != rope.encode_state()
    }


def _counting_markers(document: BlockDocument) -> set[tuple[OpId, OpId]]:
    """Which markers count in which rope."""
    return {(block.rope_id, id) for id, block in document.blocks.items() if block.is_split and id in document.tree}


def _contents(node: Node) -> object:
    if isinstance(node, MapNode):
        return dict(node.entries.items())
    if isinstance(node, ListNode):
        return list(node.items.items())
    return node.rope.text
