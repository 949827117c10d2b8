"""A page's socket in a document, made of pycrdt's own half of the Yjs protocol and a plain WebSocket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pycrdt import Doc, Text, create_sync_message, create_update_message, handle_sync_message
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.bounds import HANG_S
from tests.server_extension.running_server import Answer, RunningServer, xsrf_headers

SYNC, AWARENESS, RAW = 0, 1, 2
STEP_2 = 1
ROOM_PATH = "api/collaboration/room/"


def put_session(server: RunningServer, path: str, body: object = None, **options: Any) -> Answer:
    """Ask for a file's room."""
    body = {"format": "text", "type": "file"} if body is None else body
    return server.request("PUT", f"api/collaboration/session/{path}", body, **xsrf_headers(), **options)


def new_file(server: RunningServer, path: str, text: str = "plan") -> str:
    """A file with this text; its room."""
    (server.folder / path).write_text(text)
    answer = put_session(server, path)
    assert answer.status in (200, 201), answer
    return "{format}:{type}:{fileId}".format(**answer.json)


class YMember:
    """One socket, with a replica behind it."""

    def __init__(
        self, server: RunningServer, room: str, person: str | None = "ann", client_id: int | None = None, **options: Any
    ) -> None:
        headers = dict(options.pop("additional_headers", {})) | ({"X-Person": person} if person else {})
        url = f"ws{server.base_url.removeprefix('http')}{ROOM_PATH}{room}"
        options |= {"additional_headers": headers, "max_size": None, "proxy": None}
        self.socket = connect(url, open_timeout=HANG_S, **options).__enter__()
        self.doc: Doc[Any] = Doc() if client_id is None else Doc(client_id=client_id)
        self.frames: list[bytes] = []

    @property
    def text(self) -> str:
        """The document's text."""
        return str(self.doc.get("source", type=Text))

    def receive(self, until: Callable[[bytes], Any]) -> bytes:
        """Take frames up to the one that ``until`` is waiting for."""
        while True:
            frame = self.socket.recv(timeout=HANG_S)
            assert isinstance(frame, bytes)
            self.frames.append(frame)
            if frame[0] == SYNC and (reply := handle_sync_message(frame[1:], self.doc)) is not None:
                self.socket.send(reply)
            if until(frame):
                return frame

    def sync(self) -> YMember:
        """Ask for what this replica lacks, and wait for the answer."""
        self.socket.send(create_sync_message(self.doc))
        self.receive(lambda frame: frame[:2] == bytes((SYNC, STEP_2)))
        return self

    def edit(self, text: str) -> None:
        """Append to the text, and tell it."""
        before = self.doc.get_state()
        self.doc.get("source", type=Text).insert(len(self.text), text)
        self.socket.send(create_update_message(self.doc.get_update(before)))

    def save(self, number: int) -> dict[str, Any]:
        """What Ctrl+S asks, and its answer."""
        self.socket.send(bytes((RAW, 4)) + b"save" + bytes((number,)))
        frame = self.receive(lambda frame: frame[0] == RAW)
        answer: dict[str, Any] = json.loads(frame[2:])
        assert len(frame) == 2 + frame[1]
        return answer

    def close_code(self) -> int | None:
        """Read until the server has closed; its code."""
        try:
            self.receive(lambda _: False)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else None
        raise AssertionError("not reached")

    def __enter__(self) -> YMember:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
