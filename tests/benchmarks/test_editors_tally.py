"""What was delivered is counted exactly, whatever servers make of edits on their way."""

from __future__ import annotations

import pytest

from tests.benchmarks.editors_tally import TICKS_PER_S, Seen, Tally, mark, marks_in

pytestmark = pytest.mark.core
MS = TICKS_PER_S // 1000


def _frame(*numbers: int) -> bytes:
    return b"\x00\x02" + "".join(map(mark, numbers)).encode()


def _seen(tally: Tally, first: int = 0, end: int = 10) -> tuple[int, int]:
    seen = tally.seen(first, end)
    assert tally.delivered(first, end) == seen.delivered
    return seen.delivered, seen.expected


def test_each_reader_but_the_author_counts_once():
    tally = Tally(3)
    tally.sent(0, 0, 0)

    for reader in (0, 1, 1, 2):
        assert tally.note(reader, _frame(0), 8 * MS)

    assert _seen(tally) == (2, 2)
    assert tally.seen(0, 1).visible_ms == [8.0] * 101


def test_a_merged_frame_shows_all_that_is_in_it():
    tally = Tally(2)
    tally.sent(0, 0, 0)
    tally.sent(1, 0, 4 * MS)

    tally.note(1, _frame(0, 1), 10 * MS)

    assert _seen(tally) == (2, 2)
    visible_ms = tally.seen(0, 2).visible_ms
    assert (visible_ms[0], visible_ms[49], visible_ms[50], visible_ms[100]) == (6.0, 6.0, 10.0, 10.0)


def test_an_edit_that_comes_in_two_frames_was_seen_with_the_first():
    tally = Tally(2)
    tally.sent(0, 0, 0)
    tally.sent(1, 0, 0)

    tally.note(1, _frame(0, 1), 20 * MS)
    tally.note(1, _frame(0), 5 * MS)

    assert _seen(tally) == (2, 2)
    assert tally.seen(0, 1).visible_ms[100] == 5.0


def test_what_is_not_asked_about_is_left_out():
    tally = Tally(2)
    for number in range(4):
        tally.sent(number, 0, 0)
        tally.note(1, _frame(number), MS)

    assert _seen(tally, 2, 4) == (2, 2)
    assert tally.seen(4, 9) == Seen(0, 0, [])


def test_what_did_not_come_is_missing():
    tally = Tally(3)
    tally.sent(0, 0, 0)
    tally.sent(1, 1, 0)
    tally.note(2, _frame(0), MS)

    assert _seen(tally) == (1, 4)
    assert tally.seen_by_others() == {0}


def test_an_author_who_is_shown_his_own_edit_is_nobody_else():
    tally = Tally(2)
    tally.sent(0, 0, 0)
    tally.note(0, _frame(0), MS)

    assert tally.seen_by_others() == set()
    assert tally.shown() == {0}


def test_a_frame_without_a_mark_shows_nothing():
    tally = Tally(1)

    assert not tally.note(0, b"\x00\x00\x01\x00", 0)
    assert not tally.note(0, b"\x00\x00\x01\x00", 0)
    assert marks_in(b"a <1> b <23>< 4>") == [1, 23]
