"""Contents of blocks that come and go."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_loading import is_contents_op, is_passed_over, load, unload
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    MapDelete,
    MapSet,
    NewDocument,
    TextEdit,
    document_id,
)
from collabkernel.errors import InvalidYjsUpdateError, NotLoadedError

pytestmark = pytest.mark.core

BODY, SITE, OWN = document_id("body"), 7, 9
BLOCK = OpId(SITE, 2)
TYPED = TextRope(SITE, policy=ROPE_POLICY).insert(0, "typed")


def make() -> BlockDocument:
    """A document of one block, of which nothing is here."""
    document = BlockDocument(OWN)
    document.known = set()
    key = key_between(None, None, SITE)
    for counter, op in enumerate((NewDocument(ROOT, "body"), BlockInsert(BODY, Slot.CHILD, key, "task")), start=1):
        document.admit(OpId(SITE, counter), Stamp(counter, SITE), op)
        document.judge(OpId(SITE, counter), op, counter, counter - 1)
    return document


def test_what_is_loaded_is_read_and_let_go_again():
    document = make()
    with pytest.raises(NotLoadedError):
        document.text(BLOCK)

    load(document, BLOCK, [("done", (Stamp(5, SITE), True))], TYPED)
    assert (document.text(BLOCK), dict(document.known_block(BLOCK).properties.items())) == (
        "typed",
        {"type": "task", "done": True},
    )
    load(document, BLOCK, [("level", (Stamp(6, SITE), 2))], b"")
    assert (document.text(BLOCK), dict(document.known_block(BLOCK).properties.items())) == (
        "",
        {"type": "task", "level": 2},
    )
    unload(document, BLOCK)

    assert not document.is_loaded(BLOCK)
    assert dict(document.block(BLOCK).properties.items()) == {"type": "task"}
    with pytest.raises(NotLoadedError):
        document.known_block(BLOCK)
    with pytest.raises(NotLoadedError):
        document.splice(BLOCK, 0, 0, "x")


def test_a_root_keeps_its_name():
    document = make()
    load(document, BODY, [("title", (Stamp(5, SITE), "x"))], b"")
    assert dict(document.block(BODY).properties.items()) == {"type": "document", "name": "body", "title": "x"}


def test_contents_may_come_before_their_block():
    document = make()
    load(document, OpId(SITE, 3), [], b"")
    unload(document, OpId(SITE, 4))

    key = key_between(None, None, SITE)
    document.admit(OpId(SITE, 3), Stamp(3, SITE), BlockInsert(BODY, Slot.CHILD, key, "task"))

    assert document.is_known(OpId(SITE, 3))
    assert document.text(OpId(SITE, 3)) == ""


def test_an_own_block_is_known_from_the_start_unless_it_is_taken_back():
    document = make()
    made = OpId(OWN, 1)
    insert = BlockInsert(BODY, Slot.CHILD, key_between(None, None, OWN), "task")

    _, undo = document.admit_undoable(made, Stamp(9, OWN), insert)
    assert document.text(made) == ""
    undo()

    assert made not in document
    assert not document.is_known(made)


def test_what_is_no_state_of_a_rope_is_refused():
    with pytest.raises(InvalidYjsUpdateError):
        load(make(), BLOCK, [], b"\x01\x02\x03")


def test_operations_on_what_is_not_here_are_passed_over():
    document = make()
    on_contents = (MapSet(BLOCK, "done", True), MapDelete(BLOCK, "done"), TextEdit(BLOCK, TYPED))
    for op in on_contents:
        assert is_passed_over(document, op)
        assert is_contents_op(op, {BLOCK})
        assert not is_contents_op(op, ())
    for op in (MapSet(BLOCK, "type", "code"), BlockDelete(BLOCK), MapSet(ROOT, "done", True)):
        assert not is_passed_over(document, op)
    load(document, BLOCK, [], b"")
    assert not any(is_passed_over(document, op) for op in on_contents)
    whole = make()
    whole.known = None
    assert not any(is_passed_over(whole, op) for op in on_contents)
