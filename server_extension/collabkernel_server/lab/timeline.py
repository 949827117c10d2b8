"""A document's history: its steps, told by the log and the kept versions, and its content at each of them.

The log has an operation for each update, with the server's time in its ``hlc``. Updates of one second are one step, and
so are all that change only what JupyterLab keeps beside the content (``state``). Where the log was compacted away, kept
versions are the steps.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from collabkernel.crdt.clock import ms_from_hlc
from collabkernel.errors import LogDroppedError
from collabkernel.room.document_fold import DocumentFold
from collabkernel.server.hub import Hub
from collabkernel.storage.base import OpRow
from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.names import DocumentName, document_class

STEPS_MAX = 500
"""Steps shown: JupyterLab's slider has hardly more places. With more of them every second one goes, but the last."""
READ_TRIES = 4
"""A log may be compacted while it is read; then there is a newer snapshot."""


class Step(NamedTuple):
    """One place of the slider."""

    seq: int
    """The last operation of it."""
    at_ms: int


class History(NamedTuple):
    """What is left of a document's past."""

    kept: list[Step]
    """Versions, and the snapshot at which the log that is left begins; oldest first."""
    base: bytes
    """The state there, as a Yjs update; empty for nothing."""
    rows: list[OpRow]
    """The log behind it."""


async def read_history(hub: Hub, document_id: str) -> History:
    """All that is left of a document's past.

    Raises:
        StorageError: The database does not answer.
    """
    for tries_left in reversed(range(READ_TRIES)):
        try:
            return await _read(hub, document_id)
        except LogDroppedError:
            if not tries_left:
                raise
    raise AssertionError("not reached")


async def _read(hub: Hub, document_id: str) -> History:
    room = await hub.storage.head(document_id)
    snapshot = await hub.history.snapshot(document_id) if room is not None and room.dropped_seq else None
    if snapshot is None:
        return History([], b"", await _rows(hub, document_id, 0))
    rows = await _rows(hub, document_id, snapshot.seq)
    fold = await asyncio.to_thread(DocumentFold.from_parts, snapshot.parts, snapshot.seq)
    versions = await hub.storage.versions(document_id)
    kept = [Step(row.seq, row.created_ms) for row in versions if row.seq < snapshot.seq]
    if (last := await hub.storage.op_at(document_id, snapshot.seq)) is not None:
        kept.append(Step(snapshot.seq, ms_from_hlc(last.hlc)))
    return History(kept, fold.state, rows)


async def _rows(hub: Hub, document_id: str, after_seq: int) -> list[OpRow]:
    rows: list[OpRow] = []
    while chunk := await hub.read_log(document_id, rows[-1].seq if rows else after_seq):
        rows.extend(chunk)
    return rows


async def find_steps(history: History, type_name: str, step_ms: int) -> list[Step]:
    """The steps at which the content changed, oldest first; what follows within ``step_ms`` is the same step."""
    return await asyncio.to_thread(_found_steps, history, type_name, step_ms)


def _found_steps(history: History, type_name: str, step_ms: int) -> list[Step]:
    document = _begun(history, type_name)
    changed: list[str] = []
    document.observe(lambda topic, _: changed.append(topic))
    steps = list(history.kept)
    for row in history.rows:
        changed.clear()
        document.ydoc.apply_update(row.payload)
        if any(topic != "state" for topic in changed):
            _add(steps, Step(row.seq, ms_from_hlc(row.hlc)), step_ms)
    document.unobserve()  # in the thread that observed: pycrdt asks for that
    return thinned(steps)


def _add(steps: list[Step], step: Step, step_ms: int) -> None:
    if steps and step.at_ms - steps[-1].at_ms < step_ms:
        steps[-1] = Step(step.seq, steps[-1].at_ms)
    else:
        steps.append(step)


def thinned(steps: list[Step]) -> list[Step]:
    """At most so many, the newest among them."""
    while len(steps) > STEPS_MAX:
        steps = steps[::-1][::2][::-1]
    return steps


def _begun(history: History, type_name: str) -> YBaseDoc:
    document = document_class(type_name)(Doc())
    if history.base:
        document.ydoc.apply_update(history.base)
    return document


async def show(hub: Hub, client: DocumentClient, root: str, seq: int) -> None:
    """Bring a fork to the content that its root had at ``seq``, by edits, so that who has it open follows.

    Raises:
        LogDroppedError: That was compacted away meanwhile.
    """
    name = DocumentName.parse(root)
    assert name is not None
    then = document_class(name.type)(Doc())
    then.ydoc.apply_update(await hub.history.state_at(root, seq))
    content = await then.aget()
    async with client.editing() as document:
        await document.aset(content)
    await client.flush()
