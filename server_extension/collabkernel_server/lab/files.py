"""File ids: a file keeps its id, and so its document, wherever Jupyter moves it; kept in the shared database.

What people do through the contents manager is followed by its events. What they do behind its back is not: a file that
was moved by hand is another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from jupyter_events import EventLogger
from jupyter_server.services.contents.manager import ContentsManager

from collabkernel.errors import InvalidValueError
from collabkernel.storage.base import FileRow, Storage
from collabkernel_server.lab.disk import Disk
from collabkernel_server.lab.file_errors import FileGoneError

log = logging.getLogger(__name__)


def _is_plain(path: str) -> bool:
    """Whether it is the one way to write this path: ``a/../b`` would be a second file with the same content."""
    return not {"", ".", ".."} & set(path.split("/"))


class FileIds:
    """Ids of the files of one contents manager."""

    def __init__(self, storage: Storage, contents: ContentsManager, disk: Disk, now_ms: Callable[[], int]) -> None:
        self._storage = storage
        self.contents = contents
        self._disk = disk
        self._now_ms = now_ms
        self._is_following = False
        self.on_changed: list[Callable[[Sequence[str]], None]] = []
        """Called with the ids of files that were moved or deleted through Jupyter."""

    def follow(self) -> None:
        """Listen to what the contents manager does."""
        self.contents.event_logger.add_listener(schema_id=self.contents.event_schema_id, listener=self._on_event)
        self._is_following = True

    def stop(self) -> None:
        """Listen no more."""
        if self._is_following:
            self.contents.event_logger.remove_listener(schema_id=self.contents.event_schema_id, listener=self._on_event)
            self._is_following = False

    async def index(self, path: str) -> tuple[str, bool]:
        """The id of a file, and whether it is new.

        Raises:
            FileGoneError: There is no such file, and its id is not known.
        """
        path = path.strip("/")
        if not _is_plain(path):
            raise FileGoneError(path)
        try:
            known = await self._storage.file_by_path(path, create=False, now_ms=self._now_ms())
            if known is not None:
                return known.file_id, False
            if not await self._disk.exists(path):
                raise FileGoneError(path)
            made = await self._storage.file_by_path(path, create=True, now_ms=self._now_ms())
        except InvalidValueError as error:
            raise FileGoneError(path) from error
        assert made is not None
        return made.file_id, True

    async def id_of(self, path: str) -> str | None:
        """The id of a file that has one."""
        try:
            row = await self._storage.file_by_path(path.strip("/"), create=False, now_ms=self._now_ms())
        except InvalidValueError:
            return None
        return None if row is None else row.file_id

    async def path_of(self, file_id: str) -> str | None:
        """Where a file is; None when it was deleted, or never was."""
        row = await self.row(file_id)
        return None if row is None or row.deleted else row.path

    async def row(self, file_id: str) -> FileRow | None:
        """All that is known of a file."""
        return await self._storage.file_by_id(file_id)

    async def restore(self, file_id: str) -> bool:
        """A deleted file is there again."""
        return await self._storage.restore_file(file_id, self._now_ms())

    async def moved(self, old: str, new: str) -> None:
        """A file, or a directory with all that is below it, is elsewhere now."""
        rows = await self._storage.move_file(old.strip("/"), new.strip("/"), self._now_ms())
        self._tell([row.file_id for row in rows])

    async def deleted(self, path: str) -> None:
        """A file, or a directory, is gone."""
        await self._storage.delete_file(path.strip("/"), self._now_ms())
        self._tell(())

    async def _on_event(self, logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:  # noqa: ARG002
        try:
            match data:
                case {"action": "rename", "source_path": str(old), "path": str(new)}:
                    await self.moved(old, new)
                case {"action": "delete", "path": str(path)}:
                    await self.deleted(path)
                case {"action": "copy", "path": str(path)}:
                    # A file that was there before, and was taken away behind our back, is not the copy.
                    await self.deleted(path)
        except InvalidValueError as error:
            log.warning("%s of %s is not followed: %s", data.get("action"), data.get("path"), error)

    def _tell(self, file_ids: Sequence[str]) -> None:
        for callback in tuple(self.on_changed):
            callback(file_ids)
