"""One asyncio task a room: it takes events, calls ``Room.handle``, and carries out the effects. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from collabkernel import metrics
from collabkernel.bus.base import Subscription
from collabkernel.errors import DegradedError, InvalidYjsUpdateError, LogDroppedError, RoomNotFoundError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.effects import (
    Append,
    AskKeeping,
    Ban,
    Close,
    CountPurged,
    CountReject,
    Effect,
    FindEnvelope,
    GrantSite,
    Publish,
    PublishEphemeral,
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
    Keeping,
    KeepingAnswered,
    LeaveAsked,
    MissingRead,
    OpsStored,
    SessionBlocked,
    SnapshotSaved,
    StateAsked,
    StopAsked,
    Ticked,
)
from collabkernel.server.committer import Committer
from collabkernel.server.compaction import timed
from collabkernel.server.inbox import Inbox, Worked
from collabkernel.server.kinds import LoadedRoom, RoomKind
from collabkernel.server.outage import Outage
from collabkernel.server.pace import Pace
from collabkernel.server.peers import Peers
from collabkernel.server.transport import Transport
from collabkernel.storage.base import OpRow, RoomRow

log = logging.getLogger(__name__)

T = TypeVar("T")


class Runner:
    """The shell of one room."""

    def __init__(
        self,
        room_id: str,
        kind: RoomKind,
        limits: Limits,
        committer: Committer,
        peers: Peers | None,
        outage: Outage,
        pace: Pace,
        now_ms: Callable[[], int],
        on_end: Callable[[Runner], None],
    ) -> None:
        self.room_id = room_id
        self.kind = kind
        self.sessions_count = 0
        self._limits = limits
        self._log = committer.lines(room_id, self.post)
        self._peers = peers
        self._outage = outage
        self._pace = pace
        self._subscription: Subscription | None = None
        self._now_ms = now_ms
        self._on_end = on_end
        self._room: LoadedRoom | None = None
        self._made_ms: int | None = None
        self._asked: deque[int] = deque()
        """Operations of each envelope that the log has not answered for ..."""
        self._asked_ops = 0
        """... and of all."""
        self._inbox = Inbox(limits, kind.thread_bytes, self._is_full)
        self._transport_by_session: dict[int, Transport] = {}
        self._actor_by_session: dict[int, str] = {}
        self.sessions_by_actor: Counter[str] = Counter()
        """How many each user has here."""
        self._state_futures: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._request_id = 0
        self._may_read_s = 0.0
        """When the log may be read again, by the loop's clock."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._keeping: Keeping | None = None
        self._is_ended = False
        outage.watch(self.post)
        self.task = asyncio.create_task(self._run(), name=f"room {room_id}")

    @property
    def head(self) -> int:
        """The last stored seq; 0 while the room is loaded."""
        return self._room.head if self._room is not None else 0

    @property
    def made_ms(self) -> int | None:
        """When the room was made, milliseconds since the Unix epoch; None while it is loaded."""
        return self._made_ms

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
        if isinstance(event, OpsStored):
            self._asked_ops -= sum([self._asked.popleft() for _ in event.outcomes])
        self._inbox.post(event)

    def _is_full(self) -> bool:
        """Whether so much waits for the log that what sessions send has to wait too; not for a log that is away."""
        return self._asked_ops >= self._limits.in_flight_ops and not self._outage.is_on

    async def put(self, event: FrameReceived, size_bytes: int, on_worked: Worked | None = None) -> None:
        """Take an event of a session, when the inbox has room for it: a busy room is what slows its sessions."""
        await self._inbox.put(event, size_bytes, on_worked)

    def take(self, event: FrameReceived, size_bytes: int, on_worked: Worked | None = None) -> None:
        """Take an event of a session for which the inbox ``has_space``."""
        self._inbox.take(event, size_bytes, on_worked)

    def has_space(self, session_id: int) -> bool:
        """Whether an event of this session can be taken at once."""
        return not self._inbox.is_full_for(session_id)

    async def handed_on(self, session_id: int) -> None:
        """Wait until the room has all that a session sent: what others send from then on comes behind it."""
        await self._inbox.handed_on(session_id)

    def attach(self, session_id: int, transport: Transport, actor: str | None) -> None:
        """Give a session its socket; one of the server's own has no actor, and is not counted."""
        self._transport_by_session[session_id] = transport
        if actor is not None:
            self._actor_by_session[session_id] = actor
            self.sessions_by_actor[actor] += 1
            self.sessions_count += 1

    def detach(self, session_id: int) -> None:
        """The socket is gone."""
        if self._transport_by_session.pop(session_id, None) is None:
            return
        actor = self._actor_by_session.pop(session_id, None)
        if actor is None:
            return
        self.sessions_count -= 1
        self.sessions_by_actor[actor] -= 1
        if not self.sessions_by_actor[actor]:
            del self.sessions_by_actor[actor]

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

    def session_ids(self) -> tuple[int, ...]:
        """Sessions that are somebody's, not the server's own."""
        return tuple(self._actor_by_session)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is here, not even one of the server's own."""
        return not self._transport_by_session

    def leave(self, session_ids: Sequence[int], reason: str) -> None:
        """Have sessions go on at another server, each when what it has sent is stored."""
        if session_ids:
            self.post(LeaveAsked(tuple(session_ids), reason))

    # -- the task

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._live(tasks)
                for task in self._under_way:
                    task.cancel()
        except* DegradedError as errors:
            self._outage.suspect()
            self._end(DegradedError.code, _told(errors))
        except* StorageError as errors:
            log.exception("Room %s cannot be read", self.room_id)
            self._end("storage-error", _told(errors))
        except* Exception:
            # The edge of the room's task: it ends this room alone, and the log has all that it acknowledged.
            log.exception("Room %s failed", self.room_id)
            self._end("room-failed", "the room failed and is loaded again; what was acknowledged is safe")
        finally:
            self._outage.unwatch(self.post)
            self._log.close()
            if self._keeping is not None:
                await self.kind.give_keeping(self.room_id, self._keeping)
            if self._peers is not None and self._subscription is not None:
                await self._peers.leave(self._subscription)
            self._on_end(self)

    async def _live(self, tasks: asyncio.TaskGroup) -> None:
        """Load the room, and take its events until it ends."""
        if self._peers is not None:  # before loading: what is stored meanwhile is told twice rather than never
            self._subscription = await self._peers.join(self.room_id, self.post)
        row = await self.kind.row(self.room_id)
        self._made_ms = row.created_ms if row is not None else None
        self._room = await self.kind.load(self.room_id, has_peers=self._peers is not None)
        while not self._is_ended:
            await self._inbox.wait()
            large = self._inbox.take_large()
            if large is None:
                for effect in self._turn(self._room):
                    self._carry_out(effect, tasks)
                await asyncio.sleep(0)  # what is to be stored, or is, goes before what is shown to all: that takes long
                effects = self._room.handle_all((), self._now_ms(), self._pace.flush_ms)
            else:
                effects = await self._handle_apart(self._room, *large)
            for effect in effects:
                self._carry_out(effect, tasks)
            if self._inbox.has_events:  # then others have their turn first
                await asyncio.sleep(0)

    def _turn(self, room: LoadedRoom) -> list[Effect]:
        self._pace.work()
        events = self._inbox.turn(asyncio.get_running_loop().time)
        return room.handle_all(events, self._now_ms(), self._pace.flush_ms, shows=False)

    async def _handle_apart(self, room: LoadedRoom, event: Event, on_worked: Worked | None) -> list[Effect]:
        """Handle one event in a thread: seconds of judging a hostile update, and other rooms go on meanwhile."""
        effects, seconds = await asyncio.to_thread(timed, partial(room.handle_all, (event,), self._now_ms()))
        if on_worked is not None:
            on_worked(seconds)
        return effects

    def _carry_out(self, effect: Effect, tasks: asyncio.TaskGroup) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Append() | Refuse() | FindEnvelope() | GrantSite():
                if isinstance(effect, Append):
                    counts = [len(request.ops) for request in effect.requests]
                    self._asked += counts
                    self._asked_ops += sum(counts)
                self._log.ask(effect)
            case ReadCatchUp():
                self._begin(tasks, self._read_catch_up(effect))
            case ReadMissing():
                self._begin(tasks, self._read_missing(effect))
            case Publish() | PublishEphemeral():
                assert self._peers is not None
                self._peers.publish(self.room_id, effect)
            case WakeAt():
                self._wake_at(effect.at_ms)
            case Close():
                transport = self._transport_by_session.get(effect.session_id)
                if transport is not None:
                    transport.close(effect.code, effect.reason)
                    self.detach(effect.session_id)
            case WriteSnapshot():
                self._begin(tasks, self._write_snapshot(effect))
            case AskKeeping():
                self._begin(tasks, self._ask_keeping())
            case TellState():
                future = self._state_futures.pop(effect.request_id)
                if not future.done():
                    future.set_result(effect.state)
            case CountReject():
                metrics.count_reject(effect.code)
            case CountPurged():
                metrics.purged.inc(effect.count)
            case Ban():
                self.kind.ban(self.room_id, effect)
            case Unload():
                log.debug("Room %s is unloaded: %s", self.room_id, effect.reason)
                self._end()

    def _begin(self, tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the room's task, until the room ends."""
        task = tasks.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _send(self, effect: Send) -> None:
        frame, high = effect.frame, self._limits.session_queue_bytes
        sent = 0
        for session_id in effect.session_ids:
            transport = self._transport_by_session.get(session_id)
            if transport is not None:
                transport.send(frame)
                sent += 1
                if transport.buffered_bytes > high:
                    self.post(SessionBlocked(session_id))
        metrics.count_frames_out(sent, sent * len(frame))

    def _wake_at(self, at_ms: int) -> None:
        """Set the room's one timer; the room asks again only for an earlier time, or when it has come."""
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0, at_ms - self._now_ms()) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.post, Ticked())

    async def _read(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the database; once more if it did not answer, when it does."""
        try:
            return await ask()
        except DegradedError:
            self._outage.suspect()
            await self._outage.answered()
        return await ask()

    async def _read_catch_up(self, effect: ReadCatchUp) -> None:
        room_id, session_id = self.room_id, effect.session_id
        try:
            found = await self._read(lambda: self.kind.catch_up(room_id, effect))
        except StorageError as error:
            log.exception("A session of room %s could not be caught up", room_id)
            self.post(AskFailed(session_id, error.told))
            return
        self.post(CatchUpRead(session_id, *found))

    async def _read_missing(self, effect: ReadMissing) -> None:
        loop = asyncio.get_running_loop()
        if (pause_s := self._may_read_s - loop.time()) > 0:
            await asyncio.sleep(pause_s)
        self._may_read_s = loop.time() + self._limits.log_read_pause_ms / 1000
        try:
            rows, row = await self._read(lambda: self._rows_after(effect.after_seq))
        except LogDroppedError as error:  # another server compacts it, and this one has missed much
            log.info("Room %s is loaded again: %s", self.room_id, error)
            self.stop("room-reset", "this server was behind; the room is loaded again")
            self.post(MissingRead((), is_dropped=True))
            return
        if row is not None and row.created_ms == self._made_ms:
            if row.seq < effect.after_seq:
                log.error("Room %s: the log has gone back, from %d to %d", self.room_id, effect.after_seq, row.seq)
                self.stop("room-reset", "the database has lost what was stored; the room is loaded again")
            self.post(MissingRead(tuple(rows), is_cut=row.seq > (rows[-1].seq if rows else effect.after_seq)))
        else:  # what was read may be of another room by that name
            self.stop("room-deleted", "this room was deleted")
            self.post(MissingRead(()))

    async def _rows_after(self, seq: int) -> tuple[Sequence[OpRow], RoomRow | None]:
        return await self.kind.rows_after(self.room_id, seq), await self.kind.row(self.room_id)

    async def _ask_keeping(self) -> None:
        try:
            keeping = await self._read(lambda: self.kind.take_keeping(self.room_id))
        except StorageError:
            log.exception("Room %s has no keeper for now; it is tried again", self.room_id)
            keeping = None
        self._keeping = keeping or self._keeping
        self.post(KeepingAnswered(keeping))

    async def _write_snapshot(self, effect: WriteSnapshot) -> None:
        started_ms = self._now_ms()
        try:
            await self._read(lambda: self.kind.write_snapshot(self.room_id, effect.seq, started_ms))
        except (StorageError, InvalidYjsUpdateError):
            log.exception("Room %s has no new snapshot; the log has everything, and it is tried again", self.room_id)
            self.post(SnapshotSaved(0))
            return
        metrics.snapshot_latency_ms.observe(self._now_ms() - started_ms)
        self.post(SnapshotSaved(effect.seq))

    # -- the end

    def _end(self, code: str = "room-reset", reason: str = "the room was just unloaded") -> None:
        """Take nothing more. Whoever the room has not said Bye to, since he came while it ended, is sent away."""
        self._is_ended = True
        farewell = self.kind.farewell(code, reason)
        for transport in self._transport_by_session.values():
            if farewell:
                transport.send(farewell)
            transport.close(code, reason)
        if self._timer is not None:
            self._timer.cancel()
        self._transport_by_session = {}
        self._actor_by_session = {}
        self.sessions_by_actor.clear()
        self.sessions_count = 0
        self._inbox.close()
        for future in self._state_futures.values():
            if not future.done():
                future.set_exception(RoomNotFoundError(self.room_id))
        self._state_futures = {}


def _told(error: BaseException) -> str:
    """What sessions are told of the first of a group of storage errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, StorageError), "a group of these alone"
    return error.told
