"""What operators and load balancers ask: may sessions be sent here, and are those that are here to go elsewhere.

An error is answered as all of REST's are. ``ready`` tells strangers no more than one word.
"""

from __future__ import annotations

import json

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from tornado import web

from collabkernel.errors import CollabKernelError, ServerDrainingError, ServerStoppingError
from collabkernel.server.drain import OVER_MS_MAX
from collabkernel_server.handler import ApiError
from collabkernel_server.rest import RoomsApiHandler, answers_errors

DRAIN_S = 10.0
"""What a drain takes unless its request says otherwise: a thousand sessions come to the others at 100 a second."""
BODY_BYTES_MAX = 1024
"""A drain's request is one number."""


class ReadyHandler(RoomsApiHandler):
    """``GET collabkernel/api/ready``."""

    @allow_unauthenticated
    async def get(self) -> None:
        """200 while sessions may be sent here, else 503; ``status`` is ready, draining, stopping or unavailable."""
        status = "ready"
        try:
            (await self.service.hub()).check_open()
        except ServerDrainingError:
            status = "draining"
        except ServerStoppingError:
            status = "stopping"
        except CollabKernelError:  # why is in the log, and not for everybody
            status = "unavailable"
        self.set_status(200 if status == "ready" else 503)
        self.set_header("Cache-Control", "no-store")
        self.reply({"status": status})


class DrainHandler(RoomsApiHandler):
    """``POST collabkernel/api/drain`` with ``{"seconds"?}``."""

    auth_resource = "server"
    """Who may do this may as well shut it down, which asks for the same."""

    @web.authenticated
    @authorized
    @answers_errors
    async def post(self) -> None:
        """Take no sessions any more, and send those that are here to other servers; answered as ``info``, at once."""
        seconds = self._seconds()
        hub = await self.service.hub()
        hub.drain(round(seconds * 1000))
        self.set_status(202)
        self.reply(hub.info())

    def _seconds(self) -> float:
        try:
            body = json.loads(self.request.body[:BODY_BYTES_MAX] or b"{}")
        except (ValueError, RecursionError):
            body = None
        most_s = OVER_MS_MAX / 1000
        seconds = body.get("seconds", DRAIN_S) if isinstance(body, dict) and not body.keys() - {"seconds"} else None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= most_s:
            raise ApiError(400, "bad-request", f'the body must be {{"seconds": 0 to {most_s:g}}} or empty')
        return float(seconds)
