"""One read of the log at a time, and another when something was told meanwhile."""

from __future__ import annotations

import pytest

from collabkernel.room.effects import ReadMissing
from collabkernel.room.log_reading import LogReading

pytestmark = pytest.mark.core


def test_the_log_is_read_once_at_a_time_and_what_was_told_meanwhile_is_remembered():
    reading = LogReading()

    assert reading.ask(3) == [ReadMissing(3)]
    assert reading.ask(3) == []
    reading.ended(is_cut=False)

    assert reading.is_log_longer
    assert reading.ask(5) == [ReadMissing(5)]
    assert not reading.is_log_longer


def test_a_cut_answer_leaves_more_to_read():
    reading = LogReading()
    reading.ask(3)

    reading.ended(is_cut=True)

    assert (reading.is_under_way, reading.is_log_longer) == (False, True)
