"""The ring: stretches that follow a seq, as long as it has them."""

from __future__ import annotations

import pytest

from collabkernel.room.ring import Ring, RingEntry

pytestmark = pytest.mark.core


def ring(*lengths: int, bytes_max: int = 100) -> Ring:
    made, seq = Ring(bytes_max), 0
    for length in lengths:
        made.add(RingEntry(seq + 1, seq + length, b"%d" % seq))
        seq += length
    return made


def test_it_gives_what_follows_a_seq() -> None:
    assert ring(2, 1, 3).since(2, 100) == ([b"2", b"3"], 6)
    assert ring(2, 1, 3).since(0, 100) == ([b"0", b"2", b"3"], 6)


def test_it_gives_no_more_than_asked_but_always_something() -> None:
    assert ring(2, 1, 3).since(0, 1) == ([b"0"], 2)


@pytest.mark.parametrize("seq", [1, 4, 6, 7])
def test_it_knows_what_it_cannot_give(seq: int) -> None:
    assert ring(2, 1, 3).since(seq, 100) is None


def test_it_knows_what_it_reaches_back_to_and_where_an_entry_ends() -> None:
    made = ring(2, 1, 3, bytes_max=2)
    assert [seq for seq in range(9) if made.reaches(seq)] == [2, 3, 4, 5]
    assert [made.end_of(seq) for seq in range(2, 8)] == [None, None, 6, 6, None, None]
    assert not Ring(10).reaches(0)
    assert Ring(10).end_of(0) is None


def test_the_oldest_go_first_over_its_size() -> None:
    made = ring(1, 1, 1, bytes_max=2)

    assert made.since(0, 100) is None
    assert made.since(1, 100) == ([b"1", b"2"], 3)
    assert made.size_bytes == 2


def test_an_empty_ring_gives_nothing() -> None:
    assert Ring(10).since(0, 100) is None
