"""A TCP line to a database that can be slow, swallow what is sent, or be cut: a proxy on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from tests.bounds import HANG_S

READ_BYTES = 64 << 10

Target = Path | tuple[str, int]
"""A Unix socket, or a host and a port."""


class Line:
    """Listens at ``port`` and passes on to a target, both ways, as its mode says."""

    def __init__(self, target: Callable[[], Target]) -> None:
        """Prepare.

        Args:
            target: Asked at each connection: a server that was started again may be elsewhere.
        """
        self._target = target
        self._delay_s = 0.0
        self._is_swallowing = self._is_cut = False
        self._era = 0
        """Connections of an earlier one pass nothing for ever."""
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)
        self._thread.start()
        self.port = self._ask(self._listen())

    # -- what may become of it; from any thread

    def delay(self, seconds: float) -> None:
        """Hold back what is sent, for so long each way."""
        self._delay_s = seconds

    def swallow(self) -> None:
        """Take what is sent and pass nothing on: nobody is told."""
        self._is_swallowing = True

    def cut(self) -> None:
        """Break all connections, and take no others."""
        self._is_cut = True
        self._ask(self._break_all())

    def heal(self, *, is_told: bool = True) -> None:
        """Be as at first. Connections of which something was swallowed break, or are dead without being told so."""
        had_lost, self._is_swallowing = self._is_swallowing, False
        self._delay_s, self._is_cut = 0.0, False
        if had_lost and is_told:
            self._ask(self._break_all())
        elif had_lost:
            self._era += 1

    def close(self) -> None:
        """End."""
        self._ask(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(HANG_S)
        self._loop.close()

    # -- on its own loop

    def _ask(self, work: object) -> int:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(HANG_S)  # type: ignore[arg-type]

    async def _listen(self) -> int:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            if self._is_cut:
                return
            target = self._target()
            opening = (
                asyncio.open_unix_connection(target) if isinstance(target, Path) else asyncio.open_connection(*target)
            )
            far_reader, far_writer = await opening
            self._writers.add(far_writer)
            ways = [asyncio.ensure_future(self._pass_on(*way)) for way in ((reader, far_writer), (far_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                self._drop(far_writer)
        except OSError:
            return  # the target is down: the caller finds his connection broken
        finally:
            self._drop(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        era = self._era
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if not self._is_swallowing and era == self._era:
                    writer.write(data)
                    await writer.drain()

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()

    async def _break_all(self) -> None:
        for writer in tuple(self._writers):
            self._drop(writer)

    async def _end(self) -> None:
        self._listener.close()
        await self._break_all()
        if self._tasks:
            await asyncio.wait(self._tasks)


def postgres_line(url: str) -> tuple[Line, str]:
    """A line to a server that listens on a Unix socket, as ``databases.py`` starts one, and the URL through it."""
    socket = Path(url.partition("host=")[2]) / ".s.PGSQL.5432"
    line = Line(lambda: socket)
    return line, f"postgresql://postgres:@127.0.0.1:{line.port}/postgres"
