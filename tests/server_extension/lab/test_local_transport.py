"""Frames on their way to a client in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from collabkernel_server.lab.local_transport import GATHER_BYTES, GATHER_S, TAKE_BYTES, LocalTransport


def run(test: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))  # type: ignore[arg-type]


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_it_tells_when_it_has_drained():
    async def test() -> None:
        drained: list[int] = []
        transport = LocalTransport(high_bytes=TAKE_BYTES, low_bytes=4)
        transport.on_drained = lambda: drained.append(transport.buffered_bytes)
        large = bytes(TAKE_BYTES)
        for frame in (large, b"1234", b"5678"):
            transport.send(frame)
        transport.close("slow-consumer", "too slow")
        transport.send(b"dropped")

        assert await transport.wait()
        assert transport.take() == ([large], True)
        assert drained == []
        assert await transport.wait()
        assert transport.take() == ([b"1234", b"5678"], False)
        assert drained == [0]
        assert not await transport.wait()
        assert transport.close_code == "slow-consumer"

    run(test())


def test_the_first_frame_is_there_at_once_and_what_follows_gathers():
    async def test() -> None:
        transport = LocalTransport(1 << 20, 1)
        transport.send(b"first")
        began_s = now_s()
        await transport.wait()
        assert now_s() - began_s < GATHER_S
        transport.take()
        taken_s = now_s()

        transport.send(b"second")
        asyncio.get_running_loop().call_later(GATHER_S / 4, transport.send, b"third")
        await transport.wait()

        # The loop's timers ring up to their own resolution early.
        assert now_s() - taken_s >= GATHER_S * 0.9
        assert transport.take() == ([b"second", b"third"], False)

    run(test())


def test_nothing_gathers_when_somebody_waits_or_much_is_there():
    async def test() -> None:
        transport = LocalTransport(1 << 20, 1)
        transport.take()

        transport.send(b"1")
        transport.hurry()
        await now(transport.wait())
        transport.take()
        transport.rest()
        transport.send(bytes(GATHER_BYTES + 1))
        await now(transport.wait())
        transport.take()
        transport.rest()
        transport.send(b"2")
        transport.close("room-reset", "")
        await now(transport.wait())

    async def now(waiting: Awaitable[bool]) -> None:
        """Wait for what is there without a turn of the loop."""
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        assert task.done()

    run(test())
