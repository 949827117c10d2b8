"""From the log to the state, and back from snapshots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.crdt.text import TextRope
from collabkernel.document.operations import (
    ContainerKind,
    Envelope,
    MapSet,
    NewContainer,
    Op,
    StoredEnvelope,
    TextEdit,
)
from collabkernel.room.fold import Fold, envelopes_of_rows
from collabkernel.storage.base import OpRow
from collabkernel.wire.ops import encode_op, op_kind
from tests.document.test_live_tree import history

pytestmark = pytest.mark.core

HLC = 1 << 40


def rows(seed: int) -> list[OpRow]:
    return [
        OpRow(seq, op_id.site, op_id.counter, op_id.counter, 0, stamp.hlc, "ann", op_kind(op), encode_op(op))
        for seq, (op_id, stamp, op) in enumerate(history(seed), 1)
    ]


@given(st.integers(0, 1000), st.integers(0, 40))
def test_a_snapshot_and_what_follows_it_are_the_whole_log(seed: int, cut: int) -> None:
    log = rows(seed)
    whole = Fold()
    whole.apply_rows(log)
    whole.settle()
    first = Fold()
    first.apply_rows(log[:cut])
    first.settle()

    second = Fold.from_parts(first.to_parts())
    second.apply_rows(log[cut:])
    second.settle()

    assert second.tree.to_json() == whole.tree.to_json()
    assert (second.seq, second.hlc) == (whole.seq, whole.hlc)
    assert second.to_parts() == whole.to_parts()


def test_rows_of_one_envelope_come_back_together() -> None:
    op_rows = rows(3)[:4]
    first, second, third, fourth = op_rows
    second = second._replace(site=first.site, counter=first.counter + 1, first_counter=first.counter)

    envelopes, payloads = envelopes_of_rows([first, second, third])

    assert [(e.seq, e.site, e.envelope.counter, len(e.envelope.ops)) for e in envelopes] == [
        (1, first.site, first.counter, 2),
        (3, third.site, third.counter, 1),
    ]
    assert isinstance(envelopes[0], StoredEnvelope)
    assert envelopes[0].op_id(1) == OpId(first.site, first.counter + 1)
    assert isinstance(envelopes[0].envelope, Envelope)
    assert payloads == [[first.payload, second.payload], [third.payload]]
    assert envelopes_of_rows([fourth])[0][0].seq == 4
    assert envelopes_of_rows([]) == ([], [])


def test_what_does_not_apply_is_skipped_and_told_and_the_rest_is_there() -> None:
    """The room could not be opened ever again."""
    text = OpId(7, 1)
    rope = TextRope(7)
    typed = [rope.insert(len(rope), "ab"), b"\x01\x01", rope.insert(len(rope), "cd")]
    ops: list[Op] = [
        MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)),
        MapSet(OpId(9, 9), "k", 1),
        *[TextEdit(text, update) for update in typed],
        TextEdit(OpId(9, 9), typed[0]),
        MapSet(ROOT, "k", 2),
    ]
    log = [OpRow(n, 7, n, n, 0, HLC + n, "ann", op_kind(op), encode_op(op)) for n, op in enumerate(ops, start=1)]
    fold = Fold()

    fold.apply_rows(log)
    fold.settle()

    assert fold.tree.to_json() == {"t": "abcd", "k": 2}
    assert [told.split()[0] for told in fold.skipped] == ["2", "4", "6"]
    assert (fold.seq, fold.hlc) == (7, HLC + 7)
