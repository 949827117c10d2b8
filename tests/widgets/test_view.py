"""The widget of a live value: what its traits say, and what they must not."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from collabkernel_widgets import LiveView, view

from collabkernel.errors import DetachedError


class Room:
    """Names alone: a view is made without asking the server for anything."""

    def browser_ticket(self, origin: str = "") -> Any:
        raise AssertionError(f"nobody asked for a ticket {origin}")

    def __init__(self, name: str = "planning", address: str = "http://127.0.0.1:8888/lab/") -> None:
        self.name = name
        self.address = address


def value_in(room: Any, id: str = "7.12") -> Any:
    return SimpleNamespace(id=id, room=room)


def traits(widget: LiveView) -> dict[str, Any]:
    return {name: value for name, value in widget.get_state().items() if name.startswith("_room") or name in EXTRA}


EXTRA = ("_target", "_socket_path", "_has_socket")


def test_a_value_on_the_kernels_own_server_names_its_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLLABKERNEL_URL", "http://127.0.0.1:8888/lab")

    assert traits(LiveView(value_in(Room("a/b ü")))) == {
        "_room_name": "a/b ü",
        "_room_key": "http://127.0.0.1:8888/lab|a/b ü",
        "_target": [7, 12],
        "_socket_path": "collabkernel/api/rooms/a%2Fb%20%C3%BC/ws",
        "_has_socket": True,
    }


def test_a_value_on_another_server_is_reached_by_ticket_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLABKERNEL_URL", "http://127.0.0.1:9999/")
    state = traits(LiveView(value_in(Room())))

    assert state["_socket_path"] == ""
    assert state["_has_socket"] is True


def test_a_value_in_this_process_is_reached_by_relay_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLLABKERNEL_URL", raising=False)
    state = traits(LiveView(value_in(Room(address="memory://"))))

    assert (state["_socket_path"], state["_has_socket"]) == ("", False)
    assert state["_room_key"] != "|planning", "two kernels may have a room of that name each"


def test_one_value_has_one_widget_until_it_is_closed() -> None:
    room = Room()
    shown = view(value_in(room))

    assert view(value_in(room)) is shown
    assert view(value_in(room, "7.13")) is not shown
    assert view(value_in(Room())) is not shown
    shown.close()
    assert view(value_in(room)) is not shown


def test_a_value_in_no_room_has_no_view() -> None:
    with pytest.raises(DetachedError, match="assign it"):
        view(value_in(None))


def test_what_a_notebook_saves_holds_no_contents_and_no_secret() -> None:
    state = LiveView(value_in(Room())).get_state()
    own = {name for name in state if name not in anywidget_traits()}

    assert own == {"_room_name", "_room_key", *EXTRA}
    json.dumps({name: state[name] for name in own})


def anywidget_traits() -> set[str]:
    import anywidget

    return set(anywidget.AnyWidget().get_state()) | {"_esm", "_css"}


def test_the_bundle_is_there_and_small() -> None:
    state = LiveView(value_in(Room())).get_state()

    assert "render" in state["_esm"]
    assert len(state["_esm"]) + len(state["_css"]) < 200 * 1024
    assert ".ck-view" in state["_css"]
