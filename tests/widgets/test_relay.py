"""The kernel's end of a view, driven by a page's messages against a room that echoes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from collabkernel_widgets import relay as relay_module
from collabkernel_widgets.relay import RelayDesk

from collabkernel.errors import StorageError
from tests.bounds import HANG_S


class EchoRelay:
    def __init__(self, on_frame: Callable[[bytes], None], on_close: Callable[[str], None]) -> None:
        self.on_frame = on_frame
        self.on_close = on_close
        self.is_closed = False

    def send(self, frame: bytes) -> None:
        self.on_frame(b"echo " + frame)

    def close(self) -> None:
        self.is_closed = True


class EchoRoom:
    name = "planning"
    address = "http://127.0.0.1:8888/"

    def __init__(self) -> None:
        self.relays: list[EchoRelay] = []
        self.is_away = False

    def open_relay(self, on_frame: Callable[[bytes], None], on_close: Callable[[str], None]) -> EchoRelay:
        if self.is_away:
            raise StorageError("the server is away")
        self.relays.append(EchoRelay(on_frame, on_close))
        return self.relays[-1]

    def browser_ticket(self, origin: str = "") -> dict[str, Any]:
        if self.is_away:
            raise StorageError("the server is away")
        return {"url": f"ws://127.0.0.1:8888/x?{origin}", "ticket": "t-1"}


class Page:
    """What the page gets, and a way to wait for it."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, Any], list[bytes]]] = []
        self._arrived = threading.Condition()

    def send(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        with self._arrived:
            self.got.append((content, buffers))
            self._arrived.notify_all()

    def wait_for(self, count: int) -> list[tuple[dict[str, Any], list[bytes]]]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.got) >= count, timeout=HANG_S)
        return self.got


@pytest.fixture
def room() -> EchoRoom:
    return EchoRoom()


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def desk(room: EchoRoom, page: Page) -> RelayDesk:
    return RelayDesk(room, page.send)


def test_frames_pass_both_ways_unread(desk: RelayDesk, page: Page) -> None:
    desk.handle({"kind": "relay-open", "id": "a-1"}, [])
    desk.handle({"kind": "relay-frame", "id": "a-1"}, [memoryview(b"\x00\xff")])

    assert page.got == [
        ({"kind": "relay-opened", "id": "a-1"}, []),
        ({"kind": "relay-frame", "id": "a-1"}, [b"echo \x00\xff"]),
    ]


def test_each_page_has_its_own_relay_and_closes_it_alone(desk: RelayDesk, room: EchoRoom, page: Page) -> None:
    desk.handle({"kind": "relay-open", "id": "a-1"}, [])
    desk.handle({"kind": "relay-open", "id": "b-1"}, [])
    desk.handle({"kind": "relay-close", "id": "a-1"}, [])

    assert [relay.is_closed for relay in room.relays] == [True, False]
    desk.handle({"kind": "relay-frame", "id": "b-1"}, [b"x"])
    assert page.got[-1] == ({"kind": "relay-frame", "id": "b-1"}, [b"echo x"])


def test_a_page_is_told_when_the_server_ends_its_relay(desk: RelayDesk, room: EchoRoom, page: Page) -> None:
    desk.handle({"kind": "relay-open", "id": "a-1"}, [])
    room.relays[0].on_close("the server is shutting down")

    assert page.got[-1][0] == {"kind": "relay-closed", "id": "a-1", "reason": "the server is shutting down"}
    desk.handle({"kind": "relay-frame", "id": "a-1"}, [b"x"])
    assert page.got[-1][0]["kind"] == "relay-closed"


def test_a_frame_for_a_relay_of_an_earlier_kernel_is_answered_with_its_end(desk: RelayDesk, page: Page) -> None:
    desk.handle({"kind": "relay-frame", "id": "old-7"}, [b"x"])

    assert page.got == [({"kind": "relay-closed", "id": "old-7", "reason": "the kernel knows no such relay"}, [])]


def test_a_ticket_is_minted_on_request_and_goes_by_message(desk: RelayDesk, page: Page) -> None:
    desk.handle({"kind": "ticket", "id": "a-1", "origin": "https://lab.example"}, [])

    url = "ws://127.0.0.1:8888/x?https://lab.example"
    assert page.wait_for(1) == [({"kind": "ticket", "id": "a-1", "url": url, "ticket": "t-1"}, [])]


@pytest.mark.parametrize("origin", [None, "null", "", 5])
def test_a_page_without_an_origin_gets_a_ticket_for_the_servers_own(desk: RelayDesk, page: Page, origin: Any) -> None:
    desk.handle({"kind": "ticket", "id": "a-1", "origin": origin}, [])

    assert page.wait_for(1)[0][0]["url"] == "ws://127.0.0.1:8888/x?"


def test_a_refusal_is_told_with_its_code(desk: RelayDesk, room: EchoRoom, page: Page) -> None:
    room.is_away = True
    desk.handle({"kind": "relay-open", "id": "a-1"}, [])
    desk.handle({"kind": "ticket", "id": "a-2"}, [])

    told = page.wait_for(2)
    assert told[0][0]["reason"] == "storage-error: the server is away"
    assert told[1][0]["error"] == "storage-error: the server is away"


@pytest.mark.parametrize(
    "content", [None, 5, [], {}, {"kind": "relay-open"}, {"kind": "new-thing", "id": "a"}, {"id": 3}]
)
def test_messages_that_make_no_sense_are_passed_over(desk: RelayDesk, room: EchoRoom, page: Page, content: Any) -> None:
    desk.handle(content, [])

    assert room.relays == []
    assert page.got == []


def test_relays_of_pages_that_vanished_do_not_pile_up(
    desk: RelayDesk, room: EchoRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RELAYS_MAX", 2)
    for i in range(4):
        desk.handle({"kind": "relay-open", "id": f"a-{i}"}, [])

    assert [relay.is_closed for relay in room.relays] == [True, True, False, False]
    desk.close()
    assert all(relay.is_closed for relay in room.relays)
