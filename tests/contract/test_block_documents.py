"""Block documents on every database: judged alike by the room, by one that starts again, and by a reader."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    MapSet,
    NewDocument,
    TextEdit,
    document_id,
)
from collabkernel.document.room_state import RoomState
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.server.reader import Reader
from collabkernel.storage.base import Storage
from collabkernel.wire.room_state import BLOCKS, LIVE, TREE, decode_room
from tests.server.raw import RawClient, join

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("storage_url", ["memory", "sqlite"], indirect=True)]

BODY = document_id("body")
LIMITS = replace(Limits(), snapshot_ops=6, snapshot_min_interval_ms=0)


async def refused(client: RawClient, counter: int, *ops: object) -> str:
    """The code with which an envelope is refused."""
    await client.submit(counter, *ops)  # type: ignore[arg-type]  # operations
    found = await client.until(lambda: [r for m in client.messages for r in m.rejects if r.counter == counter])
    return str(found[0].code)


def shown(state: RoomState) -> list[str]:
    """The texts of the document's blocks."""
    assert state.blocks is not None
    return [state.blocks.text(block) for block in state.blocks.tree.in_order(BODY)]


async def write(hub: Hub) -> None:
    """Two sessions: of two moves of one block the second in the log is discarded; some operations are refused."""
    ann, bob = await join(hub, actor="ann"), await join(hub, actor="bob")
    assert ann.welcome is not None
    assert bob.welcome is not None
    site, other = ann.welcome.site, bob.welcome.site
    keys = [key_between(None, None, site)]
    keys.append(key_between(keys[0], None, site))
    ropes = [TextRope(site, policy=ROPE_POLICY) for _ in keys]
    inserts = [BlockInsert(BODY, Slot.CHILD, key, "paragraph") for key in keys]
    typed = [TextEdit(OpId(site, 2 + i), rope.insert(0, "ab"[i])) for i, rope in enumerate(ropes)]
    await ann.store(1, NewDocument(ROOT, "body"), *inserts, *typed, MapSet(OpId(site, 2), "done", True))
    first, second = OpId(site, 2), OpId(site, 3)
    before, after = key_between(None, keys[0], site), key_between(keys[1], None, other)
    await ann.store(7, BlockMove(second, BODY, Slot.CHILD, before))
    await bob.store(1, BlockMove(second, BODY, Slot.CHILD, after))
    assert await refused(bob, 2, BlockMove(first, BODY, Slot.CHILD, before)) == "invalid-operation"
    assert await refused(bob, 3, BlockRekey(BODY, Slot.CHILD, ((first, key_between(None, None, other)),))) == (
        "invalid-operation"
    )
    assert await refused(bob, 4, BlockDelete(OpId(9, 9))) == "unknown-target"
    assert await refused(bob, 5, BlockInsert(BODY, Slot.CHILD, after, "t" * 65)) == "invalid-operation"
    await ann.store(8, MapSet(ROOT, "k", 1))


async def test_every_fold_comes_to_the_same_document(storage: Storage) -> None:
    hub = Hub(storage, LIMITS)
    await hub.start()
    await write(hub)
    fold, snapshot_seq = await Reader(storage).load("board")

    assert shown(fold.state) == ["b", "a"]
    assert not fold.skipped
    snapshot = await storage.latest_snapshot("board")
    if snapshot is not None:
        assert set(snapshot.parts) == {LIVE, TREE, f"{BLOCKS}1"}
        assert snapshot.seq >= snapshot_seq, "another may have come meanwhile"

    late = await join(hub, actor="late")
    sent = next((message.snapshot for message in late.messages if message.snapshot is not None), None)
    state = RoomState() if sent is None else decode_room(sent.state, None)[0]
    for stored in late.envelopes:
        for i, op in enumerate(stored.envelope.ops):
            state.apply(stored.op_id(i), stored.stamp(i), op)
        state.judge_all(stored)
    assert shown(state) == ["b", "a"]
    assert state.tree.to_json() == {"k": 1}
    await hub.stop()
