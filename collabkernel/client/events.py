"""From what operations did to what callbacks get."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from collabkernel.client.live import Context
from collabkernel.client.notifications import Changed
from collabkernel.client.observers import Change
from collabkernel.crdt.ids import OpId
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


def change_of(context: Context, change: TreeChange, told: Changed) -> tuple[OpId, Change]:
    """A change as callbacks get it, with the container that it is in."""
    tree = context.replica.tree
    node = tree.nodes[change.target]
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
