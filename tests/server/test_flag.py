"""A flag is an ``asyncio.Event``: what is shown here holds for both."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.server.flag import Flag

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("kind", [Flag, asyncio.Event])]


async def begun(kind_of_flag: Flag | asyncio.Event, count: int) -> list[asyncio.Task[object]]:
    """Tasks that wait for it."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(kind_of_flag.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_who_comes_when_it_is_up_does_not_wait(kind: type[Flag | asyncio.Event]):
    flag = kind()
    flag.set()

    (task,) = await begun(flag, 1)

    assert task.done()
    assert flag.is_set()


async def test_all_who_wait_go_on_though_it_is_taken_down_at_once(kind: type[Flag | asyncio.Event]):
    flag = kind()
    tasks = await begun(flag, 3)
    assert not any(task.done() for task in tasks)

    flag.set()
    flag.clear()
    await asyncio.wait(tasks)

    assert all(task.exception() is None for task in tasks)
    assert not flag.is_set()
    (late,) = await begun(flag, 1)
    assert not late.done()
    late.cancel()


async def test_who_gives_up_keeps_nobody_else_waiting(kind: type[Flag | asyncio.Event]):
    flag = kind()
    tasks = await begun(flag, 3)

    tasks[1].cancel()
    flag.set()
    await asyncio.wait(tasks)

    assert [task.cancelled() for task in tasks] == [False, True, False]
