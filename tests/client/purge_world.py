"""A room whose keeper purges on demand, and replicas on lines to it."""

from __future__ import annotations

from collabkernel.crdt.ids import Stamp
from collabkernel.document.purge_plan import Then, plan_purges
from collabkernel.limits import HLC_MAX, SITE_MAX, Limits
from collabkernel.room.events import PurgeAsked
from collabkernel.wire.room_state import encode_parts, join_parts
from tests.client.room_world import LIMITS, RoomWorld

ALL = Stamp(HLC_MAX, SITE_MAX)
"""A floor above every stamp."""


class PurgeWorld(RoomWorld):
    """Everything that is dead is purged when a test says so, however lately it died."""

    def __init__(self, count: int, limits: Limits = LIMITS) -> None:
        super().__init__(*[False] * count, limits=limits)

    def ask_purge(self) -> bool:
        """Ask the keeper to purge all that is dead in what is stored; whether there is anything."""
        fold = self.server.fold()
        ops = plan_purges(fold.state, Then(fold.state, fold.seq, ALL), least=1)
        self.server.feed(PurgeAsked(tuple(ops), fold.seq))
        return bool(ops)

    def purge(self) -> None:
        """Purge all that those who are here know to be dead."""
        self.settle_up()
        assert self.ask_purge()
        self.settle_up()

    def settle_up(self) -> None:
        """Let everything arrive for those who are connected."""
        away = [line for line in self.lines if not line.is_up]
        lines, self.lines = self.lines, [line for line in self.lines if line.is_up]
        self.settle()
        self.lines = lines
        assert not any(line.is_up for line in away)

    def encoded(self) -> bytes:
        """What the log says."""
        return join_parts(encode_parts(self.server.fold().state, 0, 0))

    def assert_converged(self) -> None:
        """Everybody has what the log says, byte by byte, and so has the room."""
        wanted = self.encoded()
        for room in self.rooms:
            assert join_parts(encode_parts(room.replica.state, 0, 0)) == wanted
        assert join_parts(encode_parts(self.server.state, 0, 0)) == wanted
