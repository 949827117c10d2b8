"""Presence of a room: who is here and what he shows, gathered for a tick, encoded once, never stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from collabkernel.room.effects import Effect, Send
from collabkernel.room.elsewhere import Elsewhere
from collabkernel.room.session import Session
from collabkernel.wire.frames import presence_part
from collabkernel.wire.messages import PresenceEntry

TICK_BYTES = 8 << 20
"""What a tick may send to all sessions together: everybody's presence is everybody's traffic."""
FRAME_BYTES_MIN = 8 << 10
"""But one of 100 cursors, however many sessions there are."""
ENTRY_BYTES = 64
"""What an entry takes beside its state, about."""


class PresenceBoard:
    """What changed since the last tick, and what each slow session has missed of it."""

    __slots__ = ("_changed", "_elsewhere", "_missed", "_sent_at_ms", "_tick_ms")

    def __init__(self, tick_ms: int, has_peers: bool = False) -> None:
        self._tick_ms = tick_ms
        self._elsewhere = Elsewhere() if has_peers else None
        self._sent_at_ms = 0
        self._changed: dict[int, PresenceEntry] = {}
        """By site: the newest alone."""
        self._missed: dict[int, dict[int, PresenceEntry]] = {}
        """By session, then by site; bounded by the sites that changed while it was blocked."""

    def show(self, session: Session) -> None:
        """A session came, or shows something new."""
        self._change(session.entry())

    def hide(self, session: Session) -> None:
        """A session left."""
        self._change(session.entry(left=True))
        self._missed.pop(session.id, None)

    def _change(self, entry: PresenceEntry) -> None:
        self._changed[entry.site] = entry
        if self._elsewhere is not None:
            self._elsewhere.show(entry)

    def hear(self, origin: bytes, entries: Iterable[PresenceEntry], is_asking: bool, now_ms: int) -> None:
        """Another server tells what its sessions show."""
        if self._elsewhere is not None:
            self._changed |= {entry.site: entry for entry in self._elsewhere.hear(origin, entries, is_asking, now_ms)}

    def guests(self) -> list[PresenceEntry]:
        """What sessions at other servers show, for who has just come."""
        return [] if self._elsewhere is None else self._elsewhere.guests()

    def due_ms(self) -> int | None:
        """When to ``send``; None when there is nothing."""
        if self._changed or (self._elsewhere is not None and self._elsewhere.has_news()):
            return self._sent_at_ms + self._tick_ms
        return None if self._elsewhere is None else self._elsewhere.due_ms()

    def send(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:
        """One frame with what changed, for everybody whose socket takes it; what is over the tick's size waits."""
        told: list[Effect] = []
        if self._elsewhere is not None:
            self._changed |= {entry.site: entry for entry in self._elsewhere.forget(now_ms)}
            told += self._elsewhere.tell(now_ms)
        entries = self._take(max(FRAME_BYTES_MIN, TICK_BYTES // max(1, len(sessions))))
        self._sent_at_ms = now_ms
        ids = []
        for session in sessions:
            if session.is_blocked:
                self._missed.setdefault(session.id, {}).update(entries)
            else:
                ids.append(session.id)
        return [Send(tuple(ids), presence_part(list(entries.values()))), *told] if ids and entries else told

    def _take(self, bytes_max: int) -> dict[int, PresenceEntry]:
        """What has waited longest, as much as one frame may have."""
        size_bytes = 0
        taken: dict[int, PresenceEntry] = {}
        for site, entry in self._changed.items():
            taken[site] = entry
            size_bytes += len(entry.state_json) + ENTRY_BYTES
            if size_bytes >= bytes_max:
                break
        self._changed = {site: entry for site, entry in self._changed.items() if site not in taken}
        return taken

    def make_up(self, session: Session) -> list[Effect]:
        """What a session missed while it was blocked."""
        missed = self._missed.pop(session.id, None)
        return [Send((session.id,), presence_part(list(missed.values())))] if missed else []
