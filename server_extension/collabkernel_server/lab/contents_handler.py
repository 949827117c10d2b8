"""``GET api/contents``: Jupyter's own answer, but in step with the documents, and ``writable`` is said of who asks.

Jupyter says whether the server's process may write a file. JupyterLab marks a document that is not writable as
read-only, and answers Ctrl+S there with a notice that goes away; for one that it takes for writable and that its user
may only read, each Ctrl+S would end in a dialog of failure.

At Ctrl+S a page asks for the hash of the file, and when that is not the hash that it has taken in, asks its user
whether to overwrite the file. So the hash of an open document's file is told when the pages of who asks know it already
(``hash_news.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.services.contents.handlers import ContentsHandler, default_handlers

from collabkernel_server.lab.service import LAB_SETTING, LabService


class PersonalContentsHandler(ContentsHandler):
    """Jupyter's handler of files, asked by somebody."""

    _may_write = True

    async def prepare(self) -> Awaitable[None] | None:  # type: ignore[override]  # Tornado takes both
        """Ask the authorizer once, whatever the folder holds."""
        await super().prepare()
        if self.request.method == "GET" and self.current_user is not None:
            question = self.authorizer.is_authorized(self, self.current_user, "write", self.auth_resource)
            self._may_write = bool(await ensure_async(question))
        return None

    async def get(self, path: str = "") -> None:
        """Answer when the pages of an open document know what is to be told."""
        lab: LabService = self.settings[LAB_SETTING]
        path = path.strip("/")
        documents = None if self.current_user is None else lab.loaded
        asks_hash, asks_all = (
            self.get_query_argument(name, default) for name, default in (("hash", "0"), ("content", "1"))
        )
        is_check = asks_hash == "1" and asks_all == "0"
        async with documents.shown(path, self._user) if documents and is_check else contextlib.nullcontext():
            answered = super().get(path)
            if answered is not None:
                await answered
        if documents and not is_check and asks_all == "0" and self.get_query_argument("type", "") == "":
            documents.asked(path, self._user)

    @property
    def _user(self) -> str:
        return str(self.current_user.username)

    def _finish_model(self, model: dict[str, Any], location: bool = True) -> None:
        # Jupyter's only place between the contents manager and the answer.
        super()._finish_model(model if self._may_write else _read_only(model), location)  # type: ignore[no-untyped-call]  # Jupyter's


def _read_only(model: dict[str, Any]) -> dict[str, Any]:
    changed = {**model, "writable": False}
    if model.get("type") == "directory" and isinstance(model.get("content"), list):
        changed["content"] = [_read_only(entry) for entry in model["content"]]
    return changed


CONTENTS_HANDLERS: list[tuple[str, type[Any]]] = [
    # All of them, in their order: an address that ends in /checkpoints would be a file's as well.
    (pattern, PersonalContentsHandler if handler is ContentsHandler else handler)
    for pattern, handler in default_handlers
    if pattern.startswith("/api/contents")
]
