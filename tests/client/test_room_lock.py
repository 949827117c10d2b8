"""A room's lock: callbacks run when nobody has it, one thread at a time, in order."""

from __future__ import annotations

import logging
import threading

import pytest

from collabkernel.client.room_lock import RoomLock
from tests.bounds import HANG_S

pytestmark = pytest.mark.core


def test_callbacks_run_when_the_outermost_holder_lets_go():
    lock, told = RoomLock("r"), []
    with lock:
        with lock:
            lock.queued.append(lambda: told.append((lock.is_mine, 1)))
        assert told == []
        assert lock.is_mine
        lock.queued.append(lambda: told.append((lock.is_mine, 2)))

    assert told == [(False, 1), (False, 2)]
    with lock:
        pass
    assert len(told) == 2


def test_what_a_callback_queues_comes_after_those_that_wait():
    lock, told = RoomLock("r"), []

    def first() -> None:
        with lock:
            lock.queued.append(lambda: told.append("third"))
        told.append("first")

    with lock:
        lock.queued.extend([first, lambda: told.append("second")])

    assert told == ["first", "second", "third"]


def test_another_thread_may_take_it_while_a_callback_waits_for_that():
    lock, was_free = RoomLock("r"), []

    def callback() -> None:
        def take() -> None:
            with lock:
                was_free.append(True)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join(HANG_S)

    with lock:
        lock.queued.append(callback)

    assert was_free == [True]


def test_a_callback_that_fails_is_logged_and_keeps_no_other_from_running(caplog):
    lock, told = RoomLock("plan"), []
    with caplog.at_level(logging.ERROR), lock:
        lock.queued.extend([lambda: 1 / 0, lambda: told.append(1)])

    assert told == [1]
    assert "room plan: a callback failed" in caplog.text
