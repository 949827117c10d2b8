"""A room server as pycrdt-websocket's documentation sets one up, for its own environment: ``PORT``.

Rooms live in memory; with a second argument, a path, each keeps its updates in an SQLite store there.
"""

import asyncio
import contextlib
import sys

import uvicorn
from pycrdt.store import SQLiteYStore, YDocNotFound
from pycrdt.websocket import ASGIServer, WebsocketServer, YRoom


class StoredRooms(WebsocketServer):
    """Rooms with a store each, which the plain server has not."""

    def __init__(self, path: str) -> None:
        super().__init__(auto_clean_rooms=False)
        self._store_class = type("Store", (SQLiteYStore,), {"db_path": path})

    async def get_room(self, name: str) -> YRoom:
        room = self.rooms.get(name)
        if room is None:
            store = self._store_class(name)
            room = self.rooms[name] = YRoom(ready=False, ystore=store, log=self.log)
            await self.start_room(room)
            await store.started.wait()
            with contextlib.suppress(YDocNotFound):
                await store.apply_updates(room.ydoc)
            # From here on it answers, and what comes is stored.
            room.ready = True
        else:
            await self.start_room(room)
        return room


async def main() -> None:
    """Serve until stopped."""
    rooms = StoredRooms(sys.argv[2]) if len(sys.argv) > 2 else WebsocketServer(auto_clean_rooms=False)
    config = uvicorn.Config(
        ASGIServer(rooms),
        port=int(sys.argv[1]),
        log_level="warning",
        ws="websockets",
        ws_per_message_deflate=False,
        ws_max_size=1 << 26,
    )
    async with rooms:
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main())
