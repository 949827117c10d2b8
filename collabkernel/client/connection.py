"""A room's connection: opens lines, speaks the protocol over them, and opens new ones when they break.

One asyncio task. It decides nothing about the room: it feeds the replica, sends what that wants sent, and waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from collabkernel.client.backoff import Backoff, Chance
from collabkernel.client.room_base import RoomBase
from collabkernel.client.site import SiteLostError
from collabkernel.client.transport import FATAL_ERRORS, Connector, Link, LinkError
from collabkernel.errors import (
    AccessError,
    BadResumeError,
    ClosedError,
    CollabKernelError,
    PurgedError,
    RemoteProtocolError,
    RoomNotFoundError,
)
from collabkernel.limits import Limits
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import Bye

log = logging.getLogger("collabkernel")

FINAL_BYES = frozenset({"superseded", "room-deleted", "access-denied"})
"""After these there is no point in coming back."""


class ByeError(LinkError):
    """The server said goodbye."""

    code = "bye"

    def __init__(self, bye: Bye) -> None:
        super().__init__(f"{bye.code}: {bye.reason}", bye.retry_after_ms or None)
        self.bye = bye


class AnewError(LinkError):
    """This end hangs up, to connect again at once."""

    code = "anew"


class Connection:
    """Keeps one room connected until it is closed."""

    def __init__(
        self, room: RoomBase, connector: Connector, limits: Limits, rng: Chance, now_ms: Callable[[], int]
    ) -> None:
        self._room = room
        self._connector = connector
        self._limits = limits
        self._now_ms = now_ms
        self._backoff = Backoff(limits.reconnect_min_ms, limits.reconnect_max_ms, rng)
        self._is_due = asyncio.Event()
        self._moved = asyncio.Event()
        """Replaced each time that something may have changed for those who wait."""
        self._is_closing = False
        self._is_given_up = False
        self._task: asyncio.Task[None] | None = None
        self._broken: RemoteProtocolError | None = None
        self.error: CollabKernelError | None = None
        """Why it is not live."""

    # -- its life

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self.run(), name=f"room {self._room.name}")

    def broken(self, error: RemoteProtocolError) -> None:
        """What the server sent was taken outside of this, and is none: connect again. From the loop's own thread."""
        self._broken = error
        self.wake()

    def wake(self) -> None:
        """There is something to send. From the loop's own thread."""
        self._is_due.set()

    async def close(self) -> None:
        """Hang up and end; what is not sent stays unsent."""
        self._is_closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with self._room.lock:
            self._room.replica.disconnected()
            self._room.set_status("closed")
        self._wake_waiters()

    async def run(self) -> None:
        """Connect, and again when the line breaks, until closed or sent away for good."""
        try:
            await self._run()
        except Exception as error:
            # The edge of the task: a mistake of ours ends this room's connection, and its waiters are told.
            log.exception("room %s: the connection failed", self._room.name)
            self.error = CollabKernelError(f"the connection failed: {error!r}")
            self._set_status("offline")

    async def _run(self) -> None:
        while not self._is_closing:
            retry_ms = await self._converse_once()
            if retry_ms is None:
                self._set_status("offline")
                return
            await asyncio.sleep(self._backoff.next_ms(retry_ms) / 1000)

    async def _converse_once(self) -> int | None:
        """One line from beginning to end; how long to wait before the next, None for never."""
        is_first = self._room.status == "connecting"
        try:
            link = await self._connector.open()
            try:
                await self._converse(link)
            finally:
                await link.close()
        except ByeError as error:
            self._lost(error)
            return self._after_bye(error.bye)
        except SiteLostError as error:
            self._lost(error)
            self._room.replica.rejoin()
            return 0
        except AnewError as error:
            self._lost(error)
            return 0
        except (LinkError, RemoteProtocolError) as error:
            self._lost(error)
            return self._elsewhere(error.retry_after_ms)
        except FATAL_ERRORS as error:
            self._lost(error)
            # A server that restarts has a new token for a while before its file has it: only a first no is final.
            return None if is_first else self._elsewhere(self._limits.reconnect_max_ms)
        return 0

    def _elsewhere(self, retry_ms: int | None) -> int:
        """Turn to the next server, at once; when all have sent us away, after what this one asks for."""
        return 0 if self._connector.servers.leave() else retry_ms or 0

    def _after_bye(self, bye: Bye) -> int | None:
        if bye.code in FINAL_BYES:
            self.error = _final_error(bye, self._room.name)
            return None
        if bye.code in (BadResumeError.code, PurgedError.code):
            self._room.replica.rejoin()
            return 0
        return self._elsewhere(bye.retry_after_ms)

    def _lost(self, error: CollabKernelError) -> None:
        log.info("room %s: %s", self._room.name, error)
        self.error = error
        with self._room.lock:
            self._room.replica.disconnected()
        self._set_status("connecting" if self._room.status == "connecting" else "reconnecting")

    def _set_status(self, status: str) -> None:
        self._is_given_up = status == "offline"
        with self._room.lock:
            self._room.set_status(status)  # type: ignore[arg-type]  # one of the names of Status
        self._wake_waiters()

    # -- one line

    async def _converse(self, link: Link) -> None:
        self._broken = None
        with self._room.lock:
            opening = self._room.replica.opening()
        for message in opening:
            await link.send(encode_client_message(message))
        sender = asyncio.create_task(self._send_all(link))
        receiver = asyncio.create_task(self._receive_all(link))
        try:
            done, _ = await asyncio.wait((sender, receiver), return_when=asyncio.FIRST_COMPLETED)
            # The receiver knows why a line ended, so it is asked first.
            for task in sorted(done, key=lambda each: each is sender):
                task.result()
        finally:
            sender.cancel()
            receiver.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)

    async def _receive_all(self, link: Link) -> None:
        while True:
            frame = await link.receive()
            message = decode_server_message(frame, self._limits)
            with self._room.lock:
                self._room.receive_message(message)
                self._look_if_live()
            if message.bye is not None:
                raise ByeError(message.bye)
            self.wake()
            self._wake_waiters()

    def _look_if_live(self) -> None:
        """Under the lock. What came during a batch is taken at its end, by whoever ends it."""
        if not self._room.replica.is_caught_up or self._room.status == "live":
            return
        self._backoff.reset()
        self._connector.servers.stay()
        self.error = None
        self._room.keep_site()
        self._room.set_status("live")

    async def _send_all(self, link: Link) -> None:
        while True:
            self._is_due.clear()
            with self._room.lock:
                if self._broken is not None:
                    raise self._broken
                self._look_if_live()
                frames = self._room.frames_to_send()
                if self._room.replica.sight.wants_new_connection:
                    raise AnewError("everything is looked at again, which takes a new connection")
                wake_ms = self._room.wake_ms()
            if frames:
                await self._room.sync_queue()
            for frame in frames:
                await link.send(frame)
            if frames:
                continue
            wait_s = None if wake_ms is None else max(0, wake_ms - self._now_ms()) / 1000
            try:
                async with asyncio.timeout(wait_s):
                    await self._is_due.wait()
            except TimeoutError:
                continue

    # -- waiting

    def _wake_waiters(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def wait_live(self, timeout_s: float) -> None:
        """Wait until the room is joined and caught up.

        Raises:
            CollabKernelError: Why it was not, in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._room.status != "live":
                    if self._is_given_up or self._room.status == "closed":
                        raise self.error or ClosedError("the room is closed")
                    await self._moved.wait()
        except TimeoutError:
            raise self.error or LinkError(f"{self._connector.servers.url} did not let us in in {timeout_s} s") from None

    async def flush(self, timeout_s: float) -> None:
        """Wait until every edit made so far is acknowledged as durable.

        Raises:
            RejectedError: The server refused one of them since the last flush.
            ClosedError: The room is closed, or was left for good.
            TimeoutError: The server has not answered in time; the edits stay queued.
        """
        with self._room.lock:
            goal = self._room.replica.goal()
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_settled(goal):
                    if self._is_given_up or self._room.status == "closed":
                        raise ClosedError(f"edits were not saved: {self.error or 'the room is closed'}")
                    await self._moved.wait()
        except TimeoutError:
            trouble = "the server's database does not answer" if self._room.replica.is_degraded else self.error
            raise TimeoutError(
                f"edits were not acknowledged in {timeout_s} s and stay queued"
                + (f"; last trouble: {trouble}" if trouble else "")
            ) from None
        refused = self._room.take_refused()
        if refused is not None:
            raise refused

    async def wait_in_sight(self, timeout_s: float) -> None:
        """Wait until all that is looked at is here.

        Raises:
            ClosedError: The room is closed, or was left for good.
            TimeoutError: It did not come in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_in_sight():
                    if self._is_given_up or self._room.status == "closed":
                        raise ClosedError(f"blocks were not loaded: {self.error or 'the room is closed'}")
                    await self._moved.wait()
        except TimeoutError:
            raise TimeoutError(
                f"what you look at did not come in {timeout_s} s"
                + (f"; last trouble: {self.error}" if self.error else "")
            ) from None

    def _is_in_sight(self) -> bool:
        with self._room.lock:
            return self._room.replica.sight.is_here(self._room.replica.state)

    def _is_settled(self, goal: tuple[int, int]) -> bool:
        with self._room.lock:
            return self._room.replica.is_settled(goal)


def _final_error(bye: Bye, room_name: str) -> CollabKernelError:
    if bye.code == "room-deleted":
        return RoomNotFoundError(room_name)
    if bye.code == "superseded":
        return ClosedError("another process has taken over this room's queue, and this one may not write any more")
    return AccessError(bye.reason or bye.code)
