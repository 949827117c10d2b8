"""A hub with a real database, and readers who look at a part of a long document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.operations import BlockInsert, MapSet, NewDocument, Op, TextEdit, document_id
from collabkernel.limits import PARTITION_BLOCKS_MAX, Limits
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from collabkernel.wire.messages import Hello, Resume, SessionKind, Viewport
from tests.room.onlooker import Onlooker
from tests.server.raw import RawClient, enter, eventually, join, run

BODY = document_id("body")
LIMITS = replace(Limits(), snapshot_ops=100, snapshot_min_interval_ms=0)


def hub_on(path: Path) -> Hub:
    return Hub(open_storage(f"sqlite:///{path / 'rooms.sqlite'}"), LIMITS)


async def write_book(hub: Hub, paragraphs: int) -> tuple[RawClient, list[OpId]]:
    """A writer, and the blocks of the document that he has written and a snapshot has."""
    ann = await join(hub, actor="ann")
    assert ann.welcome is not None
    site = ann.welcome.site
    key, ops = "", list[Op]([NewDocument(ROOT, "body")])
    for _ in range(paragraphs):
        key = key_between(key or None, None, site)
        ops.append(BlockInsert(BODY, Slot.CHILD, key, "paragraph"))
    ann.base = await ann.store(1, *ops) + paragraphs
    blocks = [OpId(site, 2 + i) for i in range(paragraphs)]
    texts = [
        TextEdit(block, TextRope(site, policy=ROPE_POLICY).splice(0, 0, f"paragraph {i}"))
        for i, block in enumerate(blocks)
    ]
    seq = await ann.store(paragraphs + 2, *texts)
    ann.base = seq + paragraphs - 1

    async def is_saved() -> bool:
        snapshot = await hub.storage.latest_snapshot("board")
        return snapshot is not None and snapshot.seq == ann.base

    await eventually(is_saved)
    return ann, blocks


async def look(hub: Hub, blocks: tuple[OpId, ...], resume: Resume | None = None) -> RawClient:
    """A reader who names a viewport, and then says Hello."""
    bob = await enter(hub, actor="bob")
    await bob.say(Viewport(blocks))
    await bob.say(Hello(SessionKind.PERSON, "raw 1", resume))
    await bob.until(lambda: any(message.contents for message in bob.messages))
    return bob


def test_a_reader_is_given_what_he_looks_at_and_resumes_from_there(tmp_path: Path) -> None:
    async def scenario(hub: Hub) -> None:
        ann, blocks = await write_book(hub, 500)
        bob = await look(hub, (blocks[0],))
        onlooker = Onlooker()
        for message in bob.messages:
            onlooker.receive(message)
        assert onlooker.document.text(blocks[0]) == "paragraph 0"
        assert len(list(onlooker.document.tree.in_order(BODY))) == 500
        assert blocks[-1] not in onlooker.has
        assert len(onlooker.document.ropes) <= PARTITION_BLOCKS_MAX

        seq = await ann.store(1002, MapSet(blocks[-1], "level", 1))
        await bob.until(lambda: bob.through == seq)
        last = bob.messages[-1]
        assert (last.filtered, last.through_op) == ((), OpId(blocks[0].site, 1002))
        assert bob.welcome is not None
        resume = Resume(bob.welcome.site, bob.welcome.secret, seq, last.through_op)
        await bob.leave()

        again = await look(hub, (blocks[-1],), resume)
        assert again.welcome is not None
        assert not again.welcome.resync
        assert not any(message.snapshot for message in again.messages)
        for message in again.messages:
            onlooker.receive(message)
        assert onlooker.document.block(blocks[-1]).properties.get("level") == 1
        assert onlooker.document.text(blocks[-1]) == "paragraph 499"

    run(scenario, hub_on(tmp_path))


def test_what_a_reader_is_given_does_not_grow_with_what_is_off_screen(tmp_path: Path) -> None:
    sizes = {}
    for paragraphs in (300, 1200):

        async def scenario(hub: Hub, paragraphs: int = paragraphs) -> None:
            _, blocks = await write_book(hub, paragraphs)
            bob = await look(hub, (blocks[0],))
            sizes[paragraphs] = sum(len(part.blocks) for message in bob.messages for part in message.contents)

        path = tmp_path / str(paragraphs)
        path.mkdir()
        run(scenario, hub_on(path))

    assert sizes[1200] <= sizes[300] * 1.05
