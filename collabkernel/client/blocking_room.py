"""The blocking face of a room: its own thread with an event loop does the I/O.

So it works in scripts, and in notebooks whose kernel runs a loop of its own; the room stays up to date while a cell
runs, and while none does.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from collabkernel.client.actors import Authors, ask_in_pieces
from collabkernel.client.async_room import CLOSE_FLUSH_S, FLUSH_TIMEOUT_S
from collabkernel.client.backoff import Chance
from collabkernel.client.connection import Connection
from collabkernel.client.file_room import QueuedRoom
from collabkernel.client.past import PastRoom, past_room, stored_seq, when_of
from collabkernel.client.queue_file import QueueFile
from collabkernel.client.relay import Relay
from collabkernel.client.replica import Replica
from collabkernel.client.transport import Connector
from collabkernel.crdt.ids import OpId
from collabkernel.errors import ClosedError, CollabKernelError, LocalProtocolError, RemoteProtocolError
from collabkernel.limits import Limits

T = TypeVar("T")


class LoopThread:
    """A daemon thread that runs an event loop."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    @property
    def is_current(self) -> bool:
        """Whether the caller is on this very thread."""
        return threading.current_thread() is self._thread

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Run something on the loop, soon; nothing happens once it has ended."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(call, *arguments)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it.

        Raises:
            LocalProtocolError: From the loop's own thread, which cannot wait for itself.
        """
        if self.is_current:
            work.close()
            raise LocalProtocolError("a callback cannot wait for its own room: start a thread, or use aio.connect")
        if self.loop.is_closed():
            work.close()
            raise ClosedError("the room is closed")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except CancelledError as error:
            raise ClosedError("the room was closed meanwhile") from error
        except KeyboardInterrupt:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and the thread."""
        self.post(self.loop.stop)
        if not self.is_current:
            self._thread.join(timeout=5)


class RelayHandle:
    """A relay as any thread may use it."""

    def __init__(self, thread: LoopThread, relay: Relay) -> None:
        self._thread = thread
        self._relay = relay

    def send(self, frame: bytes) -> None:
        """Pass a frame on to the server."""
        self._thread.post(self._relay.send, frame)

    def close(self) -> None:
        """Close the line; ``on_close`` is told."""
        self._thread.post(self._relay.close)


class BlockingRoom(QueuedRoom):
    """A room for scripts and notebooks. ``with connect(...) as room`` leaves it at the end; else the exit does.

    Safe from any thread. Callbacks of remote changes run on the room's own thread, unless another is running callbacks
    already; a callback on the room's thread cannot ``flush``.
    """

    def __init__(
        self,
        name: str,
        replica: Replica,
        connector: Connector,
        limits: Limits,
        rng: Chance,
        now_ms: Callable[[], int],
        queue: QueueFile | None = None,
    ) -> None:
        super().__init__(name, replica, limits, now_ms, queue)
        self._connector = connector
        self._limits = limits
        self._is_waking = False
        self._thread = LoopThread(f"collabkernel {name}")
        self._connection = self._thread.run(self._make_connection(limits, rng, now_ms))
        self._relays: set[Relay] = set()
        atexit.register(self.close)

    async def _make_connection(self, limits: Limits, rng: Chance, now_ms: Callable[[], int]) -> Connection:
        return Connection(self, self._connector, limits, rng, now_ms)

    def _wake(self) -> None:
        # Waking the loop costs a write to a socket and a switch of threads: once for all edits until it has woken.
        if self._thread.is_current:
            self._connection.wake()
        elif not self._is_waking:
            self._is_waking = True
            self._thread.post(self._wake_now)

    def _wake_now(self) -> None:
        self._is_waking = False
        self._connection.wake()

    def _on_broken(self, error: RemoteProtocolError) -> None:
        self._thread.post(self._connection.broken, error)

    @property
    def _is_in_batch(self) -> bool:
        return self._lock.is_mine

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the room's thread, which this one must not have locked out."""
        try:
            self._refuse_in_batch()
        except LocalProtocolError:
            work.close()
            raise
        return self._thread.run(work)

    def join(self, timeout_s: float) -> None:
        """Connect, and wait until the room's state is here.

        Raises:
            CollabKernelError: Why that was not possible in time; the room is closed then.
        """
        try:
            self._thread.run(self._join(timeout_s))
        except BaseException:
            self._end()
            raise

    async def _join(self, timeout_s: float) -> None:
        self._connection.start()
        await self._connection.wait_live(timeout_s)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Wait until every edit made so far is acknowledged as durable.

        Raises:
            RejectedError: The server refused one of them since the last flush; it is rolled back here.
            ClosedError: The room is closed.
            TimeoutError: The server did not answer in time; the edits stay queued.
            LocalProtocolError: Inside a batch, whose edits are not sent yet, or from a callback on the room's thread.
        """
        self._wait_for(self._connection.flush(timeout_s))

    def wait_in_sight(self, timeout_s: float) -> None:
        """Wait until the blocks that are looked at are here; ``Doc.show`` does.

        Raises:
            ClosedError: The room is closed.
            TimeoutError: They did not come in time.
            LocalProtocolError: Inside a batch, or from a callback on the room's thread.
        """
        self._wait_for(self._connection.wait_in_sight(timeout_s))

    @property
    def seq(self) -> int:
        """The last operation of the room's log that is known here; ``room.at(room.seq)`` has all that was saved."""
        with self._lock:
            return stored_seq(self.replica)

    def at(self, when: int | datetime) -> PastRoom:
        """The room as it was, read-only: up to and with a seq of its log, or before what was made after a time.

        Raises:
            InvalidValueError: The log is not as long, or was compacted and no longer goes back as far: the message
                names the nearest seqs that can be shown. A time gives the last state that was kept and made by then.
            CollabKernelError: The server does not answer, or it would cost it too much.
        """
        state = self._wait_for(self._connector.past(when_of(when)))
        return past_room(self.name, state, self._limits, self.actors)

    def ask_authors(self, ops: Sequence[OpId], sites: Sequence[int], then: Callable[[Authors], T]) -> T:
        """Ask the server who made operations and writes as sites, and give what ``then`` makes of it.

        Raises:
            CollabKernelError: The server does not answer.
        """
        return then(self._wait_for(ask_in_pieces(self._connector.authors, ops, sites)))

    @property
    def address(self) -> str:
        """Base URL of the server that hosts the room, or ``memory://``."""
        return self._connector.servers.url

    def browser_ticket(self, origin: str = "") -> dict[str, str]:
        """A fresh one-use ``{"url", "ticket"}`` with which a browser opens its own WebSocket to this room.

        Raises:
            CollabKernelError: The server gives none, or this is a ``memory://`` room.
        """
        return self._wait_for(self._connector.ticket(origin))

    def open_relay(self, on_frame: Callable[[bytes], None], on_close: Callable[[str], None]) -> RelayHandle:
        """A second raw line to this room, for a browser that cannot open its own: frames pass unread.

        Args:
            on_frame: Gets each frame of the server, on the room's thread.
            on_close: Gets the reason when the line is closed, on the room's thread.
        """

        def closed(reason: str) -> None:
            self._relays.discard(relay)
            on_close(reason)

        relay = Relay(self._connector, on_frame, closed)
        self._relays.add(relay)
        self._thread.post(relay.start)
        return RelayHandle(self._thread, relay)

    def close(self, flush_s: float = CLOSE_FLUSH_S) -> None:
        """Save what is not saved yet, for at most ``flush_s``, and leave; idempotent.

        Raises:
            LocalProtocolError: Inside a batch.
        """
        if self.status == "closed":
            return
        self._refuse_in_batch()
        if not self._thread.is_current and self._is_worth_flushing:
            try:
                self._thread.run(self._connection.flush(flush_s))
            except (TimeoutError, CollabKernelError) as error:
                self._warn_unsaved(error)
        self._end()

    def _end(self) -> None:
        atexit.unregister(self.close)
        if self._thread.is_current:
            # From a callback: the thread cannot wait for itself, so the rest follows when the callback is done.
            self._thread.loop.create_task(self._shut_and_stop())
            return
        self._thread.run(self._shut())
        self._thread.stop()

    async def _shut_and_stop(self) -> None:
        await self._shut()
        self._thread.stop()

    async def _shut(self) -> None:
        for relay in tuple(self._relays):
            relay.close()
            await relay.wait_closed()
        await self._connection.close()
        self._close_queue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
