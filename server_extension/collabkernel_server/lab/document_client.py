"""A client of a document's room in this process: it speaks the Yjs protocol, as a browser does, and holds a replica.

One that nobody needs for now *rests*: it stays in the room and hears that there is news, and holds no replica, which
takes three times what the document does. ``wake`` makes it anew.

Whatever of this server reads or writes JupyterLab's documents does it through one of these: the binding to the file,
``get_document``, the execution of cells. The room knows no difference, so all of them get what browsers get: validated,
stored first, shown second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc, Subscription, TransactionEvent

from collabkernel.crdt.yjs.parse import decode_vector, encode_vector
from collabkernel.crdt.yjs.structs import read_update
from collabkernel.errors import ClosedError, CollabKernelError, RoomNotFoundError
from collabkernel.room.document_log import RELAY_ACTOR
from collabkernel.room.session import Principal
from collabkernel.server.connection import Connection
from collabkernel.server.flag import Flag
from collabkernel.server.hub import Hub
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import (
    EMPTY_UPDATE,
    EMPTY_VECTOR,
    Awareness,
    SyncStep1,
    SyncUpdate,
    YMessage,
    decode_y_message,
    encode_step_1,
    encode_step_2,
    encode_update,
)
from collabkernel_server.lab.local_transport import LocalTransport
from collabkernel_server.lab.names import policy_of, view_of

log = logging.getLogger(__name__)

CLIENT_ID_BITS = 32
FILL_INLINE_BYTES = 64 << 10
"""A larger state is made a replica in a thread: a millisecond for each 100 KB."""

RELAY = Principal(actor=RELAY_ACTOR, name="collabkernel", color="", role=Role.WRITER, is_service=True)
SERVER = Principal(actor="collabkernel", name="collabkernel", color="", role=Role.WRITER, is_service=True)
"""Who the server's own edits are signed by."""
RECONNECT_MIN_S = 0.05
RECONNECT_MAX_S = 5.0
"""A room that reset is there again at once; a database that is away is not asked more often than this."""
FLUSH_TRIES = 3
"""An edit that the room asks for again (a gap, a room that started anew) is there at the next look."""
_NOTHING: tuple[bytes, dict[str, Any]] = (b"", {})
_FINAL_CODES = {"server-stopping", "room-deleted"}


class RefusedEditError(CollabKernelError):
    """The room has not taken an edit, and will not: this replica has what no other has."""

    code = "edit-refused"


class DocumentClient:
    """A replica of one document, kept up to date, and edited like any pycrdt document of this event loop.

    ``start`` or ``start_resting`` before, ``stop`` after. When the room starts again (a failed append, a database that
    was away), the client joins it anew, and what was edited meanwhile goes along.
    """

    def __init__(self, hub: Hub, room_id: str, type_name: str, principal: Principal = SERVER) -> None:
        """Prepare.

        Args:
            hub: Where the room is.
            room_id: The document's, or a fork's as the storage names it.
            type_name: The type of document, which says what its roots are.
            principal: Who its edits are signed by.
        """
        self.room_id = room_id
        self.on_awareness: list[Callable[[], None]] = []
        """Called when somebody came, went, or shows something else."""
        self.on_wake: list[Callable[[], None]] = []
        """Called when there is a replica again, with all that is stored."""
        self.on_news: list[Callable[[], None]] = []
        """Called when something was edited, or may have been, while there was none."""
        self._type_name = type_name
        self._document: YBaseDoc | None = None
        self._waking: asyncio.Future[None] | None = None
        self._early: list[bytes] = []
        """Updates that came before the state that who wakes has asked for."""
        self._room_vector = EMPTY_VECTOR
        self._was_here = False
        self._hub = hub
        self._policy = policy_of(type_name)
        self._principal = principal
        self._shown: dict[int, tuple[bytes, dict[str, Any]]] = {}
        """By Yjs client id: what it shows of itself, as it came and as it was read."""
        self._outgoing: list[bytes] = []
        self._has_outgoing = Flag()
        self._is_connected = False
        self._transport: LocalTransport | None = None
        self.is_followed = Flag()
        """Set while somebody in this process looks at the replica: it takes in each edit at once."""
        self._is_greeted = False
        """The room has asked for what it lacks, and the answer stands before all that is sent from now on."""
        self._is_applying = False
        self._unproved: dict[int, int] = {}
        """By Yjs client id, up to which clock edits were made here that the room was not seen to have."""
        self._probes: list[dict[int, int]] = []
        """What was unproved at each step 1 on its way."""
        self._round_trips: list[asyncio.Future[bool]] = []
        self._asked = 0
        """The first of ``_round_trips`` for which step 1 is on its way."""
        self._is_free = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Join the room; returns when everything that it has is here.

        Raises:
            RoomNotFoundError: There is no such room.
            CollabKernelError: It cannot be joined now.
        """
        self._keep(self._new_replica())
        # The first answer may be a little old, with the rest behind it; the second one has all.
        await self._start(self.synced)

    async def start_resting(self) -> None:
        """Join the room without a replica. Raises as ``start`` does."""
        await self._start(None)

    async def _start(self, then: Callable[[], Awaitable[None]] | None) -> None:
        assert self._task is None
        first = self._round_trip()
        self._task = asyncio.create_task(self._run(), name=f"client of {self.room_id}")
        try:
            await first
            if then is not None:
                await then()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Leave the room. What was edited and not ``flush``ed may be lost."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._subscription is not None:
            self.ydoc.unobserve(self._subscription)
            self._subscription = None
        if self._waking is not None and not self._waking.done():
            self._waking.cancel()
        self._fail(ClosedError("the client of this document was stopped"))

    @property
    def is_alive(self) -> bool:
        """Whether it follows its room, or tries to."""
        return self._task is not None and not self._task.done()

    # -- the replica

    @property
    def is_awake(self) -> bool:
        """Whether there is a replica."""
        return self._document is not None

    @property
    def document(self) -> YBaseDoc:
        """The replica, as its type lays it out. While there is one."""
        assert self._document is not None, "wake() comes first"
        return self._document

    @property
    def ydoc(self) -> Doc[Any]:
        """The replica."""
        return self.document.ydoc

    async def wake(self) -> None:
        """Return when there is a replica. Raises as ``synced`` does."""
        if self.is_awake:
            return
        if self._waking is None:
            self._waking = asyncio.ensure_future(self._woken())
        await asyncio.shield(self._waking)

    async def _woken(self) -> None:
        try:
            await self._asked_for_all()
        finally:
            self._waking = None

    async def rest(self) -> bool:
        """Hold no replica until ``wake``; False when it is in use just now.

        Raises:
            RefusedEditError: It has what the room has not.
            CollabKernelError: The room is gone for good.
        """
        if self._is_free.locked():  # what waits for this would wait for that
            return False
        await self.flush()
        if self._unproved or self._round_trips or self._is_free.locked() or not self.is_awake:
            return False
        if self._subscription is not None:
            self.ydoc.unobserve(self._subscription)
            self._subscription = None
        self._document = None
        return True

    def _new_replica(self) -> Doc[Any]:
        # As wide as Yjs's own: y-py mangles wider ids when it sends on what it has received, and all is there twice.
        return Doc(client_id=secrets.randbits(CLIENT_ID_BITS))

    def _keep(self, ydoc: Doc[Any]) -> None:
        self._document = view_of(self._type_name, ydoc)
        self._subscription = ydoc.observe(self._on_transaction)

    async def _fill(self, state: bytes) -> None:
        """Make the replica; a large one in a thread, since nobody observes it yet."""
        ydoc = self._new_replica()
        if len(state) > FILL_INLINE_BYTES:
            await asyncio.to_thread(ydoc.apply_update, state)
        else:
            ydoc.apply_update(state)
        early, self._early = self._early, []
        for update in early:
            ydoc.apply_update(update)
        self._keep(ydoc)
        for callback in tuple(self.on_wake):
            callback()

    async def synced(self) -> None:
        """Return when all that the room had received before is here, and stored.

        Raises:
            CollabKernelError: The room is gone for good.
        """
        await self.wake()  # which may be under way since before the last edits
        await self._asked_for_all()

    async def take_in(self) -> None:
        """Take in at once what has come from the room and gathers here."""
        async with self._is_free:
            while self._transport is not None and self._transport.buffered_bytes:
                await self._take_all(self._transport.take()[0])

    async def _asked_for_all(self) -> bool:
        """Ask for all that the room has; whether what was edited here before is among it."""
        if not self.is_alive:
            raise ClosedError("this document's client does not run")
        waiting = self._round_trip()
        self._has_outgoing.set()
        return await waiting

    async def flush(self) -> None:
        """Return when what was edited here is stored; the room answers a step 1 only from what is.

        Raises:
            RefusedEditError: It was not taken.
            CollabKernelError: The room is gone for good.
        """
        for _ in range(FLUSH_TRIES):
            if await self._asked_for_all():
                return
        raise RefusedEditError(f"room {self.room_id} has refused an edit of this server")

    def awareness_states(self) -> dict[int, dict[str, Any]]:
        """What everybody in the room shows, by Yjs client id."""
        return {client: state for client, (_, state) in self._shown.items()}

    @contextlib.asynccontextmanager
    async def editing(self) -> AsyncIterator[YBaseDoc]:
        """Hold remote edits back, for local ones of several steps with an await between."""
        await self.wake()
        async with self._is_free:
            yield self.document

    # -- the task

    async def _run(self) -> None:
        try:
            await self._follow()
        except Exception:
            # The edge of this client's task: it ends this client alone, and tells who waits.
            log.exception("the client of document %s failed", self.room_id)
            self._fail(ClosedError("the client of this document failed; the server's log says why"))

    async def _follow(self) -> None:
        """Join the room, and again when it has started anew, until it is gone for good."""
        delay_s = RECONNECT_MIN_S
        while True:
            limits = self._hub.limits
            transport = LocalTransport(limits.session_queue_bytes, limits.session_queue_low_bytes, self.is_followed)
            try:
                connection = await self._hub.open_document(self.room_id, self._principal, transport, self._policy)
            except RoomNotFoundError as error:
                self._fail(error)
                return
            except CollabKernelError as error:
                log.warning("document %s cannot be joined now: %s", self.room_id, error)
            else:
                transport.on_drained = connection.drained
                if await self._live(connection, transport):
                    delay_s = RECONNECT_MIN_S
                if transport.close_code in _FINAL_CODES:
                    self._fail(ClosedError(f"the room is gone: {transport.close_code}"))
                    return
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RECONNECT_MAX_S)

    async def _live(self, connection: Connection, transport: LocalTransport) -> bool:
        """Follow the room until it closes; whether anything came."""
        self._shown.clear()
        self._outgoing.clear()
        self._asked = 0
        self._probes.clear()
        self._is_greeted = self._principal.role is not Role.WRITER  # of a reader the room asks for nothing
        self._has_outgoing.set()
        self._is_connected = True
        self._transport = transport
        if self._round_trips:
            transport.hurry()
        has_come = False
        if self._was_here and not self.is_awake:
            self._tell_news()
        self._was_here = True
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(connection))
                while await transport.wait():
                    has_come = True
                    async with self._is_free:
                        frames, has_more = transport.take()
                        await self._take_all(frames)
                    if not self._round_trips:
                        transport.rest()
                    if has_more:
                        transport.hurry()
                        await asyncio.sleep(0)
                sender.cancel()
        finally:
            self._is_connected = False
            self._transport = None
            await connection.close()
        return has_come

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._has_outgoing.wait()
            self._has_outgoing.clear()
            while self._outgoing:
                await connection.receive(self._outgoing.pop(0))
            # Asked behind the edits: the answer tells that they are stored.
            if self._is_greeted and self._asked < len(self._round_trips):
                asked, self._asked = self._asked, len(self._round_trips)
                for _ in range(asked, self._asked):
                    await connection.receive(encode_step_1(self._probe()))

    def _probe(self) -> bytes:
        """A state vector that leaves out the last of what was edited here: a room that has it sends it back.

        One that rests asks for nothing but to be told of what comes; one that wakes, for all.
        """
        if not self.is_awake:
            self._probes.append({})
            return EMPTY_VECTOR if self._waking is not None else self._room_vector
        probe = dict(self._unproved)
        self._probes.append(probe)
        clocks = decode_vector(self.ydoc.get_state()) | {client: clock - 1 for client, clock in probe.items()}
        return encode_vector({client: clock for client, clock in clocks.items() if clock})

    def _prove(self, probe: dict[int, int], answer: bytes) -> bool:
        """Whether the room has what was edited here before the probe."""
        proved = probe.keys() & read_update(answer, self._policy, None).structs.keys() if probe else set()
        for client in proved:
            if self._unproved.get(client) == probe[client]:
                del self._unproved[client]
        return len(proved) == len(probe)

    async def _take_all(self, frames: Sequence[bytes]) -> None:
        """Take frames in: edits that come one after the other in one transaction."""
        updates: list[bytes] = []
        for frame in frames:
            # The whole document comes in one frame, which may be larger than what pages send in one.
            message = decode_y_message(frame, self._hub.limits, len(frame))
            if isinstance(message, SyncUpdate) and not message.is_step_2:
                updates.append(message.update)
                continue
            self._apply(updates)
            updates = []
            await self._take(message)
        self._apply(updates)

    async def _take(self, message: YMessage) -> None:
        match message:
            case SyncStep1():
                self._is_greeted = True
                self._room_vector = message.state_vector
                lacking = self.ydoc.get_update(message.state_vector) if self.is_awake else EMPTY_UPDATE
                self._post(encode_step_2(lacking))
            case SyncUpdate():
                if self.is_awake or not message.is_step_2:
                    self._apply([message.update])
                elif self._waking is not None:
                    await self._fill(message.update)
                if message.is_step_2 and self._round_trips and self._asked:
                    self._asked -= 1
                    is_proved = self._prove(self._probes.pop(0), message.update)
                    answered = self._round_trips.pop(0)
                    if not answered.done():
                        answered.set_result(is_proved)
            case Awareness():
                self._show(message)

    def _hear(self, updates: Sequence[bytes]) -> None:
        """Take updates while there is no replica. They may be another server's, and not in the answer to who wakes."""
        if self._waking is not None:
            self._early += updates
        else:
            self._tell_news()

    def _tell_news(self) -> None:
        for callback in tuple(self.on_news):
            callback()

    def _apply(self, updates: Sequence[bytes]) -> None:
        new = [update for update in updates if update != EMPTY_UPDATE]
        if not new:
            return
        if not self.is_awake:
            self._hear(new)
            return
        self._is_applying = True
        try:
            with self.ydoc.transaction():
                for update in new:
                    self.ydoc.apply_update(update)
        except ExceptionGroup:
            # pycrdt gathers what observers raise, and the updates are in; their fault is not this document's.
            log.exception("an observer of document %s failed", self.room_id)
        finally:
            self._is_applying = False

    def _show(self, message: Awareness) -> None:
        """Take what clients show; one that just renews it is not read again."""
        news = [entry for entry in message.entries if self._shown.get(entry.client, _NOTHING)[0] != entry.text]
        for entry in news:
            state = entry.state
            if state is None:
                self._shown.pop(entry.client, None)
            else:
                self._shown[entry.client] = (entry.text, state)
        if news:
            for callback in tuple(self.on_awareness):
                callback()

    # -- what is edited here

    def _on_transaction(self, event: TransactionEvent) -> None:
        if self._is_applying or event.update == EMPTY_UPDATE:
            return
        # pycrdt's type stubs leave the two out.
        before = decode_vector(event.before_state)  # type: ignore[attr-defined]
        for client, clock in decode_vector(event.after_state).items():  # type: ignore[attr-defined]
            if clock > before.get(client, 0):
                self._unproved[client] = clock
        # While it is not connected nothing waits here: the room asks for all of it by step 1.
        if self._is_connected:
            self._post(encode_update(event.update))

    def _post(self, frame: bytes) -> None:
        self._outgoing.append(frame)
        self._has_outgoing.set()

    def _round_trip(self) -> asyncio.Future[bool]:
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._round_trips.append(waiting)
        if self._transport is not None:
            self._transport.hurry()
        return waiting

    def _fail(self, error: CollabKernelError) -> None:
        for waiting in self._round_trips:
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # looked at, so that asyncio does not complain of one whom nobody awaits any more
        self._round_trips.clear()
        self._asked = 0
