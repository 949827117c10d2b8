"""Clients that write while their server is killed, for a process of its own; prints what was acknowledged.

Each client appends to one list, overwrites a key of his own, and types into one text. What ``flush`` returned for is
*acknowledged* and written down. On SIGTERM all of them finish, and everything that they hold is compared.

    python -m tests.end_to_end.kill_run URL TOKEN CLIENTS
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from dataclasses import replace

import collabkernel
from collabkernel.limits import Limits
from tests.simulation.verdict import digest

PAUSE_S = 0.05
"""Between two writes of one client: 50 of them write 1,000 operations a second."""
SETTLE_S = 240
"""Far longer than any wait here: a starved machine may keep a client out for several restarts."""
LIMITS = replace(Limits(), reconnect_max_ms=500)


async def write(room: collabkernel.client.async_room.AsyncRoom, me: int, acked: list[str], done: asyncio.Event) -> None:
    """Write until told to stop; a batch now and then."""
    log, notes, rng = room.list("log"), room.text("notes"), random.Random(me)
    number = 0
    while not done.is_set():
        number += 1
        name = f"{me}:{number}"
        if rng.random() < 0.2:
            with room.batch():
                log.append(name)
                room.root[f"last-{me}"] = number
        else:
            log.append(name)
        if rng.random() < 0.2:
            between = [0, *[i + 1 for i, sign in enumerate(str(notes)) if sign == ">"]]
            notes.insert(rng.choice(between), f"<{name}>")
            name += "+text"
        try:
            await room.flush(timeout_s=SETTLE_S)
        except collabkernel.CollabKernelError as error:
            print(f"client {me}: {error}", file=sys.stderr)
            raise
        acked.append(name)
        await asyncio.sleep(rng.uniform(0, 2 * PAUSE_S))


async def main(url: str, token: str, clients: int) -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    acked: list[list[str]] = [[] for _ in range(clients)]
    leave = asyncio.Event()
    rooms: list[object] = []
    ready = asyncio.Semaphore(0)

    async def client(me: int) -> None:
        async with collabkernel.aio.connect("kill", url=url, token=token, timeout_s=30, limits=LIMITS) as room:
            rooms.append(room)
            ready.release()
            await write(room, me, acked[me], done)
            ready.release()
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        for me in range(clients):
            group.create_task(client(me))
        for _ in range(clients):
            await ready.acquire()
        print("writing", flush=True)
        for _ in range(clients):
            await ready.acquire()
        states = await settle(rooms)
        print(json.dumps({"acked": acked, "states": states, "json": rooms[0].to_json()}), flush=True)
        leave.set()


async def settle(rooms: list) -> list[str]:
    """Wait until all replicas were shown as much; their digests."""
    async with asyncio.timeout(SETTLE_S):
        while len({room.replica.through for room in rooms}) > 1:  # noqa: ASYNC110  # there is no event for all of them
            await asyncio.sleep(0.2)
    return [digest(room.replica.tree) for room in rooms]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
