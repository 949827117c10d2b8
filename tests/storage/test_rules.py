"""Which versions are too many, and which paths are none."""

from __future__ import annotations

import itertools

import pytest

from collabkernel.errors import InvalidValueError, StorageError
from collabkernel.limits import VERSIONS_BYTES, VERSIONS_PER_ROOM
from collabkernel.storage.base import TIMELINE_BOUNDS, VersionRow
from collabkernel.storage.rules import check_move, check_seq, horizon_of, is_at_or_below, surplus

pytestmark = pytest.mark.core


MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS


def version(seq: int, name: str = "", size_bytes: int = 1, created_ms: int = 0) -> VersionRow:
    return VersionRow(seq, name, created_ms, size_bytes)


def test_nothing_is_surplus_up_to_the_bound():
    assert surplus([], TIMELINE_BOUNDS) == []
    assert surplus([version(seq) for seq in range(VERSIONS_PER_ROOM)], TIMELINE_BOUNDS) == []


def test_named_versions_go_after_all_unnamed():
    rows = [version(seq, "" if seq % 2 else "named") for seq in range(VERSIONS_PER_ROOM + 3)]
    named = [version(seq, "named") for seq in range(VERSIONS_PER_ROOM + 2)]

    assert [row.seq for row in surplus(rows, TIMELINE_BOUNDS)] == [1, 3, 5]
    assert [row.seq for row in surplus(named, TIMELINE_BOUNDS)] == [0, 1]


def test_many_saves_of_a_day_leave_some_of_each_week_before():
    rows: list[VersionRow] = []
    times_ms = [day * DAY_MS for day in range(60)]
    times_ms += [60 * DAY_MS + minute * MINUTE_MS for minute in range(0, 600, 2)]
    for seq, created_ms in enumerate(times_ms):
        rows.append(version(seq, "", 1, created_ms))
        gone = surplus(rows, TIMELINE_BOUNDS)
        rows = [row for row in rows if row not in gone]

    days = [row.created_ms / DAY_MS for row in rows]
    assert len(rows) == VERSIONS_PER_ROOM
    assert days[0] == 0
    assert max(later - earlier for earlier, later in itertools.pairwise(days)) <= 20
    assert sum(day > 60 for day in days) < VERSIONS_PER_ROOM - 10
    assert rows[-2].created_ms == times_ms[-2], "the last ones are all there"


def test_versions_are_bounded_in_bytes_and_the_newest_stays():
    half = VERSIONS_BYTES // 2 + 1

    assert [row.seq for row in surplus([version(1, "a", half), version(2, "", half)], TIMELINE_BOUNDS)] == [1]
    assert surplus([version(1, "", 2 * VERSIONS_BYTES)], TIMELINE_BOUNDS) == []


def test_the_snapshots_own_operation_is_not_dropped():
    assert [horizon_of("plan", upto, 8) for upto in (3, 7, 8)] == [3, 7, 7]
    with pytest.raises(StorageError, match="its newest snapshot is at 8"):
        horizon_of("plan", 9, 8)


def test_a_version_is_of_what_has_happened():
    check_seq("plan", 3, 3)
    with pytest.raises(StorageError):
        check_seq("plan", 4, 3)


def test_below_is_by_whole_names():
    assert is_at_or_below("a", "a")
    assert is_at_or_below("a/b", "a")
    assert not is_at_or_below("ab", "a")
    with pytest.raises(InvalidValueError):
        check_move("a", "a/b")
    check_move("a/b", "a")
