"""A room whose keeper purges on demand, and replicas on lines to it."""

from __future__ import annotations

from collabkernel.crdt.ids import Stamp
from collabkernel.document.purge_plan import Then, plan_purges
from collabkernel.limits import HLC_MAX, SITE_MAX, Limits
from collabkernel.room.events import PurgeAsked
from tests.client.room_world import LIMITS, RoomWorld
from tests.simulation.verdict import encoded

ALL = Stamp(HLC_MAX, SITE_MAX)
"""A floor above every stamp."""


class PurgeWorld(RoomWorld):
    """Everything that is dead is purged when a test says so, however lately it died."""

    def __init__(self, count: int, limits: Limits = LIMITS, lazy: int = 0) -> None:
        super().__init__(*[False] * count, *[True] * lazy, limits=limits)

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

    def assert_converged(self) -> None:
        """Everybody has what the log says, byte by byte, and so has the room."""
        fold = self.server.fold()
        wanted = encoded(fold.state, fold)
        for state in (self.server.state, *[room.replica.state for room in self.rooms]):
            if state.is_partial:
                assert state.blocks is not None
                assert fold.state.blocks is not None
                whole, part = fold.state.blocks, state.blocks
                assert list(part.tree.rows()) == list(whole.tree.rows())
                assert set(part.blocks) == set(whole.blocks)
                for block in part.blocks:
                    assert not part.is_loaded(block) or part.text(block) == whole.text(block)
            else:
                assert encoded(state, fold) == wanted
