"""Waiting for a room without sleeping: a condition is looked at again when the room says that something happened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from collabkernel.client.room_base import RoomBase
from tests.bounds import HANG_S


def wait_for(room: RoomBase, condition: Callable[[], Any], timeout_s: float = HANG_S) -> None:
    """Wait until ``condition()`` is true; changes, presence, status and events of ``room`` wake it."""
    moved = threading.Event()

    def wake(_: object) -> None:
        moved.set()

    room.observe(wake)
    room.on_presence(wake)
    room.on_status(wake)
    try:
        while not condition():
            assert moved.wait(timeout_s), f"nothing happened in {timeout_s} s: {room!r}, {room.to_json()}"
            moved.clear()
    finally:
        room.unobserve(wake)
