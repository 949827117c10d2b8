"""What the REST handlers of JupyterLab's documents do alike: their errors, and their bodies."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler

from collabkernel.errors import CollabKernelError
from collabkernel_server.handler import ApiError, RoomsHandlerBase, api_error
from collabkernel_server.lab.file_errors import FileError
from collabkernel_server.lab.service import LAB_SETTING, LabService

RESOURCE = "contents"
"""What an authorizer is asked about: who may read files may join their rooms."""
SESSION_ID = "c4b6b7de-7a53-5d5c-9c4b-4b1a0b6f1f0e"
"""The same on every server, and never checked: a page may come back to any server that has the database."""
BODY_BYTES_MAX = 16 << 10
"""A body is a format and a type, or a title and a description."""

T = TypeVar("T")
Method: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
"""Of a handler, for an HTTP method."""


async def apart(work: Coroutine[Any, Any, T]) -> T:
    """The result of something that ran in a task of its own.

    An anyio worker thread ends with the task that first called for it. A socket's task lives as long as the socket, and
    such a thread would keep the process from exiting; so nothing that may use one is awaited there directly.
    """
    return await asyncio.create_task(work)


class LabApiHandler(RoomsHandlerBase, APIHandler):
    """Base of the REST handlers."""

    auth_resource = RESOURCE

    @property
    def lab(self) -> LabService:
        """The one of this server process."""
        lab: LabService = self.settings[LAB_SETTING]
        return lab

    def body(self) -> dict[str, Any]:
        """The request's JSON object.

        Raises:
            ApiError: 400, 413.
        """
        if len(self.request.body) > BODY_BYTES_MAX:
            raise ApiError(413, "too-large", f"the body has at most {BODY_BYTES_MAX} bytes")
        try:
            body = json.loads(self.request.body or b"null")
        except (ValueError, RecursionError):
            raise ApiError(400, "bad-request", "the body must be JSON") from None
        if not isinstance(body, dict):
            raise ApiError(400, "bad-request", "the body must be a JSON object")
        return body

    def reply(self, value: object, status: int = 200) -> None:
        """Finish with JSON."""
        self.set_status(status)
        self.finish(json.dumps(value, allow_nan=False))


def answers_errors(method: Method) -> Method:
    """Turn our errors into HTTP answers with their code."""

    @functools.wraps(method)
    async def answer(self: LabApiHandler, *path: str) -> None:
        try:
            await method(self, *path)
        except CollabKernelError as error:
            raise lab_error(error) from error

    return answer


def lab_error(error: CollabKernelError) -> ApiError:
    """The HTTP answer that tells of one of our errors, those of files among them."""
    return ApiError(error.status, error.code, str(error)) if isinstance(error, FileError) else api_error(error)


def authorized_to_read(method: Method) -> Method:
    """Ask the authorizer for ``read`` of contents, whatever the HTTP method."""
    guarded: Method = authorized(action="read", resource=RESOURCE)(method)
    return guarded


def authorized_to_write(method: Method) -> Method:
    """Ask the authorizer for ``write`` of contents, whatever the HTTP method."""
    guarded: Method = authorized(action="write", resource=RESOURCE)(method)
    return guarded
