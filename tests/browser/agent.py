"""A script on asyncio beside the browser's tests, which are not: its loop has a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

import collabkernel.aio
from collabkernel.client.async_room import AsyncRoom
from tests.bounds import HANG_S
from tests.browser.converge import wait_until_equal
from tests.browser.lab import AGENT_TOKEN, Lab


class Agent:
    """A room of ``collabkernel.aio`` that edits when it is told to."""

    def __init__(self, portal: BlockingPortal, room: AsyncRoom) -> None:
        self._portal = portal
        self._room = room

    def edit(self, change: Callable[[AsyncRoom], object]) -> None:
        """Change the room; returns when the server has it on disk."""
        self._portal.call(self._edit, change)

    async def _edit(self, change: Callable[[AsyncRoom], object]) -> None:
        change(self._room)
        await self._room.flush()

    def value(self) -> dict[str, Any]:
        """The room's values as the script has them."""
        return self._portal.call(self._room.to_json)

    def expect_value(self, wanted: Any) -> None:
        """Wait until it has this."""
        wait_until_equal(self.value, wanted, lambda: time.sleep(0.05))


@contextmanager
def agent_in(lab: Lab, room: str) -> Iterator[Agent]:
    """Somebody called Scout in a room."""
    with start_blocking_portal() as portal:
        joining = collabkernel.aio.connect(room, url=lab.url, token=AGENT_TOKEN, kind="agent", timeout_s=HANG_S)
        with portal.wrap_async_context_manager(joining) as joined:
            yield Agent(portal, joined)
