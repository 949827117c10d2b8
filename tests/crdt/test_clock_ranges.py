"""Ranges of clocks: as a set of numbers would have them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.clock_ranges import ClockRanges

pytestmark = pytest.mark.core
RANGE = st.tuples(st.integers(1, 2), st.integers(0, 30), st.integers(1, 8))


@given(st.lists(RANGE, max_size=20), RANGE)
def test_ranges_are_a_set_of_clocks(added: list[tuple[int, int, int]], asked: tuple[int, int, int]):
    ranges = ClockRanges()
    naive: set[tuple[int, int]] = set()
    for client, start, length in added:
        ranges.add(client, start, start + length)
        naive |= {(client, clock) for clock in range(start, start + length)}
    client, start, length = asked

    missing = ranges.missing(client, start, start + length)

    assert [clock for first, end in missing for clock in range(first, end)] == [
        clock for clock in range(start, start + length) if (client, clock) not in naive
    ]
    assert all(ranges.has(client, clock) == ((client, clock) in naive) for clock in range(40))
    for spans in ranges.to_dict().values():
        assert all(end < start for (_, end), (start, _) in pairwise(spans)), "ranges that meet"
