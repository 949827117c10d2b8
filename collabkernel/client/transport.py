"""Lines to a server: what a connection needs of one, and the WebSocket with its login."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn, Protocol, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.http11 import Response
from websockets.typing import Subprotocol

from collabkernel.client.actors import Authors, Origin
from collabkernel.client.past import When
from collabkernel.client.servers import Servers
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

_log = logging.getLogger("collabkernel.websocket")
_log.setLevel(logging.INFO)  # below, websockets would log the token among the headers

T = TypeVar("T")

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
    def servers(self) -> Servers:
        """Where the room is; all that is asked here is asked of the one that it is at."""

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


class _Answer:
    """The answer to an upgrade, as a cookie jar looks at it."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def info(self) -> http.client.HTTPMessage:
        """Its cookies."""
        found = http.client.HTTPMessage()
        for cookie in self._response.headers.get_all("Set-Cookie"):
            found["Set-Cookie"] = cookie
        return found


class _SharedCookies(DefaultCookiePolicy):
    """The cookie of one server is shown to the others: who names them together says that they are one service."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__()
        self._hosts = {urllib.parse.urlsplit(url).netloc for url in urls}

    def domain_return_ok(self, domain: str, request: urllib.request.Request) -> bool:  # noqa: ARG002  # as it is called
        """Whether cookies go to this server at all."""
        return request.host in self._hosts

    def path_return_ok(self, path: str, request: urllib.request.Request) -> bool:  # noqa: ARG002  # as it is called
        """Base URLs may differ."""
        return True

    def return_ok(self, cookie: Cookie, request: urllib.request.Request) -> bool:
        """Whether a cookie goes to this server."""
        is_known = request.host in self._hosts
        return is_known and self.return_ok_secure(cookie, request) and self.return_ok_expires(cookie, request)


class _Connect(connect):
    """Goes where it was sent, and nowhere from there: the token is for the server that was named."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """A redirect is a refusal."""
        return exc


class WebSocketConnector:
    """Opens WebSockets to a room of Jupyter servers with the extension, with the same login as any request there."""

    def __init__(self, servers: Servers, room_id: str, token: Callable[[], str], limits: Limits) -> None:
        """Prepare; nothing is opened.

        Args:
            servers: Base URLs of Jupyter servers on one database, as ``checked_url`` makes them.
            room_id: The room's name.
            token: Gives the token, empty for none; asked each time, since a restarted server has a new one.
            limits: Frame sizes and timeouts.
        """
        self.servers = servers
        self._room_id = room_id
        self._token = token
        self._limits = limits
        # The server knows the user of a bare token by a cookie alone: without it each line is another anonymous user.
        self._cookies = CookieJar(_SharedCookies(servers.urls))
        cookies = urllib.request.HTTPCookieProcessor(self._cookies)
        self._http = urllib.request.build_opener(cookies)
        self._local_http = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))

    async def open(self) -> Link:
        """A new WebSocket, Hello not yet said."""
        base_url = self.servers.url
        request = urllib.request.Request(f"{base_url}{self._socket_path()}")
        headers = await _in_thread(base_url, partial(self._login, request))
        try:
            socket = await _Connect(
                self._socket_url(base_url),
                subprotocols=[SUBPROTOCOL],
                additional_headers=headers,
                compression=None,
                max_size=self._limits.server_frame_bytes,
                logger=_log,
                open_timeout=self._limits.connect_timeout_ms / 1000,
                proxy=None if _is_loopback(base_url) else True,
            )
        except InvalidStatus as error:
            self._refused(base_url, error.response.status_code, bytes(error.response.body or b""))
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, WebSocketException) as error:
            raise LinkError(f"no server answers at {base_url}: {error}") from error
        if socket.response is not None:
            self._cookies.extract_cookies(_Answer(socket.response), request)  # type: ignore[arg-type]  # it has what is used
        return WebSocketLink(socket)

    def _login(self, request: urllib.request.Request) -> dict[str, str]:
        """The headers that say who asks. In a thread: the token may be in a file."""
        self._authorize(request)
        self._cookies.add_cookie_header(request)
        return dict(request.unredirected_hdrs)

    def _authorize(self, request: urllib.request.Request) -> None:
        """Put the token into a request, for the server that was named alone."""
        if token := self._token():
            request.add_unredirected_header("Authorization", f"token {token}")

    async def ticket(self, origin: str = "") -> dict[str, str]:
        """A fresh one-use ticket and the WebSocket's URL."""
        base_url = self.servers.url
        body = {"room": self._room_id, "origin": origin} if origin else {"room": self._room_id}
        timeout_s = self._limits.connect_timeout_ms / 1000
        ask = partial(self._ask, base_url, "auth_ticket", timeout_s, REPLY_BYTES_MAX, body)
        answer = await _in_thread(base_url, ask)
        reply = _from_json(base_url, answer)
        try:
            return {"url": self._socket_url(base_url), "ticket": str(reply["ticket"])}
        except (KeyError, TypeError):
            raise LinkError(f"{base_url} answered no ticket; is it a Jupyter server with collabkernel?") from None

    def _socket_path(self) -> str:
        return f"collabkernel/api/rooms/{urllib.parse.quote(self._room_id, safe='')}/ws"

    def _socket_url(self, base_url: str) -> str:
        """The socket's URL as this client reaches the server, which may know itself by another name."""
        base = urllib.parse.urlsplit(base_url)
        scheme = "wss" if base.scheme == "https" else "ws"
        return urllib.parse.urlunsplit((scheme, base.netloc, f"{base.path}{self._socket_path()}", "", ""))

    async def past(self, when: When) -> bytes:
        """The room as it was."""
        query = f"seq={when.seq}" if when.seq is not None else f"time_ms={when.at_ms}"
        path = f"rooms/{urllib.parse.quote(self._room_id, safe='')}/past?{query}"
        bytes_max = self._limits.server_frame_bytes
        base_url = self.servers.url
        return await _in_thread(base_url, partial(self._ask, base_url, path, PAST_TIMEOUT_S, bytes_max))

    async def authors(self, ops: Sequence[OpId], sites: Sequence[int]) -> Authors:
        """Who made operations, and who writes as sites."""
        base_url = self.servers.url
        path = f"rooms/{urllib.parse.quote(self._room_id, safe='')}/authors"
        timeout_s, body = self._limits.connect_timeout_ms / 1000, {"ops": ops, "sites": sites}
        answer = await _in_thread(base_url, partial(self._ask, base_url, path, timeout_s, AUTHORS_BYTES_MAX, body))
        reply = _from_json(base_url, answer)
        try:
            origins = {OpId(site, counter): Origin(*origin) for site, counter, *origin in reply["ops"]}
            return Authors(origins, dict(reply["sites"]))
        except (KeyError, TypeError, ValueError):
            raise LinkError(f"{base_url} answered no authors; is it a newer or older server?") from None

    def _ask(self, base_url: str, path: str, timeout_s: float, reply_bytes_max: int, body: object = None) -> bytes:
        """The answer to a REST request: a POST of ``body`` if there is one."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{base_url}collabkernel/api/{path}", data, {"Content-Type": "application/json"}
        )
        self._authorize(request)
        opener = self._local_http if _is_loopback(base_url) else self._http
        try:
            with opener.open(request, timeout=timeout_s) as reply:
                found: bytes = reply.read(reply_bytes_max + 1)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(base_url, error.code, error.read(REPLY_BYTES_MAX))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LinkError(f"no server answers at {base_url}: {error}") from error
        if len(found) > reply_bytes_max:
            raise LinkError(f"{base_url} answered over {reply_bytes_max} bytes")
        return found

    def _refused(self, base_url: str, status: int, body: bytes) -> NoReturn:
        try:
            reply = json.loads(body)
            message, code, retry_ms = str(reply["message"]), str(reply.get("code") or ""), reply.get("retry_after_ms")
        except (ValueError, KeyError, TypeError):
            message, code, retry_ms = "", "", None
        if code == TooLargeError.code:
            raise LimitError(message)
        if status in (401, 403):
            raise AccessError(
                f"{base_url} refuses this token ({status} {message}); pass token=, or start it as a kernel there"
            )
        if status == 404 and code != "room-not-found":
            raise RoomNotFoundAtServerError(base_url)
        if status == 404:
            raise RoomNotFoundError(self._room_id)
        if status == 400 and code not in ("", "subprotocol-required"):  # those are of something on the way
            raise InvalidValueError(message)
        if status < 400:
            message = "where a WebSocket was wanted; is it a Jupyter server with collabkernel, and this its URL?"
        raise LinkError(f"{base_url} answered {status} {message}", retry_ms if isinstance(retry_ms, int) else None)


async def _in_thread(base_url: str, work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except RuntimeError as error:  # at the interpreter's exit no thread can be started
        raise LinkError(f"nothing can be asked of {base_url} any more: {error}") from error


def _from_json(base_url: str, answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError as error:
        raise LinkError(f"no server answers at {base_url}: {error}") from error


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
        InvalidValueError: It is no ``http(s)://host...`` URL, or has a password in it.
    """
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidValueError(f'url is "http(s)://host:port/base/" or "memory://", not {base_url!r}')
    if "@" in parts.netloc:  # it would be shown, and saved in notebooks
        raise InvalidValueError(
            "url has a name or password in it; pass token=, or put it into a file that is yours alone"
        )
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


FATAL_ERRORS = (AccessError, LocalProtocolError, RoomNotFoundError)
"""Answers that another try will not change."""
