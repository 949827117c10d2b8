"""The binding of one open document to its file: it seeds, saves, watches and merges, as a client of the room.

The document's history is the truth. Its file is read into it once, when nobody has ever opened it; from then on a file
that differs is somebody's edit, and is merged into the document with what was saved last as the base. All that touches
the file happens under the file's lease, so that of several servers one saves or merges at a time, and each merge and
each save is noted before the lease is given up: what one server has taken over, no other takes over again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from jupyter_ydoc.ybasedoc import YBaseDoc

from collabkernel.errors import CollabKernelError
from collabkernel.server.flag import Flag
from collabkernel.storage.base import Lease
from collabkernel_server.heap import give_back_after
from collabkernel_server.lab.content import encode_base, is_same, seed
from collabkernel_server.lab.disk import Seen, Stamp
from collabkernel_server.lab.document_client import SERVER, DocumentClient
from collabkernel_server.lab.document_content import DocumentContent
from collabkernel_server.lab.file_errors import (
    DocumentUnknownError,
    FileChangedError,
    FileGoneError,
    SaveFailedError,
    UnreadableFileError,
)
from collabkernel_server.lab.hash_news import HashNews
from collabkernel_server.lab.names import DocumentName, view_of
from collabkernel_server.lab.save_notes import LEASE_MS, LEASE_POLL_S, SaveNotes
from collabkernel_server.lab.saver import (
    Answer,
    AutosaveSet,
    Due,
    Edited,
    Event,
    Save,
    SaveAsked,
    SaveClock,
    SaveEnded,
    WritableSet,
)
from collabkernel_server.lab.surroundings import Surroundings

log = logging.getLogger(__name__)
MOVE_WAIT_S = 1.0
"""A file that is not where it was may be on its way: Jupyter tells of a move after it."""
SAVE_TRIES = 5
"""A file that somebody else writes at the same time is merged, and saved again, so often."""


class FileBinding:
    """One document and its file. ``open`` before, ``close`` after."""

    def __init__(self, name: DocumentName, around: Surroundings) -> None:
        self.name = name
        self.client = DocumentClient(around.hub, name.room_id, name.type)
        self.path = ""
        self.acting = asyncio.Lock()
        """Held by whoever does something with the file."""
        self.hash_news = HashNews()
        self._around = around
        self._content = DocumentContent(self.client, name.type)
        self._notes = SaveNotes(around.hub.storage, name, around.server_id, around.now_ms)
        self._clock = SaveClock(around.pauses)
        self._seen: Seen | None = None
        self._bad_mark: object = None
        """Of a file that could not be read: it is not tried again until it changes."""
        self._is_gone = False
        self._has_news = False  # something was edited while there was no replica: perhaps it has to be saved
        self._keepers = self._active_ms = 0
        self._is_closing = self._wants_save = self._wants_look = False
        self._wake = Flag()
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._askers = itertools.count(1)
        self._watcher: YBaseDoc | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the document from its file if it is new, join it, and take over what happened to the file meanwhile.

        Raises:
            DocumentUnknownError: There is neither a history nor a file.
            FileError: The file cannot be read as this document.
            CollabKernelError: The room cannot be joined now.
        """
        row = await self._around.ids.row(self.name.file_id)
        if row is None:
            raise DocumentUnknownError(self.name.room_id)
        self.path = row.path
        is_new = await self._notes.head_seq() == 0
        if is_new:
            if row.deleted:
                raise DocumentUnknownError(self.name.room_id)
            await give_back_after(await self._seed())
        self.client.on_wake.append(self._watch_document)
        self.client.on_news.append(self._on_news)
        self.client.on_awareness.append(self._on_awareness)
        await self.client.start_resting()
        self._on_awareness()
        if not is_new:
            await self._find_unsaved()
        await self.look_closer()
        self._task = asyncio.create_task(self._run(), name=f"file of {self.name.room_id}")

    async def close(self) -> None:
        """Save what is not saved, if anybody wants that, and leave the room."""
        self._is_closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result("failed")
        if self._watcher is not None:
            self._watcher.unobserve()
        await self.client.stop()

    @property
    def is_alive(self) -> bool:
        """Whether it goes on."""
        return self._task is not None and not self._task.done() and self.client.is_alive

    @property
    def is_saved(self) -> bool:
        """Whether its file has all of it."""
        return self._clock.is_clean and not self._has_news

    @property
    def is_gone(self) -> bool:
        """Whether there is no file where it was last."""
        return self._is_gone

    async def save(self) -> str:
        """Save now, because somebody asked for it: ``success`` or ``failed``."""
        if self._is_closing or not self.is_alive:
            return "failed"
        asker = next(self._askers)
        self._answers[asker] = asyncio.get_running_loop().create_future()
        self._feed(SaveAsked(asker))
        try:
            return await self._answers[asker]
        finally:
            del self._answers[asker]

    async def keep_awake(self) -> None:
        """Keep a replica until ``let_rest``. Raises as ``DocumentClient.wake`` does."""
        self._keepers += 1
        self.client.is_followed.set()
        await self.client.wake()

    def let_rest(self) -> None:
        """Somebody who had it kept awake needs it no more."""
        self._keepers -= 1
        if not self._keepers:
            self.client.is_followed.clear()
        self._on_active()

    def seen(self, stamp: Stamp | None) -> None:
        """The watcher of files looked: at anything new, look closer."""
        known = self._seen.stamp if self._seen is not None else None
        is_known_bad = self._is_gone if stamp is None else stamp.mark == self._bad_mark
        if stamp != known and not is_known_bad:
            self.look()

    def look(self) -> None:
        """Something happened to the file."""
        self._wants_look = True
        self._wake.set()

    # -- the task

    async def _run(self) -> None:
        while not self._is_closing:
            await self._wait()
            async with self.acting:
                if self._wants_look:
                    self._wants_look = False
                    await self.look_closer()
                if self._has_news:
                    await self._take_news()
                self._feed(Due())
                if self._wants_save:
                    await self._save()
                elif self._rest_ms is not None and self._around.now_ms() >= self._rest_ms:
                    await self._rest()
        await self.client.take_in()
        if self._has_news:
            await self._take_news()
        if self._wants_save or (not self._clock.is_clean and self._clock.is_autosave and self._clock.is_writable):
            await self._save()

    async def _wait(self) -> None:
        due_ms = min([each for each in (self._clock.due_ms, self._rest_ms) if each is not None], default=None)
        timeout_s = None if due_ms is None else max(0.0, (due_ms - self._around.now_ms()) / 1000)
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _feed(self, event: Event) -> None:
        for action in self._clock.handle(event, self._around.now_ms()):
            match action:
                case Save():
                    self._wants_save = True
                case Answer():
                    waiting = self._answers.get(action.asker)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(action.status)
        if not isinstance(event, Due):  # that one is the task's own
            self._wake.set()

    # -- what happens in the document

    def _watch_document(self) -> None:
        # A view of its own on the replica: observing takes earlier observers of the same view away.
        self._watcher = view_of(self.name.type, self.client.ydoc)
        self._watcher.unobserve()  # what a class does of itself, as jupyterlab-chat's, the client's view does
        self._watcher.observe(self._on_changed)
        self._active_ms = self._around.now_ms()
        self._on_news()  # what was edited while it woke, nobody has watched

    def _on_active(self) -> None:
        self._active_ms = self._around.now_ms()
        self._wake.set()

    @property
    def _rest_ms(self) -> int | None:
        """When the replica is wanted no more, unless something happens; None while it is, and when there is none."""
        is_wanted = self._keepers or not self._clock.is_clean or not self.client.is_awake
        return None if is_wanted else self._active_ms + self._around.rest_ms

    async def _rest(self) -> None:
        self._active_ms = self._around.now_ms()  # when it does not come off, it is tried again
        try:
            is_resting = await self.client.rest()
        except CollabKernelError as error:
            log.warning("document %s does not rest: %s", self.name.room_id, error)
            return
        if is_resting and self._watcher is not None:
            self._watcher.unobserve()
            self._watcher = None

    def _on_news(self) -> None:
        self._has_news = True
        self._wake.set()

    async def _take_news(self) -> None:
        """See whether what was edited while there was no replica has to be saved."""
        try:
            await self.client.wake()
            self._has_news = False  # from here on the replica is watched
            if self.client.document.dirty is True:
                self._feed(Edited())
            else:
                await self._find_unsaved()
        except CollabKernelError as error:
            self._has_news = False
            log.warning("document %s is saved, since what is new cannot be seen: %s", self.name.room_id, error)
            self._feed(Edited())

    def _on_changed(self, topic: str, event: Any) -> None:
        self._active_ms = self._around.now_ms()
        if topic == "state":
            is_edit = "dirty" in event.keys and self.client.document.dirty is True
            if "hash" in event.keys:
                self.hash_news.told(self.client.awareness_states().values())
        else:
            is_edit = not self._content.is_merging
        if is_edit:
            self._feed(Edited())

    def _on_awareness(self) -> None:
        states = self.client.awareness_states().values()
        self._feed(AutosaveSet(not states or any(state.get("autosave", True) for state in states)))

    async def _publish(self, values: Mapping[str, Any]) -> None:
        """Tell all clients what they cannot know themselves."""
        await self.client.wake()
        state = self.client.document.ystate
        if changed := {key: value for key, value in values.items() if state.get(key) != value}:
            with self.client.ydoc.transaction():
                state.update(changed)

    # -- opening

    async def _seed(self) -> int:
        async with self._leased(LEASE_MS / 1000) as lease:
            if lease is None or await self._notes.head_seq() > 0:
                return 0
            found = await self._around.disk.read(self.name, self.path)
            state = {"path": self.path, "hash": found.hash, "dirty": False}
            update, content = await asyncio.to_thread(seed, self.name.type, found.content, state)
            # Noted before it is there: a crash between the two leaves a file to be read anew, not one without a base.
            await self._notes.record(lease, found.hash, 1, content)
            await self._around.hub.seed_document(self.name.room_id, update, SERVER.actor)
            self._seen = found.seen
        self._tell("load")
        return len(update)

    async def _find_unsaved(self) -> None:
        """What a server that died had acknowledged, and not saved, is saved now."""
        await self.client.wake()
        self._has_news = False  # from here on the replica is watched
        try:
            base, content = await self._notes.base(), await self._content.read()
            is_saved = await asyncio.to_thread(is_same, base, content)
        except CollabKernelError:
            raise
        except Exception:  # the edge of this look: a content that cannot be read keeps nobody from the document
            log.exception("what is saved of document %s cannot be told", self.name.room_id)
            is_saved = False
        if not is_saved:
            self._feed(Edited())

    # -- what happens on disk

    async def look_closer(self) -> None:
        """Take over what happened to the file; a fault is told in the log."""
        try:
            await self._look()
        except UnreadableFileError as error:
            log.warning("the file of document %s is not taken over: %s", self.name.room_id, error)
        except CollabKernelError as error:
            self._bad_mark = None  # it may be well the next time
            log.warning("the file of document %s cannot be taken over now: %s", self.name.room_id, error)
        except Exception:  # a fault of a contents manager or of ours; the document goes on, and so do its saves
            log.exception("the file of document %s cannot be taken over", self.name.room_id)

    async def _look(self) -> None:
        await self._find_path()
        stamp = await self._around.disk.stamp(self.path)
        self._is_gone = stamp is None
        if stamp is None:
            self._seen = None
            return
        self._feed(WritableSet(stamp.is_writable))
        if self._seen is not None and stamp.mark == self._seen.stamp.mark:
            self._seen = Seen(stamp, self._seen.hash, self._seen.text)
            return
        stamp = await self._around.disk.settled(self.path, stamp, lambda: self._is_closing)
        self._bad_mark = stamp.mark
        found = await self._around.disk.look(self.name, self.path)
        saved = await self._notes.last()
        if saved is not None and saved.hash == found.hash:  # another server saved it
            await self._accept(found)
            return
        async with self._leased(LEASE_MS / 1000) as lease:
            if lease is not None:
                await self._take_over(lease)
            else:
                self._bad_mark = None

    async def _find_path(self) -> None:
        """Follow the file where Jupyter moved it; a file that was deleted and is there again is this one."""
        row = await self._around.ids.row(self.name.file_id)
        if row is None:
            return
        if row.deleted and await self._around.disk.stamp(row.path) is not None:
            await self._around.ids.restore(self.name.file_id)
        await self._follow_to(row.path)

    async def _follow_to(self, path: str) -> None:
        if path != self.path:
            self.path = path
            await self._publish({"path": path})

    async def _take_over(self, lease: Lease) -> None:
        """Merge the file into the document, unless this content is our own.

        Raises:
            UnreadableFileError: The document's file was deleted, and another one has its path.
        """
        row = await self._around.ids.row(self.name.file_id)
        if row is not None and row.deleted:
            raise UnreadableFileError(self.path, "is another file than the one of this document, which was deleted")
        torn = await self._around.disk.torn(self.path, await self._notes.in_place())
        if torn is not None:  # a write of ours that was cut short: nobody's edit, and to be done again
            self._seen, self._bad_mark = torn, None
            self._feed(Edited())
            return
        found = await self._around.disk.read(self.name, self.path)
        saved = await self._notes.last()
        if saved is not None and saved.hash == found.hash:
            await self._accept(found.seen)
            return
        is_own = saved is not None and found.hash in saved.intents
        if is_own:
            content = await self._content.read()
        else:
            content = await self._content.merge(await self._notes.base_of(found), found.content)
        await self._notes.record(lease, found.hash, await self._notes.head_seq(), found.content)
        await self._accept(found.seen)
        if not await asyncio.to_thread(is_same, encode_base(found.content), content):
            self._feed(Edited())
        elif self._clock.is_clean:
            await self._publish({"dirty": False})
        if not is_own:
            self._tell("overwrite")

    async def _accept(self, seen: Seen) -> None:
        self._seen, self._bad_mark, self._is_gone = seen, None, False
        self._feed(WritableSet(seen.stamp.is_writable))
        await self._publish({"hash": seen.hash, "path": self.path})

    # -- saving

    async def _save(self) -> None:
        self._wants_save = False
        if not self._clock.is_saving:
            self._feed(SaveAsked(0))
            self._wants_save = False
        started = asyncio.get_running_loop().time()
        is_saved = is_busy = False
        try:
            async with self._leased(0.0) as lease:
                is_busy = lease is None
                is_saved = lease is not None and await self._save_under(lease)
        except CollabKernelError as error:
            log.warning("document %s is not saved: %s", self.name.room_id, error)
        except Exception:  # a fault of a contents manager or of ours; it is tried again
            log.exception("document %s is not saved", self.name.room_id)
        cost_ms = (asyncio.get_running_loop().time() - started) * 1000
        self._feed(SaveEnded(is_saved, cost_ms, is_busy))

    async def _save_under(self, lease: Lease) -> bool:
        for _ in range(SAVE_TRIES):
            try:
                await self._save_once(lease)
                return True
            except FileChangedError:
                continue
            except FileGoneError:
                if not await self._has_moved():
                    raise
        raise FileChangedError(self.path)

    async def _save_once(self, lease: Lease) -> None:
        row = await self._around.ids.row(self.name.file_id)
        if row is not None:  # another server may have moved it, and another file may have its old path
            await self._follow_to(row.path)
        stamp = await self._around.disk.stamp(self.path)
        if stamp is None:
            raise FileGoneError(self.path)
        self._feed(WritableSet(stamp.is_writable))
        if not stamp.is_writable:
            raise SaveFailedError(self.path, "may not be written")
        if self._seen is None or stamp.mark != self._seen.stamp.mark:
            await self._around.disk.settled(self.path, stamp, lambda: self._is_closing)
            await self._take_over(lease)
        seq, content = await self._notes.head_seq(), await self._content.read()
        assert self._seen is not None
        written = await self._around.disk.write(
            self.name, self.path, content, self._seen, lambda *noted: self._notes.may_put(lease, *noted)
        )
        if written is None:
            raise SaveFailedError(self.path, "another server saves it now")
        await self._notes.record(lease, written.seen.hash, seq, content)
        await self._accept(written.seen)
        if not self._clock.has_newer:
            await self._publish({"dirty": False})
        self._tell("save")

    async def _has_moved(self) -> bool:
        path = self.path
        for _ in range(round(MOVE_WAIT_S / LEASE_POLL_S)):
            await self._find_path()
            if self.path != path:
                return True
            await asyncio.sleep(LEASE_POLL_S)
        return False

    def _leased(self, wait_s: float) -> AbstractAsyncContextManager[Lease | None]:
        return self._notes.leased(wait_s, lambda: self._is_closing)

    def _tell(self, action: Any) -> None:
        if self._around.events is not None:
            self._around.events.session(self.name.room_id, self.path, action)
