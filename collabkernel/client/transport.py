"""Lines to a server: what a connection needs of one, and the WebSocket with its ticket."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import Any, NoReturn, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from collabkernel.client.actors import Authors, Origin
from collabkernel.client.past import When
from collabkernel.crdt.ids import OpId
from collabkernel.errors import (
    AccessError,
    CollabKernelError,
    InvalidValueError,
    LimitError,
    LocalProtocolError,
    RoomNotFoundError,
    TooLargeError,
)
from collabkernel.limits import Limits

SUBPROTOCOL = Subprotocol("collabkernel.v1")
REPLY_BYTES_MAX = 64 << 10
"""An answer to a ticket request is a few hundred bytes."""
AUTHORS_BYTES_MAX = 2 << 20
"""5,000 operations, and as many sites, each with a name of 128 characters."""
PAST_TIMEOUT_S = 120.0
"""For a past state others may wait before us, and half a million operations are folded."""


class LinkError(CollabKernelError):
    """The server cannot be reached just now, or the line broke; worth another try."""

    code = "link"

    def __init__(self, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Link(Protocol):
    """An open line to one room."""

    async def send(self, frame: bytes) -> None:
        """Send one binary frame; waits while the line is full.

        Raises:
            LinkError: The line is closed.
        """

    async def receive(self) -> bytes:
        """The next binary frame.

        Raises:
            LinkError: The line is closed.
        """

    async def close(self) -> None:
        """Close it; idempotent."""


class Connector(Protocol):
    """Opens lines to one room."""

    @property
    def address(self) -> str:
        """What people call the server."""

    async def open(self) -> Link:
        """A new line.

        Raises:
            LinkError: The server does not answer; worth another try.
            AccessError, LocalProtocolError, RoomNotFoundError: It answers no; another try will not help.
        """

    async def ticket(self, origin: str = "") -> dict[str, str]:
        """A fresh ``{"url", "ticket"}`` for somebody else's line to this room, such as a browser's.

        Raises:
            LinkError, AccessError, LocalProtocolError: As ``open``; or this transport has no tickets.
        """

    async def past(self, when: When) -> bytes:
        """The room as it was, as the bytes of a ``RoomState``.

        Raises:
            InvalidValueError: The room's log is not as long.
            LinkError, AccessError, RoomNotFoundError: As ``open``; or making it costs too much.
        """

    async def authors(self, ops: Sequence[OpId], sites: Sequence[int]) -> Authors:
        """Who made operations, and who writes as sites, of those that the room has.

        Raises:
            LinkError, AccessError, RoomNotFoundError: As ``open``.
        """


@dataclass(frozen=True, slots=True)
class _Ticket:
    secret: str
    url: str


class WebSocketLink:
    """A WebSocket to one room."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        """Send one binary frame."""
        try:
            await self._socket.send(frame)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def receive(self) -> bytes:
        """The next binary frame."""
        try:
            frame = await self._socket.recv()
        except ConnectionClosed as error:
            raise _closed(error) from error
        if isinstance(frame, str):
            raise LinkError("the server sent text where the protocol has binary frames")
        return frame

    async def close(self) -> None:
        """Close it with 1000."""
        await self._socket.close()


def _closed(error: ConnectionClosed) -> LinkError:
    frame = error.rcvd
    return LinkError(f"closed: {frame.code} {frame.reason}" if frame is not None else "the connection broke")


class WebSocketConnector:
    """Opens WebSockets to a room of a Jupyter server with the extension, each with a ticket of its own."""

    def __init__(self, base_url: str, room_id: str, token: Callable[[], str], limits: Limits) -> None:
        """Prepare; nothing is opened.

        Args:
            base_url: Of the Jupyter server: ``http(s)://host:port/base/``.
            room_id: The room's name.
            token: Gives the token, empty for none; asked each time, since a restarted server has a new one.
            limits: Frame sizes and timeouts.
        """
        self._base_url = checked_url(base_url)
        self._room_id = room_id
        self._token = token
        self._limits = limits
        # The server knows the user of a bare token by a cookie alone: without it each ticket is another anonymous user.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPCookieProcessor(CookieJar())]
        if _is_loopback(self._base_url):
            handlers.append(urllib.request.ProxyHandler({}))
        self._http = urllib.request.build_opener(*handlers)

    @property
    def address(self) -> str:
        """The server's base URL."""
        return self._base_url

    async def open(self) -> Link:
        """A new WebSocket, Hello not yet said."""
        ticket = await self._mint("")
        secret = urllib.parse.quote(ticket.secret, safe="")
        url = f"{self._reachable(ticket.url)}?auth_ticket={secret}"
        try:
            socket = await connect(
                url,
                subprotocols=[SUBPROTOCOL],
                compression=None,
                max_size=self._limits.server_frame_bytes,
                open_timeout=self._limits.connect_timeout_ms / 1000,
                proxy=None if _is_loopback(self._base_url) else True,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, WebSocketException) as error:
            raise LinkError(f"no WebSocket at {self._base_url}: {_without(ticket.secret, error)}") from None
        return WebSocketLink(socket)

    async def ticket(self, origin: str = "") -> dict[str, str]:
        """A fresh one-use ticket and the WebSocket's URL."""
        ticket = await self._mint(origin)
        return {"url": self._reachable(ticket.url), "ticket": ticket.secret}

    def _reachable(self, url: str) -> str:
        """The socket's URL as this client reaches the server, which may know itself by another name."""
        base = urllib.parse.urlsplit(self._base_url)
        scheme = "wss" if base.scheme == "https" else "ws"
        room = urllib.parse.quote(self._room_id, safe="")
        path = urllib.parse.urlsplit(url).path or f"{base.path}collabkernel/api/rooms/{room}/ws"
        return urllib.parse.urlunsplit((scheme, base.netloc, path, "", ""))

    async def _mint(self, origin: str) -> _Ticket:
        timeout_s = self._limits.connect_timeout_ms / 1000
        try:
            reply = await asyncio.to_thread(self._post_ticket, origin, timeout_s)
        except RuntimeError as error:  # at the interpreter's exit no thread can be started
            raise LinkError(f"no ticket from {self._base_url}: {error}") from error
        try:
            return _Ticket(str(reply["ticket"]), str(reply["url"]))
        except (KeyError, TypeError):
            raise LinkError(f"{self._base_url} answered no ticket; is it a Jupyter server with collabkernel?") from None

    def _post_ticket(self, origin: str, timeout_s: float) -> Any:
        body = {"room": self._room_id, "origin": origin} if origin else {"room": self._room_id}
        return self._json(self._ask("auth_ticket", timeout_s, REPLY_BYTES_MAX, body))

    async def past(self, when: When) -> bytes:
        """The room as it was."""
        query = f"seq={when.seq}" if when.seq is not None else f"time_ms={when.at_ms}"
        path = f"rooms/{urllib.parse.quote(self._room_id, safe='')}/past?{query}"
        return await asyncio.to_thread(self._ask, path, PAST_TIMEOUT_S, self._limits.server_frame_bytes)

    async def authors(self, ops: Sequence[OpId], sites: Sequence[int]) -> Authors:
        """Who made operations, and who writes as sites."""
        path = f"rooms/{urllib.parse.quote(self._room_id, safe='')}/authors"
        timeout_s, body = self._limits.connect_timeout_ms / 1000, {"ops": ops, "sites": sites}
        reply = self._json(await asyncio.to_thread(self._ask, path, timeout_s, AUTHORS_BYTES_MAX, body))
        try:
            origins = {OpId(site, counter): Origin(*origin) for site, counter, *origin in reply["ops"]}
            return Authors(origins, dict(reply["sites"]))
        except (KeyError, TypeError, ValueError):
            raise LinkError(f"{self._base_url} answered no authors; is it a newer or older server?") from None

    def _json(self, reply: bytes) -> Any:
        try:
            return json.loads(reply)
        except ValueError as error:
            raise LinkError(f"no server answers at {self._base_url}: {error}") from error

    def _ask(self, path: str, timeout_s: float, reply_bytes_max: int, body: object = None) -> bytes:
        """The answer to a REST request: a POST of ``body`` if there is one."""
        headers = {"Content-Type": "application/json"}
        if token := self._token():
            headers["Authorization"] = f"token {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._base_url}collabkernel/api/{path}", data, headers)
        try:
            with self._http.open(request, timeout=timeout_s) as reply:
                found: bytes = reply.read(reply_bytes_max + 1)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error.code, error.read(REPLY_BYTES_MAX))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LinkError(f"no server answers at {self._base_url}: {error}") from error
        if len(found) > reply_bytes_max:
            raise LinkError(f"{self._base_url} answered over {reply_bytes_max} bytes")
        return found

    def _refused(self, status: int, body: bytes) -> NoReturn:
        try:
            reply = json.loads(body)
            message, code, retry_ms = str(reply["message"]), str(reply.get("code")), reply.get("retry_after_ms")
        except (ValueError, KeyError, TypeError):
            message, code, retry_ms = "", "", None
        if code == TooLargeError.code:
            raise LimitError(message)
        if status in (401, 403):
            raise AccessError(
                f"{self._base_url} refuses this token ({status} {message}); pass token=, or start it as a kernel there"
            )
        if status == 404 and code != "room-not-found":
            raise RoomNotFoundAtServerError(self._base_url)
        if status == 404:
            raise RoomNotFoundError(self._room_id)
        if status == 400:
            raise InvalidValueError(message or f"{self._base_url} refuses the room name {self._room_id!r}")
        raise LinkError(
            f"{self._base_url} answered {status} {message}", retry_ms if isinstance(retry_ms, int) else None
        )


class RoomNotFoundAtServerError(AccessError):
    """The server answers, but has no live rooms."""

    code = "no-extension"

    def __init__(self, base_url: str) -> None:
        super().__init__(
            f"the server at {base_url} has no live rooms: install collabkernel there and restart it, then see "
            "`jupyter server extension list`"
        )


def checked_url(base_url: str) -> str:
    """A server's base URL, ending in a slash.

    Raises:
        InvalidValueError: It is no ``http(s)://host...`` URL.
    """
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidValueError(f'url is "http(s)://host:port/base/" or "memory://", not {base_url!r}')
    path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _is_loopback(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without(secret: str, error: BaseException) -> str:
    return str(error).replace(secret, "...")


FATAL_ERRORS = (AccessError, LocalProtocolError, RoomNotFoundError)
"""Answers that another try will not change."""
