"""A room of ``collabkernel.aio``, which belongs to its event loop, as views may use it from any thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from collabkernel_widgets.sources import RelayHandle, Room


def any_thread(room: Any) -> Room:
    """The room itself, or a stand-in that carries calls over to its loop. To be called on the loop then."""
    if inspect.iscoroutinefunction(room.browser_ticket):
        return RoomOnLoop(room, asyncio.get_running_loop())
    blocking: Room = room
    return blocking


class RoomOnLoop:
    """Calls of any thread, carried out on the room's loop."""

    def __init__(self, room: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._room = room
        self._loop = loop

    @property
    def name(self) -> str:
        """The room's name."""
        return str(self._room.name)

    @property
    def address(self) -> str:
        """Where the room is."""
        return str(self._room.address)

    def browser_ticket(self, origin: str = "") -> dict[str, str]:
        """Wait for a ticket; never on the loop's own thread."""
        work = self._room.browser_ticket(origin)
        return dict(asyncio.run_coroutine_threadsafe(work, self._loop).result())

    def open_relay(self, on_frame: Callable[[bytes], None], on_close: Callable[[str], None]) -> RelayHandle:
        """Open it in the loop's next round; what is sent before waits in line."""
        return RelayOnLoop(self._loop, lambda: self._room.open_relay(on_frame, on_close))


class RelayOnLoop:
    """A relay that is opened, used and closed on the loop, in the order of the calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop, opener: Callable[[], RelayHandle]) -> None:
        self._loop = loop
        self._relay: RelayHandle | None = None
        loop.call_soon_threadsafe(self._open, opener)

    def _open(self, opener: Callable[[], RelayHandle]) -> None:
        self._relay = opener()

    def _pass_on(self, frame: bytes) -> None:
        if self._relay is not None:
            self._relay.send(frame)

    def _close(self) -> None:
        if self._relay is not None:
            self._relay.close()

    def send(self, frame: bytes) -> None:
        """Pass a frame on to the server."""
        self._loop.call_soon_threadsafe(self._pass_on, frame)

    def close(self) -> None:
        """Close the line."""
        self._loop.call_soon_threadsafe(self._close)
