"""``api/kernels/{id}/execute``: stock JupyterLab asks for cells to be run here when its page config says so."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.serverapp import ServerApp
from tornado import web

from collabkernel.errors import CollabKernelError
from collabkernel.limits import Limits
from collabkernel.wire.messages import Role
from collabkernel_server.handler import ApiError
from collabkernel_server.lab.api import LabApiHandler, Method, authorized_to_write, lab_error
from collabkernel_server.lab.execute import Executor, KernelUnknownError
from collabkernel_server.lab.execution_queue import CellUnknownError
from collabkernel_server.lab.identity import document_principal
from collabkernel_server.lab.kernel_runner import OpenedDocument, Workshop
from collabkernel_server.lab.names import DocumentName
from collabkernel_server.lab.output_files import OutputFiles
from collabkernel_server.lab.server_life import ServerLife

EXECUTOR_SETTING = "collabkernel_executor"
RESOURCE = "kernels"
"""What an authorizer is asked about, as for Jupyter's own ways to run code; and for ``write`` of ``contents``."""


def make_executor(
    serverapp: ServerApp,
    open_document: Callable[[str], Awaitable[OpenedDocument]],
    limits: Limits,
    files: OutputFiles,
    life: ServerLife,
) -> Executor:
    """What runs cells; nothing happens before somebody asks."""
    assert serverapp.event_logger is not None
    return Executor(serverapp.kernel_manager, serverapp.event_logger, Workshop(limits, files, open_document, life))


def _authorized(action: str) -> Callable[[Method], Method]:
    """Ask the authorizer for an action on kernels, whatever the HTTP method."""

    def guard(method: Method) -> Method:
        guarded: Method = authorized(action=action, resource=RESOURCE)(method)
        return guarded

    return guard


def _answers_errors(method: Method) -> Method:
    """Turn our errors into HTTP answers with their code."""

    @functools.wraps(method)
    async def answer(self: Any, kernel_id: str) -> None:
        try:
            await method(self, kernel_id)
        except (KernelUnknownError, CellUnknownError) as error:
            raise ApiError(404, error.code, str(error)) from error
        except CollabKernelError as error:
            raise lab_error(error) from error

    return answer


class ExecuteHandler(LabApiHandler):
    """Queues a cell, and tells of the queue."""

    auth_resource = RESOURCE

    @property
    def executor(self) -> Executor:
        """The one of this server process."""
        executor: Executor = self.settings[EXECUTOR_SETTING]
        return executor

    @web.authenticated
    @_authorized("execute")
    @authorized_to_write
    @_answers_errors
    async def post(self, kernel_id: str) -> None:
        """202 when the cell is queued: ``{"cell_id", "document_id", "ahead"}``; it runs, whoever is connected then."""
        body = self.body()
        cell_id, document_id = body.get("cell_id"), body.get("document_id")
        if not isinstance(cell_id, str) or not isinstance(document_id, str):
            raise ApiError(400, "bad-request", '"cell_id" and "document_id" must be strings')
        name = DocumentName.parse(document_id)
        if name is None or name.type != "notebook":
            raise ApiError(400, "bad-request", '"document_id" must be a notebook\'s')
        actor = document_principal(self, self.user, Role.WRITER).actor
        (await self.lab.hub()).check_ban(document_id, actor)
        ahead = await self.executor.request(kernel_id, document_id, cell_id, actor)
        self.reply({"cell_id": cell_id, "document_id": document_id, "ahead": ahead}, 202)

    @web.authenticated
    @_authorized("read")
    @_answers_errors
    async def get(self, kernel_id: str) -> None:
        """What runs and what waits, in order: ``[{"cell_id", "document_id", "user", "state"}]``."""
        self.reply(
            [
                {
                    "cell_id": request.cell_id,
                    "document_id": request.document_id,
                    "user": request.actor,
                    "state": "running" if is_running else "queued",
                }
                for request, is_running in self.executor.queue(kernel_id)
            ]
        )
