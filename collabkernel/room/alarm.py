"""The one timer of a room: asked for only when it must ring earlier than it would."""

from __future__ import annotations

from collabkernel.room.effects import Effect, WakeAt


class Alarm:
    """When the room is woken next."""

    __slots__ = ("_at_ms",)

    def __init__(self) -> None:
        self._at_ms: int | None = None

    def rang(self) -> None:
        """The time has come."""
        self._at_ms = None

    def set(self, *times_ms: int | None) -> list[Effect]:
        """Ask for the first of these times, unless that is set already."""
        first_ms = min([at_ms for at_ms in times_ms if at_ms is not None], default=None)
        if first_ms is None or (self._at_ms is not None and first_ms >= self._at_ms):
            return []
        self._at_ms = first_ms
        return [WakeAt(first_ms)]
