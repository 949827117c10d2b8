"""When snapshots are due."""

from __future__ import annotations

import pytest

from collabkernel.limits import Limits
from collabkernel.room.snapshots import SnapshotClock

pytestmark = pytest.mark.core

LIMITS = Limits(snapshot_ops=10, snapshot_age_ms=1000, snapshot_min_interval_ms=100)


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
