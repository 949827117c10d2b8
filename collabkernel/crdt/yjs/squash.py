"""Compaction of a document's history: one state for a stored state and the updates after it, checked before it counts.

yrs leaves of deleted text its place alone, and nothing of what was inside a deleted container. Neighbouring remains of
one client's going on typing melt into one; text deleted at ever other places costs some 15 bytes a place for ever, in
every Yjs: somebody who was offline may name it as a neighbour.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from pycrdt import Array, Doc, Map, Text

from collabkernel.crdt.clock_ranges import ClockRanges
from collabkernel.crdt.yjs.history import YjsHistory
from collabkernel.crdt.yjs.parse import decode_vector
from collabkernel.crdt.yjs.policy import ARRAY, MAP, TEXT, YjsPolicy
from collabkernel.crdt.yjs.structs import ParsedUpdate, read_update
from collabkernel.crdt.yjs.yrs import COMMIT_MAX, apply_all
from collabkernel.errors import InvalidYjsUpdateError

_TYPES: dict[int, type[Any]] = {ARRAY: Array, MAP: Map, TEXT: Text}


def squash(policy: YjsPolicy, state: bytes, updates: Iterable[bytes]) -> bytes:
    """One state with the contents, the state vector and the deletes of ``state`` and the ``updates`` after it.

    Raises:
        InvalidYjsUpdateError: It would not be the same document; keep the history as it is.
    """
    before: Doc[Any] = Doc()
    told = _Told()
    rest = iter(updates)
    batch = [state] if state else []
    while batch or (batch := list(islice(rest, COMMIT_MAX))):
        apply_all(before, batch)
        for update in batch:
            told.add(read_update(update, policy, None))
        batch = []
    squashed = before.get_update()
    after: Doc[Any] = Doc()
    apply_all(after, [squashed])
    told.refuse_difference(policy, after)
    for root, kind in policy.roots.items():
        if _contents(before, root, kind) != _contents(after, root, kind):
            raise InvalidYjsUpdateError(f"the squashed state has other contents in {root!r}")
    return squashed


class _Told:
    """The clocks and deletes that a history tells."""

    def __init__(self) -> None:
        self._clocks: dict[int, int] = {}
        self._deleted = ClockRanges()

    def add(self, update: ParsedUpdate) -> None:
        for client, queue in update.structs.items():
            self._clocks[client] = max(self._clocks.get(client, 0), queue[-1].clock + queue[-1].length)
        for client, spans in update.deletes.items():
            for start, end in spans:
                self._deleted.add(client, start, end)

    def refuse_difference(self, policy: YjsPolicy, after: Doc[Any]) -> None:
        squashed = YjsHistory(policy)
        squashed.load(after.get_update())
        if not squashed.clocks == self._clocks == decode_vector(after.get_state()):
            raise InvalidYjsUpdateError("the squashed state has another state vector")
        for client, spans in self._deleted.to_dict().items():
            if any(squashed.deleted.missing(client, *span) for span in spans):
                raise InvalidYjsUpdateError(f"the squashed state lacks deletes of client {client}")


def _contents(doc: Doc[Any], root: str, kind: int) -> str:
    return repr(_value(doc.get(root, type=_TYPES[kind])))  # NaN is not equal to itself, but reads the same


def _value(shared: Any) -> Any:
    if isinstance(shared, Text):
        return shared.diff()
    if isinstance(shared, Map):
        return {key: _value(shared[key]) for key in sorted(shared.keys())}
    if isinstance(shared, Array):
        return [_value(value) for value in shared]
    if isinstance(shared, dict):
        return {key: _value(shared[key]) for key in sorted(shared)}
    return [_value(value) for value in shared] if isinstance(shared, list) else shared
