"""REST beside the rooms: list, state, delete, info, and tickets.

An error is answered with ``{"message", "code", "retry_after_ms"}``.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from collabkernel.errors import CollabKernelError
from collabkernel.wire.messages import Role
from collabkernel_server.handler import ApiError, RoomsHandlerBase, api_error
from collabkernel_server.identity import RESOURCE, principal_of, role_of
from collabkernel_server.tickets import check_origin_name, mint

PAGE_ROOMS_MAX = 1000
PIECE_ITEMS = 500
"""Members of a piece of JSON: under a millisecond."""
BODY_BYTES_MAX = 4096
"""A ticket request names a room and an origin."""


def answers_errors(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Turn our errors into HTTP answers with their code."""

    @functools.wraps(method)
    async def answer(self: Any, **path: str) -> None:
        try:
            await method(self, **path)
        except CollabKernelError as error:
            raise api_error(error) from error

    return answer


def authorized_to_read(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Ask the authorizer for ``read``, whatever the HTTP method: a reader may have a ticket too."""
    guarded: Callable[..., Awaitable[None]] = authorized(action="read", resource=RESOURCE)(method)
    return guarded


class RoomsApiHandler(RoomsHandlerBase, APIHandler):
    """Base of the REST handlers."""

    def reply(self, value: object) -> None:
        """Finish with JSON; never a NaN, which JSON has not."""
        self.finish(json.dumps(value, allow_nan=False, ensure_ascii=False))


def json_pieces(value: Any) -> Iterator[str]:
    """A value as JSON in pieces: one call for all of a room holds every other thread up until it is done."""
    if isinstance(value, dict) and value:
        opening, closing = "{}"
        items = iter(value.items())
        encode = _dumped_members
    elif isinstance(value, list) and value:
        opening, closing = "[]"
        items = iter(value)
        encode = _dumped_items
    else:
        yield _dumps(value)
        return
    while part := list(itertools.islice(items, PIECE_ITEMS)):
        for text in encode(part):
            yield opening
            yield from text
            opening = ","
    yield closing


def _dumped_members(part: list[tuple[str, Any]]) -> Iterator[Iterable[str]]:
    if any(isinstance(value, dict | list) for _, value in part):
        for key, value in part:
            yield itertools.chain((_dumps(key), ":"), json_pieces(value))
    else:
        yield (_dumps(dict(part))[1:-1],)


def _dumped_items(part: list[Any]) -> Iterator[Iterable[str]]:
    if any(isinstance(value, dict | list) for value in part):
        for value in part:
            yield json_pieces(value)
    else:
        yield (_dumps(part)[1:-1],)


_dumps = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


class RoomsHandler(RoomsApiHandler):
    """``GET collabkernel/api/rooms?limit=&after=``."""

    @web.authenticated
    @authorized
    @answers_errors
    async def get(self) -> None:
        """Rooms by name; ``next`` is the ``after`` of the following page, or null."""
        limit = self._limit()
        after = self.get_query_argument("after", "")
        hub = await self.service.hub()
        rooms = await hub.list_rooms(limit, after)
        self.reply({"rooms": rooms, "next": rooms[-1]["room"] if len(rooms) == limit else None})

    def _limit(self) -> int:
        text = self.get_query_argument("limit", str(PAGE_ROOMS_MAX))
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= PAGE_ROOMS_MAX:
            raise ApiError(400, "bad-request", f"limit must be 1 to {PAGE_ROOMS_MAX}")
        return int(text)


class RoomHandler(RoomsApiHandler):
    """``collabkernel/api/rooms/{room}``."""

    @web.authenticated
    @authorized
    @answers_errors
    async def get(self, room_id: str) -> None:
        """The room's state as plain JSON, and who is in it."""
        self.service.check_room_name(room_id)
        hub = await self.service.hub()
        state = await hub.room_state(room_id)
        self.finish(await asyncio.to_thread(lambda: "".join(json_pieces(state))))

    @web.authenticated
    @authorized
    @answers_errors
    async def delete(self, room_id: str) -> None:
        """Delete the room, its log and its snapshots; whoever is in it is told so."""
        self.service.check_room_name(room_id)
        hub = await self.service.hub()
        await hub.delete_room(room_id)
        self.set_status(204)
        self.finish()


class KernelApiHandler(RoomsApiHandler):
    """Handlers that the kernels' scoped token opens too."""

    async def prepare(self) -> None:  # type: ignore[override]  # as APIHandler has it
        """Accept the kernels' token, or leave it to Jupyter."""
        if not self.accept_kernel():
            await super().prepare()


class InfoHandler(KernelApiHandler):
    """``GET collabkernel/api/info``."""

    @web.authenticated
    @authorized
    @answers_errors
    async def get(self) -> None:
        """Version, limits, how much is loaded, and who is asking with which role."""
        role = await role_of(self, self.user)
        who = principal_of(self.user, role or Role.READER)
        hub = await self.service.hub()
        user = {"actor": who.actor, "name": who.name, "color": who.color, "role": who.role.name.lower()}
        self.reply(hub.info() | {"user": user})


class TicketHandler(KernelApiHandler):
    """``POST collabkernel/api/auth_ticket`` with ``{"room", "origin"?}``."""

    @web.authenticated
    @authorized_to_read
    @answers_errors
    async def post(self) -> None:
        """A one-use ticket for the room's WebSocket.

        The answer is ``{"ticket", "expires_ms", "url"}``: ``expires_ms`` is in milliseconds since the Unix epoch,
        ``url`` the WebSocket's, to which ``?auth_ticket=`` is added. ``origin`` allows one page of another origin to
        use it. Any server on the database takes it.
        """
        room_id, origin = self._request()
        self.service.check_room_name(room_id)
        hub = await self.service.hub()
        hub.check_open()
        role = await role_of(self, self.user)
        if role is None:
            raise ApiError(403, "access-denied", "you may not read rooms on this server")
        ttl_ms = self.service.limits.ticket_ttl_ms
        ticket, expires_ms = await mint(hub.tickets, room_id, self.user, role, origin, ttl_ms)
        self.set_header("Cache-Control", "no-store")
        self.reply({"ticket": ticket, "expires_ms": expires_ms, "url": self._socket_url(room_id)})

    def _request(self) -> tuple[str, str]:
        if len(self.request.body) > BODY_BYTES_MAX:
            raise ApiError(413, "too-large", f"a ticket request has at most {BODY_BYTES_MAX} bytes")
        try:
            body = json.loads(self.request.body or b"null")
        except (ValueError, RecursionError):
            raise ApiError(400, "bad-request", 'the body must be JSON such as {"room": "planning"}') from None
        if not isinstance(body, dict) or not isinstance(body.get("room"), str) or body.keys() - {"room", "origin"}:
            raise ApiError(400, "bad-request", 'the body must be {"room": name} with an optional "origin"')
        origin = body.get("origin", "")
        if not isinstance(origin, str):
            raise ApiError(400, "bad-request", '"origin" must be a string such as "https://example.org"')
        return body["room"], check_origin_name(origin) if origin else ""

    def _socket_url(self, room_id: str) -> str:
        scheme = "wss" if self.request.protocol == "https" else "ws"
        return f"{scheme}://{self.request.host}{self.base_url}collabkernel/api/rooms/{room_id}/ws"
