"""Those who disturb a room, in a process of their own: ``... editors_seed_disturb KIND PLAN``, until its input ends.

``stopped`` reads nothing of what it is sent; ``slow`` reads 2 kB a second; ``garbage`` sends frames that are none;
``reconnecting`` are 100 who come and go every second; ``flood`` are 50 agents who rewrite 10,000 cells at once, while
the others work. They begin when they have said ``ready``.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import websockets
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Hello, SessionKind
from tests.benchmarks import editors_seed_frames as frames
from tests.benchmarks.editors_seed_load import Plan
from tests.benchmarks.load import FRAME_BYTES_MAX, SUBPROTOCOL

SLOW_BYTES_PER_S = 2_000
GARBAGE_PER_S = 100
RECONNECTING, RECONNECT_S = 100, 1.0
FLOODERS, FLOOD_CELLS = 50, 10_000
FLOOD_AFTER_S = 15.0
"""After ``ready``: the load is at work and its warm-up over."""


def connect(plan: Plan, max_queue: int | None = 16) -> websockets.connect:
    """A socket; who does not receive from one with a short queue reads nothing of it."""
    return websockets.connect(
        plan.url,
        subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
        additional_headers={"Authorization": f"token {plan.token}"},
        compression=None,
        max_size=FRAME_BYTES_MAX,
        max_queue=max_queue,
        open_timeout=60,
        ping_interval=None,
        close_timeout=1,
    )


async def hello(socket: websockets.ClientConnection, kind: SessionKind = SessionKind.SCRIPT) -> pb.Welcome:
    """Join, and look at everything."""
    await socket.send(encode_client_message(Hello(kind, "disturber", None)))
    while True:
        message = pb.ServerMessage.FromString(await socket.recv())  # type: ignore[arg-type]  # they are binary
        if message.HasField("welcome"):
            return message.welcome


async def stopped(plan: Plan) -> None:
    """Read nothing any more."""
    async with connect(plan, max_queue=1) as socket:
        await hello(socket)
        await asyncio.Event().wait()


async def slow(plan: Plan) -> None:
    """Read little, and come back when the server has had enough."""
    while True:
        try:
            async with connect(plan, max_queue=1) as socket:
                await hello(socket)
                async for frame in socket:
                    await asyncio.sleep(len(frame) / SLOW_BYTES_PER_S)
        except websockets.ConnectionClosed:
            await asyncio.sleep(1)


async def garbage(plan: Plan) -> None:
    """Send what is no message."""
    rng = random.Random(plan.seed)
    async with connect(plan) as socket:
        await hello(socket)

        async def read() -> None:
            async for _ in socket:
                pass

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            while True:
                await socket.send(rng.randbytes(rng.randrange(1, 2_000)))
                await asyncio.sleep(1 / GARBAGE_PER_S)


class Visitor(WSListener):  # type: ignore[misc]  # compiled
    """A socket that is closed when it is welcome; of picows, since the clients must not take the server's core."""

    def __init__(self) -> None:
        super().__init__()
        self.is_gone = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY and frame.get_payload_as_bytes()[:1] == b"\x0a":  # its Welcome
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002  # picows' signature
        if not self.is_gone.done():
            self.is_gone.set_result(None)


async def reconnecting(plan: Plan) -> None:
    """Come and go, each at a time of his own: a server that was slow once is not met by all at once ever after."""
    begun_s = time.monotonic()
    headers = {"Authorization": f"token {plan.token}", "Sec-WebSocket-Protocol": SUBPROTOCOL}
    look = frames.viewport(plan.blocks[:50])
    greeting = encode_client_message(Hello(SessionKind.PERSON, "disturber", None))

    async def one(nth: int) -> None:
        due_s = begun_s + nth * RECONNECT_S / RECONNECTING
        while True:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            due_s += RECONNECT_S * max(1, math.ceil((time.monotonic() - due_s) / RECONNECT_S))
            # A server that lets nobody in is a failure of the benchmark: picows' error ends it.
            transport, visitor = await ws_connect(Visitor, plan.url, extra_headers=headers)
            transport.send(WSMsgType.BINARY, look)
            transport.send(WSMsgType.BINARY, greeting)
            await visitor.is_gone

    async with asyncio.TaskGroup() as tasks:
        for nth in range(RECONNECTING):
            tasks.create_task(one(nth))


async def flood(plan: Plan) -> None:
    """Rewrite many cells at once."""
    async with asyncio.TaskGroup() as tasks:
        for nth in range(FLOODERS):
            tasks.create_task(_rewrite(plan, nth))


async def _rewrite(plan: Plan, nth: int) -> None:
    share = FLOOD_CELLS // FLOODERS
    async with connect(plan, max_queue=None) as socket:
        await socket.send(frames.viewport(plan.blocks[:1]))
        await hello(socket, SessionKind.AGENT)
        await asyncio.sleep(FLOOD_AFTER_S)
        cells = [plan.blocks[(nth * share + i) % len(plan.blocks)] for i in range(share)]
        ops = [frames.property_op((site, counter), i) for i, (site, counter, _) in enumerate(cells)]
        await _submit(socket, frames.submit(1, 0, (time.time_ns() // 1_000_000) << 16, ops))


async def _submit(socket: websockets.ClientConnection, frame: bytes) -> None:
    """Send an envelope, again and again while it is put off."""
    await socket.send(frame)
    async for answer in socket:
        message = pb.ServerMessage.FromString(answer)  # type: ignore[arg-type]  # they are binary
        if message.rejects:
            await asyncio.sleep(message.rejects[0].retry_after_ms / 1000)
            await socket.send(frame)
        if message.acks:
            return


KINDS: dict[str, Callable[[Plan], Awaitable[None]]] = {
    "stopped": stopped,
    "slow": slow,
    "garbage": garbage,
    "reconnecting": reconnecting,
    "flood": flood,
}


async def main(kind: str, plan: Plan) -> None:
    """Disturb until the input ends."""
    task = asyncio.ensure_future(KINDS[kind](plan))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    if task.done():
        await task
    task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Plan(**json.loads(Path(sys.argv[2]).read_text()))))
