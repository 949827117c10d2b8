"""``GET api/collaboration/outputs/{hash}.{suffix}``: outputs that were too large for their notebooks.

They come from whoever ran code, so a browser must take none of them for a page of this server: each has one type of a
short list, which is not guessed at, and a policy that takes this server's origin from it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.utils import url_path_join
from sqlalchemy.engine import make_url
from tornado import web

from collabkernel.limits import Limits
from collabkernel_server.handler import ApiError, RoomsHandlerBase
from collabkernel_server.lab.api import RESOURCE, authorized_to_read
from collabkernel_server.lab.output_files import OutputFiles
from collabkernel_server.lab.output_links import KINDS, Kind

OUTPUTS_SETTING = "collabkernel_outputs"
CHUNK_BYTES = 1 << 18
"""Read and sent at a time, so that a large file is never whole in memory."""
KEEP_S = 365 * 24 * 3600
"""How long a browser may keep one: its address is its content's."""


def default_folder(db_url: str) -> Path:
    """Beside a SQLite database, so that servers which share it share them; else in Jupyter's data directory."""
    url = make_url(db_url)
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        return Path(str(url.database)).with_name("outputs")
    return Path(jupyter_data_dir(), "collabkernel", "outputs")


def make_files(folder: Path, base_url: str, limits: Limits) -> OutputFiles:
    """The files of this server; nothing is made before the first comes."""
    address = url_path_join(base_url, "api/collaboration/outputs/")
    return OutputFiles(folder, address, limits.output_files_bytes, limits.output_file_bytes)


class OutputHandler(RoomsHandlerBase):
    """Gives them to who may read contents."""

    auth_resource = RESOURCE
    _kind: Kind | None = None

    @property
    def content_security_policy(self) -> str:
        """Jupyter's, and what takes the rights of this server's pages from a file."""
        policy = str(super().content_security_policy)
        return policy if self._kind is None else f"{policy}; {self._kind.policy}"

    @web.authenticated
    @authorized_to_read
    async def get(self, name: str) -> None:
        """200 with the file, 304, or 404 for one that is not kept any more."""
        files: OutputFiles = self.settings[OUTPUTS_SETTING]
        path = await asyncio.to_thread(files.find, name)
        if path is None:
            raise ApiError(404, "output-gone", "this output is not kept any more; run its cell again")
        self._kind = KINDS[name.rsplit(".", 1)[1]]
        self.set_header("Content-Security-Policy", self.content_security_policy)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Type", self._kind.content_type)
        self.set_header("Cache-Control", f"private, max-age={KEEP_S}, immutable")
        self.set_header("Etag", f'"{name}"')
        if self._kind.is_download:
            self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        if self.check_etag_header():
            self.set_status(304)
            return
        with await asyncio.to_thread(path.open, "rb") as file:
            await self._send(file, path.stat().st_size)

    async def _send(self, file: IO[bytes], size_bytes: int) -> None:
        self.set_header("Content-Length", str(size_bytes))
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            self.write(chunk)
            await self.flush()
