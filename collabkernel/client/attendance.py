"""Who is in the room, as far as the server has told, and what this session shows of itself there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from collabkernel.crdt.ids import OpId
from collabkernel.limits import CLUSTER, PRESENCE_INTERVAL_MS
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Presence, PresenceEntry, ServerMessage


class Attendance:
    """The others. Of those in blocks that are not looked at it is known what they showed last when they were."""

    def __init__(self) -> None:
        self.by_site: dict[int, PresenceEntry] = {}
        """In the order they came."""
        self.crowds: dict[OpId, int] = {}
        """How many are in a block, where they are more than the server tells of."""

    def take(self, message: ServerMessage, own_site: int, named: Collection[OpId] = ()) -> set[int]:
        """Take note of what a message tells; the sites that it tells of.

        Args:
            message: It.
            own_site: This session's.
            named: The blocks of the viewport.
        """
        for entry in message.presence:
            if entry.left:
                self.by_site.pop(entry.site, None)
            elif entry.site != own_site:
                self.by_site[entry.site] = entry
        for move in message.moves:
            known = self.by_site.get(move.site)
            if known is not None:
                self.by_site[move.site] = replace(known, state_json=move.state_json, block=move.block)
        gone = self._clear(named, {move.site for move in message.moves}) if message.is_presence_whole else set()
        for cluster in message.clusters:
            if cluster.count > CLUSTER:
                self.crowds[cluster.block] = cluster.count
            else:
                self.crowds.pop(cluster.block, None)
        return gone | {*[entry.site for entry in message.presence], *[move.site for move in message.moves]}

    def _clear(self, named: Collection[OpId], told: Collection[int]) -> set[int]:
        """Of all who are in these blocks was told; the others are elsewhere, nobody here knows where."""
        blocks = frozenset(named)
        gone = {site for site, entry in self.by_site.items() if entry.block in blocks and site not in told}
        for site in gone:
            self.by_site[site] = replace(self.by_site[site], block=None)
        for block in blocks & self.crowds.keys():
            del self.crowds[block]
        return gone

    def clear(self) -> None:
        """A new connection: nothing is known."""
        self.by_site.clear()
        self.crowds.clear()


class Showing:
    """What this session shows: the newest alone, at most every ``PRESENCE_INTERVAL_MS``, and on each connection."""

    def __init__(self) -> None:
        self._frame: bytes | None = None
        self._is_due = False
        self._send_from_ms = 0

    def show(self, presence: Presence) -> None:
        """Show this from now on."""
        self._frame = encode_client_message(presence)
        self._is_due = True

    def connected(self) -> None:
        """A new connection knows nothing of it."""
        self._is_due, self._send_from_ms = self._frame is not None, 0

    def take_due(self, now_ms: int) -> list[bytes]:
        """What to send now; noted as sent."""
        if not self._is_due or self._frame is None or now_ms < self._send_from_ms:
            return []
        self._is_due, self._send_from_ms = False, now_ms + PRESENCE_INTERVAL_MS
        return [self._frame]

    def wake_ms(self, now_ms: int) -> int | None:
        """When to ask again, if not now; None for not at all."""
        return self._send_from_ms if self._is_due and self._send_from_ms > now_ms else None
