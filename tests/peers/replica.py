"""A person's copy of a JupyterLab document, kept in step over a WebSocket; it knows which edits are acknowledged.

The y-protocol has no ack: an edit counts as acknowledged when it comes back, as its echo or in what covers its clock.
So a second document takes in only what the server sends, and is asked how far it knows this replica's own edits.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from pycrdt import Array, Doc, Map, Text, TransactionEvent

from tests.bounds import HANG_S
from tests.peers import y_protocol as y
from tests.peers.servers import PeerServer, persons_headers
from tests.peers.y_socket import YSocket, open_socket


class Replica:
    """One tab: open it with ``async with``; open it again after the server has come back, and it offers what it has."""

    def __init__(self, server: PeerServer, room: str, person: str = "ann") -> None:
        self.server = server
        self.room = room
        self.person = person
        self.doc: Doc[Any] = Doc()
        self.source: Text = self.doc.get("source", type=Text)
        self.cells: Array[Any] = self.doc.get("cells", type=Array)
        self.state: Map[Any] = self.doc.get("state", type=Map)
        self.people: dict[int, Any] = {}
        """Client id to awareness state of everybody who is here."""
        self.raw: list[Any] = []
        self.frames: list[bytes] = []
        """What came, but for sync."""
        self.socket: YSocket | None = None
        self.is_synced = False
        self._shown: Doc[Any] = Doc()
        self._is_remote = False
        self._changed = asyncio.Event()
        self._save_id = 0
        self._awareness_clock = 0
        self._subscription = self.doc.observe(self._on_change)

    # ------------------------------------------------------------ the wire

    async def open(self) -> Replica:
        """Connect, and wait for the first sync."""
        self.is_synced = False
        self.socket = await open_socket(self.server.socket_url(self.room), persons_headers(self.person), self._on_frame)
        self.socket.closed.add_done_callback(lambda _: self._changed.set())
        self.socket.send(y.sync_frame(y.STEP1, self.doc.get_state()))
        await self.until(lambda: self.is_synced)
        return self

    async def close(self) -> None:
        """Leave as a closed tab does."""
        if self.socket is not None:
            await self.socket.close()

    async def __aenter__(self) -> Replica:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        if self.socket is not None and self.socket._transport is not None:
            self.socket.abort()

    @property
    def line(self) -> YSocket:
        """The open socket."""
        assert self.socket is not None
        return self.socket

    def _on_frame(self, socket: YSocket, frame: bytes) -> None:
        message = y.parse(frame)
        if message.kind == y.SYNC:
            self._on_sync(socket, message)
        elif message.kind == y.AWARENESS:
            self.frames.append(frame)
            for client, state in y.awareness_states(message.body).items():
                self.people[client] = state
                if state is None:
                    del self.people[client]
        else:
            self.frames.append(frame)
            self.raw.append(json.loads(message.body))
        self._changed.set()

    def _on_sync(self, socket: YSocket, message: y.Frame) -> None:
        if message.sync == y.STEP1:
            socket.send(y.sync_frame(y.STEP2, self.doc.get_update(message.body)))
            return
        self._is_remote = True
        self.doc.apply_update(message.body)
        self._is_remote = False
        self._shown.apply_update(message.body)
        self.is_synced |= message.sync == y.STEP2

    def _on_change(self, event: TransactionEvent) -> None:
        if not self._is_remote and self.socket is not None and not self.socket.closed.done():
            self.socket.send(y.sync_frame(y.UPDATE, event.update))

    # ------------------------------------------------------------ what a person does

    def type(self, text: str) -> None:
        """Type at the end of the file."""
        self.source += text

    def announce(self, **state: Any) -> None:
        """Send an awareness state."""
        self._awareness_clock += 1
        self.line.send(y.awareness_frame(self.doc.client_id, self._awareness_clock, state))

    async def save(self) -> str:
        """Ctrl+S; what it was answered with."""
        self._save_id += 1
        self.line.send(y.save_frame(self._save_id))
        await self.until(lambda: any(each.get("responseTo") == self._save_id for each in self.raw))
        return next(str(each["status"]) for each in self.raw if each.get("responseTo") == self._save_id)

    # ------------------------------------------------------------ what he waits for

    @property
    def text(self) -> str:
        """The file as it is seen here."""
        return str(self.source)

    @property
    def shown(self) -> str:
        """The file as the server has sent it."""
        return str(self._shown.get("source", type=Text))

    async def acknowledged(self) -> None:
        """Wait until every edit made here has come back."""
        mine = y.clocks(self.doc.get_state()).get(self.doc.client_id, 0)
        await self.until(lambda: y.clocks(self._shown.get_state()).get(self.doc.client_id, 0) >= mine)

    async def until(self, condition: Callable[[], bool], timeout_s: float = HANG_S) -> None:
        """Wait until a condition of this replica holds; asked again after each frame."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                assert self.socket is None or not self.socket.closed.done(), f"closed: {self.socket.closed.result()}"
                self._changed.clear()
                await self._changed.wait()

    async def until_text(self, condition: Callable[[str], bool], timeout_s: float = HANG_S) -> str:
        """Wait until the file as it is seen here is as wanted; it."""
        await self.until(lambda: condition(self.text), timeout_s)
        return self.text
