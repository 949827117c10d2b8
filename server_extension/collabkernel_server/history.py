"""REST for a room's past: what it was at a seq or a time, and who made what in it. Whoever may read may ask."""

from __future__ import annotations

import json
from typing import Any

from tornado import web

from collabkernel.crdt.clock import ms_from_hlc
from collabkernel.limits import COUNTER_MAX, SITE_MAX
from collabkernel_server.handler import ApiError
from collabkernel_server.rest import KernelApiHandler, answers_errors, authorized_to_read

NUMBER_DIGITS = 16
"""Of a seq or a time."""
ASKED_BYTES_MAX = 256 << 10
"""A question for authors: 5,000 operations and as many sites, in decimals."""


class PastHandler(KernelApiHandler):
    """``GET collabkernel/api/rooms/{room}/past?seq=`` or ``?time_ms=``."""

    @web.authenticated
    @authorized_to_read
    @answers_errors
    async def get(self, room_id: str) -> None:
        """The room as it was, as the bytes of a ``RoomState`` (collab.proto); ``time_ms`` since the Unix epoch."""
        self.service.check_room_name(room_id)
        seq, time_ms = self._number("seq"), self._number("time_ms")
        hub = await self.service.hub()
        state = await hub.past.state_at(room_id, seq=seq, at_ms=time_ms)
        self.set_header("Cache-Control", "no-store")
        self.finish(state, set_content_type="application/octet-stream")

    def _number(self, name: str) -> int | None:
        text = self.get_query_argument(name, None)
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS:
            raise ApiError(400, "bad-request", f"{name} must be a whole number")
        return int(text)


class AuthorsHandler(KernelApiHandler):
    """``POST collabkernel/api/rooms/{room}/authors`` with ``{"ops": [[site, counter], ...], "sites": [site, ...]}``."""

    @web.authenticated
    @authorized_to_read
    @answers_errors
    async def post(self, room_id: str) -> None:
        """Who made operations, and who writes as sites.

        The answer is ``{"ops": [[site, counter, seq, time_ms, actor], ...], "sites": [[site, actor], ...]}``, of those
        that the room has.
        """
        self.service.check_room_name(room_id)
        ops, sites = self._asked()
        hub = await self.service.hub()
        found = await hub.past.authors(room_id, ops, sites)
        told = [[row.site, row.counter, row.seq, ms_from_hlc(row.hlc), row.actor] for row in found.ops]
        self.reply({"ops": told, "sites": [list(each) for each in found.actor_by_site.items()]})

    def _asked(self) -> tuple[list[tuple[int, int]], list[int]]:
        if len(self.request.body) > ASKED_BYTES_MAX:
            raise ApiError(413, "too-large", f"a question for authors has at most {ASKED_BYTES_MAX} bytes")
        try:
            body = json.loads(self.request.body or b"null")
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or body.keys() - {"ops", "sites"}:
            raise _bad_question()
        ops, sites = body.get("ops", []), body.get("sites", [])
        if not isinstance(ops, list) or not isinstance(sites, list):
            raise _bad_question()
        if not all(_is_number(site, SITE_MAX) for site in sites):
            raise _bad_question()
        pairs = [tuple(op) for op in ops if isinstance(op, list) and len(op) == 2]
        if len(pairs) < len(ops) or not all(_is_number(s, SITE_MAX) and _is_number(c, COUNTER_MAX) for s, c in pairs):
            raise _bad_question()
        return pairs, sites


def _is_number(value: Any, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= highest


def _bad_question() -> ApiError:
    return ApiError(400, "bad-request", 'the body must be {"ops": [[site, counter], ...], "sites": [site, ...]}')
