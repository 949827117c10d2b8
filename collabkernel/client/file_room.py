"""A room whose edits are on disk until the server has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from collabkernel.client.queue_file import QueueFile
from collabkernel.client.replica import Replica
from collabkernel.client.room_base import RoomBase, log
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

    def _on_committed(self, payload: bytes) -> None:
        # Between a new site's Welcome and its state the file still has the old site, and is begun anew when it comes.
        if self._queue is not None and self._queue.site == self.replica.site:
            self._queue.add(payload)
        self._wake()

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
            self._queue.answered_below(below)
            if first is None:
                self._queue.compact(below)

    def keep_site(self) -> None:
        """A new site has caught up: the file is its own from here on."""
        replica = self.replica
        if self._queue is None or self._queue.site == replica.site:
            return
        unanswered = [entry.payload for entry in replica.pending if not entry.is_answered]
        self._queue.begin(replica.site, replica.secret, replica.pending.next_counter, unanswered)
        self._answered_below = 0

    async def sync_queue(self) -> None:
        """Make the file safe from a power cut before anything of it is sent."""
        if self._queue is None or not self._queue.is_dirty:
            return
        try:
            await asyncio.to_thread(self._queue.sync)
        except RuntimeError:  # at the interpreter's exit no thread can be started; nobody else needs the loop then
            self._queue.sync()

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
