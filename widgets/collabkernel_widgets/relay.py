"""The kernel's end of a view: one-use tickets, and the relay for pages that cannot reach the server.

The messages are in the table of ``widgets/ts/src/view/comm.ts``. Frames pass through unread, in both directions. The
kernel delivers comm messages on its main thread, or on the thread of a subshell, or not at all while a cell runs: so
nothing here assumes a thread, and the page uses the relay only when nothing else works.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from collabkernel.errors import CollabKernelError
from collabkernel_widgets.sources import RelayHandle, Room

Send = Callable[[dict[str, Any], list[bytes]], None]
"""Sends a message with its buffers to the pages that show the view."""

RELAYS_MAX = 100
"""Open relays a view: one a page that shows it; a page that is gone without a word leaves its own behind."""


class RelayDesk:
    """Answers the pages of one view."""

    def __init__(self, room: Room, send: Send) -> None:
        self._room = room
        self._send = send
        self._lock = threading.Lock()
        self._relay_by_id: dict[str, RelayHandle | None] = {}
        """By the page's id for it; None while it is being opened."""

    def handle(self, content: Any, buffers: Sequence[Any]) -> None:
        """Take one message of a page; one that makes no sense is passed over, for pages may be newer than we."""
        if not isinstance(content, dict) or not isinstance(content.get("id"), str):
            return
        page_id = content["id"]
        match content.get("kind"):
            case "ticket":
                # Minting asks the server, and the thread that we are called on may be the kernel's main one.
                arguments = (page_id, content.get("origin"))
                threading.Thread(target=self._mint, args=arguments, name="collabkernel-ticket", daemon=True).start()
            case "relay-open":
                self._open(page_id)
            case "relay-frame":
                self._pass_on(page_id, buffers)
            case "relay-close":
                self._close(page_id)

    def close(self) -> None:
        """Close every relay."""
        with self._lock:
            relays = list(self._relay_by_id.values())
            self._relay_by_id.clear()
        _close_all(relays)

    def _mint(self, page_id: str, origin: object) -> None:
        reply: dict[str, Any] = {"kind": "ticket", "id": page_id}
        # A page in a sandbox has the origin "null", which no ticket can be bound to.
        bound_to = origin if isinstance(origin, str) and "://" in origin else ""
        try:
            ticket = self._room.browser_ticket(bound_to)
        except CollabKernelError as error:
            self._send(reply | {"error": f"{error.code}: {error}"}, [])
            return
        self._send(reply | {"url": ticket["url"], "ticket": ticket["ticket"]}, [])

    def _open(self, page_id: str) -> None:
        def on_frame(frame: bytes) -> None:
            self._send({"kind": "relay-frame", "id": page_id}, [frame])

        def on_close(reason: str) -> None:
            with self._lock:
                self._relay_by_id.pop(page_id, None)
            self._send({"kind": "relay-closed", "id": page_id, "reason": reason}, [])

        self._close(page_id)
        with self._lock:
            self._relay_by_id[page_id] = None
        try:
            relay = self._room.open_relay(on_frame, on_close)
        except CollabKernelError as error:
            on_close(f"{error.code}: {error}")
            return
        with self._lock:
            # It may have been closed already, on another thread: then it must not be kept.
            if page_id in self._relay_by_id:
                self._relay_by_id[page_id] = relay
            surplus = [self._relay_by_id.pop(each) for each in list(self._relay_by_id)[:-RELAYS_MAX]]
        _close_all(surplus)
        self._send({"kind": "relay-opened", "id": page_id}, [])

    def _pass_on(self, page_id: str, buffers: Sequence[Any]) -> None:
        with self._lock:
            relay = self._relay_by_id.get(page_id)
        if relay is None:
            # Such as after a restart of the kernel: the page shall open a new one.
            self._send({"kind": "relay-closed", "id": page_id, "reason": "the kernel knows no such relay"}, [])
        elif len(buffers) == 1:
            relay.send(bytes(buffers[0]))

    def _close(self, page_id: str) -> None:
        with self._lock:
            relay = self._relay_by_id.pop(page_id, None)
        _close_all([relay])


def _close_all(relays: Sequence[RelayHandle | None]) -> None:
    """Close them outside the lock: closing may call back at once."""
    for relay in relays:
        if relay is not None:
            relay.close()
