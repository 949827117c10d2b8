"""Lines to a real Jupyter server, and what is said when there is none."""

from __future__ import annotations

import http.server
import logging
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from collabkernel import aio
from collabkernel.client.past import When
from collabkernel.client.servers import Servers
from collabkernel.client.transport import (
    LinkError,
    RoomNotFoundAtServerError,
    WebSocketConnector,
    checked_url,
)
from collabkernel.crdt.ids import OpId
from collabkernel.errors import AccessError, InvalidValueError, LimitError, RoomNotFoundError
from collabkernel.limits import Limits
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import Hello, SessionKind
from collabkernel.wire.room_state import decode_room
from collabkernel.wire.state import cut

pytestmark = pytest.mark.anyio


def at(*urls: str) -> Servers:
    return Servers(urls, random.Random(1))


def connector(url: str, token: str, room: str = "lines") -> WebSocketConnector:
    return WebSocketConnector(at(url), room, lambda: token, Limits())


async def test_a_line_takes_frames_both_ways(jupyter):
    link = await connector(jupyter.base_url, jupyter.kernel_token).open()

    await link.send(encode_client_message(Hello(SessionKind.SCRIPT, "test")))
    welcome = decode_server_message(await link.receive(), Limits()).welcome

    assert welcome is not None
    assert welcome.site > 0
    await link.close()
    await link.close()
    with pytest.raises(LinkError):
        await link.send(b"x")
    with pytest.raises(LinkError, match="closed"):  # noqa: PT012  # frames that came before the close come first
        while True:
            await link.receive()


async def test_one_script_is_one_user_on_every_line(jupyter):
    lines = connector(jupyter.base_url, jupyter.token)
    actors = set()
    for _ in range(2):
        link = await lines.open()
        await link.send(encode_client_message(Hello(SessionKind.SCRIPT, "test")))
        actors.add(decode_server_message(await link.receive(), Limits()).welcome.actor)
        await link.close()

    assert len(actors) == 1


async def test_a_ticket_for_a_browser_is_fresh_each_time(jupyter):
    lines = connector(jupyter.base_url, jupyter.kernel_token)

    first, second = await lines.ticket(), await lines.ticket("https://example.org")

    assert first["ticket"] != second["ticket"]
    assert first["url"] == f"ws{jupyter.base_url.removeprefix('http')}collabkernel/api/rooms/lines/ws"


async def test_a_wrong_token_is_refused_with_what_to_do(jupyter):
    with pytest.raises(AccessError, match="pass token="):
        await connector(jupyter.base_url, "wrong").open()


async def test_a_bad_room_name_is_refused(jupyter):
    with pytest.raises(InvalidValueError, match="room"):
        await connector(jupyter.base_url, jupyter.token, "no/slash").open()


async def test_the_past_and_its_authors_are_asked_of_the_server(jupyter):
    async with aio.connect("past-lines", url=jupyter.base_url, token=jupyter.token) as room:
        room.root.a = 1
        await room.flush()
        lines = connector(jupyter.base_url, jupyter.kernel_token, "past-lines")

        assert cut(await lines.past(When(seq=0))).seq == 0
        assert decode_room(await lines.past(When(at_ms=2**47)), None)[0].tree.to_json() == {"a": 1}
        with pytest.raises(InvalidValueError, match="log"):
            await lines.past(When(seq=99))
        with pytest.raises(RoomNotFoundError):
            await connector(jupyter.base_url, jupyter.token, "nowhere").past(When(seq=0))
        with pytest.raises(AccessError, match="pass token="):
            await connector(jupyter.base_url, "wrong", "past-lines").past(When(seq=0))
        op = OpId(room.site, 1)
        found = await lines.authors([op, OpId(room.site, 9)], [room.site, 1])
        assert found.actor_by_site == {room.site: room.me.actor}
        assert {each: (origin.seq, origin.actor) for each, origin in found.origin_by_op.items()} == {
            op: (1, room.me.actor)
        }


async def test_no_server_is_worth_another_try():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(LinkError, match="no server answers"):
        await connector(f"http://127.0.0.1:{port}/", "").open()


class Strange(http.server.BaseHTTPRequestHandler):
    """A server that is not ours: answers by the first part of the path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # http.server wants this name
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = {
            "/none/": (404, b"not here"),
            "/odd/": (200, b"[1]"),
            "/old/": (400, b'Can "Upgrade" only to "WebSocket".'),
            "/bare/": (400, b'{"message": "it is gone", "code": "subprotocol-required"}'),
            "/busy/": (503, b'{"message": "wait"}'),
            "/costly/": (403, b'{"message": "over it", "code": "too-large"}'),
        }[self.path.split("collabkernel")[0]]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815  # http.server wants this name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def strange() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strange)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("none", RoomNotFoundAtServerError, "jupyter server extension list"),
        ("odd", LinkError, "200 where a WebSocket was wanted"),
        ("busy", LinkError, "503 wait"),
        ("old", LinkError, "answered 400"),
        ("bare", LinkError, "400 it is gone"),
    ],
)
async def test_servers_that_are_not_ours(strange, path, error, message):
    with pytest.raises(error, match=message):
        await connector(f"{strange}{path}/", "").open()


async def test_a_server_that_gives_no_ticket(strange):
    with pytest.raises(LinkError, match="answered no ticket"):
        await connector(f"{strange}odd/", "").ticket()


class Visited(http.server.BaseHTTPRequestHandler):
    """Gives a ticket and a cookie, and remembers the cookies that it was shown; may send elsewhere instead."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # http.server wants this name
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        assert isinstance(server, Visits)
        server.cookies.append(self.headers.get("Cookie", ""))
        server.tokens.append(self.headers.get("Authorization", ""))
        self.send_response(302 if server.elsewhere else 200)
        self.send_header("Location", server.elsewhere)
        self.send_header("Set-Cookie", "who=ann; HttpOnly; Path=/base/")
        body = b'{"ticket": "t", "url": ""}'
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815  # http.server wants this name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Visits(http.server.ThreadingHTTPServer):
    """One such server."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visited)
        self.cookies: list[str] = []
        self.tokens: list[str] = []
        self.elsewhere = ""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


async def test_the_cookie_of_one_server_is_shown_to_the_others_and_to_nobody_else():
    with Visits() as one, Visits() as two, Visits() as stranger:
        urls = {f"http://127.0.0.1:{one.server_port}/base/": one, f"http://localhost:{two.server_port}/other/": two}
        lines = WebSocketConnector(at(*urls), "lines", lambda: "", Limits())
        first, (second,) = urls[lines.servers.url], set(urls.values()) - {urls[lines.servers.url]}
        await lines.ticket()
        await lines.ticket()
        assert first.cookies == ["", "who=ann"]

        lines.servers.leave()
        assert (await lines.ticket())["url"].startswith(lines.servers.url.replace("http", "ws"))
        assert second.cookies == ["who=ann"]

        second.elsewhere = f"http://127.0.0.1:{stranger.server_port}/base/"
        await lines.ticket()
        assert stranger.cookies == [""]

        with pytest.raises(LinkError, match="302 where a WebSocket was wanted"):
            await lines.open()
        assert "who=ann" in second.cookies[-1]
        assert stranger.cookies == [""], "a socket goes nowhere else"


async def test_a_token_goes_to_the_server_that_was_named_alone():
    with Visits() as one, Visits() as stranger:
        one.elsewhere = f"http://127.0.0.1:{stranger.server_port}/base/"
        lines = connector(f"http://127.0.0.1:{one.server_port}/base/", "secret")

        await lines.ticket()
        with pytest.raises(LinkError):
            await lines.open()

        assert one.tokens == ["token secret"] * 2
        assert stranger.tokens == [""]


async def test_a_token_is_not_logged(jupyter, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets").debug("is heard")
    link = await connector(jupyter.base_url, jupyter.kernel_token).open()
    await link.close()

    assert "is heard" in caplog.text
    assert jupyter.kernel_token not in caplog.text


async def test_a_past_that_costs_too_much_and_answers_that_are_none(strange):
    with pytest.raises(LimitError, match="over it"):
        await connector(f"{strange}costly/", "").past(When(seq=1))
    with pytest.raises(LinkError, match="no authors"):
        await connector(f"{strange}odd/", "").authors([], [1])
    with pytest.raises(LinkError, match="503 wait"):
        await connector(f"{strange}busy/", "").past(When(at_ms=1))
    small = WebSocketConnector(at(f"{strange}odd/"), "lines", lambda: "", replace(Limits(), server_frame_bytes=2))
    with pytest.raises(LinkError, match="over 2 bytes"):
        await small.past(When(seq=1))


def test_urls_are_checked():
    assert checked_url("http://host:1/base?token=x#y") == "http://host:1/base/"
    for wrong in ("host:8888", "ftp://host/", "http://", ""):
        with pytest.raises(InvalidValueError, match="memory://"):
            checked_url(wrong)
    with pytest.raises(InvalidValueError, match="token=") as raised:
        checked_url("https://ann:secret@host/")
    assert "secret" not in str(raised.value)
