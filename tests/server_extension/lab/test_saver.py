"""When a document is saved: over a line of time, without one second of it."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.saver import (
    Answer,
    AutosaveSet,
    Due,
    Edited,
    Save,
    SaveAsked,
    SaveClock,
    SaveEnded,
    WritableSet,
)

from collabkernel.errors import LocalProtocolError

pytestmark = pytest.mark.core

SAVED = SaveEnded(is_saved=True, cost_ms=0)
FAILED = SaveEnded(is_saved=False, cost_ms=0)
BUSY = SaveEnded(is_saved=False, cost_ms=0, is_busy=True)


def test_a_document_that_was_only_opened_is_never_due():
    clock = SaveClock()

    assert clock.due_ms is None
    assert clock.handle(Due(), 10_000) == []
    assert clock.is_clean


def test_an_edit_is_saved_a_second_after_the_last_one():
    clock = SaveClock()
    clock.handle(Edited(), 0)
    clock.handle(Edited(), 700)

    assert clock.due_ms == 1700
    assert clock.handle(Due(), 1699) == []
    assert clock.handle(Due(), 1700) == [Save()]
    assert clock.due_ms is None
    assert clock.handle(SAVED, 1710) == []
    assert clock.is_clean


def test_who_never_stops_typing_is_saved_after_five_seconds():
    clock = SaveClock()
    saves = []
    for now_ms in range(0, 20_001, 100):
        clock.handle(Edited(), now_ms)
        if clock.handle(Due(), now_ms):
            saves.append(now_ms)
            clock.handle(SAVED, now_ms)

    assert saves == [5000, 10_100, 15_200]


def test_saving_a_large_document_takes_a_twentieth_of_the_time():
    clock = SaveClock()
    spent_ms = 0
    for now_ms in range(0, 600_000, 100):
        clock.handle(Edited(), now_ms)
        if clock.handle(Due(), now_ms):
            spent_ms += 2000
            clock.handle(SaveEnded(is_saved=True, cost_ms=2000), now_ms)

    assert spent_ms <= 0.06 * 600_000
    assert spent_ms >= 0.03 * 600_000


def test_without_autosave_only_who_asks_is_saved():
    clock = SaveClock()
    clock.handle(AutosaveSet(False), 0)
    clock.handle(Edited(), 0)

    assert clock.due_ms is None
    assert clock.handle(SaveAsked(1), 50_000) == [Save()]
    assert clock.handle(SAVED, 50_010) == [Answer(1, "success")]
    clock.handle(Edited(), 51_000)
    clock.handle(AutosaveSet(True), 60_000)
    assert clock.handle(Due(), 60_000) == [Save()]


def test_who_asks_is_saved_at_once_also_after_a_long_save_or_a_failure():
    clock = SaveClock()
    clock.handle(SaveAsked(1), 0)
    clock.handle(SaveEnded(is_saved=False, cost_ms=9000), 10)

    assert clock.handle(SaveAsked(2), 20) == [Save()]


def test_who_asks_during_a_save_is_answered_by_the_next():
    clock = SaveClock()

    assert clock.handle(SaveAsked(1), 0) == [Save()]
    clock.handle(Edited(), 1)
    assert clock.handle(SaveAsked(2), 2) == []
    assert clock.has_newer
    assert clock.handle(SAVED, 10) == [Answer(1, "success"), Save()]
    assert clock.handle(SAVED, 20) == [Answer(2, "success")]
    assert clock.is_clean


def test_what_is_edited_during_a_save_is_saved_after_it():
    clock = SaveClock()
    clock.handle(Edited(), 0)
    clock.handle(Due(), 1000)
    clock.handle(Edited(), 1005)
    clock.handle(SAVED, 1010)

    assert not clock.is_clean
    assert clock.due_ms == 2005


def test_a_failed_save_is_tried_again_with_growing_pauses():
    clock = SaveClock()
    clock.handle(Edited(), 0)
    tries = []
    for now_ms in range(0, 200_000, 100):
        if clock.handle(Due(), now_ms):
            tries.append(now_ms)
            clock.handle(FAILED, now_ms)

    assert tries[:6] == [1000, 2000, 4000, 8000, 16_000, 32_000]
    assert tries[7] - tries[6] == 60_000
    assert not clock.is_clean


def test_another_server_at_the_same_file_is_no_failure():
    clock = SaveClock()
    clock.handle(Edited(), 0)
    clock.handle(Due(), 1000)

    assert clock.handle(BUSY, 1001) == []
    assert clock.due_ms == 1501


def test_who_asked_is_told_when_another_server_never_ends():
    clock = SaveClock()
    now_ms = 0
    actions = clock.handle(SaveAsked(1), now_ms)
    for _ in range(4):
        assert actions == [Save()]
        assert clock.handle(BUSY, now_ms) == []
        now_ms = clock.due_ms or 0
        actions = clock.handle(Due(), now_ms)

    assert clock.handle(BUSY, now_ms) == [Answer(1, "failed")]


def test_a_file_that_may_not_be_written_is_not_tried():
    clock = SaveClock()
    clock.handle(WritableSet(False), 0)
    clock.handle(Edited(), 0)

    assert clock.due_ms is None
    assert clock.handle(SaveAsked(1), 10) == [Answer(1, "failed")]
    clock.handle(WritableSet(True), 20)
    assert clock.due_ms == 1000


def test_a_save_that_never_began_cannot_end():
    with pytest.raises(LocalProtocolError):
        SaveClock().handle(SAVED, 0)
