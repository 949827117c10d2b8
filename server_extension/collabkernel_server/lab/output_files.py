"""Outputs too large for their documents: files named by the hashes of their contents, in a folder of bounded size."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from collabkernel_server.lab.output_links import KINDS, as_file, link_bundle, refused_bundle
from collabkernel_server.lab.outputs import bundle_bytes, value_bytes

log = logging.getLogger(__name__)
NAME = re.compile(rf"[0-9a-f]{{64}}\.(?:{'|'.join(KINDS)})")
CLEAN_TO = 0.9
"""A folder that is full is cleaned a little below its bound, so that not every new file cleans again."""
TEMPORARY_MAX_S = 24 * 3600.0
"""A file that a server had not finished when it died is removed after this."""
_TEMPORARY = ".part"


class OutputFiles:
    """The folder. Its methods read and write files, and are called in threads, but for a spool's small writes."""

    def __init__(self, folder: Path, address: str, total_bytes: int, file_bytes: int) -> None:
        """Prepare; nothing is made before the first output comes.

        Args:
            folder: Where the files are.
            address: What their names are put behind in links, with a slash at its end.
            total_bytes: Over this the files longest not asked for are removed.
            file_bytes: The largest file.
        """
        self._folder = folder
        self._address = address
        self._total_bytes = total_bytes
        self._file_bytes = file_bytes
        self._used_bytes: int | None = None
        self._lock = threading.Lock()

    def put(self, content: bytes, suffix: str) -> str:
        """Keep a file; its address.

        Raises:
            OSError: It cannot be written.
            ValueError: It is too large.
        """
        if len(content) > self._file_bytes:
            raise ValueError(f"it has {len(content)} bytes, over {self._file_bytes}")
        with self.begin() as file:
            file.write(content)
            file.close()
            return self.keep(Path(file.name), hashlib.sha256(content).hexdigest(), suffix, len(content))

    def find(self, name: str) -> Path | None:
        """The file of that name; it counts as used now."""
        if NAME.fullmatch(name) is None:
            return None
        path = self._folder / name[:2] / name
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def spool(self) -> TextSpool:
        """A file to be written piece by piece."""
        return TextSpool(self, self._file_bytes)

    def offload(
        self, data: Mapping[str, Any], inline_bytes: int, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A bundle of representations with the largest ones in files, so that the rest fits."""
        kept = dict(data)
        links: list[dict[str, Any]] = []
        for mime in sorted(data, key=lambda mime: value_bytes(data[mime]), reverse=True):
            if bundle_bytes(kept) <= inline_bytes:
                break
            links.append(self._moved(mime, kept.pop(mime), (metadata or {}).get(mime)))
        page = "".join((str(kept.get("text/html", "")), *(link.get("text/html", "") for link in links)))
        if page:
            kept["text/html"] = page
        kept.setdefault("text/plain", "\n".join(link["text/plain"] for link in links))
        return kept

    # -- inside

    def _moved(self, mime: str, value: object, shape: object) -> dict[str, Any]:
        content, suffix = as_file(mime, value)
        try:
            return link_bundle(
                mime, self.put(content, suffix), len(content), shape if isinstance(shape, Mapping) else None
            )
        except (OSError, ValueError) as error:
            log.warning("an output is not kept: %s", error)
            return refused_bundle(str(error.strerror if isinstance(error, OSError) else error))

    def begin(self) -> IO[bytes]:
        """A file that has no name yet, for ``keep``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=self._folder, suffix=_TEMPORARY, delete=False)

    def keep(self, temporary: Path, digest: str, suffix: str, size_bytes: int) -> str:
        """Give a file that is written its name; its address."""
        name = f"{digest}.{suffix}"
        path = self._folder / name[:2] / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        is_new = not path.exists()
        temporary.replace(path)
        with self._lock:
            if self._used_bytes is None:
                self._used_bytes = sum(size for _, size, _ in self._kept_files())
            elif is_new:
                self._used_bytes += size_bytes
            if self._used_bytes > self._total_bytes:
                self._clean(spare=path)
        return self._address + name

    def _kept_files(self) -> list[tuple[float, int, Path]]:
        """When each was last asked for, its bytes, and where it is."""
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # another server cleans the same folder
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _clean(self, spare: Path) -> None:
        files = sorted(self._kept_files())
        used_bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if used_bytes <= CLEAN_TO * self._total_bytes:
                break
            if path != spare:
                path.unlink(missing_ok=True)
                used_bytes -= size
        self._used_bytes = used_bytes
        for path in self._folder.glob(f"*{_TEMPORARY}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > TEMPORARY_MAX_S:
                    path.unlink()


class TextSpool:
    """A text written piece by piece; kept under the hash of all of it."""

    def __init__(self, files: OutputFiles, file_bytes: int) -> None:
        self.size_bytes = 0
        """Of all that was written, also of what the file had no room for."""
        self._files = files
        self._file_bytes = file_bytes
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._kept_bytes = 0
        self._has_failed = False

    def write(self, text: str) -> None:
        """Add text; what is over the largest file is left out."""
        content = text.encode("utf-8", "replace")
        self.size_bytes += len(content)
        content = content[: self._file_bytes - self._kept_bytes]
        if not content or self._has_failed:
            return
        try:
            if self._file is None:
                self._file = self._files.begin()
            self._file.write(content)
        except OSError as error:
            log.warning("a text is not kept: %s", error)
            self._has_failed = True
            return
        self._digest.update(content)
        self._kept_bytes += len(content)

    def close(self) -> str:
        """Its address; empty when it could not be kept."""
        if self._file is None or self._has_failed:
            self.discard()
            return ""
        try:
            self._file.close()
            path = Path(self._file.name)
            return self._files.keep(path, self._digest.hexdigest(), "txt", self._kept_bytes)
        except OSError as error:
            log.warning("a text is not kept: %s", error)
            return ""

    def discard(self) -> None:
        """Forget it."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk fails at the last flush; the file goes all the same
                self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None
