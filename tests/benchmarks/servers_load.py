"""Writers and onlookers of several servers, in processes of their own: ``... servers_load writers|onlookers PLAN``.

Both tell by the machine's monotonic clock, which all processes share, when each envelope was sent and when it was seen.
Onlookers print ``ready`` when they are welcome, and end with their input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TypedDict

import websockets

from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Hello, SessionKind
from tests.benchmarks.load import FRAME_BYTES_MAX, SUBPROTOCOL, LoadClient, Plan


class Written(TypedDict):
    """What the writers did."""

    sites: list[int]
    """Of each writer, in the order of the plan's URLs."""
    sent_s: list[list[float]]
    """When each sent its envelopes, by counter from 1."""
    rtt_ms: list[list[float]]
    cpu_s: float


class Seen(TypedDict):
    """What the onlookers saw."""

    seen: list[list[tuple[int, int, float]]]
    """Of each onlooker: site, counter, and when it saw that."""
    cpu_s: float


async def write(plan: Plan) -> Written:
    """Run all writers of a plan at once."""
    clients = [LoadClient(plan, index) for index in range(len(plan.urls))]
    ready = asyncio.Barrier(len(clients))
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.run(ready))
    return Written(
        sites=[client.site for client in clients],
        sent_s=[[sent_s for sent_s, _ in client.rtt_by_start] for client in clients],
        rtt_ms=[[rtt_ms for _, rtt_ms in client.rtt_by_start] for client in clients],
        cpu_s=time.process_time(),
    )


async def look_on(url: str, ready: asyncio.Barrier, seen: list[tuple[int, int, float]]) -> None:
    """Note when each envelope comes."""
    connect = websockets.connect(
        url, subprotocols=[websockets.Subprotocol(SUBPROTOCOL)], compression=None, max_size=FRAME_BYTES_MAX
    )
    async with connect as socket:
        await socket.send(encode_client_message(Hello(SessionKind.SCRIPT, "benchmark", None)))
        async for frame in socket:
            now_s = time.perf_counter()
            message = pb.ServerMessage.FromString(frame)
            if message.HasField("welcome"):
                ready_task = asyncio.create_task(ready.wait())
                ready_task.add_done_callback(lambda task: task.exception())
            for ops in message.ops:
                seen += [(stored.site, stored.envelope.counter, now_s) for stored in ops.envelopes]


async def watch(plan: Plan) -> Seen:
    """Run all onlookers, until the input ends."""
    seen: list[list[tuple[int, int, float]]] = [[] for _ in plan.urls]
    ready = asyncio.Barrier(len(plan.urls) + 1)
    tasks = [asyncio.create_task(look_on(url, ready, seen[i])) for i, url in enumerate(plan.urls)]
    await ready.wait()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Seen(seen=seen, cpu_s=time.process_time())


if __name__ == "__main__":
    given = Plan(**json.loads(sys.argv[2]))
    print(json.dumps(asyncio.run(write(given) if sys.argv[1] == "writers" else watch(given))))
