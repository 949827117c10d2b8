"""A client that puts text into a document and takes it out again, and what its store takes on the disk."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from pycrdt import Doc, Text

from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.wire import y_protocol
from collabkernel.wire.y_protocol import SyncUpdate
from tests.server.test_hub_documents import ROOM, YClient


class Churner(YClient):
    """A stock client that types marks to stay, and much that does not."""

    def __init__(self, name: str, seed: int = 0) -> None:
        super().__init__(name)
        self.rng = random.Random(f"{name}{seed}")
        self.sent_bytes = 0
        self.durable: Doc[Any] = Doc()
        """What the server has sent: all of it is stored."""
        self.durable_source = self.durable.get("source", type=Text)

    def send(self, frame: bytes) -> None:
        """As a transport: the hub sends."""
        message = y_protocol.decode_y_message(frame, Limits())
        if isinstance(message, SyncUpdate):
            self.durable.apply_update(message.update)
        super().send(frame)
        self.echoed.clear()  # it would be all that was ever sent

    async def enter(self, hub: Hub, room_id: str = ROOM) -> None:
        """Open a socket, also again."""
        self.closed, self.is_synced = None, False
        await super().enter(hub, room_id)

    async def churn(self, bytes_min: int, bytes_max: int) -> None:
        """Insert so much at a random place, and delete it again."""
        text = self.rng.randbytes(self.rng.randint(bytes_min, bytes_max) // 2).hex()
        at = self.rng.randint(0, len(self.source))
        await self._send(lambda: self.source.insert(at, text))

        def delete() -> None:
            del self.source[at : at + len(text)]

        await self._send(delete)

    async def mark(self, mark: str) -> None:
        """Type something that stays, and wait until it is stored."""
        await self._send(lambda: self.source.insert(len(self.source), mark))
        await self.until(lambda: self.closed or mark in str(self.durable_source))

    async def _send(self, edit: Any) -> None:
        before = self.doc.get_state()
        edit()
        update = self.doc.get_update(before)
        self.sent_bytes += len(update)
        await self.connection.receive(y_protocol.encode_update(update))


def store_bytes(folder: Path) -> int:
    """All files of a store: the database, its write-ahead log, and whatever else is there."""
    return sum(path.stat().st_size for path in folder.iterdir())
