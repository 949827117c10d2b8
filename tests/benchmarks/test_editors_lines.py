"""The clients on one epoll, against a real WebSocket server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from tests.benchmarks.editors_lines import HEAD_BYTES, LARGE_BYTES, LineError, Lines
from tests.bounds import HANG_S

SMALL, LARGE = b"small", b"\x07" * (LARGE_BYTES * 3)


@pytest.fixture
def server() -> Iterator[Server]:
    """Says back what it is told; told a number, it says so many bytes, and told goodbye, that too."""

    def talk(connection: ServerConnection) -> None:
        for message in connection:
            if message == b"bye":
                connection.close(4001)
                return
            connection.send(LARGE[: int(message)] if isinstance(message, bytes) and message.isdigit() else message)

    with serve(talk, "127.0.0.1", 0, compression=None, max_size=None) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _url(server: Server) -> str:
    return f"ws://127.0.0.1:{server.socket.getsockname()[1]}/a?b=c"


class Heard:
    """What clients were told."""

    def __init__(self, server: Server, clients: int) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.large: list[tuple[int, bytes, int]] = []
        self.opened: set[int] = set()
        self.lines = Lines(
            _url(server), {}, lambda *what: self.frames.append(what), lambda *what: self.large.append(what)
        )
        self.lines.on_open = self.opened.add
        for client in range(clients):
            self.lines.connect(client)
        assert self.run(lambda: len(self.opened) == clients)

    def run(self, is_done):
        return self.lines.run(time.perf_counter() + HANG_S, is_done)


def test_frames_of_every_length_come_back(server: Server):
    heard = Heard(server, 3)
    said = [b"", SMALL, b"x" * 125, b"y" * 126, b"z" * 70_000]

    for client in range(3):
        for payload in said:
            heard.lines.send(client, payload)
    assert heard.run(lambda: len(heard.frames) == 15)
    heard.lines.close()

    for client in range(3):
        assert [payload for number, payload in heard.frames if number == client] == said
    assert heard.lines.bytes_of(0) > 70_000


def test_of_a_large_frame_the_beginning_and_the_length_are_told_and_what_follows_is_whole(server: Server):
    heard = Heard(server, 1)

    heard.lines.send(0, str(len(LARGE)).encode())
    heard.lines.send(0, SMALL)
    assert heard.run(lambda: bool(heard.frames))
    heard.lines.close()

    assert heard.large == [(0, LARGE[:HEAD_BYTES], len(LARGE))]
    assert heard.frames == [(0, SMALL)]


def test_a_line_that_the_server_ends_is_counted(server: Server):
    heard = Heard(server, 2)

    heard.lines.send(1, b"bye")
    assert heard.run(lambda: heard.lines.ended == 1)
    heard.lines.send(1, SMALL)
    heard.lines.send(0, SMALL)
    assert heard.run(lambda: bool(heard.frames))
    heard.lines.close()

    assert heard.frames == [(0, SMALL)]


def test_what_is_due_is_done_in_its_order_and_the_time_has_an_end(server: Server):
    heard = Heard(server, 1)
    now_s, done = time.perf_counter(), []

    is_done = heard.lines.run(now_s, lambda: False, [(now_s, lambda: done.append(1)), (now_s, lambda: done.append(2))])
    heard.lines.close()

    assert not is_done
    assert done == [1, 2]


def test_an_answer_that_is_no_upgrade_is_told():
    def refuse(connection, request):
        assert request.path == "/a?b=c"
        return connection.respond(403, "no")

    with serve(lambda _: None, "127.0.0.1", 0, process_request=refuse) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        lines = Lines(_url(server), {}, lambda *_: None, lambda *_: None)
        lines.connect(0)
        with pytest.raises(LineError, match="403"):
            lines.run(time.perf_counter() + HANG_S, lambda: False)
        lines.close()
        server.shutdown()
        thread.join()
