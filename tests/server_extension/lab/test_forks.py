"""Forks as sockets join them; tests/server_extension/lab/test_rest.py has the rest, on a real server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from collabkernel_server.lab.documents import Documents
from collabkernel_server.lab.forks import ForkLabRoom, Forks
from collabkernel_server.lab.local_transport import LocalTransport

from collabkernel.errors import TooManyError
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.hub import Hub
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Role
from tests.server_extension.lab.file_world import contents_at

pytestmark = pytest.mark.anyio
ANN = Principal("ann", "Ann", "", Role.WRITER)


async def test_a_socket_that_may_not_join_leaves_no_replica_behind(tmp_path):
    """Each try left a client in the fork and a hold on its root, for ever."""
    (tmp_path / "a.txt").write_text("plan")
    hub = Hub(MemoryStorage(), replace(Limits(), sessions_per_actor=1))
    await hub.start()
    documents = Documents(hub, contents_at(tmp_path))
    forks = Forks(hub, documents)
    try:
        file_id, _ = await documents.ids.index("a.txt")
        fork = await forks.make(f"text:file:{file_id}", ANN, synchronize=True)
        first = await ForkLabRoom(fork, hub, documents).join(ANN, LocalTransport(1 << 20, 1))
        before = hub.info()["sessions"]

        for _ in range(3):
            with pytest.raises(TooManyError):
                await ForkLabRoom(fork, hub, documents).join(ANN, LocalTransport(1 << 20, 1))

        assert hub.info()["sessions"] == before
        await first.close()
    finally:
        await forks.stop()
        await documents.stop()
        await hub.stop()
