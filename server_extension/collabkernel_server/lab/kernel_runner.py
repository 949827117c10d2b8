"""Runs the cells that wait for one kernel, one after the other, and writes what they show into their notebooks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from jupyter_ydoc.ynotebook import YNotebook

from collabkernel.errors import CollabKernelError, ServerStoppingError
from collabkernel.limits import Limits
from collabkernel_server.lab.cell_writer import RUNNING, CellWriter
from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.execution_queue import CellRequest, CellUnknownError, ExecutionQueue
from collabkernel_server.lab.kernel_channel import KernelChannel, KernelGoneError, Message
from collabkernel_server.lab.output_files import OutputFiles
from collabkernel_server.lab.outputs import CellOutputs, OutputBounds, bundle_bytes
from collabkernel_server.lab.run_notes import IDLE
from collabkernel_server.lab.server_life import ServerLife

log = logging.getLogger(__name__)
GATHER_S = 0.03
"""Requests that come within this of each other are one wish; and the last keystrokes before it have come by then."""
GATHER_MAX_S = 0.2
LINGER_S = 60.0
"""A connection to a kernel is kept for the next cell for this long."""
STORE_WAIT_S = 2.0
"""A run is over when what it showed is stored; while the database is away, the next one does not wait longer."""
UPDATABLE_RUNS = 32
"""Earlier runs of a kernel whose displays can still be updated."""


class OpenedDocument(Protocol):
    """A hold on a document of this server."""

    @property
    def client(self) -> DocumentClient:
        """A replica of it."""

    def release(self) -> None:
        """Let it go."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the runners of all kernels share."""

    limits: Limits
    files: OutputFiles
    open_document: Callable[[str], Awaitable[OpenedDocument]]
    life: ServerLife


@dataclass(slots=True)
class _Asked:
    """A request that has just come."""

    document_id: str
    cell_id: str
    actor: str
    answer: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(slots=True)
class _Run:
    """A cell's run, under way or done."""

    request: CellRequest
    outputs: CellOutputs
    writer: CellWriter
    client: DocumentClient
    has_news: asyncio.Event = field(default_factory=asyncio.Event)


class ByteBudget:
    """So many bytes a second, of which some may be spent at once."""

    def __init__(self, bytes_per_s: int, burst_bytes: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._burst_bytes = burst_bytes
        self._left_bytes = float(burst_bytes)
        self._at_s = 0.0

    def spend(self, size_bytes: int, now_s: float) -> None:
        """Take bytes, also more than there are."""
        earned = (now_s - self._at_s) * self._bytes_per_s
        self._left_bytes = min(self._burst_bytes, self._left_bytes + earned) - size_bytes
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """When there are any again."""
        earned = (now_s - self._at_s) * self._bytes_per_s
        return max(0.0, -(self._left_bytes + earned) / self._bytes_per_s)


class KernelRunner:
    """One kernel's queue, and its work on it."""

    def __init__(self, kernel: ServerKernelManager, workshop: Workshop) -> None:
        limits = workshop.limits
        self._kernel = kernel
        self._workshop = workshop
        self._queue = ExecutionQueue(limits.execute_queue_cells)
        self._bounds = OutputBounds(limits.output_inline_bytes, limits.cell_outputs_bytes, limits.cell_outputs)
        self._budget = ByteBudget(limits.execute_bytes_per_s, limits.cell_outputs_bytes)
        self._asked: list[_Asked] = []
        self._gathering: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self._current: CellRequest | None = None
        self._channel: KernelChannel | None = None
        self._documents: dict[str, OpenedDocument] = {}
        self._updatable: list[_Run] = []
        self._wake = asyncio.Event()
        self._is_stopping = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do, and nothing is held."""
        return all(task is None or task.done() for task in (self._gathering, self._working))

    def queue(self) -> list[tuple[CellRequest, bool]]:
        """What runs, and what waits, in order; each with whether it runs."""
        running = [(self._current, True)] if self._current is not None else []
        return [*running, *((request, False) for request in self._queue.waiting)]

    async def request(self, document_id: str, cell_id: str, actor: str) -> int:
        """Queue a cell; how many are before it.

        Raises:
            CellUnknownError: The notebook has no such code cell.
            TooManyError: The queue is full.
            CollabKernelError: The notebook cannot be opened.
        """
        if self._is_stopping:
            raise ServerStoppingError("the server is shutting down")
        self._queue.check(len(self._asked) + 1)
        asked = _Asked(document_id, cell_id, actor)
        self._asked.append(asked)
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.create_task(self._gather(), name="cells asked for")
        return await asked.answer

    async def clear(self) -> None:
        """Nothing that waits is to run any more."""
        await self._unqueue(self._queue.drop())

    async def gone(self, name: str, message: str) -> None:
        """The kernel is another one now, or none."""
        if self._channel is not None:
            self._channel.tell_gone(name, message)
        await self.clear()

    async def stop(self) -> None:
        """End what runs, and say so in its notebook."""
        self._is_stopping = True
        await self.gone("ServerStopped", "the server was stopped while this cell ran")
        self._wake.set()
        if self._working is not None:
            await asyncio.wait([self._working])
        if self._gathering is not None:
            await asyncio.wait([self._gathering])
        self._release()

    # -- what is asked for

    async def _gather(self) -> None:
        while self._asked:
            count = 0
            end_s = asyncio.get_running_loop().time() + GATHER_MAX_S
            while len(self._asked) > count and asyncio.get_running_loop().time() < end_s:
                count = len(self._asked)
                await asyncio.sleep(GATHER_S)
            asked, self._asked = self._asked, []
            requests: list[CellRequest] = []
            for document_id in dict.fromkeys(each.document_id for each in asked):
                group = [each for each in asked if each.document_id == document_id]
                requests += await self._found(document_id, group)
            before = len(self._queue) + (self._current is not None)
            self._queue.add(requests)
            self._wake.set()
            if requests and (self._working is None or self._working.done()):
                self._working = asyncio.create_task(self._work(), name="cells of a kernel")
            for each in asked:
                if not each.answer.done():
                    each.answer.set_result(before)
        self._release()

    async def _found(self, document_id: str, group: Iterable[_Asked]) -> list[CellRequest]:
        """Look the cells up in their notebook, as it is now, and mark them."""
        group = list(group)
        try:
            client = await self._opened(document_id)
            await self._workshop.life.show()
            await client.synced()
            async with client.editing() as notebook:
                assert isinstance(notebook, YNotebook)
                with client.ydoc.transaction():
                    return [found for each in group if (found := self._look_up(notebook, each)) is not None]
        except CollabKernelError as error:
            for each in group:
                _refuse(each, error)
            return []
        except Exception as error:
            # The edge of these requests: it is theirs alone, and the next ones are looked at.
            log.exception("cells of document %s cannot be queued", document_id)
            for each in group:
                _refuse(each, error)
            return []

    def _look_up(self, notebook: YNotebook, asked: _Asked) -> CellRequest | None:
        """The cell as it is to run, marked as waiting; who asked for one that is not there is told."""
        writer = CellWriter(notebook, asked.cell_id, self._workshop.life.id)
        cell = writer.find()
        if cell is None:
            _refuse(asked, CellUnknownError(asked.document_id, asked.cell_id))
            return None
        writer.mark(RUNNING)
        return CellRequest(asked.document_id, asked.cell_id, asked.actor, str(cell["source"]), writer.position)

    async def _opened(self, document_id: str) -> DocumentClient:
        if document_id not in self._documents:
            self._documents[document_id] = await self._workshop.open_document(document_id)
        return self._documents[document_id].client

    def _release(self) -> None:
        """Let go of the documents of which nothing runs or waits."""
        needed = {request.document_id for request, _ in self.queue()} | {each.document_id for each in self._asked}
        for document_id in [document_id for document_id in self._documents if document_id not in needed]:
            self._documents.pop(document_id).release()
            self._updatable = [run for run in self._updatable if run.request.document_id != document_id]

    async def _unqueue(self, dropped: Iterable[CellRequest]) -> None:
        """Cells that wait no more do not look as if they did."""
        waiting = {(request.document_id, request.cell_id) for request, _ in self.queue()}
        for request in dropped:
            opened = self._documents.get(request.document_id)
            if opened is not None and (request.document_id, request.cell_id) not in waiting:
                async with opened.client.editing() as notebook:
                    assert isinstance(notebook, YNotebook)
                    CellWriter(notebook, request.cell_id).mark(IDLE)

    # -- the work

    async def _work(self) -> None:
        try:
            while not self._is_stopping:
                if not len(self._queue):
                    self._wake.clear()
                    self._release_later()
                    try:
                        await asyncio.wait_for(self._wake.wait(), LINGER_S)
                    except TimeoutError:
                        break
                    continue
                self._current = self._queue.pop()
                try:
                    await self._run(self._current)
                except Exception:
                    # The edge of one run: the next one is another cell's.
                    log.exception("running cell %s of %s failed", self._current.cell_id, self._current.document_id)
                finally:
                    self._current = None
        finally:
            await self._disconnect()
            if self._gathering is None or self._gathering.done():
                self._release()

    def _release_later(self) -> None:
        if self._gathering is None or self._gathering.done():
            self._release()

    async def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _run(self, request: CellRequest) -> None:
        client = self._documents[request.document_id].client
        async with client.editing() as notebook:
            assert isinstance(notebook, YNotebook)
            outputs = CellOutputs(self._bounds, self._workshop.files.spool)
            run = _Run(request, outputs, CellWriter(notebook, request.cell_id), client)
            self._updatable = [old for old in self._updatable if old.request.cell_id != request.cell_id]
            if run.writer.find() is None:
                run.writer.mark(IDLE)
                return  # somebody deleted it while it waited
            run.writer.start()
        reply = Message("execute_reply", {"status": "ok"})
        if request.source.strip():
            reply = await self._execute(run)
        await self._finish(run, reply.content)
        if reply.content.get("status") != "ok":
            await self._unqueue(self._queue.drop(lambda each: _is_wish(each, request)))

    async def _execute(self, run: _Run) -> Message:
        """Run it, and write along what it shows; the kernel's reply."""
        writing = asyncio.create_task(self._write_along(run), name="outputs of a cell")
        reply = Message("execute_reply", {"status": "error"})
        try:
            if self._channel is not None and self._channel.is_gone and not self._is_stopping:
                await self._disconnect()  # it was to a kernel that ended while nothing ran
            if self._channel is None:
                self._channel = KernelChannel(self._kernel)
                await self._channel.open()
            async for message in self._channel.run(run.request.source, run.request.cell_id):
                reply = message
                await self._take(run, message)
        except KernelGoneError as error:
            if not run.outputs.has_failed:  # a kernel that is restarted is interrupted first
                run.outputs.fail(error.name, str(error), [f"{error.name}: {error}"])
            reply = Message("execute_reply", {"status": "error"})
            await self._disconnect()
            await self.clear()
        finally:
            writing.cancel()
            await asyncio.wait([writing])
        return reply

    async def _take(self, run: _Run, message: Message) -> None:
        content = message.content
        match message.msg_type:
            case "stream":
                run.outputs.print(str(content.get("name")), str(content.get("text", "")))
            case "display_data" | "execute_result":
                run.outputs.show(message.msg_type, await self._fitting(content, run.outputs.display_bytes_max))
            case "update_display_data":
                await self._update(run, content)
            case "clear_output":
                run.outputs.clear(bool(content.get("wait")))
            case "error":
                traceback = [str(line) for line in content.get("traceback", [])]
                run.outputs.fail(str(content.get("ename")), str(content.get("evalue")), traceback)
            case _:
                return
        run.has_news.set()

    async def _fitting(self, content: dict[str, Any], inline_bytes: int) -> dict[str, Any]:
        """A bundle with what is too large in files."""
        data = content.get("data") or {}
        if bundle_bytes(data) <= inline_bytes:
            return content
        offload = self._workshop.files.offload
        return content | {"data": await asyncio.to_thread(offload, data, inline_bytes, content.get("metadata"))}

    async def _update(self, run: _Run, content: dict[str, Any]) -> None:
        """Another value for a display, of this run or of an earlier one in the same notebook."""
        display_id = str((content.get("transient") or {}).get("display_id") or "")
        content = await self._fitting(content, self._bounds.inline_bytes)
        run.outputs.update(display_id, content)
        for earlier in self._updatable:
            if earlier.client is run.client and earlier.outputs.update(display_id, content):
                earlier.has_news.set()

    async def _write_along(self, run: _Run) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await run.has_news.wait()
            await self._write(run)
            pause_s = self._workshop.limits.execute_write_ms / 1000
            await asyncio.sleep(max(pause_s, self._budget.wait_s(loop.time())))

    async def _write(self, run: _Run) -> None:
        for each in (run, *self._updatable):
            if each.has_news.is_set():
                each.has_news.clear()
                async with each.client.editing():
                    size_bytes = each.writer.sync(each.outputs)
                self._budget.spend(size_bytes, asyncio.get_running_loop().time())

    async def _finish(self, run: _Run, reply: dict[str, Any]) -> None:
        await asyncio.sleep(self._budget.wait_s(asyncio.get_running_loop().time()))
        run.outputs.finish()
        run.has_news.set()
        await self._write(run)
        count = reply.get("execution_count")
        async with run.client.editing():
            run.writer.finish(count if isinstance(count, int) else None)
        try:
            async with asyncio.timeout(STORE_WAIT_S):
                await run.client.flush()
        except (TimeoutError, CollabKernelError) as error:
            log.warning("outputs of cell %s are not stored yet: %r", run.request.cell_id, error)
        if run.outputs.has_displays:
            self._updatable = [*self._updatable, run][-UPDATABLE_RUNS:]


def _refuse(asked: _Asked, error: Exception) -> None:
    if not asked.answer.done():  # who asked may have gone
        asked.answer.set_exception(error)


def _is_wish(waiting: CellRequest, failed: CellRequest) -> bool:
    """Whether it was asked for by the same person in the same notebook: he wanted it after one that has failed."""
    return waiting.actor == failed.actor and waiting.document_id == failed.document_id
