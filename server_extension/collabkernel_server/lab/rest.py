"""REST beside the rooms of documents: forks, and looking back. Addresses below ``api/collaboration/``.

``GET fork/{document}``, ``PUT fork/{document}``, ``DELETE fork/{fork}?merge=true``
    list the forks of a document, make one, and end one, with its edits brought to its root.
``GET timeline/{path}?format=&type=``
    tells when a document was edited, and makes a fork that shows it.
``PUT undo_redo/{document}?action=&steps=&forkRoom=``
    brings that fork back and forth.
"""

from __future__ import annotations

import dataclasses

from tornado import web

from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from collabkernel_server.handler import ApiError
from collabkernel_server.lab.api import (
    SESSION_ID,
    LabApiHandler,
    answers_errors,
    authorized_to_read,
    authorized_to_write,
)
from collabkernel_server.lab.forks import Fork
from collabkernel_server.lab.identity import document_principal
from collabkernel_server.lab.names import FORMATS, DocumentName, is_document_type
from collabkernel_server.lab.timeline import find_steps, read_history, show

TITLE_CHARS_MAX = 1000
STEPS_MAX = 10_000


class _Handler(LabApiHandler):
    def principal(self) -> Principal:
        """Who asks, as documents know him."""
        return document_principal(self, self.user, Role.WRITER)

    def argument(self, name: str) -> str:
        """A query argument. JupyterLab puts two ampersands between them, which makes no difference."""
        value = self.get_query_argument(name, None)
        if value is None:
            raise ApiError(400, "bad-request", f"the query argument {name!r} is missing")
        return value


class ForkHandler(_Handler):
    """Forks of one document, or one fork."""

    @web.authenticated
    @authorized_to_read
    @answers_errors
    async def get(self, root: str) -> None:
        """``{fork: fork_info}``."""
        forks = await (await self.lab.forks()).of(root)
        self.reply({fork.id: fork.info() for fork in forks if not fork.is_history})

    @web.authenticated
    @authorized_to_write
    @answers_errors
    async def put(self, root: str) -> None:
        """A new fork: ``{"sessionId", "fork_roomid", "fork_info"}``."""
        body = self.body()
        title, description = body.get("title") or "", body.get("description") or ""
        synchronize = body.get("synchronize", False)
        texts = (title, description)
        if not all(isinstance(text, str) and len(text) <= TITLE_CHARS_MAX for text in texts):
            raise ApiError(400, "bad-request", f"title and description are strings of up to {TITLE_CHARS_MAX}")
        if not isinstance(synchronize, bool):
            raise ApiError(400, "bad-request", '"synchronize" is true or false')
        principal = self.principal()
        await self.lab.find_room(root, principal)
        about = {"title": title, "description": description, "synchronize": synchronize}
        fork = await (await self.lab.forks()).make(root, principal, **about)
        self.lab.events.fork(fork.id, fork.info(), principal.actor, "create")
        self.reply({"sessionId": SESSION_ID, "fork_roomid": fork.id, "fork_info": fork.info()}, 201)

    @web.authenticated
    @authorized_to_write
    @answers_errors
    async def delete(self, fork_id: str) -> None:
        """End a fork; with ``merge=true`` its root gets its edits."""
        forks = await self.lab.forks()
        fork = await forks.get(fork_id)
        await forks.delete(fork, merge=self.get_query_argument("merge", "") == "true")
        self.lab.events.fork(fork.id, fork.info(), self.principal().actor, "delete")
        self.set_status(200)
        self.finish()


class TimelineHandler(_Handler):
    """When a document was edited."""

    @web.authenticated
    @authorized_to_read
    @answers_errors
    async def get(self, path: str) -> None:
        """``{"roomId", "timestamps", "forkRoom", "sessionId"}``, the timestamps in seconds since the epoch."""
        file_format, file_type = self.argument("format"), self.argument("type")
        file_id = await (await self.lab.documents()).ids.id_of(path.strip("/"))
        if file_id is None or file_format not in FORMATS or not is_document_type(file_type):
            raise ApiError(404, "not-found", f"there is no document at {path!r}")
        root = DocumentName(file_format, file_type, file_id).room_id
        await self.lab.find_room(root, self.principal())
        async with self.lab.histories.turn():
            history = await read_history(await self.lab.hub(), root)
            steps = await find_steps(history, file_type, self.service.limits.timeline_step_ms)
        forks = await self.lab.forks()
        seqs = tuple(step.seq for step in steps) or (0,)
        fork = await forks.make(root, self.principal(), seqs=seqs, at=len(seqs) - 1)
        times = [step.at_ms / 1000 for step in steps]
        self.reply({"roomId": root, "timestamps": times, "forkRoom": fork.id, "sessionId": SESSION_ID})


class UndoRedoHandler(_Handler):
    """A fork that shows a history, step by step."""

    @web.authenticated
    @authorized_to_read
    @answers_errors
    async def put(self, root: str) -> None:
        """``{"status": "undone"}``, ``{"status": "redone"}``, or ``{"error"}`` when there is nowhere to go."""
        action, forks = self.argument("action"), await self.lab.forks()
        fork = await forks.get(self.argument("forkRoom"))
        if fork.root != root or not fork.is_history:
            raise ApiError(404, "not-found", "there is no such history of this document")
        if action == "restore":
            # The page has the old content by now, and brings it to the document when it joins that again.
            self.reply({"code": 200, "status": "Document restored successfully"})
            return
        await self._go(fork, action)

    async def _go(self, fork: Fork, action: str) -> None:
        steps = self._steps()
        if action not in ("undo", "redo"):
            raise ApiError(400, "bad-request", "the action is undo, redo or restore")
        wanted = fork.at - steps if action == "undo" else fork.at + steps
        at = min(max(0, wanted), len(fork.seqs) - 1)
        if at == fork.at:
            self.reply({"error": f"No more {action} operations available"})
            return
        forks = await self.lab.forks()
        async with self.lab.histories.turn(), forks.opened(fork) as client:
            await show(await self.lab.hub(), client, fork.root, fork.seqs[at])
        await forks.put(dataclasses.replace(fork, at=at))
        self.reply({"status": "undone" if action == "undo" else "redone"})

    def _steps(self) -> int:
        text = self.argument("steps")
        if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= STEPS_MAX:
            raise ApiError(400, "bad-request", f"steps is a number from 1 to {STEPS_MAX}")
        return int(text)
