"""When snapshots are due."""

from __future__ import annotations

import pytest

from collabkernel.limits import Limits
from collabkernel.room.snapshots import SnapshotClock, log_bytes_of

pytestmark = pytest.mark.core

LIMITS = Limits(
    snapshot_ops=10,
    snapshot_age_ms=1000,
    snapshot_min_interval_ms=100,
    snapshot_log_bytes=500,
    snapshot_log_interval_ms=20,
)


@pytest.mark.parametrize(
    ("head", "now_ms", "is_due"),
    [(5, 2000, False), (6, 999, False), (6, 1000, True), (15, 99, False), (15, 100, True), (14, 500, False)],
)
def test_one_is_due_after_so_many_operations_or_so_long(head: int, now_ms: int, is_due: bool) -> None:
    assert SnapshotClock(5, LIMITS, 0).is_due(head, now_ms) is is_due


def test_none_is_due_while_one_is_written_nor_soon_after_one_that_failed() -> None:
    clock = SnapshotClock(0, LIMITS, 0)
    clock.begin(200)
    assert not clock.is_due(50, 5000)
    clock.saved(0)
    assert not clock.is_due(50, 299)
    assert clock.is_due(50, 300)
    clock.begin(300)
    clock.saved(45)
    assert not clock.is_due(50, 450)
    assert not clock.is_long(54)
    assert clock.is_long(55)


def heavy_clock(log_bytes: int = 500) -> SnapshotClock:
    clock = SnapshotClock(0, LIMITS, 0)
    clock.grew(log_bytes)
    return clock


def test_one_is_due_when_the_log_takes_so_much_or_as_much_as_the_state() -> None:
    assert not heavy_clock(499).is_due(3, 50)
    assert heavy_clock().is_due(3, 50)
    assert not heavy_clock().is_due(3, 19)
    assert not heavy_clock(799).is_due(3, 50, state_bytes=800)
    assert heavy_clock(800).is_due(3, 50, state_bytes=800)
    assert SnapshotClock(0, LIMITS, 0, log_bytes=500).is_due(3, 50)
    assert heavy_clock().is_long(3)
    assert not heavy_clock().is_due(0, 50), "nothing of it is in the state yet"


def test_a_heavy_log_wakes_the_room() -> None:
    clock = heavy_clock()
    assert clock.due_ms(3, 0) == 20
    assert clock.due_ms(3, 501) is None
    clock.begin(20)
    assert clock.due_ms(3, 0) is None


def test_what_came_while_one_was_written_counts_for_the_next() -> None:
    clock = heavy_clock(700)
    clock.begin(50)
    clock.grew(499)
    clock.saved(3)
    assert not clock.is_due(4, 80)
    clock.grew(1)
    assert clock.is_due(4, 80)


def test_one_that_failed_is_tried_again_less_often() -> None:
    clock = heavy_clock()
    clock.begin(50)
    clock.saved(0)
    assert not clock.is_due(3, 149)
    assert clock.is_due(3, 150)
    clock.begin(150)
    clock.saved(3)
    clock.grew(500)
    assert clock.is_due(4, 170)


def test_a_long_payload_takes_pages() -> None:
    assert log_bytes_of(20) == 220
    assert log_bytes_of(600) == 200 + 4096
    assert log_bytes_of(100_000) == 200 + 25 * 4096
