"""What one session sees, and what it has to be given when it looks elsewhere."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import OpId
from collabkernel.limits import VIEWPORT_BLOCKS_MAX
from collabkernel.room.view import View

pytestmark = pytest.mark.core


def test_it_is_given_what_is_new_to_it():
    view = View()

    assert view.look({1, 2}, {1, 2, 3}, 8) == ([1, 2], [])
    assert view.look({2, 3}, {1, 2, 3}, 8) == ([3], [])
    assert list(view.sees) == [1, 2, 3]


def test_what_was_in_sight_longest_ago_is_let_go():
    view = View()
    for number in (1, 2, 1, 3):
        lost = view.look({number}, {1, 2, 3}, 2)[1]

    assert lost == [2]
    assert list(view.sees) == [1, 3]


def test_all_that_is_in_sight_is_kept():
    view = View()
    view.look({1}, {1, 2, 3, 4}, 2)

    assert view.look({2, 3, 4}, {1, 2, 3, 4}, 2) == ([2, 3, 4], [1])


def test_a_partition_that_is_no_more_has_nothing_to_lose():
    view = View()
    view.look({1}, {1}, 1)

    assert view.look({2}, {2}, 1) == ([2], [])


def test_what_got_new_blocks_meanwhile_is_given_anew():
    view = View()
    view.look({1, 2}, {1, 2}, 8)
    view.is_due = False

    view.note_missed([2, 5])

    assert view.is_due
    assert view.look({1}, {1, 2, 5}, 8) == ([2], [])
    assert view.look({1}, {1, 2, 5}, 8) == ([], [])


def test_what_is_divided_goes_on_being_seen():
    view = View()
    view.look({1, 2}, {1, 2}, 8)
    view.note_missed([1])

    view.note_divided({1: (1, 3), 4: (4, 5)})

    assert list(view.sees) == [1, 2, 3]
    assert view.look({1, 2}, {1, 2, 3, 4, 5}, 8) == ([1, 3], [])


def test_after_a_snapshot_it_has_nothing():
    view = View()
    view.look({1}, {1}, 8)

    view.start_over()

    assert view.is_due
    assert view.look({1}, {1}, 8) == ([1], [])


def test_what_it_inserts_is_in_it_until_it_looks_elsewhere():
    view = View()
    view.name((OpId(5, 1),))
    view.look({1}, {1, 2}, 8)
    view.is_due = False

    view.add(OpId(5, 2), 1)
    assert not view.is_due, "it sees that partition"
    view.add(OpId(5, 3), 2)
    assert (view.is_due, view.blocks) == (True, (OpId(5, 1), OpId(5, 2), OpId(5, 3)))

    for counter in range(VIEWPORT_BLOCKS_MAX):
        view.add(OpId(6, counter + 1), 2)
    assert view.blocks == tuple(OpId(6, counter + 1) for counter in range(VIEWPORT_BLOCKS_MAX))
    view.name(())
    assert view.blocks == ()
