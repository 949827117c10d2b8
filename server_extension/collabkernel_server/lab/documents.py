"""The shared documents of this server: who has them open, when they leave memory, and the watch over their files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from jupyter_server.services.contents.manager import ContentsManager

from collabkernel.errors import CollabKernelError, ServerStoppingError
from collabkernel.server.hub import Hub, wall_clock_ms
from collabkernel_server.lab.binding import FileBinding
from collabkernel_server.lab.disk import Disk
from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.events import DocumentEvents
from collabkernel_server.lab.file_errors import DocumentUnknownError
from collabkernel_server.lab.files import FileIds
from collabkernel_server.lab.names import DocumentName
from collabkernel_server.lab.saver import SavePauses
from collabkernel_server.lab.surroundings import REST_MS, Surroundings

log = logging.getLogger(__name__)
CLEANUP_DELAY_S = 60.0
"""A document stays in memory for this long after the last one has left: a page that is reloaded finds it there."""
STOP_S = 1.2
"""Of the 1.5 s in which a server stops; what is not saved by then is in the log."""
SHOWN_WAIT_S = 5.0
"""Whoever asks for the hash of a file waits this long for a save or a merge: far over what those of 20 MB take."""
POLL_S = 1.0
POLL_SHARE = 10
"""Looking at files may take a tenth of the time: a manager that asks a far server is asked less often."""


class OpenDocument:
    """Somebody's hold on a document in memory."""

    def __init__(self, binding: FileBinding, on_release: Callable[[], None]) -> None:
        self._binding = binding
        self._on_release = on_release
        self._is_released = False
        self._is_awake = False

    async def wake(self) -> DocumentClient:
        """A replica of it in this process, which stays until the release.

        Raises:
            CollabKernelError: The document is gone for good.
        """
        if not self._is_awake:
            self._is_awake = True
            await self._binding.keep_awake()
        return self._binding.client

    @property
    def client(self) -> DocumentClient:
        """This server's own client of it: with a replica after ``wake``."""
        return self._binding.client

    @property
    def path(self) -> str:
        """Where its file is, or was last."""
        return self._binding.path

    def release(self) -> None:
        """Let it go."""
        if not self._is_released:
            self._is_released = True
            if self._is_awake:
                self._binding.let_rest()
            self._on_release()


class _Entry:
    """A document in memory, or on its way there."""

    def __init__(self, opening: asyncio.Task[FileBinding]) -> None:
        self.opening = opening
        self.holds = 0
        self.timer: asyncio.TimerHandle | None = None

    @property
    def binding(self) -> FileBinding | None:
        """Once it is open."""
        is_open = self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None
        return self.opening.result() if is_open else None


class Documents:
    """Documents by id. ``start`` before, ``stop`` after."""

    def __init__(
        self,
        hub: Hub,
        contents: ContentsManager,
        events: DocumentEvents | None = None,
        *,
        pauses: SavePauses | None = None,
        cleanup_delay_s: float = CLEANUP_DELAY_S,
        poll_s: float = POLL_S,
        stop_s: float = STOP_S,
        rest_ms: int = REST_MS,
        on_opened: Callable[[str], None] = lambda _: None,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        """Prepare.

        Args:
            hub: Where the rooms are; it is running.
            contents: Where the files are.
            events: Who is told what is done with documents.
            pauses: How long saves wait.
            cleanup_delay_s: How long a document stays after the last one has left.
            poll_s: How often its file is looked at.
            stop_s: How long ``stop`` waits for saves.
            rest_ms: How long a replica stays that nobody needs.
            on_opened: Called with the id of each document that comes into memory.
            now_ms: The wall clock.
        """
        disk = Disk(contents)
        self.ids = FileIds(hub.storage, contents, disk, now_ms)
        self._around = Surroundings(
            hub,
            disk,
            self.ids,
            uuid.uuid4().hex,
            now_ms,
            events,
            pauses if pauses is not None else SavePauses(),
            rest_ms,
        )
        self._cleanup_delay_s = cleanup_delay_s
        self._poll_s = poll_s
        self._stop_s = stop_s
        self._on_opened = on_opened
        self._entry_by_id: dict[str, _Entry] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Follow what happens to files, and save what a server that died did not."""
        self.ids.on_changed.append(self._on_files_changed)
        self.ids.follow()
        self._watching = asyncio.create_task(self._watch(), name="files of documents")

    async def stop(self) -> None:
        """Save what is pending, and let all go."""
        self._is_stopping = True
        self.ids.stop()
        waited: list[asyncio.Task[Any]] = list(self._closing.values())
        if self._watching is not None:
            self._watching.cancel()
            waited.append(self._watching)
        for entry in self._entry_by_id.values():
            if entry.timer is not None:
                entry.timer.cancel()
        bindings = [binding for entry in self._entry_by_id.values() if (binding := entry.binding) is not None]
        for entry in self._entry_by_id.values():
            if not entry.opening.done():
                entry.opening.cancel()
                waited.append(entry.opening)
        waited += [asyncio.create_task(binding.close()) for binding in bindings]
        if waited:
            _, late = await asyncio.wait(waited, timeout=self._stop_s)
            for task in late:
                log.warning("%s does not end; what was acknowledged is stored, and saved at the next start", task)
                task.cancel()
        self._entry_by_id.clear()

    async def open(self, document_id: str) -> OpenDocument:
        """A hold on a document, which is read into memory when it is not there.

        Raises:
            DocumentUnknownError: There is neither a history nor a file of it.
            FileError: Its file cannot be read as this document.
            CollabKernelError: It cannot be opened now.
        """
        if self._is_stopping:
            raise ServerStoppingError("the server is shutting down")
        name = DocumentName.parse(document_id)
        if name is None:
            raise DocumentUnknownError(document_id)
        entry = self._entry(name)
        entry.holds += 1
        try:
            binding = await asyncio.shield(entry.opening)
        except BaseException:
            self._release(document_id, entry)
            raise
        return OpenDocument(binding, lambda: self._release(document_id, entry))

    def loaded(self, document_id: str) -> FileBinding | None:
        """The document, if it is in memory; no hold on it."""
        entry = self._entry_by_id.get(document_id)
        return None if entry is None else entry.binding

    def loaded_ids(self) -> list[str]:
        """Documents in memory."""
        return [binding.name.room_id for binding in self._bindings()]

    async def save(self, document_id: str) -> str:
        """Save now, because somebody asked: ``success`` or ``failed``. The timeline has a version of it."""
        binding = self.loaded(document_id)
        outcome = "failed" if binding is None else await binding.save()
        if outcome == "success":
            try:
                await self._around.hub.history.save_version(document_id, "")
            except CollabKernelError as error:
                log.warning("document %s is saved, and the timeline does not tell: %s", document_id, error)
        return outcome

    @contextlib.asynccontextmanager
    async def shown(self, path: str, user: str) -> AsyncIterator[None]:
        """While this is held, a file's documents have its content, this user's pages know its hash, and none saves.

        A document that is busy for longer than ``SHOWN_WAIT_S`` is not waited for.
        """
        async with contextlib.AsyncExitStack() as held:
            for binding in self._bindings_at(path):
                try:
                    async with asyncio.timeout(SHOWN_WAIT_S):
                        await held.enter_async_context(binding.acting)
                except TimeoutError:
                    log.info("the file of document %s is told of while it is saved", binding.name.room_id)
                    continue
                await binding.look_closer()
                with contextlib.suppress(CollabKernelError):  # it is gone for good: nobody is shown anything
                    await binding.client.flush()
                await binding.hash_news.taken_in(user)
            yield

    def asked(self, path: str, user: str) -> None:
        """A page of this user has asked about a file, as pages do that were sent a hash, and has its answer."""
        for binding in self._bindings_at(path):
            if binding.hash_news.asked(user):
                return

    async def recover(self) -> int:
        """Save what was acknowledged and not saved when a server died; how many documents were looked at.

        A document's log has at least one operation after a save: that which tells of it. What makes a document of its
        file tells of it itself.
        """
        looked = 0
        after = ""
        while rows := await self._around.hub.storage.list_rooms(1000, after):
            after = rows[-1].room_id
            for row in rows:
                name = DocumentName.parse(row.room_id)
                if name is not None and await self._is_behind(name, row.seq):
                    looked += 1
                    await self._save_if_needed(row.room_id)
        return looked

    async def _is_behind(self, name: DocumentName, seq: int) -> bool:
        saved = await self._around.hub.storage.saved(name.file_id, f"{name.format}:{name.type}")
        return saved is not None and seq > saved.seq + (saved.seq > 1)

    async def _save_if_needed(self, document_id: str) -> None:
        try:
            held = await self.open(document_id)
        except CollabKernelError as error:
            log.warning("document %s is not looked at: %s", document_id, error)
            return
        except Exception:  # the edge of this document: the others are looked at
            log.exception("document %s is not looked at", document_id)
            return
        try:
            binding = self.loaded(document_id)
            if binding is not None and not binding.is_saved:
                await binding.save()
        finally:
            held.release()

    # -- entries

    def _entry(self, name: DocumentName) -> _Entry:
        entry = self._entry_by_id.get(name.room_id)
        if entry is not None and entry.opening.done() and (entry.binding is None or not entry.binding.is_alive):
            self._forget(name.room_id, entry)
            entry = None
        if entry is None:
            opening = asyncio.create_task(self._opened(name), name=f"opening {name.room_id}")
            entry = self._entry_by_id[name.room_id] = _Entry(opening)
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        return entry

    async def _opened(self, name: DocumentName) -> FileBinding:
        if (closing := self._closing.get(name.room_id)) is not None:  # it saves first
            await asyncio.wait([closing])
        binding = FileBinding(name, self._around)
        try:
            await binding.open()
        except BaseException:
            await binding.close()
            raise
        self._on_opened(name.room_id)
        return binding

    def _release(self, document_id: str, entry: _Entry) -> None:
        entry.holds -= 1
        if entry.holds or self._is_stopping or self._entry_by_id.get(document_id) is not entry:
            return
        if entry.opening.done() and entry.binding is None:
            self._forget(document_id, entry)
            return
        loop = asyncio.get_running_loop()
        entry.timer = loop.call_later(self._cleanup_delay_s, self._on_idle, document_id, entry)

    def _on_idle(self, document_id: str, entry: _Entry) -> None:
        if not entry.holds and self._entry_by_id.get(document_id) is entry:
            self._forget(document_id, entry)
            if self._around.events is not None and entry.binding is not None:
                self._around.events.session(document_id, entry.binding.path, "clean")

    def _forget(self, document_id: str, entry: _Entry) -> None:
        if self._entry_by_id.get(document_id) is entry:
            del self._entry_by_id[document_id]
        if entry.binding is not None:
            task = asyncio.create_task(entry.binding.close(), name=f"closing {document_id}")
            self._closing[document_id] = task  # the only one: what is opened again waits for it
            task.add_done_callback(lambda _: self._closing.pop(document_id))

    # -- files

    def _bindings(self) -> list[FileBinding]:
        return [binding for entry in self._entry_by_id.values() if (binding := entry.binding) is not None]

    def _bindings_at(self, path: str) -> list[FileBinding]:
        return [binding for binding in self._bindings() if binding.path == path]

    def _on_files_changed(self, file_ids: Sequence[str]) -> None:
        for binding in self._bindings():
            if not file_ids or binding.name.file_id in file_ids:
                binding.look()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            bindings = self._bindings()
            try:
                stamps = await self._around.disk.stamps({binding.path for binding in bindings}) if bindings else {}
            except Exception:  # a fault of a contents manager; it is asked again
                log.exception("files of documents cannot be looked at")
                stamps = {}
            for binding in bindings:
                if binding.path in stamps:
                    binding.seen(stamps[binding.path])
            await asyncio.sleep(max(self._poll_s, POLL_SHARE * (loop.time() - started)))
