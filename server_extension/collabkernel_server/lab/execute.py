"""Server-side execution: the runners of this server's kernels, and what they are told of kernels' fates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from jupyter_events import EventLogger
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager, ServerKernelManager

from collabkernel.errors import CollabKernelError, ServerStoppingError
from collabkernel_server.lab.execution_queue import CellRequest
from collabkernel_server.lab.kernel_runner import KernelRunner, Workshop

KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
"""Jupyter's own events: somebody interrupted, restarted or shut down a kernel."""
STOP_S = 0.5
"""What ending the runs may take of the two seconds of a stop."""


class KernelUnknownError(CollabKernelError):
    """This server has no such kernel, or none that it can speak to."""

    code = "kernel-unknown"

    def __init__(self, kernel_id: str) -> None:
        super().__init__(f"this server has no kernel {kernel_id!r} of its own")


class Executor:
    """Runs cells of shared notebooks. ``start`` before, ``stop`` after."""

    def __init__(self, kernels: MappingKernelManager, events: EventLogger, workshop: Workshop) -> None:
        self._kernels = kernels
        self._events = events
        self._workshop = workshop
        self._runners: dict[str, KernelRunner] = {}
        self._watched: list[tuple[str, Callable[[], None], str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_following = False
        self._is_stopping = False

    def start(self) -> None:
        """Follow what happens to kernels."""
        if not self._is_following:
            self._is_following = True
            self._events.add_listener(schema_id=KERNEL_ACTIONS, listener=self._on_action)

    async def request(self, kernel_id: str, document_id: str, cell_id: str, actor: str) -> int:
        """Queue a cell; how many are before it. It runs when its turn comes, whoever is connected then.

        Raises:
            KernelUnknownError: There is no such kernel here.
            CellUnknownError: There is no such code cell.
            TooManyError: The kernel's queue is full.
            CollabKernelError: The notebook cannot be opened.
        """
        if self._is_stopping:
            raise ServerStoppingError("the server is shutting down")
        return await self._runner(kernel_id).request(document_id, cell_id, actor)

    def queue(self, kernel_id: str) -> list[tuple[CellRequest, bool]]:
        """What runs and waits on a kernel, in order; each with whether it runs.

        Raises:
            KernelUnknownError: There is no such kernel here.
        """
        self._kernel(kernel_id)
        runner = self._runners.get(kernel_id)
        return [] if runner is None else runner.queue()

    async def stop(self) -> None:
        """End what runs, and say so in the notebooks."""
        self._is_stopping = True
        if self._is_following:
            self._events.remove_listener(listener=self._on_action)
        for kernel_id, callback, event in self._watched:
            if kernel_id in self._kernels:
                self._kernels.remove_restart_callback(kernel_id, callback, event)
        stops = [asyncio.create_task(runner.stop()) for runner in self._runners.values()]
        if stops:
            await asyncio.wait(stops, timeout=STOP_S)
        await self._workshop.life.stop()

    # -- inside

    def _kernel(self, kernel_id: str) -> ServerKernelManager:
        if kernel_id not in self._kernels:
            raise KernelUnknownError(kernel_id)
        kernel = self._kernels.get_kernel(kernel_id)
        if not isinstance(kernel, ServerKernelManager):  # a gateway's: it is on another machine
            raise KernelUnknownError(kernel_id)
        return kernel

    def _runner(self, kernel_id: str) -> KernelRunner:
        kernel = self._kernel(kernel_id)
        runner = self._runners.get(kernel_id)
        if runner is None:
            runner = self._runners[kernel_id] = KernelRunner(kernel, self._workshop)
            self._watch(
                kernel_id, "restart", "KernelDied", "the kernel died while this cell ran, and was started again"
            )
            self._watch(kernel_id, "dead", "KernelDied", "the kernel died while this cell ran")
        return runner

    def _watch(self, kernel_id: str, event: str, name: str, message: str) -> None:
        """Hear of a kernel that dies without anybody's wish."""

        def on_event() -> None:
            self._gone(kernel_id, name, message)

        self._kernels.add_restart_callback(kernel_id, on_event, event)
        self._watched.append((kernel_id, on_event, event))

    async def _on_action(self, logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:  # noqa: ARG002  # the event system's signature
        runner = self._runners.get(str(data.get("kernel_id")))
        if runner is None or data.get("status") == "error":
            return
        match data.get("action"):
            case "interrupt":
                await runner.clear()
            case "restart":
                await runner.gone("KernelRestarted", "the kernel was restarted while this cell ran")
            case "shutdown":
                await runner.gone("KernelShutDown", "the kernel was shut down while this cell ran")
                self._forget(str(data["kernel_id"]))

    def _gone(self, kernel_id: str, name: str, message: str) -> None:
        runner = self._runners.get(kernel_id)
        if runner is not None:
            self._spawn(runner.gone(name, message))

    def _forget(self, kernel_id: str) -> None:
        """A kernel that was shut down does not come back under its id."""
        runner = self._runners.pop(kernel_id, None)
        self._watched = [watched for watched in self._watched if watched[0] != kernel_id]
        if runner is not None:
            self._spawn(runner.stop())

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
