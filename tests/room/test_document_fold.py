"""A document's fold: the log or a snapshot and the rest of it, the same document."""

from __future__ import annotations

import pytest
from pycrdt import Doc, Text

from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.room.document_fold import CLIENTS_PART, STATE_PART, DocumentFold
from collabkernel.room.snapshots import log_bytes_of
from collabkernel.storage.base import OpRow
from tests.room.document_drive import Page

pytestmark = pytest.mark.core


def row(seq: int, update: bytes, actor: str = "ann", site: int = 7, kind: int = 64) -> OpRow:
    return OpRow(seq, site, seq, seq, 0, 0, actor, kind, update)


def text_of(fold: DocumentFold) -> str:
    doc: Doc[Text] = Doc()
    doc.apply_update(fold.state)
    return str(doc.get("source", type=Text))


def settled(*rows: OpRow) -> DocumentFold:
    fold = DocumentFold()
    fold.apply_rows(rows)
    fold.settle()
    return fold


def test_a_fold_goes_on_from_its_parts_without_the_rows_below():
    page = Page(5)
    rows = [row(seq, page.type(f"{seq} ")) for seq in (1, 2, 3)]
    whole = settled(*rows)

    fold = DocumentFold.from_parts(settled(*rows[:2]).to_parts(), 2)
    fold.apply_rows(rows[2:])
    fold.settle()

    assert fold.seq == 3
    assert text_of(fold) == "1 2 3 "
    assert fold.to_parts() == whole.to_parts()


def test_client_ids_belong_to_whose_row_first_brought_them():
    ann, bob = Page(5), Page(6)
    fold = settled(row(1, ann.type("a"), "ann"), row(2, bob.type("b"), "bob"), row(3, ann.type("c"), "eve"))

    assert fold.actor_by_client == {5: "ann", 6: "bob"}
    assert DocumentFold.from_parts(fold.to_parts(), 3).actor_by_client == fold.actor_by_client


def test_a_seed_needs_no_snapshot_to_be_short() -> None:
    seed, typed = row(1, Page(5).type("seed"), site=1), row(2, Page(6).type("typed"))

    assert settled(seed).state is seed.payload
    assert settled(seed).log_bytes == 0
    assert settled(seed, typed).log_bytes == log_bytes_of(len(typed.payload))


def test_what_a_document_was_seeded_with_belongs_to_nobody():
    assert settled(row(1, Page(5).type("seed"), site=1)).actor_by_client == {}


def test_rows_that_do_not_apply_are_skipped_and_told():
    page = Page(5)
    first = page.type("good ")
    fold = settled(row(1, first), row(2, b"\x01\xff"), row(3, page.type("again")), row(4, b"x", kind=3))

    assert text_of(fold) == "good again"
    assert [why.split()[0] for why in fold.skipped] == ["4", "2", "2"] or [why.split()[0] for why in fold.skipped] == [
        "2",
        "4",
        "2",
    ]


def test_an_empty_document_has_parts_too():
    parts = DocumentFold().to_parts()

    assert parts == {STATE_PART: b"", CLIENTS_PART: b"{}"}
    assert DocumentFold.from_parts(parts, 0).state == b""


def test_a_squash_is_the_same_document_and_knows_what_its_log_takes():
    page = Page(5)
    fold = DocumentFold()
    updates = [page.type("hello "), page.type("world")]
    fold.apply_rows([row(1, updates[0]), row(2, updates[1])])
    assert fold.log_bytes == sum([log_bytes_of(len(update)) for update in updates])
    fold.squash(FILE_POLICY)

    assert text_of(fold) == "hello world"
    assert set(fold.to_parts()) == {STATE_PART, CLIENTS_PART}


def test_what_does_not_apply_is_not_squashed():
    page = Page(5)
    page.type("lost ")
    gap, garbage = DocumentFold(), DocumentFold()
    gap.apply_rows([row(1, page.type("later"))])
    garbage.apply_rows([row(1, b"x", kind=3)])

    for fold in (gap, garbage):
        with pytest.raises(InvalidYjsUpdateError):
            fold.squash(FILE_POLICY)
