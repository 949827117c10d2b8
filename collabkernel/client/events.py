"""From what operations did to what callbacks get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from collabkernel.client.block import Block, root_of
from collabkernel.client.live import Context
from collabkernel.client.notifications import Changed, Loaded, Placed, Reset
from collabkernel.client.observers import Change
from collabkernel.crdt.ids import OpId
from collabkernel.crdt.move_tree import Place
from collabkernel.document.block_retold import unmoved
from collabkernel.document.live_tree import Absent
from collabkernel.document.live_tree import Change as TreeChange
from collabkernel.document.operations import ContainerRef


def merged(changes: Iterable[TreeChange]) -> list[TreeChange]:
    """The changes of one envelope, those of one key in one: from the first old value to the last new one."""
    result: list[TreeChange] = []
    at_by_place: dict[tuple[OpId, str], int] = {}
    for change in changes:
        if not isinstance(change.key, str):
            result.append(change)
            continue
        place = (change.target, change.key)
        at = at_by_place.get(place)
        if at is None:
            at_by_place[place] = len(result)
            result.append(change)
        else:
            first = result[at]
            result[at] = TreeChange(change.target, change.action, change.key, first.old, change.new)
    return [change for change in result if not _is_nothing(change)]


def _is_nothing(change: TreeChange) -> bool:
    if not isinstance(change.key, str):
        return False
    both_absent = isinstance(change.old, Absent) and isinstance(change.new, Absent)
    is_same_container = isinstance(change.new, ContainerRef) and change.new == change.old
    return both_absent or is_same_container


def documents_of(context: Context, targets: Iterable[OpId]) -> dict[OpId, OpId]:
    """Of what was changed, those that are blocks, each with its document."""
    blocks = context.replica.state.blocks
    if blocks is None:
        return {}
    return {id: root_of(blocks, id) for id in targets if id in blocks.tree}


def _block_change_of(context: Context, change: TreeChange, told: Changed) -> tuple[OpId, Change]:
    made = _of_block(context, change.target, change.action, told.actor, told.is_remote)
    made.update(name=change.key, old=_shown(context, change.old), new=_shown(context, change.new))
    if change.action == "text":
        made["delta"] = list(change.delta)
    return change.target, made


def place_changes_of(context: Context, told: Placed) -> tuple[list[tuple[OpId, Change]], dict[OpId, OpId]]:
    """Blocks that came, went, or stand elsewhere, as callbacks get it; and the document of each."""
    blocks = context.replica.state.blocks
    stayed = set() if blocks is None else unmoved(blocks.tree, told.places)
    changes = [
        (block, _of_block(context, block, _place_change_type(was, now), told.actor, told.is_remote))
        for block, (was, now) in told.places.items()
        if block not in stayed
    ]
    return changes, documents_of(context, told.places)


def resets_of(context: Context, told: Reset) -> Iterator[tuple[OpId, Change]]:
    """The live values that hold something else by a snapshot, of those that somebody watches."""
    tree = context.replica.tree
    for id in told.containers:
        if id in tree.nodes and context.observers.is_watched(id):
            owner, path = context.facade(ContainerRef(id, tree.nodes[id].kind)), tree.path(id)
            yield id, Change(name=None, old=None, new=None, owner=owner, type="reset", actor="", path=path, remote=True)


def block_resets_of(context: Context, told: Reset) -> tuple[list[tuple[OpId, Change]], dict[OpId, OpId]]:
    """The blocks that hold something else by a snapshot, as callbacks get it; and the document of each."""
    outer_by_id = documents_of(context, told.containers)
    return [(id, _of_block(context, id, "reset", "", is_remote=True)) for id in outer_by_id], outer_by_id


def loading_changes_of(context: Context, told: Loaded) -> tuple[list[tuple[OpId, Change]], dict[OpId, OpId]]:
    """The blocks whose contents have come or gone, as callbacks get it; and the document of each."""
    outer_by_id = documents_of(context, (*told.loaded, *told.unloaded))
    changes = [(id, _of_block(context, id, "load", "", is_remote=True)) for id in told.loaded if id in outer_by_id]
    gone = [(id, _of_block(context, id, "unload", "", is_remote=True)) for id in told.unloaded if id in outer_by_id]
    return [*changes, *gone], outer_by_id


def _place_change_type(was: Place | None, now: Place | None) -> str:
    if now is None:
        return "remove"
    return "insert" if was is None else "move"


def _of_block(context: Context, block: OpId, type: str, actor: str, is_remote: bool) -> Change:
    owner = Block(context, block)
    return Change(name=None, old=None, new=None, owner=owner, type=type, actor=actor, path=None, remote=is_remote)


def change_of(context: Context, change: TreeChange, told: Changed) -> tuple[OpId, Change]:
    """A change as callbacks get it, with the container that it is in."""
    tree = context.replica.tree
    node = tree.nodes.get(change.target)
    if node is None:
        return _block_change_of(context, change, told)
    made = Change(
        name=change.key,
        old=_shown(context, change.old),
        new=_shown(context, change.new),
        owner=context.facade(ContainerRef(node.id, node.kind)),
        type=change.action,
        actor=told.actor,
        path=tree.path(node.id),
        remote=told.is_remote,
    )
    if change.action == "move":
        made["old_index"] = change.old_index
    if change.action == "text":
        made["delta"] = list(change.delta)
    return node.id, made


def _shown(context: Context, value: Any) -> Any:
    if isinstance(value, Absent):
        return None
    return context.facade(value) if isinstance(value, ContainerRef) else value
