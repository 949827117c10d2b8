"""Clients that write while their servers fail, for a process of its own; prints what was acknowledged, and each pause.

As ``kill_run.py``, but each client knows all the servers, and tells when it lost one and when it was live again. On
SIGTERM all of them finish, and everything that they hold is compared.

    python -m tests.end_to_end.servers_run PLAN        a JSON object
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import collabkernel
from collabkernel.client.async_room import AsyncRoom
from collabkernel.limits import Limits
from tests.simulation.verdict import digest

SETTLE_S = 240
"""Far longer than any wait here: a starved machine may keep a client out for several faults."""
TYPED_CHARS = 2000
"""They type in the beginning of the text, so that looking for a place costs the same at its end."""
LIMITS = replace(Limits(), reconnect_max_ms=1000, connect_timeout_ms=4000)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the clients of one process do."""

    room: str
    urls: list[str]
    token: str
    clients: int
    first: int
    """Number of the first client; each has one of its own."""
    pause_s: float
    """Between two writes of one client, on average."""


@dataclass(slots=True)
class Pause:
    """A session was without a server."""

    url: str
    """The one that it lost."""
    lost_s: float
    """Seconds since the Unix epoch."""
    back_s: float = 0.0
    """0 while it is not back."""


class Writer:
    """One client."""

    def __init__(self, plan: Plan, me: int) -> None:
        self._plan = plan
        self._me = me
        self._url = ""
        self.acked: list[str] = []
        self.acked_at_s: list[float] = []
        """Of each, seconds since the Unix epoch."""
        self.pauses: list[Pause] = []
        self.room: AsyncRoom | None = None

    async def run(self, ready: asyncio.Semaphore, done: asyncio.Event, leave: asyncio.Event) -> None:
        """Join, write until ``done``, and stay until ``leave``."""
        plan = self._plan
        connecting = collabkernel.aio.connect(plan.room, url=plan.urls, token=plan.token, timeout_s=60, limits=LIMITS)
        async with connecting as room:
            self.room = room
            self._url = room.address
            room.on_status(self._on_status)
            ready.release()
            await self._write(room, done)
            ready.release()
            await leave.wait()

    def _on_status(self, status: str) -> None:
        assert self.room is not None
        is_away = bool(self.pauses) and not self.pauses[-1].back_s
        if status == "live":
            self._url = self.room.address
            if is_away:
                self.pauses[-1].back_s = time.time()
        elif not is_away:
            self.pauses.append(Pause(self._url, time.time()))

    async def _write(self, room: AsyncRoom, done: asyncio.Event) -> None:
        log, notes, rng = room.list("log"), room.text("notes"), random.Random(self._me)
        number = 0
        while not done.is_set():
            number += 1
            name = f"{self._me}:{number}"
            if rng.random() < 0.2:
                with room.batch():
                    log.append(name)
                    room.root[f"last-{self._me}"] = number
            else:
                log.append(name)
            if rng.random() < 0.2:
                between = [0, *[i + 1 for i, sign in enumerate(str(notes)[:TYPED_CHARS]) if sign == ">"]]
                notes.insert(rng.choice(between), f"<{name}>")
                name += "+text"
            await room.flush(timeout_s=SETTLE_S)
            self.acked.append(name)
            self.acked_at_s.append(time.time())
            await asyncio.sleep(rng.uniform(0, 2 * self._plan.pause_s))


async def main(plan: Plan) -> None:
    """Run them all, and tell."""
    done, leave, ready = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    # As if each had a process: asyncio's own has six threads here, in which all would wait for a server that is away.
    loop.set_default_executor(ThreadPoolExecutor(plan.clients))
    writers = [Writer(plan, plan.first + number) for number in range(plan.clients)]
    async with asyncio.TaskGroup() as group:
        for writer in writers:
            group.create_task(writer.run(ready, done, leave))
        for _ in writers:
            await ready.acquire()
        print("writing", flush=True)
        for _ in writers:
            await ready.acquire()
        print("written", flush=True)
        # The other processes' clients write as well, so the states are those at the seq that the test names.
        through = int(await asyncio.to_thread(sys.stdin.readline))
        rooms = [writer.room for writer in writers if writer.room is not None]
        states = await settle(rooms, through)
        told: dict[str, Any] = {
            "acked": [writer.acked for writer in writers],
            "acked_at_s": [writer.acked_at_s for writer in writers],
            "pauses": [asdict(pause) for writer in writers for pause in writer.pauses],
            "states": states,
            "json": rooms[0].to_json(),
        }
        print(json.dumps(told), flush=True)
        leave.set()


async def settle(rooms: list[AsyncRoom], through: int) -> list[str]:
    """Wait until all replicas were shown as much; their digests."""
    async with asyncio.timeout(SETTLE_S):
        while any(room.replica.through < through for room in rooms):  # noqa: ASYNC110  # a replica of each has no event for all
            await asyncio.sleep(0.1)
    return [digest(room.replica.tree) for room in rooms]


if __name__ == "__main__":
    asyncio.run(main(Plan(**json.loads(sys.argv[1]))))
