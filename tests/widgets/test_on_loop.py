"""Views of ``collabkernel.aio`` rooms: any thread may ask, the room's loop does it."""

from __future__ import annotations

import asyncio
import threading

import pytest
from collabkernel_widgets.on_loop import RoomOnLoop, any_thread

import collabkernel
from collabkernel.errors import InvalidValueError
from collabkernel.limits import Limits
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import Hello, SessionKind
from tests.bounds import HANG_S


def test_a_relay_of_an_async_room_is_used_from_another_thread() -> None:
    frames: list[bytes] = []
    closed: list[str] = []

    async def main() -> None:
        arrived, ended = asyncio.Event(), asyncio.Event()
        async with collabkernel.aio.connect("async-relay", url="memory://") as room:
            shown = any_thread(room)
            assert isinstance(shown, RoomOnLoop)
            assert (shown.name, shown.address) == ("async-relay", "memory://")

            def on_frame(frame: bytes) -> None:
                frames.append(frame)
                arrived.set()

            def on_close(reason: str) -> None:
                closed.append(reason)
                ended.set()

            def use() -> None:
                relay = shown.open_relay(on_frame, on_close)
                relay.send(encode_client_message(Hello(SessionKind.PERSON, "page")))
                handle.append(relay)

            handle = []
            await asyncio.to_thread(use)
            await asyncio.wait_for(arrived.wait(), HANG_S)
            handle[0].close()
            await asyncio.wait_for(ended.wait(), HANG_S)
            with pytest.raises(InvalidValueError):
                await asyncio.to_thread(shown.browser_ticket)

    asyncio.run(main())
    welcome = decode_server_message(frames[0], Limits()).welcome
    assert welcome is not None
    assert welcome.site
    assert len(closed) == 1


def test_a_blocking_room_needs_no_stand_in() -> None:
    with collabkernel.connect("blocking-relay", url="memory://") as room:
        shown = any_thread(room)
        assert shown is room
        arrived = threading.Event()
        relay = shown.open_relay(lambda _: arrived.set(), lambda _: None)
        relay.send(encode_client_message(Hello(SessionKind.PERSON, "page")))
        assert arrived.wait(5)
        relay.close()
