"""The thread that works for an event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from collabkernel.storage.work_thread import WorkThread

pytestmark = pytest.mark.anyio


def fail() -> None:
    raise KeyError("plan")


async def test_work_is_done_in_order_and_answered():
    thread, done = WorkThread("worker"), []

    answers = [thread.run(lambda i=i: done.append(i) or i) for i in range(100)]

    assert await asyncio.gather(*answers) == done == list(range(100))
    assert await thread.run(threading.current_thread) is not threading.current_thread()
    thread.end()


async def test_who_waits_is_told_of_a_failure_and_the_next_has_its_turn():
    thread = WorkThread("worker")

    with pytest.raises(KeyError, match="plan"):
        await thread.run(fail)

    assert await thread.run(lambda: 1) == 1
    thread.end()


async def test_work_is_done_also_when_nobody_waits_any_more():
    thread, may_go_on, done = WorkThread("worker"), threading.Event(), threading.Event()
    thread.run(may_go_on.wait)
    left = thread.run(done.set)

    left.cancel()
    may_go_on.set()

    assert await asyncio.to_thread(done.wait, 10)
    thread.end()


async def test_the_thread_ends_when_it_has_done_what_it_was_given():
    thread = WorkThread("worker")
    worker = await thread.run(threading.current_thread)
    last = thread.run(lambda: "done")

    thread.end()

    assert await last == "done"
    await asyncio.to_thread(worker.join, 10)
    assert not worker.is_alive()
