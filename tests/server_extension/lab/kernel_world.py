"""A real kernel, a hub with one notebook, and the executor between them, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.execute import Executor
from collabkernel_server.lab.kernel_runner import Workshop
from collabkernel_server.lab.output_files import OutputFiles
from collabkernel_server.lab.server_life import ServerLife
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager, ServerKernelManager
from jupyter_ydoc import YNotebook
from pycrdt import Doc

from collabkernel.errors import RoomNotFoundError
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.storage.memory import MemoryStorage
from tests.bounds import HANG_S

NOTEBOOK = "json:notebook:plan"


@dataclass
class Held:
    """A hold on the notebook."""

    client: DocumentClient
    world: KernelWorld

    def release(self) -> None:
        self.world.holds -= 1


class KernelWorld:
    """One kernel and one notebook."""

    def __init__(self, hub: Hub, client: DocumentClient, kernels: AsyncMappingKernelManager, folder: Path) -> None:
        self.hub = hub
        self.client = client
        self.kernels = kernels
        self.kernel_id = ""
        self.holds = 0
        self.files = OutputFiles(folder / "outputs", "/outputs/", 1 << 30, 100 << 20)
        self.executor: Executor
        self.life = ServerLife(self._running_hub)

    async def _running_hub(self) -> Hub:
        return self.hub

    @property
    def kernel(self) -> ServerKernelManager:
        kernel = self.kernels.get_kernel(self.kernel_id)
        assert isinstance(kernel, ServerKernelManager)
        return kernel

    async def open(self, document_id: str) -> Held:
        if document_id != NOTEBOOK:
            raise RoomNotFoundError(document_id)
        self.holds += 1
        return Held(self.client, self)

    async def ask(self, *cell_ids: str, actor: str = "ann") -> list[int]:
        """Ask for cells at once, as "Run All" does."""
        asked = (self.executor.request(self.kernel_id, NOTEBOOK, cell_id, actor) for cell_id in cell_ids)
        return await asyncio.gather(*asked)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for the notebook to be so; whatever happens in it is looked at."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        subscription = self.client.ydoc.observe(lambda _: loop.call_soon(changed.set))
        try:
            async with asyncio.timeout(HANG_S):
                while not is_so():
                    changed.clear()
                    await changed.wait()
        finally:
            self.client.ydoc.unobserve(subscription)

    async def done(self, *cell_ids: str) -> None:
        """Wait until cells neither run nor wait."""
        await self.until(lambda: all(self.cell(cell_id).get("execution_state") == "idle" for cell_id in cell_ids))

    def cell(self, cell_id: str) -> Any:
        notebook = self.client.document
        assert isinstance(notebook, YNotebook)
        return next(cell for cell in notebook.ycells if cell["id"] == cell_id)

    def outputs(self, cell_id: str) -> list[Any]:
        return [output.to_py() for output in self.cell(cell_id)["outputs"]]

    def text(self, cell_id: str) -> str:
        return "".join(output.get("text", "") for output in self.outputs(cell_id))

    def error(self, cell_id: str) -> str:
        return "".join(output.get("ename", "") for output in self.outputs(cell_id))


def seed(cells: dict[str, str]) -> bytes:
    made = YNotebook(Doc(client_id=1))
    shared = [
        {"id": cell_id, "cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}
        for cell_id, code in cells.items()
    ]
    made.set({"cells": shared, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    return bytes(made.ydoc.get_update())


@asynccontextmanager
async def kernel_world(folder: Path, cells: dict[str, str], limits: Limits = Limits()) -> AsyncIterator[KernelWorld]:  # noqa: B008  # frozen
    hub = Hub(MemoryStorage())
    await hub.start()
    await hub.seed_document(NOTEBOOK, seed(cells), "ann")
    client = DocumentClient(hub, NOTEBOOK, "notebook")
    await client.start()
    world = KernelWorld(hub, client, AsyncMappingKernelManager(connection_dir=str(folder)), folder)
    world.kernel_id = await world.kernels.start_kernel()
    workshop = Workshop(limits, world.files, world.open, world.life)
    world.executor = Executor(world.kernels, world.kernel.event_logger, workshop)
    world.executor.start()
    try:
        yield world
    finally:
        await world.executor.stop()
        if world.kernel_id in world.kernels:
            world.kernel.stop_restarter()
            await world.kernel.ready  # one that died may be on its way back
        await shut_down(world.kernels)
        await client.stop()
        await hub.stop()


async def shut_down(kernels: AsyncMappingKernelManager) -> None:
    """End all kernels. jupyter_client trips over one that is just being started again."""
    while True:
        try:
            await kernels.shutdown_all(now=True)
        except asyncio.InvalidStateError:
            await asyncio.sleep(0.05)
        else:
            return


def run(test: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(test, HANG_S))  # type: ignore[arg-type]
