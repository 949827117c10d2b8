"""This server's connection to a real kernel: what it says about one run, and that it is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from collabkernel_server.lab.kernel_channel import KernelChannel, KernelGoneError, Message

from tests.server_extension.lab.kernel_world import kernel_world, run


async def all_of(channel: KernelChannel, code: str) -> list[Message]:
    return [message async for message in channel.run(code, "cell")]


def test_run_ends_with_its_reply_and_two_connections_do_not_mix(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, {}) as world:
            channels = [KernelChannel(world.kernel) for _ in range(2)]
            await asyncio.gather(*(channel.open() for channel in channels))
            try:
                one, two = await asyncio.gather(*(all_of(each, f"print({n})") for n, each in enumerate(channels)))
            finally:
                await asyncio.gather(*(channel.close() for channel in channels))

            for number, messages in enumerate((one, two)):
                assert [message.msg_type for message in messages] == ["execute_input", "stream", "execute_reply"]
                assert messages[1].content["text"] == f"{number}\n"
                assert messages[2].content["status"] == "ok"

    run(test())


def test_dead_kernel_is_told_at_once_and_while_it_is_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, {}) as world:
            world.kernel.stop_restarter()
            channel = KernelChannel(world.kernel)
            await channel.open()
            with pytest.raises(KernelGoneError, match="died"):
                await all_of(channel, "import os; os._exit(1)")
            await channel.close()

            late = KernelChannel(world.kernel)
            with pytest.raises(KernelGoneError, match="died"):
                await late.open()
            await late.close()

    run(test())
