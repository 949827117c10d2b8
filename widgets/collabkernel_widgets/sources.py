"""What a view needs of a live value and of its room: the seam to ``collabkernel.client``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class RelayHandle(Protocol):
    """A connection to the room's server that the kernel keeps for a page."""

    def send(self, frame: bytes) -> None:
        """Pass one frame of the page on."""

    def close(self) -> None:
        """End it; ``on_close`` is not called then."""


class Room(Protocol):
    """A room, as views see it. Every method may be called on any thread."""

    @property
    def name(self) -> str:
        """The room's name on its server."""

    @property
    def server_url(self) -> str:
        """Base URL of the Jupyter server that hosts it; empty for a room in this process (``memory://``)."""

    def open_relay(self, on_frame: Callable[[bytes], None], on_close: Callable[[str], None]) -> RelayHandle:
        """A new connection to the room's server, which carries the frames of a page."""

    def browser_ticket(self) -> dict[str, Any]:
        """``{"url", "ticket"}`` for one WebSocket of a page; ``url`` may be relative to the page's server.

        Raises:
            CollabKernelError: The server gives none.
        """


class LiveValue(Protocol):
    """A live map, list, record or text."""

    @property
    def id(self) -> str:
        """``site.counter`` of the container; raises ``DetachedError`` for one that is in no room yet."""

    @property
    def room(self) -> Any:
        """The ``Room``; None for a value that is in no room yet."""
