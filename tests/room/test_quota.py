"""Token buckets."""

from __future__ import annotations

import pytest

from collabkernel.room.quota import TokenBucket

pytestmark = pytest.mark.core


def test_a_burst_is_granted_and_then_the_rate() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=5, now_ms=0)

    assert bucket.take(5, 0) == 0
    wait_ms = bucket.take(1, 0)
    assert 100 <= wait_ms <= 110
    assert bucket.take(1, wait_ms) == 0


def test_what_is_refused_takes_nothing() -> None:
    bucket = TokenBucket(10, 5, 0)
    bucket.take(4, 0)

    assert bucket.take(3, 0) > 0
    assert bucket.take(1, 0) == 0


def test_more_than_the_burst_is_granted_to_a_full_bucket_and_owed() -> None:
    bucket = TokenBucket(10, 5, 0)

    assert bucket.take(20, 0) == 0
    assert bucket.take(1, 1000) > 0
    assert bucket.take(1, 1700) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(10, 5, 1000)
    bucket.take(5, 1000)

    assert bucket.take(1, 0) > 0


def test_what_is_charged_is_owed() -> None:
    bucket = TokenBucket(10, 5, 0)
    bucket.charge(10, 0)

    assert bucket.take(1, 500) > 0
    assert bucket.take(1, 600) == 0
