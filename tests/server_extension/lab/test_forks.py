"""Forks as sockets join them; tests/server_extension/lab/test_rest.py has the rest, on a real server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.documents import Documents
from collabkernel_server.lab.forks import ForkLabRoom, Forks
from collabkernel_server.lab.local_transport import LocalTransport
from pycrdt import Doc, Text

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


@pytest.mark.parametrize("is_known", [True, False], ids=["typed in both", "typed in the fork alone"])
async def test_who_goes_on_in_a_fork_on_the_same_page_may_merge_it_and_go_on(tmp_path, is_known):
    """A page has one Yjs client id in both: the server's session was refused as another's, and the file overwritten."""
    (tmp_path / "a.txt").write_text("plan")
    hub = Hub(MemoryStorage(), Limits())
    await hub.start()
    documents = Documents(hub, contents_at(tmp_path))
    forks = Forks(hub, documents)
    try:
        file_id, _ = await documents.ids.index("a.txt")
        held = await documents.open(f"text:file:{file_id}")
        server = await held.wake()
        page: Doc[Any] = Doc(client_id=77)
        in_root = DocumentClient(hub, server.room_id, "file", ANN)
        await in_root.start()

        async def type_(text: str, client: DocumentClient) -> None:
            page.apply_update(client.ydoc.get_update(page.get_state()))
            page.get("source", type=Text).insert(0, text)
            client.ydoc.apply_update(page.get_update(client.ydoc.get_state()))
            await client.flush()

        if is_known:
            await type_("1", in_root)
        fork = await forks.make(f"text:file:{file_id}", ANN)
        in_fork = DocumentClient(hub, fork.room_id, "file", ANN)
        await in_fork.start()
        await type_("2", in_fork)
        await in_fork.stop()
        await forks.delete(fork, merge=True)
        await in_root.synced()
        await type_("3", in_root)
        await server.synced()
        server.ydoc.get("source", type=Text).insert(0, "4")
        await server.flush()
        await in_root.synced()

        text = "4321plan" if is_known else "432plan"
        assert str(in_root.ydoc.get("source", type=Text)) == text
        await in_root.stop()
        held.release()
    finally:
        await forks.stop()
        await documents.stop()
        await hub.stop()
    assert (tmp_path / "a.txt").read_text() == text
