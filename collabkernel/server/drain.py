"""Sends the sessions of a server to the others on its database, a slice at a time, so that these are not overrun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from collabkernel.errors import ServerDrainingError
from collabkernel.server.runner import Runner

SLICE_MS = 250
"""Between two slices: a room that the sessions of one load elsewhere is loaded before the next."""
OVER_MS_MAX = 3_600_000
"""A drain takes an hour at most: what waits for it, such as a rolling restart, has an end too."""
ADVICE = "this server drains; another one has the room, go on there at once"


async def drain(runners: Callable[[], Sequence[Runner]], over_ms: int) -> None:
    """Ask every session to leave, spread over a time; one room after the other, so that few are in two places.

    Args:
        runners: The rooms as they are when it is called.
        over_ms: How long it takes, 0 for all at once.
    """
    sessions = [(runner, session_id) for runner in runners() for session_id in runner.session_ids()]
    slices = max(1, over_ms // SLICE_MS)
    for number in range(slices):
        asked: dict[Runner, list[int]] = {}
        for runner, session_id in sessions[number * len(sessions) // slices : (number + 1) * len(sessions) // slices]:
            asked.setdefault(runner, []).append(session_id)
        for runner, session_ids in asked.items():
            runner.leave(session_ids, ADVICE)
        await asyncio.sleep(SLICE_MS / 1000)
    for runner in runners():
        if runner.is_empty:  # what it holds for its server, such as a keeper's lease, is free then
            runner.stop(ServerDrainingError.code, ADVICE)
        else:  # who was let in while it began
            runner.leave(runner.session_ids(), ADVICE)
