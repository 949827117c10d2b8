"""The beginning of a content is known by its mark, wherever it was cut, and nothing else is."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.torn import PARTS, is_beginning, mark_of

pytestmark = pytest.mark.core
DATA = b"".join(b"line %d\n" % number for number in range(100))


@pytest.mark.parametrize("size", [1, PARTS - 1, PARTS, PARTS + 1, len(DATA)])
def test_every_beginning_is_one(size):
    mark = mark_of(DATA[:size])

    assert all(is_beginning(mark, DATA[:cut]) for cut in range(size))
    assert len(mark) < 9 * PARTS


def test_what_is_whole_or_somebody_elses_is_none():
    mark = mark_of(DATA)

    assert not is_beginning(mark, DATA)
    assert not is_beginning(mark, DATA + b"more\n")
    assert not is_beginning(mark, b"short\nand other lines\n")
    assert not is_beginning(mark, DATA[20:])
    assert not is_beginning(mark_of(b""), b"")
