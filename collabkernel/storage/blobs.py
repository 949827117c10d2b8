"""Blobs outside the database: files in a folder or an object store, by fsspec, from threads of our own.

A blob is one file::

    {blob_url}/{database}/{room}/{SHA-256 of its state}.{when it was written}.{chance}

where *when* is in milliseconds since the Unix epoch, by the clock of who wrote it.

Its *place* is that path below the URL, so the whole may be moved. A place is written once and never again: who needs a
blob that the database does not name writes it to a new one. So a place that the database does not name now, and that is
not just being written, will never be named, and may be removed whoever else is at work.

fsspec's drivers block, retry as they like, and raise what they like. Here each call has a time, few run at once, and
what fails is a ``BlobsAwayError``; then nobody asks for a while.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from collabkernel import metrics
from collabkernel.errors import BlobLostError, BlobsAwayError, StorageError
from collabkernel.storage.work_thread import WorkThread

log = logging.getLogger(__name__)

OUTSIDE_BYTES = 64 << 10
"""A blob from this size on, compressed, goes outside: below, a database has it before an object store, which takes tens
of milliseconds, has answered."""
CALL_S = 30.0
"""A call that has not ended by then is given up: 60 MB at 20 Mbit/s. A driver's own timeouts are shorter."""
CALLS_AT_ONCE = 4
"""Threads, one call in each; as many blobs are in memory twice. A thread whose call was given up is not used before
that call has ended."""
AWAY_S = 5.0
"""Who asks so soon after a call that failed is told the same at once: rooms that open do not wait one by one."""
GRACE_MS = 86_400_000
"""What nobody names is removed a day after it was written: far over what a save takes, or clocks differ."""
REMOVED_AT_ONCE = 100
"""Files that one call removes: 50 ms each are 5 s."""

_S3_CONFIG = {"connect_timeout": 3, "read_timeout": 10, "retries": {"max_attempts": 1}}
"""botocore's, in seconds: its own 60 s and four retries are for who has nobody else to ask ..."""
_S3_TRIES = 2
"""... and s3fs's, of which each has those."""
_NAME = re.compile(r"[0-9a-f]{64}\.(\d{13,15})\.[0-9a-f]{8}")

T = TypeVar("T")


class BlobStore:
    """Blobs by place. Used between ``open`` and ``close``, by one event loop."""

    def __init__(self, url: str, outside_bytes: int = OUTSIDE_BYTES) -> None:
        """Take a URL that fsspec knows, such as ``file:///srv/blobs`` or ``s3://bucket/prefix``; nothing is asked yet.

        Args:
            url: Without credentials: drivers take those from where they are configured.
            outside_bytes: Smaller blobs, compressed, stay in the database.

        Raises:
            StorageError: It is none, has credentials in it, or its driver is not installed.
        """
        self.outside_bytes = outside_bytes
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise StorageError(
                "a blob_url has no credentials or options in it: give them in the environment (AWS_ACCESS_KEY_ID, "
                "AWS_ENDPOINT_URL, ...) or in fsspec's own configuration"
            )
        self.url = url.rstrip("/")
        """Safe to be shown."""
        self._files, root = _file_system(self.url)
        self._root = root.rstrip("/")
        self._is_local = "file" in (self._files.protocol if isinstance(self._files.protocol, tuple) else ())
        self._space = ""
        self._is_open = False
        self._free: list[WorkThread] = []
        self._turns = asyncio.Semaphore(CALLS_AT_ONCE)
        self._away: tuple[float, str] | None = None
        """When it failed last (monotonic, seconds), and how."""

    def open(self, space: str) -> None:
        """Begin, as the database that has this folder."""
        self._space, self._is_open = space, True
        self._turns = asyncio.Semaphore(CALLS_AT_ONCE)
        self._free = [WorkThread(f"collabkernel-blobs-{n}") for n in range(CALLS_AT_ONCE)]

    def close(self) -> None:
        """Take no more calls; one that hangs ends by itself."""
        self._is_open = False
        while self._free:
            self._free.pop().end()

    async def write(self, room: int, name: str, data: bytes) -> str:
        """Write a blob, and say at which place it is then.

        Args:
            room: The room's key in the database.
            name: The hash of its state.
            data: The blob.

        Raises:
            BlobsAwayError: It was not taken.
        """
        place = f"{self._space}/{room}/{name}.{time.time_ns() // 1_000_000}.{secrets.token_hex(4)}"
        await self._call(lambda: self._write(self._path(place), data))
        return place

    def _write(self, path: str, data: bytes) -> None:
        if self._is_local:
            write_durably(Path(path), data)
        else:
            self._files.pipe_file(path, data)

    async def read(self, place: str, check: Callable[[bytes], T]) -> T:
        """What ``check``, in a thread, makes of a blob.

        Raises:
            BlobLostError: It is not there, or ``check`` says so.
            BlobsAwayError: Nobody knows.
        """

        def run() -> T:
            try:
                data = self._files.cat_file(self._path(place))
            except FileNotFoundError:
                raise BlobLostError(f"there is no {place} in {self.url}") from None
            return check(data)

        return await self._call(run)

    async def rooms(self) -> list[int]:
        """Keys of rooms that have, or had, blobs here."""
        found = await self._names(self._space)
        return sorted([int(name) for name in found if name.isdecimal()])

    async def old_places(self, room: int) -> list[str]:
        """Of a room, places written longer ago than the grace. Files that are none of ours are left alone."""
        before_ms = time.time_ns() // 1_000_000 - GRACE_MS
        names = [_NAME.fullmatch(name) for name in await self._names(f"{self._space}/{room}")]
        return [f"{self._space}/{room}/{name[0]}" for name in names if name is not None and int(name[1]) < before_ms]

    async def _names(self, folder: str) -> list[str]:
        def run() -> list[str]:
            try:
                found = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
            return [str(path).rstrip("/").rpartition("/")[2] for path in found]

        return await self._call(run)

    async def remove(self, places: list[str]) -> None:
        """Remove what nobody names, ``REMOVED_AT_ONCE`` at most."""

        def run() -> None:
            for place in places:
                with suppress(FileNotFoundError):
                    self._files.rm_file(self._path(place))

        await self._call(run)

    def _path(self, place: str) -> str:
        return f"{self._root}/{place}"

    async def _call(self, work: Callable[[], T]) -> T:
        """Run it in a thread, when there is one.

        Raises:
            BlobLostError: From ``work``.
            BlobsAwayError: Anything else went wrong, or it took too long.
        """
        try:
            async with asyncio.timeout(CALL_S):
                await self._turns.acquire()
            answer = self._begin(work)
            async with asyncio.timeout(CALL_S):
                result = await asyncio.shield(answer)
        except (BlobLostError, BlobsAwayError):
            raise
        except TimeoutError:
            raise self._failed("no answer in time") from None
        except Exception as error:  # drivers raise what they like; all of it is told
            raise self._failed(f"{type(error).__name__}: {error}") from error
        if self._away is not None:
            log.warning("Blobs in %s can be reached again", self.url)
            self._away = None
        return result

    def _begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Hand it to a thread, which is free again when it has ended."""
        is_away = self._away is not None and time.monotonic() < self._away[0] + AWAY_S
        if is_away or not self._is_open:
            self._turns.release()
            raise self._told(self._away[1] if self._away is not None else "this storage is closed")
        thread = self._free.pop()
        answer = thread.run(work)

        def done(ended: asyncio.Future[T]) -> None:
            if self._is_open:
                self._free.append(thread)
            else:
                thread.end()
            self._turns.release()
            if not ended.cancelled():
                ended.exception()  # whoever waited may be gone

        answer.add_done_callback(done)
        return answer

    def _failed(self, why: str) -> BlobsAwayError:
        metrics.blob_failures.inc()
        error = self._told(why)
        if self._away is None:
            log.error("Large parts of snapshots go into the database for now: %s", error)
        self._away = (time.monotonic(), why)
        return error

    def _told(self, why: str) -> BlobsAwayError:
        return BlobsAwayError(
            f"blobs in {self.url} cannot be reached: {why}. Check that it is there, the endpoint and the credentials"
        )


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file for its owner alone, so that a power cut cannot take it back. Blocks."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if os.name == "posix":  # elsewhere folders cannot be opened
        for folder in {path.parent, *[folder.parent for folder in missing]}:
            _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _file_system(url: str) -> tuple[Any, str]:
    """The driver for a URL, which caches nothing, and the path that it has there."""
    scheme, mark, rest = url.partition("://")
    if not mark or not rest.strip("/"):
        raise StorageError(f"{url!r} is no blob_url: write file:///srv/blobs, or s3://bucket/prefix")
    try:
        import fsspec

        options: dict[str, Any] = {"config_kwargs": _S3_CONFIG} if scheme in ("s3", "s3a") else {}
        files, root = fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **options)
    except ImportError as error:
        raise StorageError(
            f"the driver for {url} is not installed: pip install 'collabkernel[blobs]', 'collabkernel[s3]' for s3://, "
            f"or fsspec's own for another ({error})"
        ) from None
    except ValueError as error:
        raise StorageError(f"{url!r} is no blob_url: {error}") from None
    if scheme in ("s3", "s3a"):
        files.retries = _S3_TRIES
    return files, str(root)
