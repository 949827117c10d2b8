"""Which pages were sent a new hash of their file, and have not taken it in yet.

JupyterLab's context knows a new hash only when it has asked ``GET api/contents/{path}?content=0`` about it and been
answered (``RtcContentProvider``, @jupyter/docprovider 5.0). Ctrl+S asks for the hash of the file as well, and if that
answer comes first, the user is asked whether to overwrite a file that nobody else has changed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

PAGES_ASK_S = 2.0
"""A page asks within milliseconds of the hash; one that is closed meanwhile, or whose tab sleeps, never does."""


class HashNews:
    """Of one document, on this server."""

    __slots__ = ("_changed", "_owed_by_user", "_until_s", "_wait_s")

    def __init__(self, wait_s: float = PAGES_ASK_S) -> None:
        """Prepare.

        Args:
            wait_s: How long after a new hash its pages are waited for.
        """
        self._owed_by_user: Counter[str] = Counter()
        self._until_s = 0.0
        self._wait_s = wait_s
        self._changed = asyncio.Event()

    def told(self, states: Iterable[Mapping[str, Any]]) -> None:
        """A new hash is on its way to those who show these awareness states, of which pages say ``autosave``."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._until_s:
            self._owed_by_user.clear()
        for state in states:
            match state:
                case {"autosave": _, "user": {"username": str(user)}}:
                    self._owed_by_user[user] += 1
        self._until_s = now_s + self._wait_s

    def asked(self, user: str) -> bool:
        """A page of this user has asked about a hash and has its answer; whether it was waited for."""
        if self._owed_by_user[user] <= 0:
            return False
        self._owed_by_user[user] -= 1
        self._changed.set()
        return True

    async def taken_in(self, user: str) -> None:
        """Return when no page of this user lacks a hash, or has been waited for long enough."""
        while self._owed_by_user[user] > 0:
            left_s = self._until_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
