"""What becomes of running and waiting cells when their kernel is interrupted, restarted, killed or shut down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from collabkernel_server.lab.execute import KernelUnknownError

from collabkernel.errors import ServerStoppingError
from tests.bounds import HANG_S
from tests.server_extension.lab.kernel_world import NOTEBOOK, KernelWorld, kernel_world, run

FOREVER = "import time\nprint('started')\nwhile True: time.sleep(0.01)"
CELLS = {"a": FOREVER, "b": "print('b')", "c": "print('c')"}


async def started(world: KernelWorld) -> None:
    await world.ask("a", "b")
    await world.until(lambda: world.text("a") == "started\n")


def test_interrupt_ends_the_cell_and_clears_the_queue(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, CELLS) as world:
            await started(world)
            await world.ask("c", actor="bob")
            await world.kernel.interrupt_kernel()
            await world.done("a", "b", "c")

            assert world.error("a") == "KeyboardInterrupt"
            assert world.text("b") == world.text("c") == ""
            await world.ask("c")
            await world.done("c")
            assert world.text("c") == "c\n"

    run(test())


def test_restart_ends_the_cell_and_clears_the_queue(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, CELLS) as world:
            await started(world)
            await world.kernels.restart_kernel(world.kernel_id)
            await world.done("a", "b")

            assert world.error("a") in ("KernelRestarted", "KeyboardInterrupt")
            assert world.text("b") == ""
            await world.ask("c")
            await world.done("c")
            assert (world.text("c"), int(world.cell("c")["execution_count"])) == ("c\n", 1)

    run(test())


def test_restart_while_nothing_runs_costs_no_later_cell(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, CELLS) as world:
            await world.ask("b")
            await world.done("b")
            await world.kernels.restart_kernel(world.kernel_id)
            await world.kernel.event_logger.gather_listeners()

            await world.ask("b", "c")
            await world.done("b", "c")

            assert (world.text("b"), world.text("c")) == ("b\n", "c\n")
            assert [int(world.cell(cell)["execution_count"]) for cell in "bc"] == [1, 2]

    run(test())


def test_death_of_a_kernel_is_shown(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, CELLS | {"a": f"{FOREVER.splitlines()[1]}\nimport os\nos._exit(1)"}) as world:
            await world.ask("a", "b")
            await world.done("a", "b")

            assert world.error("a") == "KernelDied"
            assert world.text("b") == ""

    run(test())


def test_shutdown_ends_the_cell(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, CELLS) as world:
            await started(world)
            await world.kernels.shutdown_kernel(world.kernel_id, now=True)
            await world.done("a", "b")

            assert world.error("a") in ("KernelShutDown", "KernelDied")
            with pytest.raises(KernelUnknownError):
                await world.ask("c")
            with pytest.raises(KernelUnknownError):
                world.executor.queue(world.kernel_id)

    run(test())


def test_stop_of_the_server_is_told_in_the_notebook(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, CELLS) as world:
            await started(world)
            await world.executor.stop()

            assert world.error("a") == "ServerStopped"
            assert [cell["execution_state"] for cell in map(world.cell, "ab")] == ["idle", "idle"]
            with pytest.raises(ServerStoppingError):
                await world.executor.request(world.kernel_id, NOTEBOOK, "b", "ann")

    run(test())


def test_kernel_that_is_busy_for_somebody_else_is_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, CELLS) as world:
            other = world.kernel.client()
            other.session.session = "somebody"
            other.start_channels()
            await other.wait_for_ready()
            other.execute("import time; time.sleep(1)")
            await world.ask("b")
            await world.done("b")
            other.stop_channels()

            assert world.text("b") == "b\n"

    run(asyncio.wait_for(test(), HANG_S))
