"""Local files of the stock contents managers, read and written in threads with what those managers do around it.

The stock asynchronous manager checks signatures, validates and converts on the loop: 20 MB of notebook hold it up for
half a second. Here only hooks and the signature database stay there, for they belong to the loop's thread.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import logging
import os
import secrets
import stat
import string
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any

import nbformat
from jupyter_core.paths import is_hidden
from jupyter_server.services.contents.filemanager import FileContentsManager
from jupyter_server.services.contents.manager import ContentsManager
from jupyter_server.utils import ensure_async
from tornado.web import HTTPError

from collabkernel_server.lab.file_errors import FileChangedError, FileGoneError, SaveFailedError, UnreadableFileError
from collabkernel_server.lab.torn import mark_of

log = logging.getLogger(__name__)
Guard = Callable[[str, str], Awaitable[bool]]
"""Asked with the hash of what is about to be put in place (empty when unknown), and with its ``mark_of`` when it is to
be written over the old content, empty for a rename. False: it must not be."""
Mark = tuple[tuple[int, int, int, int], bool]
"""What changes with the file, and whether it may be written."""
READ_TRIES = 5
"""A file that is written while it is read is read again."""
WATCHED_MAX = 10_000
"""Paths whose place on disk is remembered: as many as rooms."""
LEFT_OVER_S = 3600
"""No save takes as long: a temporary file this old is nobody's."""
_TOKEN_BYTES = 4
_OWN_WAYS = (
    "get", "save", "_get_os_path", "_read_notebook", "_read_file", "_save_notebook", "_save_file", "_notebook_model",
    "_file_model", "mark_trusted_cells", "check_and_sign",
)  # fmt: skip


def is_stock(contents: ContentsManager) -> bool:
    """Whether a manager's files can be read and written past it: local ones, without ways of its own."""
    if not isinstance(contents, FileContentsManager):
        return False
    return all(getattr(type(contents), way).__module__.startswith("jupyter_server.") for way in _OWN_WAYS)


class LocalFiles:
    """Files below a stock manager's root. What raises raises ``FileError``."""

    def __init__(self, contents: ContentsManager) -> None:
        assert isinstance(contents, FileContentsManager)
        self._contents = contents
        # Opened by whoever asks first, and SQLite's connection is that thread's alone; ours is the event loop's.
        self._signatures = contents.notary.store
        self._watched: dict[str, str] = {}
        """Where a path is on disk."""
        self._swept: set[str] = set()
        """Files beside which nothing is left of saves that a crash cut short."""

    # -- in a thread

    def stamps(self, paths: Iterable[str]) -> dict[str, Mark | None]:
        """Of each path what it is now; None where there is no file."""
        return {path: self._stamp(path) for path in paths}

    def _stamp(self, path: str) -> Mark | None:
        try:
            # Who looks each second looks where he looked before: a hidden or outside path was refused then.
            os_path = self._watched.get(path) or self._os_path(path)
            status = os.stat(os_path)
            self._watched[path] = os_path
            return (_stamp_of(status), os.access(os_path, os.W_OK)) if stat.S_ISREG(status.st_mode) else None
        except (OSError, FileGoneError):
            self._watched.pop(path, None)
            return None
        finally:
            if len(self._watched) > WATCHED_MAX:
                self._watched.clear()

    def _os_path(self, path: str) -> str:
        try:
            os_path: str = self._contents._get_os_path(path.strip("/"))
        except HTTPError as error:  # outside the root
            raise FileGoneError(path) from error
        if not self._contents.allow_hidden and is_hidden(os_path, self._contents.root_dir):
            raise FileGoneError(path)
        if not os.path.isfile(os_path):
            raise FileGoneError(path)
        return os_path

    def is_there(self, path: str) -> bool:
        """Whether there is a file; of a hidden one nobody is told."""
        try:
            self._os_path(path)
        except FileGoneError:
            return False
        return True

    def _real_path(self, path: str) -> str:
        return os.path.realpath(self._os_path(path))

    def read_bytes(self, path: str) -> tuple[bytes, Mark]:
        """The whole file, as it was at one time."""
        os_path = self._os_path(path)
        try:
            for _ in range(READ_TRIES):
                before = _mark(os_path)
                with open(os_path, "rb") as file:
                    data = file.read()
                if _mark(os_path) == before:
                    return data, before
        except FileNotFoundError as error:
            raise FileGoneError(path) from error
        except OSError as error:
            raise UnreadableFileError(path, f"cannot be read: {error.strerror}") from error
        raise FileChangedError(path)

    def hash_of(self, data: bytes) -> str:
        """As the manager would tell it."""
        return str(self._contents._get_hash(data)["hash"])

    # -- on the loop

    async def read(self, path: str, type_name: str, format_name: str) -> tuple[Any, str, Mark]:
        """What ``get`` would give, its hash, and when that was."""
        data, mark = await asyncio.to_thread(self.read_bytes, path)
        file_hash = await asyncio.to_thread(self.hash_of, data)
        if type_name == "notebook":
            notebook, signature = await asyncio.to_thread(self._parsed, path, data)
            notary = self._contents.notary
            notary.mark_cells(notebook, self._signatures.check_signature(signature, notary.algorithm))
            return notebook, file_hash, mark
        if format_name == "base64":
            return base64.encodebytes(data).decode(), file_hash, mark
        return _decoded(path, data), file_hash, mark

    def _parsed(self, path: str, data: bytes) -> tuple[Any, str]:
        text = _decoded(path, data)
        try:
            notebook = nbformat.reads(text, as_version=4, capture_validation_error={})
        except Exception as error:  # nbformat raises whatever its parts raise
            raise UnreadableFileError(path, f"is no notebook: {error}") from error
        return notebook, self._contents.notary.compute_signature(notebook)

    async def write(
        self, path: str, model: dict[str, Any], old_hash: str, before: Hashable, guard: Guard
    ) -> tuple[str, Mark] | None:
        """Do what ``save`` would, with one rename; None when the guard said no. What is there already stays."""
        contents = self._contents
        if contents.pre_save_hook is not None or contents._pre_save_hooks:
            model = await asyncio.to_thread(copy.deepcopy, model)  # hooks change it in place
            try:
                contents.run_pre_save_hooks(model=model, path=path)
            except HTTPError as error:
                raise SaveFailedError(path, error.log_message or str(error)) from error
        try:
            data, signature = await asyncio.to_thread(self._encoded, model)
            file_hash = await asyncio.to_thread(self.hash_of, data)
            if signature:
                self._signatures.store_signature(signature, contents.notary.algorithm)
            if file_hash == old_hash:
                os_path = await asyncio.to_thread(self._os_path, path)
                return file_hash, await asyncio.to_thread(self._checked, path, os_path, before)
            mark = await self._put(path, data, before, lambda mark: guard(file_hash, mark))
        except OSError as error:
            raise SaveFailedError(path, f"cannot be written: {error.strerror or error}") from error
        if mark is None:
            return None
        await self._after_save(path, model)
        return file_hash, mark

    def _encoded(self, model: dict[str, Any]) -> tuple[bytes, str]:
        content = model["content"]
        if model["type"] != "notebook":
            return (content.encode() if model["format"] == "text" else base64.b64decode(content)), ""
        notebook = nbformat.from_dict(content)
        notary = self._contents.notary
        is_trusted = notary.check_cells(notebook)  # takes the marks out, too
        signature = notary.compute_signature(notebook) if is_trusted else ""
        text = nbformat.writes(notebook, version=nbformat.NO_CONVERT, capture_validation_error={})
        return (text if text.endswith("\n") else text + "\n").encode(), signature

    async def _put(
        self, path: str, data: bytes, before: Hashable, guard: Callable[[str], Awaitable[bool]]
    ) -> Mark | None:
        os_path = await asyncio.to_thread(self._real_path, path)
        temporary = await asyncio.to_thread(self._temporary, os_path, data)
        try:
            if not await guard(await asyncio.to_thread(mark_of, data) if temporary is None else ""):
                return None
            mark = await asyncio.to_thread(self._in_place, path, os_path, before, temporary, data)
            temporary = None
            return mark
        finally:
            if temporary is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)

    def _temporary(self, os_path: str, data: bytes) -> str | None:
        """The content in a file beside it; None when a rename would do harm, or cannot be."""
        folder, name = os.path.split(os_path)
        status = os.stat(os_path)
        # A rename makes another file: hard links would go on with the old one, and so would its owner.
        is_shared = status.st_nlink > 1 or status.st_uid != os.geteuid()
        if is_shared or not os.access(folder, os.W_OK) or not self._contents.use_atomic_writing:
            return None
        begin = f".~{name[:100]}."
        if os_path not in self._swept:
            _sweep(folder, begin)
            self._swept.add(os_path)
        temporary = os.path.join(folder, begin + secrets.token_hex(_TOKEN_BYTES))
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, status.st_mode & 0o7777)
        except OSError:  # a full disk: each try would leave one more there
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        return temporary

    def _in_place(self, path: str, os_path: str, before: Hashable, temporary: str | None, data: bytes) -> Mark:
        """Look a last time and put it there, without a turn for anybody else on the loop in between."""
        self._checked(path, os_path, before)
        return _overwrite(os_path, data) if temporary is None else _rename(temporary, os_path)

    def _checked(self, path: str, os_path: str, before: Hashable) -> Mark:
        try:
            mark = _mark(os_path)
        except FileNotFoundError as error:
            raise FileGoneError(path) from error
        if mark[0] != before:
            raise FileChangedError(path)
        return mark

    async def _after_save(self, path: str, model: dict[str, Any]) -> None:
        contents = self._contents
        try:
            if model["type"] == "notebook" and not await ensure_async(contents.list_checkpoints(path)):
                await ensure_async(contents.create_checkpoint(path))
            if contents.post_save_hook is not None or contents._post_save_hooks:
                saved = await ensure_async(contents.get(path, content=False))
                contents.run_post_save_hooks(model=saved, os_path=contents._get_os_path(path))
        except (HTTPError, OSError) as error:
            log.warning("%s is saved, but what follows a save failed: %s", path, error)
        contents.emit(data={"action": "save", "path": path})


def _sweep(folder: str, begin: str) -> None:
    """Take away temporary files that a crash left an hour ago or more."""
    with os.scandir(folder) as entries:
        for entry in entries:
            token = entry.name[len(begin) :] if entry.name.startswith(begin) else ""
            is_ours = len(token) == 2 * _TOKEN_BYTES and not token.strip(string.hexdigits)
            if is_ours and entry.stat().st_mtime < time.time() - LEFT_OVER_S:
                os.unlink(entry.path)


def _mark(os_path: str) -> Mark:
    return _stamp_of(os.stat(os_path)), os.access(os_path, os.W_OK)


def _stamp_of(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns


def _decoded(path: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UnreadableFileError(path, f"is not UTF-8 (at byte {error.start})") from error


def _overwrite(os_path: str, data: bytes) -> Mark:
    with open(os_path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return _stamp_of(os.fstat(file.fileno())), True


def _rename(temporary: str, os_path: str) -> Mark:
    """Put a file in its place; the mark is of what was put there, whoever has written there since."""
    before = _mark(temporary)
    os.replace(temporary, os_path)
    after = _mark(os_path)
    folder = os.open(os.path.dirname(os_path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    # The rename itself changes ctime, the last one.
    return after if after[0][:3] == before[0][:3] else before
