"""The keeper at work: real clients and servers, and what is in order again without anybody's doing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from collabkernel.bus.memory import MemoryBus
from collabkernel.crdt.ids import KEEPER_SITE, Slot
from collabkernel.document.operations import BlockMove, BlockRekey, document_id
from collabkernel.limits import ORDER_KEY_REBALANCED_BYTES, Limits
from collabkernel.server.hub import Hub
from collabkernel.server.reader import Reader
from collabkernel.storage import open_storage
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.ops import decode_op
from tests.server.hub_rooms import Person, leave, people, until
from tests.server.raw import run

BODY = document_id("body")
LIMITS = replace(Limits(), keeper_tick_ms=1, keeper_ask_ms=50, snapshot_ops=20, snapshot_min_interval_ms=0)


async def kept(hub: Hub) -> list[object]:
    """The keeper's operations in the log."""
    found: list[object] = []
    async for rows in hub.storage.read_ops("board", 0):
        found += [decode_op(row.payload) for row in rows if row.site == KEEPER_SITE]
    return found


def test_splits_that_crossed_stand_in_the_order_of_their_text_for_all(tmp_path: Path) -> None:
    async def scenario(hub: Hub) -> None:
        everybody = await people(hub, "ann", "bob", "eve")
        (block,) = everybody[0].doc.append("abcdef")
        for person in everybody:
            await until(lambda person=person: person.texts == ["abcdef"])
        for person, index in zip(everybody, (1, 3, 5), strict=True):
            person.doc[block.id].split(index)  # nobody has seen the others' yet
        for person in everybody:
            await until(lambda person=person: person.texts == ["a", "bc", "de", "f"])

        assert {type(op) for op in await kept(hub)} <= {BlockRekey}
        fold, _ = await Reader(hub.storage).load("board")
        assert fold.state.blocks is not None
        assert [line.text for line in fold.state.blocks.outline(BODY)] == ["a", "bc", "de", "f"]
        await leave(everybody)

    run(scenario, Hub(open_storage(f"sqlite:///{tmp_path / 'rooms.sqlite'}"), LIMITS))


def test_what_was_merged_while_its_host_was_split_follows_the_end() -> None:
    async def scenario(hub: Hub) -> None:
        ann, bob = everybody = await people(hub, "ann", "bob")
        first, other = ann.doc.append("abcd\n\nxy")
        await until(lambda: bob.texts == ["abcd", "xy"])
        await bob.go_offline()
        bob.doc[other.id].merge()
        first.split(2)
        await ann.room.flush()
        await bob.come_back()

        for person in everybody:
            await until(lambda person=person: person.texts == ["ab", "cdxy"])
        assert [type(op) for op in await kept(hub)] == [BlockMove]
        await leave(everybody)

    run(scenario, Hub(MemoryStorage(), LIMITS))


def longest_key(person: Person) -> int:
    tree = person.room.replica.state.blocks.tree
    return max(len(tree.place_of(child).key) for child in tree.children(BODY))


async def squeeze(ann: Person, bob: Person) -> None:
    """Each puts a block between the last two that the other and himself have put, until a key is too long."""
    low, high = ann.doc[0].id, ann.doc[1].id
    turn = longest = 0
    while longest <= ORDER_KEY_REBALANCED_BYTES:
        turn += 1
        one = ann if turn % 4 < 2 else bob
        made = one.doc.insert(f"{turn}", after=one.doc[low])[0].id
        low, high = (made, high) if turn % 2 else (low, made)
        longest = max(longest, longest_key(one))
        await until(lambda made=made: all(any(made == each.id for each in person.doc) for person in (ann, bob)))


def test_long_keys_are_made_short_and_who_was_offline_finds_his_blocks_where_he_put_them() -> None:
    async def scenario(hub: Hub) -> None:
        ann, bob, eve = everybody = await people(hub, "ann", "bob", "eve")
        ann.doc.append("first\n\nmiddle\n\nlast")
        await until(lambda: bob.texts == eve.texts == ["first", "middle", "last"])
        await eve.go_offline()
        eve.doc.insert("behind the middle", after=eve.doc[1])
        eve.doc[0].move(after=eve.doc[-1])
        moved: list[str] = []
        bob.doc.observe(lambda change: moved.append(change.owner.text) if change.type == "move" else None)

        await squeeze(ann, bob)

        await until(lambda: longest_key(bob) <= ORDER_KEY_REBALANCED_BYTES)
        rekeys = [op for op in await kept(hub) if isinstance(op, BlockRekey)]
        assert rekeys
        assert {(op.target, op.slot) for op in rekeys} == {(BODY, Slot.CHILD)}
        assert moved == []
        before = ann.texts
        assert before[-2:] == ["middle", "last"]
        await eve.come_back()
        expected = [*before[1:-1], "behind the middle", "last", "first"]
        for person in everybody:
            await until(lambda person=person: person.texts == expected)
        assert moved == ["first"]
        await leave(everybody)

    run(scenario, Hub(MemoryStorage(), LIMITS))


async def crossed(everybody: list[Person], block: str, indices: tuple[int, ...]) -> None:
    """Each splits a block, and none has seen the others' splits."""
    for person, index in zip(everybody, indices, strict=True):
        person.doc[block].split(index)
    for person in everybody:
        await person.room.flush()


def test_of_two_servers_one_mends_and_the_other_goes_on_when_the_room_is_gone_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        url, bus = f"sqlite:///{tmp_path / 'rooms.sqlite'}", MemoryBus()
        limits = replace(LIMITS, room_idle_ms=1)
        here, there = hubs = [Hub(open_storage(url), limits, bus=bus) for _ in range(2)]
        for hub in hubs:
            await hub.start()
        ann, eve = await people(here, "ann", "eve")
        (bob,) = await people(there, "bob")
        everybody = [ann, bob, eve]
        (block,) = ann.doc.append("abcdefghijkl")
        for person in everybody:
            await until(lambda person=person: person.texts == ["abcdefghijkl"])

        await crossed(everybody, block.id, (1, 3, 5))
        for person in everybody:
            await until(lambda person=person: person.texts == ["a", "bc", "de", "fghijkl"])
        first = len(await kept(there))
        assert first
        for person in (ann, eve):
            await person.go_offline()
            await person.come_back(there)
        await until(lambda: here.info()["rooms_loaded"] == 0)
        # Keys that hang from the keeper's are ordered by their sites: so these are in the wrong order.
        by_site = sorted(everybody, key=lambda person: person.room.site, reverse=True)
        await crossed(by_site, ann.doc[-1].id, (2, 4, 6))

        for person in everybody:
            await until(lambda person=person: person.texts == ["a", "bc", "de", "fg", "hi", "jk", "l"])
        assert len(await kept(there)) > first
        await leave(everybody)
        for hub in hubs:
            await hub.stop()

    asyncio.run(scenario())
