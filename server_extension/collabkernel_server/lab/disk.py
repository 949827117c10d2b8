"""Files as the contents manager has them: read, written, and watched, without holding up the loop.

Stock local managers are read and written by threads: one atomic rename, so that nobody ever reads half a file, guarded
right before it. Any other manager (a subclass with a reading or writing of its own, S3, a database) is asked by its own
``get`` and ``save``. Those may start AnyIO threads, which tie themselves to the task that they are first called in and
keep the process from ending as long as it lives: so each call has a short task of its own.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import Callable, Coroutine, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from jupyter_server.services.contents.manager import ContentsManager
from jupyter_server.utils import ensure_async
from jupyter_ydoc import YBlob
from tornado.web import HTTPError

from collabkernel_server.lab.content import Content, for_file, from_file
from collabkernel_server.lab.file_errors import FileGoneError, SaveFailedError, UnreadableFileError
from collabkernel_server.lab.line_endings import restored, to_lf
from collabkernel_server.lab.local_file import Guard, LocalFiles, is_stock
from collabkernel_server.lab.names import DocumentName, document_class
from collabkernel_server.lab.torn import is_beginning

log = logging.getLogger(__name__)
T = TypeVar("T")
SETTLE_S = 0.2
"""A file that changes is read when it has not changed for this long: many programs write in several steps."""
SETTLE_TRIES = 25


@dataclass(frozen=True, slots=True)
class Stamp:
    """Changes whenever a file may have changed; cheap to have."""

    mark: Hashable
    is_writable: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of a file between two looks."""

    stamp: Stamp
    hash: str
    text: str = ""
    """A text with CRs in it, as the file has it: for its line endings."""


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A file as it was read."""

    content: Content
    hash: str
    """As the contents manager tells it; empty when it tells none."""
    stamp: Stamp
    text: str
    """A text with its own line endings; empty for the rest."""

    @property
    def seen(self) -> Seen:
        """What of it is remembered."""
        return Seen(self.stamp, self.hash, self.text if "\r" in self.text else "")


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written, or had that content already."""

    seen: Seen


async def in_own_task(work: Coroutine[Any, Any, T]) -> T:
    """Run in a short-lived task, to its end also when the caller is cancelled."""
    return await asyncio.shield(asyncio.create_task(work))


async def _answer(ask: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What a manager answers, be it synchronous or not."""
    return await ensure_async(ask(*arguments, **named))


class Disk:
    """The files of one contents manager."""

    def __init__(self, contents: ContentsManager) -> None:
        self._contents = contents
        self._local = LocalFiles(contents) if is_stock(contents) else None

    @property
    def is_local(self) -> bool:
        """Whether looking at a file costs a system call, and not a request."""
        return self._local is not None

    async def stamps(self, paths: Iterable[str]) -> dict[str, Stamp | None]:
        """Of each path what it is now; None where there is no file."""
        if self._local is not None:
            found = await asyncio.to_thread(self._local.stamps, list(paths))
            return {path: None if mark is None else Stamp(*mark) for path, mark in found.items()}
        return {path: await self._asked_stamp(path) for path in paths}

    async def stamp(self, path: str) -> Stamp | None:
        """Of one path."""
        return (await self.stamps([path]))[path]

    async def settled(self, path: str, stamp: Stamp, is_hurried: Callable[[], bool]) -> Stamp:
        """What a file is when it has stopped changing, or does not stop.

        Raises:
            FileGoneError: There is none any more.
        """
        for _ in range(SETTLE_TRIES):
            if is_hurried():
                break
            await asyncio.sleep(SETTLE_S)
            now = await self.stamp(path)
            if now is None:
                raise FileGoneError(path)
            if now == stamp:
                break
            stamp = now
        return stamp

    async def exists(self, path: str) -> bool:
        """Whether there is a file that may be read through Jupyter."""
        if self._local is not None:
            return await asyncio.to_thread(self._local.is_there, path)
        try:
            return bool(await in_own_task(_answer(self._contents.file_exists, path)))
        except HTTPError:  # a path outside the root, or none at all
            return False

    async def look(self, name: DocumentName, path: str) -> Seen:
        """What tells a file from what it was before, without its content where that is dear.

        Raises:
            FileGoneError: There is none.
            UnreadableFileError: As ``read``.
        """
        if self._local is None or name.format == "text":
            return (await self.read(name, path)).seen
        data, mark = await asyncio.to_thread(self._local.read_bytes, path)
        return Seen(Stamp(*mark), await asyncio.to_thread(self._local.hash_of, data))

    async def torn(self, path: str, mark: str) -> Seen | None:
        """A file that is the beginning of a content with this mark, as a write in place leaves it; else None.

        Raises:
            FileGoneError: There is none.
            UnreadableFileError: It cannot be read.
        """
        if self._local is None or not mark:
            return None
        data, stamp = await asyncio.to_thread(self._local.read_bytes, path)
        if not await asyncio.to_thread(is_beginning, mark, data):
            return None
        return Seen(Stamp(*stamp), await asyncio.to_thread(self._local.hash_of, data))

    async def read(self, name: DocumentName, path: str) -> DiskFile:
        """A file as this document shows it.

        Raises:
            FileGoneError: There is none.
            UnreadableFileError: It is not what the document's format says: no UTF-8, no notebook.
        """
        if self._local is not None:
            raw, file_hash, mark = await self._local.read(path, name.type, name.format)
            stamp = Stamp(*mark)
        else:
            raw, file_hash, stamp = await self._asked_content(name, path)
        text = raw if isinstance(raw, str) and name.format == "text" else ""
        content = await asyncio.to_thread(self._as_content, name, raw)
        return DiskFile(content, file_hash or _own_hash(content), stamp, text)

    @staticmethod
    def _as_content(name: DocumentName, raw: Any) -> Content:
        if isinstance(raw, str):
            if issubclass(document_class(name.type), YBlob):
                return base64.b64decode(raw)
            return to_lf(raw) if name.format == "text" else raw
        return from_file(raw)

    async def write(
        self, name: DocumentName, path: str, content: Content, before: Seen, guard: Guard
    ) -> Written | None:
        """Put a content in a file that is still as it was; None when the guard said no.

        Args:
            name: The document.
            path: Its file.
            content: What to write.
            before: What the file was when it was looked at last.
            guard: Asked right before the rename; not at all when the file has this content already.

        Raises:
            FileGoneError: There is no such file any more.
            FileChangedError: It is not what it was (only local files are looked at again).
            SaveFailedError: The disk, the manager or a hook did not let it.
        """
        raw = await asyncio.to_thread(self._as_raw, name, content, before.text)
        model = {"type": _model_type(name), "format": name.format, "content": raw}
        if self._local is not None:
            written = await in_own_task(self._local.write(path, model, before.hash, before.stamp.mark, guard))
            if written is None:
                return None
            text = raw if name.format == "text" and "\r" in raw else ""
            return Written(Seen(Stamp(*written[1]), written[0], text))
        return await self._asked_to_save(name, path, model, content, before, guard)

    @staticmethod
    def _as_raw(name: DocumentName, content: Content, file_text: str) -> Any:
        if isinstance(content, bytes):
            return base64.encodebytes(content).decode()
        if isinstance(content, str):
            return restored(content, file_text) if name.format == "text" else content
        return for_file(content)

    # -- other managers

    async def _model(self, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            model = await in_own_task(_answer(self._contents.get, path, **arguments))
        except HTTPError as error:
            if error.status_code == 404:
                raise FileGoneError(path) from error
            raise UnreadableFileError(path, error.log_message or str(error)) from error
        return dict(model)

    async def _asked_stamp(self, path: str) -> Stamp | None:
        try:
            return _model_stamp(await self._model(path, content=False))
        except (FileGoneError, UnreadableFileError):
            return None

    async def _asked_content(self, name: DocumentName, path: str) -> tuple[Any, str, Stamp]:
        kind = {"type": _model_type(name), "format": name.format}
        try:
            model = await self._model(path, content=True, require_hash=True, **kind)
        except TypeError:  # a manager from before jupyter_server 2.12 takes no require_hash
            model = await self._model(path, content=True, **kind)
        return model["content"], str(model.get("hash") or ""), _model_stamp(model)

    async def _asked_to_save(
        self, name: DocumentName, path: str, model: dict[str, Any], content: Content, before: Seen, guard: Guard
    ) -> Written | None:
        if not await guard(_own_hash(content), ""):
            return None
        if not await self.exists(path):
            raise FileGoneError(path)
        try:
            saved = _model_stamp(await in_own_task(_answer(self._contents.save, model, path)))
        except HTTPError as error:
            raise SaveFailedError(path, error.log_message or str(error)) from error
        seen = (await self.read(name, path)).seen
        if seen.stamp.mark == saved.mark:
            return Written(seen)
        return Written(Seen(saved, _own_hash(content), before.text))  # somebody has written since, and is to be heard


def _model_type(name: DocumentName) -> str:
    return "notebook" if name.type == "notebook" else "file"


def _model_stamp(model: dict[str, Any]) -> Stamp:
    mark = (str(model.get("last_modified")), model.get("size"), model.get("hash"))
    return Stamp(mark[:2], bool(model.get("writable", True)))


def _own_hash(content: Content) -> str:
    """For a manager that tells none."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()
