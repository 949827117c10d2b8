"""Where an edit of a list goes that names what was purged."""

from __future__ import annotations

import pytest

from collabkernel.client.refitting import refitted
from collabkernel.crdt.ids import ROOT, OpId, Side
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import ListDelete, ListInsert, ListMove, ListSet, MapSet, Purge
from collabkernel.document.purging import purge_live
from collabkernel.errors import UnknownReferenceError
from collabkernel.wire.state import decode_state, encode_state
from tests.document.test_purge_plan import filled
from tests.document.test_purging import LIST

pytestmark = pytest.mark.core


@pytest.fixture
def trees() -> tuple[LiveTree, LiveTree, list[OpId]]:
    """A list of five as it stood, and without the three in the middle."""
    made, ids = filled(5)
    stood_in = decode_state(encode_state(made.tree, 0, 0), 1)[0]
    made.do(*[ListDelete(LIST, id) for id in ids[1:4]])
    purge_live(made.tree, Purge(LIST, tuple(ids[1:4])))
    return stood_in, made.tree, ids


def test_it_goes_behind_the_nearest_that_is_still_there(trees):
    stood_in, now, ids = trees
    behind_the_first = now.nodes[LIST].items.insertion_point(1)

    for parent, side in ((ids[1], Side.LEFT), (ids[2], Side.RIGHT), (ids[3], Side.RIGHT)):
        assert refitted(ListInsert(LIST, parent, side, "x"), {}, stood_in, now) == ListInsert(
            LIST, *behind_the_first, "x"
        )
        assert refitted(ListMove(LIST, ids[4], parent, side), {}, stood_in, now) == ListMove(
            LIST, ids[4], *behind_the_first
        )


def test_where_nothing_is_left_before_it_it_goes_to_the_start(trees):
    stood_in, now, ids = trees
    gone = now.nodes[LIST].items
    gone.delete(ids[0])
    gone.purge([ids[0]])

    assert refitted(ListInsert(LIST, ids[0], Side.RIGHT, "x"), {}, stood_in, now) == ListInsert(
        LIST, *gone.insertion_point(0), "x"
    )


def test_what_was_made_again_meanwhile_counts_by_its_new_name(trees):
    stood_in, now, ids = trees
    new = OpId(7, 1)
    stood_in.nodes[LIST].items.insert(OpId(6, 1), (99, 6), ids[2], Side.LEFT, "mine")
    now.nodes[LIST].items.insert(new, (99, 7), ids[4], Side.LEFT, "mine")

    fitted = refitted(ListInsert(LIST, ids[2], Side.RIGHT, "x"), {OpId(6, 1): new}, stood_in, now)

    assert fitted == ListInsert(LIST, *now.nodes[LIST].items.insertion_point(2), "x")


def test_edits_of_what_is_gone_come_to_nothing_and_others_stay_as_they_are(trees):
    stood_in, now, ids = trees
    for op in (ListSet(LIST, ids[1], 1), ListDelete(LIST, ids[1]), ListMove(LIST, ids[1], ids[4], Side.RIGHT)):
        assert refitted(op, {}, stood_in, now) is None
    for op in (
        ListSet(LIST, ids[0], 1),
        ListInsert(LIST, ids[0], Side.RIGHT, 1),
        ListInsert(LIST, None, Side.RIGHT, 1),
        ListSet(LIST, OpId(9, 9), 1),
        ListSet(OpId(9, 9), ids[1], 1),
        MapSet(ROOT, "k", 1),
    ):
        assert refitted(op, {}, stood_in, now) is op


def test_what_never_stood_anywhere_is_not_placed(trees):
    stood_in, now, _ = trees
    with pytest.raises(UnknownReferenceError):
        refitted(ListInsert(LIST, OpId(9, 9), Side.RIGHT, 1), {}, stood_in, now)
