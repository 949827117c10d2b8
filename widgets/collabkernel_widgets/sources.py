"""What a view needs of a live value and of its room: the seam to ``collabkernel.client``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class RelayHandle(Protocol):
    """A connection to the room's server that the kernel keeps for a page."""

    def send(self, frame: bytes) -> None:
        """Pass one frame of the page on."""

    def close(self) -> None:
        """End it; ``on_close`` may be called then too."""


class Room(Protocol):
    """A room, as views see it. Every method may be called on any thread."""

    @property
    def name(self) -> str:
        """The room's name on its server."""

    @property
    def address(self) -> str:
        """Base URL of the Jupyter server that hosts it, or ``memory://`` for a room in this process."""

    def open_relay(self, on_frame: Callable[[bytes], None], on_close: Callable[[str], None]) -> RelayHandle:
        """A new connection to the room's server, which carries the frames of a page."""

    def browser_ticket(self, origin: str = "") -> dict[str, str]:
        """``{"url", "ticket"}`` for one WebSocket of a page.

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
