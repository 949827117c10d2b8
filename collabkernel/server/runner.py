"""One asyncio task a room: it takes events, calls ``Room.handle``, and carries out the effects. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup

from collabkernel import metrics
from collabkernel.errors import RoomNotFoundError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.effects import (
    Append,
    Close,
    CountReject,
    Effect,
    FindEnvelope,
    GrantSite,
    Publish,
    ReadCatchUp,
    ReadMissing,
    Refuse,
    Send,
    TellState,
    Unload,
    WakeAt,
    WriteSnapshot,
)
from collabkernel.room.events import (
    AskFailed,
    CatchUpRead,
    Event,
    FrameReceived,
    MissingRead,
    SessionBlocked,
    SnapshotSaved,
    StateAsked,
    StopAsked,
    Ticked,
)
from collabkernel.room.room import Room
from collabkernel.server.committer import Committer
from collabkernel.server.inbox import Inbox
from collabkernel.server.peers import Peers
from collabkernel.server.reader import Reader
from collabkernel.server.transport import Transport
from collabkernel.wire.frames import bye_part
from collabkernel.wire.messages import Bye

log = logging.getLogger(__name__)

RETRY_MS = 200
"""Who is sent away by an ending room comes back after this: about what loading one takes."""


class Runner:
    """The shell of one room."""

    def __init__(
        self,
        room_id: str,
        limits: Limits,
        committer: Committer,
        reader: Reader,
        peers: Peers | None,
        now_ms: Callable[[], int],
        on_end: Callable[[Runner], None],
    ) -> None:
        self.room_id = room_id
        self.sessions_count = 0
        self._limits = limits
        self._log = committer.lines(room_id, self.post)
        self._reader = reader
        self._peers = peers
        self._now_ms = now_ms
        self._on_end = on_end
        self._room: Room | None = None
        self._inbox = Inbox(limits)
        self._transport_by_session: dict[int, Transport] = {}
        self._state_futures: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._request_id = 0
        self._is_ended = False
        self.task = asyncio.create_task(self._run(), name=f"room {room_id}")

    @property
    def lag_ops(self) -> int:
        """Operations that the log is known to have and this room has not applied."""
        return self._room.lag_ops if self._room is not None else 0

    @property
    def size_bytes(self) -> int:
        """What the room's contents are counted as; 0 while it is loaded."""
        return self._room.size_bytes if self._room is not None else 0

    def sessions(self) -> list[dict[str, str | int]]:
        """Who is in the room."""
        return self._room.described_sessions() if self._room is not None else []

    @property
    def is_ended(self) -> bool:
        """It takes nothing more; who comes now needs a new one."""
        return self._is_ended

    # -- the way in

    def post(self, event: Event) -> None:
        """Take an event at once: answers, timers, and what sessions cannot make many of."""
        self._inbox.post(event)

    async def put(self, event: FrameReceived, size_bytes: int) -> None:
        """Take an event of a session, when the inbox has room for it: a busy room is what slows its sessions."""
        await self._inbox.put(event, size_bytes)

    def attach(self, session_id: int, transport: Transport) -> None:
        """Give a session its socket."""
        self._transport_by_session[session_id] = transport
        self.sessions_count += 1

    def detach(self, session_id: int) -> None:
        """The socket is gone."""
        if self._transport_by_session.pop(session_id, None) is not None:
            self.sessions_count -= 1

    async def state(self) -> dict[str, Any]:
        """The room as JSON, once all that is in flight is stored."""
        if self._is_ended:
            raise RoomNotFoundError(self.room_id)
        self._request_id += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._state_futures[self._request_id] = future
        self.post(StateAsked(self._request_id))
        return await future

    def stop(self, code: str, reason: str, retry_after_ms: int = 0) -> None:
        """End the room when what it has in flight is stored."""
        self.post(StopAsked(code, reason, retry_after_ms))

    # -- the task

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                await self._live(tasks)
                tasks.cancel_scope.cancel()
        except* StorageError as errors:
            log.exception("Room %s cannot be read", self.room_id)
            self._end("storage-error", str(errors.exceptions[0]))
        except* Exception:
            # The edge of the room's task: it ends this room alone, and the log has all that it acknowledged.
            log.exception("Room %s failed", self.room_id)
            self._end("room-failed", "the room failed and is loaded again; what was acknowledged is safe")
        finally:
            if self._peers is not None:
                await self._peers.leave(self.room_id)
            self._on_end(self)

    async def _live(self, tasks: TaskGroup) -> None:
        """Load the room, and take its events until it ends."""
        if self._peers is not None:  # before loading: what is stored meanwhile is told twice rather than never
            await self._peers.join(self.room_id, self.post)
        fold, snapshot_seq = await self._reader.load(self.room_id)
        self._room = Room(
            self.room_id,
            fold.tree,
            fold.seq,
            fold.hlc,
            snapshot_seq,
            self._limits,
            self._now_ms(),
            self._reader.is_durable,
            has_peers=self._peers is not None,
        )
        while not self._is_ended:
            await self._inbox.wait()
            self._turn(self._room, tasks)
            await asyncio.sleep(0)

    def _turn(self, room: Room, tasks: TaskGroup) -> None:
        events = self._inbox.turn(asyncio.get_running_loop().time)
        for effect in room.handle_all(events, self._now_ms()):
            self._carry_out(effect, tasks)

    def _carry_out(self, effect: Effect, tasks: TaskGroup) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Append() | Refuse() | FindEnvelope() | GrantSite():
                self._log.ask(effect)
            case ReadCatchUp():
                tasks.start_soon(self._read_catch_up, effect)
            case ReadMissing():
                tasks.start_soon(self._read_missing, effect)
            case Publish():
                assert self._peers is not None
                tasks.start_soon(self._peers.publish, self.room_id, effect)
            case WakeAt():
                self._wake_at(effect.at_ms)
            case Close():
                transport = self._transport_by_session.get(effect.session_id)
                if transport is not None:
                    transport.close(effect.code, effect.reason)
                    self.detach(effect.session_id)
            case WriteSnapshot():
                tasks.start_soon(self._write_snapshot, effect)
            case TellState():
                future = self._state_futures.pop(effect.request_id)
                if not future.done():
                    future.set_result(effect.state)
            case CountReject():
                metrics.count_reject(effect.code)
            case Unload():
                log.debug("Room %s is unloaded: %s", self.room_id, effect.reason)
                self._end()

    def _send(self, effect: Send) -> None:
        frame, high = effect.frame, self._limits.session_queue_bytes
        for session_id in effect.session_ids:
            transport = self._transport_by_session.get(session_id)
            if transport is not None:
                transport.send(frame)
                if transport.buffered_bytes > high:
                    self.post(SessionBlocked(session_id))
                metrics.count_frame_out(len(frame))

    def _wake_at(self, at_ms: int) -> None:
        """Set the room's one timer; the room asks again only for an earlier time, or when it has come."""
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0, at_ms - self._now_ms()) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.post, Ticked())

    async def _read_catch_up(self, effect: ReadCatchUp) -> None:
        room_id, session_id = self.room_id, effect.session_id
        try:
            found = await self._reader.catch_up(room_id, effect.after_seq, effect.head, effect.with_snapshot)
        except StorageError as error:
            log.exception("A session of room %s could not be caught up", room_id)
            self.post(AskFailed(session_id, str(error)))
            return
        self.post(CatchUpRead(session_id, *found))

    async def _read_missing(self, effect: ReadMissing) -> None:
        self.post(MissingRead(tuple(await self._reader.rows_after(self.room_id, effect.after_seq))))

    async def _write_snapshot(self, effect: WriteSnapshot) -> None:
        started_ms = self._now_ms()
        try:
            await self._reader.write_snapshot(self.room_id, effect.seq, started_ms)
        except StorageError:
            log.exception("Room %s has no new snapshot; the log has everything, and it is tried again", self.room_id)
            self.post(SnapshotSaved(0))
            return
        metrics.snapshot_latency_ms.observe(self._now_ms() - started_ms)
        self.post(SnapshotSaved(effect.seq))

    # -- the end

    def _end(self, code: str = "room-reset", reason: str = "the room was just unloaded") -> None:
        """Take nothing more. Whoever the room has not said Bye to, since he came while it ended, is sent away."""
        self._is_ended = True
        for transport in self._transport_by_session.values():
            transport.send(bye_part(Bye(code, reason, RETRY_MS)))
            transport.close(code, reason)
        if self._timer is not None:
            self._timer.cancel()
        self._transport_by_session = {}
        self.sessions_count = 0
        self._inbox.close()
        for future in self._state_futures.values():
            if not future.done():
                future.set_exception(RoomNotFoundError(self.room_id))
        self._state_futures = {}
