"""A room whose edits are on disk until the server has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from collabkernel.client.queue_file import QueueFile
from collabkernel.client.replica import Replica
from collabkernel.client.room_base import RoomBase, log
from collabkernel.errors import LocalProtocolError
from collabkernel.limits import Limits
from collabkernel.wire.messages import ServerMessage


class QueuedRoom(RoomBase):
    """What ``RoomBase`` does, and a queue file that follows it when there is one."""

    def __init__(
        self, name: str, replica: Replica, limits: Limits, now_ms: Callable[[], int], queue: QueueFile | None
    ) -> None:
        super().__init__(name, replica, limits, now_ms)
        self._queue = queue
        self._answered_below = 0
        self._is_behind = False
        """The disk did not take what the file should have."""

    def _on_committed(self, payload: bytes) -> None:
        # Between a new site's Welcome and its state the file still has the old site, and is begun anew when it comes.
        if self._queue is not None and self._queue.site == self.replica.site:
            self._write(partial(self._queue.add, payload))
        self._wake()

    def _write(self, write: Callable[[], None]) -> None:
        """Bring the file up to date; a full disk ends neither the edit nor the connection."""
        try:
            if self._is_behind:
                self._begin()
            else:
                write()
        except OSError as error:
            if not self._is_behind:
                log.error(
                    "room %s: the offline queue cannot be written, so what is not saved is in memory alone: %s",
                    self.name,
                    error,
                )
            self._is_behind = True
            return
        self._is_behind = False

    def _begin(self) -> None:
        assert self._queue is not None
        replica = self.replica
        unanswered = [entry.payload for entry in replica.pending if not entry.is_answered]
        self._queue.begin(replica.site, replica.secret, replica.pending.next_counter, unanswered)
        self._answered_below = 0

    def receive_message(self, message: ServerMessage) -> None:
        """Take a message of the server; note in the file what it answered."""
        super().receive_message(message)
        if self._queue is None or self._queue.site != self.replica.site:
            return
        pending = self.replica.pending
        first = pending.first_unanswered()
        below = pending.next_counter if first is None else first.envelope.counter
        if below > self._answered_below:
            self._answered_below = below
            self._write(partial(self._note, self._queue, below, is_all=first is None))

    def _note(self, queue: QueueFile, below: int, is_all: bool) -> None:
        queue.answered_below(below)
        if is_all:
            queue.compact(below)

    def keep_site(self) -> None:
        """A new site has caught up: the file is its own from here on."""
        if self._queue is not None and self._queue.site != self.replica.site:
            self._write(self._begin)

    async def sync_queue(self) -> None:
        """Make the file safe from a power cut before anything of it is sent."""
        if self._queue is None or not self._queue.is_dirty:
            return
        try:
            await asyncio.to_thread(self._queue.sync)
        except RuntimeError:  # at the interpreter's exit no thread can be started; nobody else needs the loop then
            self._queue.sync()
        except OSError as error:
            log.error("room %s: the offline queue is not safe from a power cut: %s", self.name, error)

    @property
    def _is_in_batch(self) -> bool:
        """Whether who asks has a batch open, and what he waited for would wait for that."""
        return False

    def _refuse_in_batch(self) -> None:
        if self._is_in_batch:
            raise LocalProtocolError("a batch is sent at its end, and nothing comes in before: wait after it")

    @property
    def _is_worth_flushing(self) -> bool:
        """Whether leaving should wait for edits that are not saved."""
        if self.sync_status in ("saved", "buffered"):
            return False
        if self._status in ("live", "reconnecting"):
            return True
        self._warn_unsaved(self._status)
        return False

    def _warn_unsaved(self, error: object) -> None:
        where = "they are in the offline queue" if self._queue is not None else "they are lost"
        log.warning("room %s: closed with unsaved edits, %s: %s", self.name, where, error)

    def _close_queue(self) -> None:
        if self._queue is not None:
            self._queue.close()
