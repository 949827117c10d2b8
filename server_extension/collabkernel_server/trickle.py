"""A few a turn of the event loop, of those who come at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Trickle:
    """Lets so many go on in one turn. Who comes when there are more waits for his, in the order of coming.

    Between two turns the loop reads and answers: of a class that opens one notebook the first are sent it before the
    last are let in, and whoever edits meanwhile waits for a few of them, not for all.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = self._left = at_once
        """So many have a place in a turn, and so many places are left in this one."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Go on when it is one's turn; at once when few come."""
        if self._left == 0:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        else:
            self._take()

    def _take(self) -> None:
        if self._left == self._at_once:  # the first of this turn: the next one is somebody else's
            asyncio.get_running_loop().call_soon(self._begin)
        self._left -= 1

    def _begin(self) -> None:
        self._left = self._at_once
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():  # else whoever waited was cancelled
                turn.set_result(None)
                self._take()
