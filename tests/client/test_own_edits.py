"""Which own edits a delete has come between; tests/client/test_lost_edit.py sees them told."""

from __future__ import annotations

from collabkernel.client.notifications import EditLost
from collabkernel.client.own_edits import OwnEdits
from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.move_tree import MoveTree
from collabkernel.crdt.order_key import key_between
from collabkernel.limits import RESTORE_OFFERED_MS

ROOT, BLOCK, NESTED = OpId(0, 1), OpId(2, 1), OpId(2, 2)


def deleted_tree(seq: int) -> MoveTree:
    """A block with one in it, deleted at a seq."""
    tree = MoveTree()
    tree.add_root(ROOT)
    for block, parent in ((BLOCK, ROOT), (NESTED, BLOCK)):
        tree.insert(block, parent, Slot.CHILD, key_between(None, None, 2), seq=1, site=2, base=0)
    tree.delete(BLOCK, seq=seq, site=3, base=2)
    return tree


def test_an_edit_is_lost_when_the_log_has_all_of_it() -> None:
    edits, tree = OwnEdits(), deleted_tree(5)
    edits.wrote(1, [NESTED])
    edits.wrote(2, [NESTED])
    edits.deleted(5, 2, "eve", 1000)
    edits.stored(1, 6, 1000)
    assert edits.lost(tree, 1000) == []

    edits.stored(2, 7, 1000 + RESTORE_OFFERED_MS)

    assert edits.lost(tree, 1000 + RESTORE_OFFERED_MS) == [EditLost(NESTED, "eve")]
    assert edits.lost(tree, 1000 + RESTORE_OFFERED_MS) == []


def test_what_is_too_far_apart_or_was_read_is_not_lost() -> None:
    tree = deleted_tree(5)
    for base, apart_ms in ((2, RESTORE_OFFERED_MS + 1), (4, 0)):
        edits = OwnEdits()
        edits.wrote(1, [BLOCK])
        edits.stored(1, 4, 1000)
        edits.deleted(5, base, "eve", 1000 + apart_ms)
        assert edits.lost(tree, 1000 + apart_ms) == []


def test_what_is_long_ago_is_forgotten() -> None:
    edits, tree = OwnEdits(), deleted_tree(5)
    edits.deleted(5, 2, "eve", 1000)
    edits.lost(tree, 1001 + RESTORE_OFFERED_MS)
    edits.wrote(1, [BLOCK])
    edits.stored(1, 6, 1000)

    assert edits.lost(tree, 1000) == []
