"""A log that is folded beside the loop's other work: the same state, and everybody has turns meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.crdt.text import TextRope
from collabkernel.document.live_tree import ContainerKind
from collabkernel.document.operations import MapSet, NewContainer, Op, TextEdit
from collabkernel.room.fold import Fold
from collabkernel.server import gently
from collabkernel.server.gently import PIECE_ROWS, Gently
from collabkernel.storage.base import OpRow
from collabkernel.wire.ops import encode_op, op_kind

TEXTS = 50


def log_of_texts(edits: int) -> list[OpRow]:
    """Texts are made, and each is typed in."""
    ropes = [TextRope(7) for _ in range(TEXTS)]
    ops: list[Op] = [MapSet(ROOT, f"t{i}", NewContainer(ContainerKind.TEXT)) for i in range(TEXTS)]
    for i in range(edits):
        rope = ropes[i % TEXTS]
        ops.append(TextEdit(OpId(7, 1 + i % TEXTS), rope.insert(len(rope), "a")))
    return [OpRow(n, 7, n, n, 0, n, "ann", op_kind(op), encode_op(op)) for n, op in enumerate(ops, start=1)]


async def chunks_of(rows: Sequence[OpRow], size: int) -> AsyncIterator[Sequence[OpRow]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@pytest.mark.parametrize("waiting_rows", [300, 10_000])
def test_it_folds_what_a_fold_at_once_does_and_others_have_turns(
    waiting_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gently, "WAITING_ROWS", waiting_rows)
    rows = log_of_texts(900)
    whole = Fold()
    whole.apply_rows(rows)
    whole.settle()
    turns = 0

    async def main() -> Fold:
        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        fold = Fold()
        await Gently(100).follow(fold, chunks_of(rows, 500))
        task.cancel()
        return fold

    assert asyncio.run(main()).to_parts() == whole.to_parts()
    assert turns > len(rows) // PIECE_ROWS


@pytest.mark.parametrize(("is_busy", "rest_s"), [(False, 0.015), (True, 0.060)])
def test_it_rests_for_what_it_took_and_longer_while_the_server_is_busy(
    is_busy: bool, rest_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    async def sleep(delay_s: float) -> None:
        rests.append(delay_s)

    monkeypatch.setattr(gently.asyncio, "sleep", sleep)
    monkeypatch.setattr(gently, "timed", lambda function: (function(), 0.005))
    asyncio.run(Gently(25, lambda: is_busy).follow(Fold(), chunks_of(log_of_texts(0), 500)))
    assert rests[0] == pytest.approx(rest_s, abs=0.005)
