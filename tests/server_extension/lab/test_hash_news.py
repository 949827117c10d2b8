"""Who asks for the hash of a file is answered when his pages have taken in the one that they were sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from collabkernel_server.lab.hash_news import HashNews

from tests.bounds import HANG_S

pytestmark = pytest.mark.anyio


def page(user: str) -> dict[str, Any]:
    return {"user": {"username": user}, "autosave": True}


async def is_waiting(task: asyncio.Task[None]) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


async def test_each_page_of_who_asks_is_waited_for() -> None:
    news = HashNews(HANG_S)
    news.told([page("ann"), page("bob"), page("ann")])
    ann = asyncio.create_task(news.taken_in("ann"))
    assert await is_waiting(ann)

    assert news.asked("bob")
    assert news.asked("ann")
    assert await is_waiting(ann)
    assert news.asked("ann")
    await asyncio.wait_for(ann, HANG_S)
    assert not news.asked("ann"), "nobody was told anything since"


async def test_each_hash_is_waited_for() -> None:
    news = HashNews(HANG_S)
    news.told([page("ann")])
    news.told([page("ann")])
    assert news.asked("ann")
    waiting = asyncio.create_task(news.taken_in("ann"))
    assert await is_waiting(waiting)
    news.asked("ann")
    await asyncio.wait_for(waiting, HANG_S)


async def test_nobody_waits_for_scripts_for_others_or_when_there_is_no_news() -> None:
    news = HashNews(HANG_S)
    await asyncio.wait_for(news.taken_in("ann"), HANG_S / 2)
    news.told([page("bob"), {"user": {"username": "ann"}}, {}])
    await asyncio.wait_for(news.taken_in("ann"), HANG_S / 2)


async def test_a_page_that_never_asks_is_not_waited_for_long_nor_counted_later() -> None:
    news = HashNews(0.0)
    news.told([page("ann")])
    await asyncio.wait_for(news.taken_in("ann"), HANG_S)
    news.told([page("ann")])
    assert news.asked("ann")
    assert not news.asked("ann"), "the page of the first hash is gone"
