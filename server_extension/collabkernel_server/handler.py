"""What every handler of the extension does alike: find the service, know the kernels' token, answer errors as JSON."""

from __future__ import annotations

import json
from http.client import responses
from types import TracebackType
from typing import Any

from jupyter_server import CallContext
from jupyter_server.auth import User
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from collabkernel.errors import (
    AccessError,
    CollabKernelError,
    InvalidRoomNameError,
    InvalidValueError,
    RoomNotFoundError,
    ServerStoppingError,
    StorageError,
    TooManyError,
)
from collabkernel_server.identity import RESOURCE
from collabkernel_server.service import RoomService

SERVICE_SETTING = "collabkernel_service"
_CODE_BY_STATUS = {400: "bad-request", 403: "access-denied", 404: "not-found", 405: "method-not-allowed"}
# First match counts, so a subclass stands before its base.
_STATUS_BY_ERROR: tuple[tuple[type[CollabKernelError], int], ...] = (
    (InvalidRoomNameError, 400),
    (InvalidValueError, 400),
    (RoomNotFoundError, 404),
    (ServerStoppingError, 503),
    (StorageError, 503),
    (TooManyError, 429),
    (AccessError, 403),
)


class ApiError(web.HTTPError):
    """An HTTP refusal with a stable code."""

    def __init__(self, status: int, code: str, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(status, message)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms


def api_error(error: CollabKernelError) -> ApiError:
    """The HTTP answer that tells of one of our errors."""
    status = next((status for kind, status in _STATUS_BY_ERROR if isinstance(error, kind)), 500)
    return ApiError(status, error.code, error.told, error.retry_after_ms)


class RoomsHandlerBase(JupyterHandler):
    """Base of our REST and WebSocket handlers; stands before Jupyter's or Tornado's own."""

    auth_resource = RESOURCE

    @property
    def service(self) -> RoomService:
        """The one of this server process."""
        service: RoomService = self.settings[SERVICE_SETTING]
        return service

    @property
    def user(self) -> User:
        """Who asks; for handlers that ``@authenticated`` guards."""
        user = self.current_user
        assert isinstance(user, User)
        return user

    def accept_kernel(self) -> bool:
        """Set the request's user if it carries the kernels' token; otherwise it is for Jupyter to know who asks.

        No XSRF check then, as for any token in a header: a page of another site cannot send one.

        Raises:
            HTTPError: As ``accept_user``.
        """
        user = self.service.credential.user_of(self.request.headers.get("Authorization", ""))
        if user is not None:
            self.accept_user(user)
        return user is not None

    def accept_user(self, user: User | None) -> None:
        """Set the request's user without Jupyter's identity provider; for credentials that are our own.

        Raises:
            HTTPError: 403 for a host name that this server does not answer to.
        """
        CallContext.set(CallContext.JUPYTER_HANDLER, self)
        self._set_user(None)
        if not self.check_host():
            raise web.HTTPError(403)
        self._set_user(user)

    def _set_user(self, user: User | None) -> None:
        # Both names, as JupyterHandler.prepare does; the second one is what its own checks look at.
        self.current_user = user
        self._jupyter_current_user = user

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer ``{"message", "code", "retry_after_ms"}``."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        reply: dict[str, Any] = {
            "message": responses.get(status_code, "unknown error"),
            "code": _CODE_BY_STATUS.get(status_code, "error"),
            "retry_after_ms": None,
        }
        if isinstance(error, ApiError):
            reply.update(message=error.message, code=error.code, retry_after_ms=error.retry_after_ms)
            if error.retry_after_ms is not None:
                self.set_header("Retry-After", str(-(-error.retry_after_ms // 1000)))
        elif isinstance(error, web.HTTPError) and status_code < 500:
            reply["message"] = error.get_message() or reply["message"]
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(reply))

    def log_exception(
        self,
        typ: type[BaseException] | None,  # noqa: ARG002  # Tornado's signature
        value: BaseException | None,
        tb: TracebackType | None,  # noqa: ARG002  # Tornado's signature
    ) -> None:
        """Log without the query: Tornado's own line has the whole URI, ticket included."""
        where = f"{self.request.method} {self.request.path}"
        if isinstance(value, web.HTTPError) and value.status_code < 500:
            self.log.debug("%s: %d %s", where, value.status_code, value.get_message())
        elif isinstance(value, ApiError):
            self.log.warning("%s: %d %s", where, value.status_code, value.message)
        else:
            self.log.error("collabkernel: %s failed", where, exc_info=value)
