"""Clients that load a server, in a process of their own: ``python -m tests.benchmarks.load PLAN``, a JSON object.

They speak the protocol through the real codec over real WebSockets, and keep no replica, so that what is measured is
the server. Prints a ``LoadResult`` as JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import sys
import time
from typing import TypedDict

import websockets

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapSet
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Hello, SessionKind, Submit

SUBPROTOCOL = "collabkernel.v1"
FRAME_BYTES_MAX = 32 << 20
KEYS = 100
"""Each client writes keys of its own in turn, so that the room's state does not grow while it is measured."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What each client does, each on a socket of its own."""

    urls: list[str]
    duration_s: float
    interval_s: float = 0.0
    """Between the starts of two envelopes of a client; 0 sends as fast as ``window`` allows."""
    window: int = 1
    """Envelopes that a client has unacknowledged at most."""
    envelope_ops: int = 1
    warm_up_s: float = 1.0
    """Round trips that start in it are not counted."""
    seed: int = 1


class LoadResult(TypedDict):
    """What was measured after the warm-up."""

    rtt_ms: list[float]
    """One number an acknowledged envelope."""
    ops: int
    elapsed_s: float
    frames_in: int
    """Frames that the clients received, warm-up included."""


class LoadClient:
    """One socket that submits envelopes and times their acks."""

    def __init__(self, plan: Plan, index: int) -> None:
        self._plan = plan
        self._rng = random.Random(plan.seed * 1000 + index)
        self._url = plan.urls[index]
        self._counter = 1
        self._through = 0
        self._sent_at_s: dict[int, float] = {}
        self._is_welcome = asyncio.Event()
        self._has_space = asyncio.Event()
        self.rtt_by_start: list[tuple[float, float]] = []
        """In the order of the acks, which is that of the envelopes."""
        self.frames_in = 0
        self.site = 0

    async def run(self, ready: asyncio.Barrier) -> None:
        """Join, wait for the others, submit for the plan's time, and wait for the last acks."""
        connect = websockets.connect(
            self._url, subprotocols=[websockets.Subprotocol(SUBPROTOCOL)], compression=None, max_size=FRAME_BYTES_MAX
        )
        async with connect as socket:
            await socket.send(encode_client_message(Hello(SessionKind.SCRIPT, "benchmark", None)))
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(socket))
                await self._is_welcome.wait()
                await ready.wait()
                await self._submit(socket)
                while self._sent_at_s:
                    await self._space()
                listening.cancel()

    async def _submit(self, socket: websockets.ClientConnection) -> None:
        plan = self._plan
        start_s = time.perf_counter()
        due_s = start_s + self._rng.random() * plan.interval_s
        while (now_s := time.perf_counter()) < start_s + plan.warm_up_s + plan.duration_s:
            if now_s < due_s:
                await asyncio.sleep(due_s - now_s)
            while len(self._sent_at_s) >= plan.window:
                await self._space()
            due_s += plan.interval_s
            await self._submit_one(socket)

    async def _submit_one(self, socket: websockets.ClientConnection) -> None:
        ops = tuple(
            MapSet(ROOT, f"{self._url[-8:]}-{(self._counter + i) % KEYS}", self._rng.randrange(1_000_000))
            for i in range(self._plan.envelope_ops)
        )
        hlc = (time.time_ns() // 1_000_000) << 16
        envelope = Envelope(self._counter, self._through, hlc, ops)
        frame = encode_client_message(Submit((envelope,)))
        self._sent_at_s[self._counter] = time.perf_counter()
        self._counter += len(ops)
        await socket.send(frame)

    async def _space(self) -> None:
        self._has_space.clear()
        await self._has_space.wait()

    async def _listen(self, socket: websockets.ClientConnection) -> None:
        async for frame in socket:
            now_s = time.perf_counter()
            self.frames_in += 1
            # Parsed by protobuf alone, without our checks: a hundred clients share this process's core.
            message = pb.ServerMessage.FromString(frame)
            if message.HasField("welcome"):
                self.site = message.welcome.site
                self._is_welcome.set()
            self._through = max(self._through, message.through)
            if message.rejects or message.notices or message.HasField("bye"):
                raise RuntimeError(f"the server refused the load: {message}")
            for ack in message.acks:
                sent_s = self._sent_at_s.pop(ack.counter)
                self.rtt_by_start.append((sent_s, (now_s - sent_s) * 1000))
                self._has_space.set()


async def run(plan: Plan) -> LoadResult:
    """Run every client of the plan at once."""
    clients = [LoadClient(plan, index) for index in range(len(plan.urls))]
    ready = asyncio.Barrier(len(clients))
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.run(ready))
    samples = sorted(sample for client in clients for sample in client.rtt_by_start)
    counted_from_s = samples[0][0] + plan.warm_up_s
    counted = [sample for sample in samples if sample[0] >= counted_from_s]
    return LoadResult(
        rtt_ms=[rtt_ms for _, rtt_ms in counted],
        ops=len(counted) * plan.envelope_ops,
        elapsed_s=max(start_s + rtt_ms / 1000 for start_s, rtt_ms in counted) - counted_from_s,
        frames_in=sum(client.frames_in for client in clients),
    )


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Plan(**json.loads(sys.argv[1]))))))
