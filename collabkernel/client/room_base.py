"""What both faces of a room share: live values, batches, history, presence, and who is told of what.

A lock guards the replica. Whoever changes the room holds it for a moment, a batch holds it from beginning to end, and
callbacks run when it is free again, one at a time, in the order of the changes.
"""

from __future__ import annotations

import builtins
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Literal, Self, TypeVar
from weakref import WeakValueDictionary

from collabkernel.client import events
from collabkernel.client.actors import Actors, Authors
from collabkernel.client.attendance import Showing
from collabkernel.client.doc import Doc
from collabkernel.client.edit import Done, Edit
from collabkernel.client.history import History, StepLog
from collabkernel.client.live import Live
from collabkernel.client.live_list import LiveList
from collabkernel.client.live_map import LiveMap
from collabkernel.client.live_object import LiveObject, blank_record, record_class
from collabkernel.client.live_text import LiveText
from collabkernel.client.lost_edit import lost_edit_calls
from collabkernel.client.notifications import (
    Changed,
    Discarded,
    EditLost,
    EventReceived,
    Loaded,
    Notification,
    Placed,
    PresenceChanged,
    Refused,
    Renamed,
    Reset,
)
from collabkernel.client.observers import BatchCallback, Observers
from collabkernel.client.presence import Broadcast, Me, Others, other_of, to_json
from collabkernel.client.replica import Replica
from collabkernel.client.room_lock import RoomLock
from collabkernel.client.typing_rules import arm_of, item_type
from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import ContainerKind, ContainerRef, MapSet, NewContainer, NewDocument, TextEdit
from collabkernel.errors import ClosedError, RejectedError, RemoteProtocolError
from collabkernel.limits import Limits
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Event, Presence, ServerMessage

log = logging.getLogger("collabkernel")

Status = Literal["connecting", "live", "reconnecting", "offline", "closed"]
SyncStatus = Literal["saved", "buffered", "saving", "degraded", "offline"]
R = TypeVar("R", bound=LiveObject)
Listener = Callable[..., object]
Anything = object
"""The methods ``list`` and ``object`` hide these types from the annotations of a room."""
VIEWS = "collabkernel.views"
"""Entry point group of packages that show live values; the first that is installed does."""


class RoomBase:
    """A room as its users see it. ``aio.connect`` and ``connect`` make them."""

    def __init__(self, name: str, replica: Replica, limits: Limits, now_ms: Callable[[], int]) -> None:
        self.name = name
        """The room's name."""
        self.replica = replica
        self.observers = Observers()
        replica.is_watched = lambda: not self.observers.is_empty
        self.actors = Actors(replica)
        self._now_ms = now_ms
        self._lock = RoomLock(name)
        self._steps = StepLog(limits.undo_steps)
        self.history = History(self, self._steps)
        self.me = Me(replica, self._on_me)
        self._showing = Showing()
        self._broadcasts: deque[bytes] = deque(maxlen=1000)
        self._refused: RejectedError | None = None
        self._depth = 0
        self._is_undoable = True
        self._editor: Anything = None
        """The task that has the edit open, where the room is one of tasks."""
        self._bound: list[tuple[Live, int]] = []
        self._facades: WeakValueDictionary[OpId, Live] = WeakValueDictionary()
        self._status: Status = "connecting"
        self._listeners: dict[str, list[Listener]] = {}
        self._calls = self._lock.queued
        """Callbacks of what happened, for whoever lets go of the lock."""
        self._root: LiveObject = self._make_facade(ContainerRef(ROOT, ContainerKind.OBJECT), None)  # type: ignore[assignment]  # the root is a record

    # -- live values

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Guards the replica; reentrant. Callbacks of what was done under it run at its end."""
        return self._lock

    @property
    def root(self) -> LiveObject:
        """The record at the top of the room: ``room.root.title``, ``room.root["title"]``."""
        return self._root

    def map(self, key: str, value_type: Anything = None) -> LiveMap[Any]:
        """The LiveMap at a key of the root, made there if there is nothing yet."""
        made: LiveMap[Any] = self._root.map(key, value_type)
        return made

    def list(self, key: str, item_type: Anything = None) -> LiveList[Any]:
        """The LiveList at a key of the root, made there if there is nothing yet; ``item_type`` is a record class."""
        made: LiveList[Any] = self._root.list(key, item_type)
        return made

    def object(self, key: str, record_type: type[R] = LiveObject) -> R:  # type: ignore[assignment]  # R is LiveObject then
        """The record at a key of the root, made there if there is nothing yet."""
        made: R = self._root.object(key, record_type)
        return made

    def text(self, key: str) -> LiveText:
        """The LiveText at a key of the root, made there if there is nothing yet."""
        made: LiveText = self._root.text(key)
        return made

    def doc(self, name: str) -> Doc:
        """The block document of this name, made if there is none yet."""
        return Doc(self, name)

    def to_json(self) -> dict[str, Any]:
        """The live values of the room as plain Python."""
        with self._lock:
            return self.replica.tree.to_json()

    def facade(self, ref: ContainerRef, as_type: Anything = None) -> Live:
        """The facade of a container; asked for with a type, it has that type from then on."""
        arm = arm_of(as_type, ref.kind)
        known = self._facades.get(ref.id)
        record = record_class(arm) if ref.kind is ContainerKind.OBJECT else None
        if known is None or (record is not None and not isinstance(known, record)):
            known = self._make_facade(ref, record)
        inner = item_type(as_type, ref.kind)
        if inner is not None and isinstance(known, LiveList | LiveMap):
            known._item_type = inner
        return known

    def _make_facade(self, ref: ContainerRef, record: type[LiveObject] | None) -> Live:
        made: Live
        match ref.kind:
            case ContainerKind.LIST:
                made = LiveList()
            case ContainerKind.MAP:
                made = LiveMap()
            case ContainerKind.TEXT:
                made = LiveText()
            case ContainerKind.OBJECT:
                made = blank_record(record or LiveObject)
        self.bind(made, ref.id)
        return made

    def bind(self, draft: Live, id: OpId) -> None:
        """A draft has become a container."""
        draft._context, draft._id = self, id
        self._facades[id] = draft
        if self._depth:
            self._bound.append((draft, self._depth))

    def ask_authors(self, ops: Sequence[OpId], sites: Sequence[int], then: Callable[[Authors], Any]) -> Any:  # noqa: ARG002  # the faces have a server
        """There is no server to ask."""
        raise ClosedError("this room has no server to ask: ask the room that it is a past state of")

    def view(self, live: Live) -> Any:
        """The widget that shows a live value; None when no package brings one."""
        for entry_point in entry_points(group=VIEWS):
            try:
                return entry_point.load()(live)
            except ImportError as error:
                log.debug("the view %s is not installed: %s", entry_point.value, error)
        return None

    # -- what is in sight

    def look_at(self, blocks: Iterable[OpId] | None) -> None:
        """Look at these blocks of the room's documents alone from now on, or at everything; see ``Doc.show``."""
        with self._lock:
            self.replica.sight.name(blocks)
        self._wake()

    def wait_in_sight(self, timeout_s: float) -> Any:  # the faces have a server
        """There is no server to ask, nor need for one."""

    # -- editing

    @contextmanager
    def editing(self, is_batch: bool = False, is_undoable: bool = True) -> Iterator[Edit]:
        """An edit, which joins the open one of this thread; what fails in it is taken back."""
        with self._lock:
            is_outer = self._depth == 0
            if is_outer:
                self.replica.begin(self._now_ms(), is_batch)
                self._is_undoable, self._editor = is_undoable, self._task()
            edit = self.replica.edit
            mark = edit.mark()
            bound = len(self._bound)
            self._depth += 1
            try:
                yield edit
            except BaseException:
                edit.roll_back(mark)
                self._unbind(bound)
                if is_outer:
                    self.replica.roll_back()
                raise
            else:
                if is_outer:
                    self._commit()
            finally:
                self._depth -= 1
                if is_outer:
                    self._bound.clear()
                    self._receive_deferred()

    @contextmanager
    def batch(self) -> Iterator[Self]:
        """Make all edits in a ``with`` block one: one envelope, one undo step, one notification.

        An exception takes all of them back. Batches nest; the outermost counts. Other threads' edits, and what others
        in the room do, wait until its end.
        """
        with self.editing(is_batch=True):
            yield self

    def _commit(self) -> None:
        committed = self.replica.commit()
        if committed is None:
            return
        undoable = [done for done in committed.done if not _is_shared(done)] if self._is_undoable else []
        if undoable:
            self._forget(self._steps.record(undoable, self.replica.tree))
        self._on_committed(committed.entry.payload)
        if committed.places:
            self._tell([Placed(committed.places, self.replica.actor, is_remote=False)])
        changes = tuple(
            change for done in committed.done if done.change is not None for change in (done.change, *done.more)
        )
        if changes:
            self._tell([Changed(changes, self.replica.actor, self.replica.site, is_remote=False)])

    def _receive_deferred(self) -> None:
        try:
            self._tell(self.replica.receive_deferred())
            self._wake()  # it may be live by that
        except RemoteProtocolError as error:
            self._on_broken(error)

    def _task(self) -> Anything:
        """The running task, where the room is one of tasks."""

    def _on_broken(self, error: RemoteProtocolError) -> None:
        """The server broke the protocol; the faces connect again."""

    def _on_committed(self, payload: bytes) -> None:
        """An envelope is pending; the faces send it."""

    def _forget(self, dropped: Iterable[Done]) -> None:
        """Let the ropes go of deleted text that no undo brings back."""
        for done in dropped:
            if isinstance(done.op, TextEdit) and done.step is not None:
                rope = self.replica.state.find_rope(done.op)
                if rope is not None:
                    rope.forget(done.step)

    def _unbind(self, keep: int) -> None:
        for draft, _ in self._bound[keep:]:
            if draft._id in self.replica.tree.nodes:
                continue  # it shows what was there before
            self._facades.pop(draft._id, None)
            draft._context, draft._id = None, ROOT
        del self._bound[keep:]

    # -- telling

    def observe(self, callback: BatchCallback) -> None:
        """Call ``callback(changes)`` once for each batch or remote envelope, with all that it changed in the room."""
        with self._lock:
            self.observers.add_batch(callback)

    def unobserve(self, callback: BatchCallback) -> None:
        """Stop calling ``callback``."""
        with self._lock:
            self.observers.remove_batch(callback)

    def on(self, name: str, callback: Listener) -> None:
        """Call ``callback(event)`` for each broadcast of this name by others: ``payload``, ``actor``, ``site``."""
        self._listen(f"event:{name}", callback)

    def off(self, name: str, callback: Listener) -> None:
        """Stop calling ``callback``."""
        self._unlisten(f"event:{name}", callback)

    def on_reject(self, callback: Listener) -> None:
        """Call ``callback(error)`` when the server refuses an edit for good; it is rolled back here."""
        self._listen("reject", callback)

    def on_presence(self, callback: Listener) -> None:
        """Call ``callback(others)`` when somebody comes, leaves, or shows something else."""
        self._listen("presence", callback)

    def on_status(self, callback: Listener) -> None:
        """Call ``callback(status)`` when ``status`` changes."""
        self._listen("status", callback)

    def _listen(self, name: str, callback: Listener) -> None:
        with self._lock:
            self._listeners.setdefault(name, []).append(callback)

    def _unlisten(self, name: str, callback: Listener) -> None:
        with self._lock:
            if callback in self._listeners.get(name, ()):
                self._listeners[name].remove(callback)

    def _tell(self, notifications: Iterable[Notification]) -> None:
        """Queue the callbacks of what happened; under the lock, since they show the tree as it is now."""
        for told in notifications:
            match told:
                case Changed():
                    self._tell_changes(told)
                case Placed():
                    if not self.observers.is_empty:
                        self._calls.extend(self.observers.calls(*events.place_changes_of(self, told)))
                case Discarded():
                    log.info("room %s: an edit of block %s was discarded: %s", self.name, told.block, told.error)
                    self._call_listeners("reject", told.error)
                case EditLost():
                    self._calls.extend(lost_edit_calls(self, told))
                case Reset():
                    self._calls.extend(self.observers.calls(events.resets_of(self, told)))
                    self._calls.extend(self.observers.calls(*events.block_resets_of(self, told)))
                case Loaded():
                    self._steps.forget_texts({*told.loaded, *told.unloaded})
                    if not self.observers.is_empty:
                        self._calls.extend(self.observers.calls(*events.loading_changes_of(self, told)))
                case Renamed():
                    self._rename(told)
                case Refused():
                    self._refused = self._refused or told.error
                    log.warning("room %s: the server refused an edit: %s", self.name, told.error)
                    self._call_listeners("reject", told.error)
                case PresenceChanged():
                    if self._listeners.get("presence"):
                        self._call_listeners("presence", self.others)
                case EventReceived():
                    event = told.event
                    if self._listeners.get(f"event:{event.name}"):
                        broadcast = Broadcast(event.name, json.loads(event.payload_json), event.actor, event.site)
                        self._call_listeners(f"event:{event.name}", broadcast)
                case _:
                    pass

    def _tell_changes(self, told: Changed) -> None:
        if self.observers.is_empty:
            return
        outer_by_id = events.documents_of(self, [change.target for change in told.changes])
        watched = [
            change
            for change in told.changes
            if change.target in outer_by_id or self.observers.is_watched(change.target)
        ]
        changes = [events.change_of(self, change, told) for change in events.merged(watched)]
        self._calls.extend(self.observers.calls(changes, outer_by_id))

    def _rename(self, told: Renamed) -> None:
        for old, new in told.new_id_by_old.items():
            self.observers.rename(old, new)
            facade = self._facades.pop(old, None)
            if facade is not None:
                facade._id = new
                self._facades[new] = facade
        self._steps.clear()

    def _call_listeners(self, name: str, argument: Anything) -> None:
        for callback in tuple(self._listeners.get(name, ())):
            self._calls.append(partial(callback, argument))

    # -- presence and broadcasts

    @property
    def others(self) -> Others:
        """The other sessions in the room, in the order they came."""
        with self._lock:
            return list(map(other_of, self.replica.attendance.by_site.values()))

    def _on_me(self, presence: Presence) -> None:
        with self._lock:
            self._showing.show(presence)
        self._wake()

    def broadcast(self, name: str, payload: Any = None) -> None:
        """Send an event to the others who are here now; it is never stored, and lost while not connected."""
        text = to_json(payload, "broadcast", self.replica.limits.presence_bytes)
        with self._lock:
            if self._status == "live":
                self._broadcasts.append(encode_client_message(Event(name, text)))
        self._wake()

    # -- for the connection

    def receive_message(self, message: ServerMessage) -> None:
        """Take a message of the server, and queue the callbacks; under the lock."""
        self.actors.note(message)
        self._tell(self.replica.receive(message, self._now_ms()))
        if message.welcome is not None:
            self._showing.connected()

    def frames_to_send(self) -> builtins.list[bytes]:
        """What is to be sent now, noted as sent; under the lock."""
        frames = self.replica.outgoing(self._now_ms())
        if self.replica.is_connected:
            frames.extend(self._showing.take_due(self._now_ms()))
            frames.extend(self._broadcasts)
            self._broadcasts.clear()
        return frames

    def wake_ms(self) -> int | None:
        """When to ask ``frames_to_send`` again, if nothing happens before; None for not at all. Under the lock."""
        now_ms = self._now_ms()
        return min(filter(None, (self.replica.wake_ms(now_ms), self._showing.wake_ms(now_ms))), default=None)

    def take_refused(self) -> RejectedError | None:
        """The first refusal since this was last asked."""
        with self._lock:
            refused, self._refused = self._refused, None
            return refused

    def keep_site(self) -> None:
        """The site is known: a queue on disk takes note of it."""

    async def sync_queue(self) -> None:
        """Nothing may be sent before a queue on disk has it."""

    def _wake(self) -> None:
        """There is something to send."""

    # -- state

    @property
    def site(self) -> int:
        """This replica's name in the room."""
        return self.replica.site

    @property
    def role(self) -> str:
        """``writer`` or ``reader``."""
        return self.replica.role.name.lower()

    @property
    def status(self) -> Status:
        """``connecting``, ``live``, ``reconnecting`` (edits wait), ``offline`` (given up; edits wait), ``closed``."""
        return self._status

    @property
    def sync_status(self) -> SyncStatus:
        """``saved`` (all edits are durable), ``saving``, or ``offline`` (edits wait for a connection).

        ``degraded`` instead of ``saving`` while the server's database does not answer: edits wait here, for long maybe.
        ``buffered`` instead of ``saved`` where the server's operator has relaxed durability: all edits are stored, but
        a power cut at the server may still take the newest.
        """
        with self._lock:
            if self.replica.is_saved:
                return "buffered" if self.replica.is_buffered else "saved"
            if self._status != "live":
                return "offline"
            return "degraded" if self.replica.is_degraded else "saving"

    def set_status(self, status: Status) -> None:
        if status != self._status:
            self._status = status
            self._call_listeners("status", status)

    def __repr__(self) -> str:
        return f"<Room {self.name!r}, {self._status}, {self.sync_status}>"


def _is_shared(done: Done) -> bool:
    """Whether an operation only made sure that a shared container is there: nobody would call that an edit."""
    op = done.op
    is_container = isinstance(op, MapSet) and isinstance(op.value, NewContainer) and op.value.shared
    return is_container or isinstance(op, NewDocument)
