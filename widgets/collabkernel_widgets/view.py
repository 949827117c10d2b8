"""The widget that shows one live value: its browser side opens a connection of its own to the room.

The traits name the room and the value, and hold nothing secret: notebooks save them.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

import anywidget
import traitlets

from collabkernel.errors import DetachedError
from collabkernel_widgets.on_loop import any_thread
from collabkernel_widgets.relay import RelayDesk
from collabkernel_widgets.sources import LiveValue, Room

STATIC = Path(__file__).parent / "static"
URL_VARIABLE = "COLLABKERNEL_URL"
"""Base URL of the Jupyter server that started this kernel; its server extension sets it."""
_PROCESS = uuid.uuid4().hex
"""Tells the rooms in this process from those of the same name in another kernel's."""


class LiveView(anywidget.AnyWidget):
    """A live value on a page."""

    _esm = STATIC / "view.js"
    _css = STATIC / "view.css"

    _room_name = traitlets.Unicode().tag(sync=True)
    _room_key = traitlets.Unicode().tag(sync=True)
    """The same for every view of a room: a page has one connection a key."""
    _target = traitlets.List(traitlets.Int()).tag(sync=True)
    """Site and counter of the container."""
    _socket_path = traitlets.Unicode().tag(sync=True)
    """The room's socket below the base URL of the page's own server; empty when the room is elsewhere."""
    _has_socket = traitlets.Bool().tag(sync=True)
    """Whether the kernel can mint tickets for a socket."""

    def __init__(self, value: LiveValue) -> None:
        """Make the view of a live value that is in a room; see ``view``."""
        self._value = value
        room = any_thread(value.room)
        self._desk = RelayDesk(room, self._tell)
        super().__init__(**_traits_of(value, room))
        self.on_msg(self._on_page_message)

    def close(self) -> None:
        """Take the view off every page."""
        self._desk.close()
        super().close()

    def _tell(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(content, buffers)

    def _on_page_message(self, _widget: Any, content: Any, buffers: list[Any] | None) -> None:
        self._desk.handle(content, buffers or [])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            # What is shown where no widget can be: in an export, in a terminal, in a diff.
            data = bundle[0] if isinstance(bundle, tuple) else bundle
            data["text/plain"] = repr(self._value)
        return bundle


def _traits_of(value: LiveValue, room: Room) -> dict[str, Any]:
    site, counter = value.id.split(".")
    address = room.address.rstrip("/")
    is_here = address.startswith("memory:")
    is_own_server = not is_here and address == os.environ.get(URL_VARIABLE, "").rstrip("/")
    return {
        "_room_name": room.name,
        "_room_key": f"{_PROCESS if is_here else address}|{room.name}",
        "_target": [int(site), int(counter)],
        "_socket_path": f"collabkernel/api/rooms/{quote(room.name, safe='')}/ws" if is_own_server else "",
        "_has_socket": not is_here,
    }


_view_by_id_by_room: WeakKeyDictionary[Any, dict[str, LiveView]] = WeakKeyDictionary()
"""ipywidgets keeps every widget until it is closed: showing a value a hundred times must not make a hundred."""


def view(value: LiveValue) -> LiveView:
    """The widget that shows ``value``; the same one each time, on as many pages and cells as wanted.

    Raises:
        DetachedError: The value is in no room.
    """
    if value.room is None:
        raise DetachedError("only a value that is in a room has a view: assign it to a key or append it first")
    view_by_id = _view_by_id_by_room.setdefault(value.room, {})
    known = view_by_id.get(value.id)
    if known is None or known.comm is None:
        known = view_by_id[value.id] = LiveView(value)
    return known
