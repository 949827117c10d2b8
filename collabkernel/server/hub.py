"""The hub: the rooms of one server, and the doors of its sockets and of its REST interface."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import collabkernel
from collabkernel import metrics
from collabkernel.bus.base import Bus
from collabkernel.crdt.yjs.policy import YjsPolicy
from collabkernel.document.operations import Purge
from collabkernel.errors import BannedError, RoomNotFoundError, ServerDrainingError, TooManyError
from collabkernel.limits import Limits
from collabkernel.room import room as room_module
from collabkernel.room.document_log import SEED_SITE, SERVER_ACTOR, seed_request
from collabkernel.room.events import PurgeAsked, SessionOpened
from collabkernel.room.names import check_room_name, is_room_name
from collabkernel.room.quota import TokenBucket
from collabkernel.room.session import Principal
from collabkernel.server.awareness_kind import AwarenessKind
from collabkernel.server.committer import Committer
from collabkernel.server.compaction import Compaction
from collabkernel.server.connection import Connection
from collabkernel.server.daily import DailyCompaction
from collabkernel.server.document_history import DocumentHistory
from collabkernel.server.document_kind import Bans, DocumentKind
from collabkernel.server.drain import OVER_MS_MAX, drain
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.server.kinds import LiveKind, RoomKind
from collabkernel.server.outage import Outage
from collabkernel.server.pace import Pace
from collabkernel.server.peers import Peers
from collabkernel.server.purging import Purging
from collabkernel.server.reader import Reader
from collabkernel.server.room_history import RoomHistory
from collabkernel.server.runner import Runner
from collabkernel.server.steady_clock import SteadyClock
from collabkernel.server.tickets import Tickets
from collabkernel.server.transport import Transport
from collabkernel.storage.base import Appended, OpRow, RoomRow, Storage
from collabkernel.wire.messages import Role, SessionKind

__all__ = ["Connection", "Hub", "to_jsonable", "wall_clock_ms"]

log = logging.getLogger(__name__)

RETRY_MS = 5000
"""A client that found the room or the server full tries again after this."""
STATE_INLINE_BYTES = 128 << 10
"""A room up to this size tells its state on the loop, in about 2 ms."""
STATE_WAIT_S = 0.5
"""Until then a busy room may find a moment when all that it shows is stored."""
ACTORS_METERED = 10_000
"""Users whose connections are counted; who came longest ago is forgotten first."""


def wall_clock_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def to_jsonable(value: Any) -> Any:
    """Plain values with bytes as ``{"$base64": ...}``."""
    if isinstance(value, bytes):
        return {"$base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_jsonable(item) for item in value]
    return value


class Hub:
    """Rooms by name, loaded when somebody comes and dropped when idle."""

    def __init__(
        self,
        storage: Storage,
        limits: Limits | None = None,
        *,
        bus: Bus | None = None,
        archive_url: str = "",
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        """Prepare; ``start`` opens.

        Args:
            storage: The log and all else that must not be lost.
            limits: What is allowed.
            bus: Joins servers that share the storage; None for one that is alone.
            archive_url: Where operations go that compaction drops; empty for nowhere.
            now_ms: Its clock, milliseconds since the Unix epoch, which must not go back; None for the machine's.
        """
        now_ms = now_ms or SteadyClock(wall_clock_ms)
        self.storage = storage
        self.limits = limits or Limits()
        self._now_ms = now_ms
        self._runner_by_room: dict[str, Runner] = {}
        self._session_ids = itertools.count(1)
        self._joins_by_actor: OrderedDict[str, TokenBucket] = OrderedDict()
        self._outage = Outage(self.limits, now_ms)
        self._pace = Pace(self.limits)
        self._committer = Committer(storage, self.limits, now_ms, self._outage, self._pace)
        self.tickets = Tickets(storage, self._outage, self.limits)
        """With which sockets are opened at any server of this database."""
        self._reader = Reader(storage, self.limits.snapshot_cpu_percent, lambda: self._pace.is_busy)
        holder = secrets.token_hex(8)
        leases = KeeperLeases(storage, holder, self.limits, now_ms)
        self._live = LiveKind(self._reader, leases, self.limits, now_ms)
        self._bans = Bans(self.limits, now_ms)
        self.history = DocumentHistory(storage, self._reader, now_ms)
        """What documents were."""
        self.past = RoomHistory(storage, self._reader, self.limits)
        """What rooms of live values were."""
        self._compaction = Compaction(storage, self.limits, now_ms, has_peers=bus is not None)
        self._compaction_task: asyncio.Task[None] | None = None
        purging = Purging(self._reader, self.past, self._compaction, self.limits, now_ms, self.ask_purge)
        self._daily = DailyCompaction(storage, self._compaction, self.limits, now_ms, holder, purging, archive_url)
        self._daily_task: asyncio.Task[None] | None = None
        self._folding = asyncio.Lock()
        self._peers = Peers(bus) if bus is not None else None
        self._committer_task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._draining: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the storage and begin to commit."""
        await self.storage.open()
        if self._peers is not None:
            await self._peers.open()
        self._committer_task = asyncio.create_task(self._committer.run(), name="committer")
        self._compaction_task = asyncio.create_task(self._compaction.run(), name="compaction")
        self._daily_task = asyncio.create_task(self._daily.run(), name="daily compaction")
        metrics.oplog_lag.set_function(self._lag_ops)

    async def stop(self) -> None:
        """Store what is in flight, say Bye to everybody, close the storage; within ``limits.shutdown_ms``."""
        self._is_stopping = True
        if self._draining is not None:
            self._draining.cancel()
        if self._daily_task is not None:
            self._daily_task.cancel()  # each of its steps is taken up by whoever comes next
            await asyncio.wait([self._daily_task])
        self._compaction.stop()
        deadline_s = asyncio.get_running_loop().time() + self.limits.shutdown_ms / 1000
        runners = list(self._runner_by_room.values())
        for runner in runners:
            runner.stop("server-stopping", "the server stops; come back in a moment", 1000)
        tasks = [runner.task for runner in runners]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self.limits.shutdown_ms / 1000)
            for task in late:
                log.warning("%s did not end in time; what it acknowledged is stored", task.get_name())
                task.cancel()
        await self._end_compaction(deadline_s)
        self._committer.stop()
        if self._committer_task is not None:
            await self._committer_task
        if self._peers is not None:
            await self._peers.close()
        await self.storage.close()

    def drain(self, over_ms: int) -> None:
        """Take no sessions any more, and send those that are here to other servers, spread over ``over_ms``.

        It goes on by itself; ``info`` tells how many are left. Asked again, it does nothing.
        """
        if self._draining is None:
            work = drain(lambda: list(self._runner_by_room.values()), min(over_ms, OVER_MS_MAX))
            self._draining = asyncio.create_task(work, name="drain")
            log.info("This server drains: its sessions are sent to others over %d ms", over_ms)

    def check_open(self) -> None:
        """Let no session in that would be sent away.

        Raises:
            ServerDrainingError: This server drains.
        """
        if self._draining is not None:
            raise ServerDrainingError

    async def _end_compaction(self, deadline_s: float) -> None:
        if self._compaction_task is None:
            return
        timeout_s = max(0, deadline_s - asyncio.get_running_loop().time())
        if not (await asyncio.wait([self._compaction_task], timeout=timeout_s))[0]:
            self._compaction_task.cancel()  # a long log is dropped in steps, each whole
            await asyncio.wait([self._compaction_task])

    async def open_session(self, room_id: str, principal: Principal, transport: Transport) -> Connection:
        """Let somebody who is authenticated into a room.

        Raises:
            InvalidRoomNameError: No room may have this name.
            TooManyError: The room or the server is full, the server is stopping, or this user connects too often or has
                too many connections.
            RoomNotFoundError: There is no such room, and a reader may not make one.
            ServerDrainingError: It takes no sessions any more.
            DegradedError: The database does not answer: he would need a site of it.
            StorageError: It refuses, for good.
        """
        check_room_name(room_id)
        self._meter_join(principal)
        self._check_sessions_of(principal)
        self._outage.check()
        if self._live_runner(room_id) is None:
            self._check_rooms_count()
            with self._outage.noticed():
                if await self.storage.head(room_id) is None:
                    await self._make_room(room_id, principal)
        return self._enter(self._runner(room_id, self._live), principal, transport)

    async def open_document(
        self, document_id: str, principal: Principal, transport: Transport, policy: YjsPolicy
    ) -> Connection:
        """Let somebody who is authenticated into a document's room, which speaks the Yjs protocol.

        Raises:
            BannedError: He sent what could have broken it, lately.
            TooManyError: As ``open_session``.
            RoomNotFoundError: It was not seeded.
            DegradedError: The database does not answer, and the document is not here.
            StorageError: It refuses, for good.
        """
        self.check_ban(document_id, principal.actor)
        self._meter_join(principal)
        if self._live_runner(document_id) is None:
            self._outage.check()
            self._check_rooms_count()
            with self._outage.noticed():
                row = await self.storage.head(document_id)
            if row is None or row.seq == 0:
                raise RoomNotFoundError(document_id)
        kind = DocumentKind(
            self.storage,
            self._reader,
            self.history,
            self._compaction,
            self.limits,
            self._now_ms,
            policy,
            self._bans,
        )
        return self._enter(self._runner(document_id, kind), principal, transport)

    def check_ban(self, document_id: str, actor: str) -> None:
        """Refuse who may not open a document for now.

        Raises:
            BannedError: He sent what could have broken it, lately.
        """
        if wait_ms := self._bans.left_ms(document_id, actor):
            raise BannedError(document_id, wait_ms)

    async def open_awareness(self, room_id: str, principal: Principal, transport: Transport) -> Connection:
        """Let somebody who is authenticated into a room of awareness alone; it is made when he is the first.

        Raises:
            TooManyError: As ``open_session``.
        """
        self._meter_join(principal)
        return self._enter(self._runner(room_id, AwarenessKind(self.limits, self._now_ms)), principal, transport)

    async def seed_document(self, document_id: str, update: bytes, actor: str) -> bool:
        """Store a document's first content, unless it has some: of servers that do this at once, one does.

        Returns:
            Whether this is its content now; otherwise what is in the log is.

        Raises:
            StorageError: The database does not answer.
        """
        now_ms = self._now_ms()
        row = await self.storage.create_room(document_id, now_ms)
        if row.seq:
            return False
        await self.storage.new_site(document_id, SEED_SITE, SERVER_ACTOR, int(SessionKind.SCRIPT), bytes(32), now_ms)
        (outcome,) = await self.storage.append([seed_request(document_id, update, actor, now_ms)])
        return isinstance(outcome, Appended) and not outcome.duplicate

    async def read_log(self, room_id: str, after_seq: int) -> Sequence[OpRow]:
        """A little of a room's log after ``after_seq``; empty at its head.

        Raises:
            StorageError: The database does not answer.
        """
        return await self._reader.rows_after(room_id, after_seq)

    def _enter(self, runner: Runner, principal: Principal, transport: Transport) -> Connection:
        if not principal.is_service and runner.sessions_count >= self.limits.sessions_per_room:
            raise TooManyError("sessions in this room", self.limits.sessions_per_room, RETRY_MS)
        self._check_sessions_of(principal)  # again: others of his may have come while the database was asked
        if not principal.is_service:
            self.check_open()  # and a drain may have begun
        session_id = next(self._session_ids)
        runner.attach(session_id, transport, None if principal.is_service else principal.actor)
        runner.post(SessionOpened(session_id, principal))
        self._measure()
        return Connection(session_id, runner, transport, self.limits, principal.is_service)

    def _meter_join(self, principal: Principal) -> None:
        """Let a user connect, while this server takes anybody, and so often: each time costs a row, and the room."""
        if principal.is_service:
            return
        self.check_open()
        actor = principal.actor
        limits, now_ms = self.limits, self._now_ms()
        joins = self._joins_by_actor.pop(actor, None) or TokenBucket(limits.joins_per_s, limits.joins_burst, now_ms)
        self._joins_by_actor[actor] = joins
        while len(self._joins_by_actor) > ACTORS_METERED:
            self._joins_by_actor.popitem(last=False)
        if wait_ms := joins.take(1, now_ms):
            raise TooManyError("connections of this user lately", limits.joins_burst, wait_ms)

    def _check_sessions_of(self, principal: Principal) -> None:
        """Let a user have so many sockets at a time: each has an allowance of its own."""
        if principal.is_service:
            return
        count = sum([runner.sessions_by_actor[principal.actor] for runner in self._runner_by_room.values()])
        if count >= self.limits.sessions_per_actor:
            raise TooManyError("connections of this user at a time", self.limits.sessions_per_actor, RETRY_MS)

    async def _make_room(self, room_id: str, principal: Principal) -> None:
        if principal.role is not Role.WRITER:
            error = RoomNotFoundError(room_id)
            error.retry_after_ms = RETRY_MS  # somebody who may write may make it
            raise error
        await self.storage.create_room(room_id, self._now_ms())

    def _check_rooms_count(self) -> None:
        if self._is_stopping or len(self._runner_by_room) >= self.limits.rooms_per_server:
            raise TooManyError("rooms on this server", self.limits.rooms_per_server, RETRY_MS)

    def _live_runner(self, room_id: str) -> Runner | None:
        runner = self._runner_by_room.get(room_id)
        return None if runner is None or runner.is_ended else runner

    def _runner(self, room_id: str, kind: RoomKind) -> Runner:
        runner = self._live_runner(room_id)
        if runner is None:
            self._check_rooms_count()
            runner = Runner(
                room_id,
                kind,
                self.limits,
                self._committer,
                self._peers,
                self._outage,
                self._pace,
                self._now_ms,
                self._on_end,
            )
            self._runner_by_room[room_id] = runner
        return runner

    def _on_end(self, runner: Runner) -> None:
        if self._runner_by_room.get(runner.room_id) is runner:
            del self._runner_by_room[runner.room_id]
        runner.kind.forget(runner.room_id)
        self._measure()

    def _lag_ops(self) -> int:
        return max([runner.lag_ops for runner in self._runner_by_room.values()], default=0)

    def _measure(self) -> None:
        metrics.rooms.set(len(self._runner_by_room))
        metrics.sessions.set(sum([runner.sessions_count for runner in self._runner_by_room.values()]))

    async def room_state(self, room_id: str) -> dict[str, Any]:
        """A room as JSON: ``room``, ``seq``, ``state`` (bytes as ``{"$base64": ...}``), ``sessions``.

        A small room tells it between two edits. A large one would hold up the loop, and a busy one may never be between
        two; then the log is folded in a thread, for one who asks at a time.

        Raises:
            RoomNotFoundError: It does not exist.
        """
        check_room_name(room_id)
        runner = self._live_runner(room_id)
        if runner is not None and runner.size_bytes <= STATE_INLINE_BYTES:
            with contextlib.suppress(TimeoutError, RoomNotFoundError):
                async with asyncio.timeout(STATE_WAIT_S):
                    state = await runner.state()
                return {**state, "state": to_jsonable(state["state"])}
        async with self._folding:
            row = await self.storage.head(room_id)
            if row is None:
                raise RoomNotFoundError(room_id)
            fold, _ = await self._reader.load(room_id, row.seq)
            plain = await asyncio.to_thread(lambda: to_jsonable(fold.state.tree.to_json()))
        runner = self._live_runner(room_id)
        sessions = runner.sessions() if runner is not None else []
        return {"room": room_id, "seq": fold.seq, "state": plain, "sessions": sessions}

    def ask_purge(self, room_id: str, ops: tuple[Purge, ...], seq: int) -> None:
        """Have the keeper of a room let go of what is deleted since ``seq`` of this; the room is loaded for it.

        Raises:
            TooManyError: This server has too many rooms already.
        """
        self._runner(room_id, self._live).post(PurgeAsked(ops, seq))

    async def list_rooms(self, limit: int = 1000, after: str = "") -> list[dict[str, Any]]:
        """Rooms of live values by name after ``after``, at most ``limit``; those in memory without the database."""
        if self._outage.is_on:
            runners = sorted(self._runner_by_room.items())
            here = [runner for name, runner in runners if name > after and is_room_name(name)]
            return [self._describe_degraded(runner) for runner in here[:limit]]
        rooms: list[RoomRow] = []
        while len(rooms) < limit:
            with self._outage.noticed():
                rows = await self.storage.list_rooms(limit, after)
            rooms += [row for row in rows if is_room_name(row.room_id)]
            if len(rows) < limit:
                break
            after = rows[-1].room_id
        return [self._describe(row) for row in rooms[:limit]]

    def _describe(self, row: RoomRow) -> dict[str, Any]:
        runner = self._runner_by_room.get(row.room_id)
        return {
            "room": row.room_id,
            "seq": row.seq,
            "created_ms": row.created_ms,
            "updated_ms": row.updated_ms,
            "is_loaded": runner is not None,
            "is_degraded": False,
            "sessions": runner.sessions_count if runner is not None else 0,
        }

    def _describe_degraded(self, runner: Runner) -> dict[str, Any]:
        return {
            "room": runner.room_id,
            "seq": runner.head,
            "created_ms": runner.made_ms,
            "updated_ms": None,  # the database knows
            "is_loaded": True,
            "is_degraded": True,
            "sessions": runner.sessions_count,
        }

    async def delete_room(self, room_id: str) -> None:
        """Delete a room for ever; whoever is in it is told.

        Raises:
            RoomNotFoundError: It does not exist.
        """
        check_room_name(room_id)
        await self._delete(room_id)

    async def delete_document(self, document_id: str) -> None:
        """Delete a document's room for ever; whoever is in it is told by the close code.

        Raises:
            RoomNotFoundError: It does not exist.
        """
        await self._delete(document_id)

    async def _delete(self, room_id: str) -> None:
        self._outage.check()
        runner = self._runner_by_room.get(room_id)
        if runner is not None:
            runner.stop("room-deleted", "this room was deleted")
            await asyncio.wait([runner.task])
        if not await self.storage.delete_room(room_id):
            raise RoomNotFoundError(room_id)
        if self._peers is not None:
            self._peers.tell_deleted(room_id)

    def info(self) -> dict[str, Any]:
        """What operators ask first."""
        return {
            "version": collabkernel.__version__,
            "is_compiled": not (room_module.__file__ or "").endswith(".py"),
            "protocol": "collabkernel.v1",
            "rooms_loaded": len(self._runner_by_room),
            "sessions": sum([runner.sessions_count for runner in self._runner_by_room.values()]),
            "is_durable": self.storage.is_durable,
            "status": "draining" if self._draining is not None else "serving",
            "degraded_since_ms": self._outage.since_ms,
        }
