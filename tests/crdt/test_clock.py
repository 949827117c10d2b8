"""The hybrid logical clock: above everything seen, near wall time, within 64 bits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.clock import MS_MAX, HybridLogicalClock, hlc_from_ms, ms_from_hlc
from collabkernel.errors import InvalidValueError
from collabkernel.limits import HLC_MAX
from tests.examples import examples

pytestmark = pytest.mark.core

NOW_MS = 1_800_000_000_000
times_ms = st.integers(NOW_MS - 5000, NOW_MS + 5000)


def test_tick_follows_the_wall_clock():
    clock = HybridLogicalClock()

    assert clock.tick(NOW_MS) == hlc_from_ms(NOW_MS)
    assert clock.tick(NOW_MS) == hlc_from_ms(NOW_MS) + 1
    assert clock.tick(NOW_MS + 1) == hlc_from_ms(NOW_MS + 1)


def test_tick_rises_while_the_wall_clock_goes_back():
    clock = HybridLogicalClock()
    first = clock.tick(NOW_MS)

    assert clock.tick(NOW_MS - 60_000) == first + 1


def test_tick_reserves_consecutive_stamps():
    clock = HybridLogicalClock()
    first = clock.tick(NOW_MS, count=10)

    assert clock.tick(NOW_MS) == first + 10


def test_counter_carries_over_into_the_milliseconds():
    clock = HybridLogicalClock()
    clock.tick(NOW_MS, count=1 << 16)

    assert clock.tick(NOW_MS) == hlc_from_ms(NOW_MS + 1)


def test_observe_lifts_what_follows():
    clock = HybridLogicalClock()
    remote = hlc_from_ms(NOW_MS + 1500) + 7
    clock.observe(remote, NOW_MS)

    assert clock.tick(NOW_MS) == remote + 1


def test_observe_remembers_the_time_of_receipt():
    clock = HybridLogicalClock()
    clock.observe(hlc_from_ms(NOW_MS - 10_000), NOW_MS)

    assert clock.tick(NOW_MS - 1) > hlc_from_ms(NOW_MS)


def test_clock_goes_on_above_what_it_starts_from():
    assert HybridLogicalClock(hlc_from_ms(NOW_MS)).tick(NOW_MS - 1) == hlc_from_ms(NOW_MS) + 1


def test_milliseconds_and_back():
    assert ms_from_hlc(hlc_from_ms(NOW_MS) + 65_535) == NOW_MS
    assert hlc_from_ms(MS_MAX) + 65_535 == HLC_MAX


@pytest.mark.parametrize("ms", [-1, MS_MAX + 1])
def test_milliseconds_out_of_range_are_refused(ms: int):
    clock = HybridLogicalClock()

    with pytest.raises(InvalidValueError):
        hlc_from_ms(ms)
    with pytest.raises(InvalidValueError):
        clock.tick(ms)
    with pytest.raises(InvalidValueError):
        clock.observe(1, ms)
    assert clock.highest == 0


@pytest.mark.parametrize("hlc", [-1, HLC_MAX + 1])
def test_hlc_out_of_range_is_refused(hlc: int):
    clock = HybridLogicalClock()

    with pytest.raises(InvalidValueError):
        clock.observe(hlc, NOW_MS)
    with pytest.raises(InvalidValueError):
        ms_from_hlc(hlc)
    with pytest.raises(InvalidValueError):
        HybridLogicalClock(hlc)
    assert clock.highest == 0


def test_nothing_is_reserved_past_64_bits():
    clock = HybridLogicalClock(HLC_MAX - 2)

    with pytest.raises(InvalidValueError):
        clock.tick(NOW_MS, count=3)
    assert clock.tick(NOW_MS, count=2) == HLC_MAX - 1
    with pytest.raises(InvalidValueError):
        clock.tick(NOW_MS)


@pytest.mark.parametrize("count", [0, -1])
def test_tick_of_nothing_is_refused(count: int):
    with pytest.raises(InvalidValueError):
        HybridLogicalClock().tick(NOW_MS, count)


@examples(100)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("tick"), times_ms, st.integers(1, 70_000)),
            st.tuples(st.just("observe"), times_ms, times_ms),
        ),
        max_size=30,
    )
)
def test_issued_stamps_are_above_all_issued_and_observed(events: list[tuple[str, int, int]]):
    clock = HybridLogicalClock()
    seen = 0
    for kind, now_ms, number in events:
        if kind == "tick":
            first = clock.tick(now_ms, number)
            assert first > seen
            assert first >= hlc_from_ms(now_ms)
            seen = first + number - 1
        else:
            clock.observe(hlc_from_ms(number), now_ms)
            seen = max(seen, hlc_from_ms(number))
        assert clock.highest >= seen
