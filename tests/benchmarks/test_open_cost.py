"""The documents that the benchmark of opening one opens."""

from __future__ import annotations

import asyncio

from collabkernel.document.operations import document_id
from collabkernel.server.reader import Reader
from collabkernel.storage.memory import MemoryStorage
from tests.benchmarks.open_cost import Opened, envelopes, rows_of, store_document, worked


def test_a_document_is_stored_with_its_texts_and_a_snapshot_at_the_head():
    async def stored() -> tuple[list[tuple[str, int]], int, int]:
        storage = MemoryStorage()
        await storage.open()
        await store_document(storage, "board", list(envelopes(21)))
        fold, snapshot_seq = await Reader(storage).load("board")
        await storage.close()
        assert fold.state.blocks is not None
        lines = fold.state.blocks.outline(document_id("body"))
        return [(line.type, len(line.text)) for line in lines], fold.seq, snapshot_seq

    lines, seq, snapshot_seq = asyncio.run(stored())
    assert lines == [("heading", 30), *[("paragraph", 200)] * 19, ("heading", 30)]
    assert seq == snapshot_seq == 43


def test_every_figure_of_an_opening_is_told():
    found = list(rows_of("open/warm/5", [Opened(1.0, 2.0, 3.0, 4, 5)]))
    assert [row["value"] for row in found] == [1.0, 2.0, 3.0, 4, 5]


def test_a_document_that_was_worked_in_has_as_many_operations_and_its_letters():
    async def stored() -> tuple[list[int], int]:
        storage = MemoryStorage()
        await storage.open()
        await store_document(storage, "board", worked(21, 1000))
        fold, _ = await Reader(storage).load("board")
        await storage.close()
        assert fold.state.blocks is not None
        return [len(line.text) for line in fold.state.blocks.outline(document_id("body"))], fold.seq

    lengths, seq = asyncio.run(stored())
    edits = (seq - 1 - 2 * 21) // 21
    assert 1000 <= seq < 1000 + 21
    assert lengths == [length + edits - 2 * (edits // 3) for length in [30, *[200] * 19, 30]]
