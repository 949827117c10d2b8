"""Making the edits of a lost site again under a new one, and telling two states apart.

A site is lost when the server does not let it resume. What the server has stored of it shows in the new state: slots,
elements and containers keep the names of the operations that made them, registers keep their stamps, texts their
clocks. The rest is made again with the stamps it had, so that an old edit does not beat a newer one. Texts are edited
by what their updates did (a delta), since the clocks of a lost site cannot be continued.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from collabkernel.client.edit import Edit
from collabkernel.client.pending import PendingEnvelope, PendingQueue
from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.text_delta import Delta
from collabkernel.document.live_tree import ListNode, LiveTree, MapNode, Node, TextNode
from collabkernel.document.operations import (
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    Op,
    TextEdit,
)
from collabkernel.errors import UnknownReferenceError, UnknownTargetError


@dataclass(frozen=True, slots=True)
class Orphans:
    """The unanswered envelopes of lost sites, in the order they were made."""

    tree: LiveTree
    """What the user saw."""
    entries: tuple[PendingEnvelope, ...]
    sites: tuple[int, ...]
    """The site of each entry."""

    @classmethod
    def join(cls, earlier: Orphans | None, tree: LiveTree, site: int, pending: PendingQueue) -> Orphans | None:
        """Add the unanswered envelopes of one more site; None when there are none at all."""
        entries = tuple(entry for entry in pending if not entry.is_answered)
        if earlier is not None:
            return cls(earlier.tree, earlier.entries + entries, earlier.sites + (site,) * len(entries))
        return cls(tree, entries, (site,) * len(entries)) if entries else None


class Plan:
    """One envelope to be made again."""

    def __init__(self, entry: PendingEnvelope, site: int, scratch: ScratchTexts) -> None:
        self.counter = entry.envelope.counter
        self.hlc = entry.envelope.hlc
        self.targets = tuple(dict.fromkeys(op.target for op in entry.envelope.ops))
        self._entry = entry
        self._site = site
        self._scratch = scratch

    def make(self, edit: Edit, new_id_by_old: dict[OpId, OpId]) -> None:
        """Perform it in ``edit``; note the new names of what it makes.

        Raises:
            CollabKernelError: It does not fit any more.
        """
        made: dict[OpId, OpId] = {}
        for i, op in enumerate(self._entry.envelope.ops):
            names = {**new_id_by_old, **made}
            if isinstance(op, TextEdit):
                target = names.get(op.target, op.target)
                apply_delta(edit, target, self._scratch.delta_of(op, self._site, target))
                continue
            done = edit.perform(_renamed(op, names))
            made[self._entry.op_id(self._site, i)] = done.op_id
        new_id_by_old.update(made)


class ScratchTexts:
    """Copies of texts on which the updates of a lost site can still be applied."""

    def __init__(self, tree: LiveTree) -> None:
        self._tree = tree
        self._rope_by_id: dict[OpId, TextRope] = {}

    def is_known(self, op: TextEdit, site: int) -> bool:
        """Whether the new state has this update."""
        node = self._tree.nodes.get(op.target)
        return isinstance(node, TextNode) and node.rope.covers(op.update, site)

    def delta_of(self, op: TextEdit, site: int, target: OpId) -> Delta:
        """What an update does to the text as it is now."""
        rope = self._rope_by_id.get(op.target)
        if rope is None:
            node = self._tree.nodes.get(target)
            if not isinstance(node, TextNode):
                raise UnknownTargetError(f"the text {op.target.site}.{op.target.counter} is gone")
            rope = TextRope.from_state(node.rope.encode_state(), site, records_steps=False)
            self._rope_by_id[op.target] = rope
        return rope.apply_with_delta(op.update, site)


def reissue(orphans: Orphans, tree: LiveTree) -> Iterator[Plan]:
    """What of the orphans ``tree`` does not have, one plan an envelope.

    A site's envelopes are stored in order, so what stands before one that shows was judged, though it may not show.
    """
    scratch = ScratchTexts(tree)
    pairs = tuple(zip(orphans.entries, orphans.sites, strict=True))
    judged = {site: i for i, (entry, site) in enumerate(pairs) if _is_stored(entry, site, tree, scratch)}
    for i, (entry, site) in enumerate(pairs):
        if i > judged.get(site, -1):
            yield Plan(entry, site, scratch)


def _is_stored(entry: PendingEnvelope, site: int, tree: LiveTree, scratch: ScratchTexts) -> bool:
    """An envelope is stored whole or not at all, so one operation that shows is enough."""
    return any(
        scratch.is_known(op, site)
        if isinstance(op, TextEdit)
        else _shows(op, entry.op_id(site, i), entry.stamp(site, i), tree)
        for i, op in enumerate(entry.envelope.ops)
    )


def _shows(op: Op, op_id: OpId, stamp: Stamp, tree: LiveTree) -> bool:
    node = tree.nodes.get(op.target)
    if op_id in tree.nodes:
        return True
    match op:
        case MapSet() | MapDelete() if isinstance(node, MapNode):
            register = node.entries.register(op.key)
            return register is not None and register[0] == stamp
        case ListInsert() if isinstance(node, ListNode):
            return node.items.knows(op_id)
        case ListMove() if isinstance(node, ListNode):
            return _has_slot(node, op_id)
        case ListSet() if isinstance(node, ListNode) and op.element in node.items:
            state = node.items.revert_token(op.element).before
            return state is not None and state.value is not None and state.value[0] == stamp
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
        case _:
            return replace(op, target=target)


def apply_delta(edit: Edit, target: OpId, delta: Delta) -> None:
    """Make the changes of a delta in a text, one operation a step."""
    at = 0
    for part in delta:
        attributes = part.get("attributes")
        if "insert" in part:
            text = part["insert"]
            if not isinstance(text, str):
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


def changed_containers(old: LiveTree, new: LiveTree) -> tuple[OpId, ...]:
    """The containers of both states that hold something else in the new one, parents first."""
    return tuple(
        node.id
        for node in new.in_order()
        if (before := old.nodes.get(node.id)) is not None and _contents(before) != _contents(node)
    )


def _contents(node: Node) -> object:
    if isinstance(node, MapNode):
        return dict(node.entries.items())
    if isinstance(node, ListNode):
        return list(node.items.items())
    return node.rope.text
