"""What a simulated world has in place of a real one's: secrets that are none, and hubs that tell who keeps a room."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest import mock

from collabkernel.room.events import Keeping
from collabkernel.server import hub as hub_module
from collabkernel.server.keeper_leases import KeeperLeases


class _WatchedLeases(KeeperLeases):
    """Tells who believes to be the keeper, and for how long."""

    async def take(self, room_id: str) -> Keeping | None:
        keeping = await super().take(room_id)
        if keeping is not None:
            self._storage.believes(keeping.until_ms - self._now_ms())
        return keeping


@contextmanager
def watched(rng: Random) -> Iterator[None]:
    """Secrets that are none: the same for the same seed. And hubs tell who believes to be the keeper."""
    with (
        mock.patch.object(secrets, "token_bytes", rng.randbytes),
        mock.patch.object(secrets, "token_hex", lambda size: rng.randbytes(size).hex()),
        mock.patch.object(secrets, "randbelow", rng.randrange),
        mock.patch.object(hub_module, "KeeperLeases", _WatchedLeases),
    ):
        yield
