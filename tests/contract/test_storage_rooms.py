"""The storage contract, part two: rooms, sites, refusals, and reading the log."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from collabkernel.errors import ClosedError, RoomNotFoundError
from collabkernel.limits import FREE_SITES_MAX, READ_BYTES_MAX, READ_ROWS_MAX
from collabkernel.storage.base import (
    Appended,
    AppendRequest,
    OriginRow,
    Refusal,
    RoomRow,
    SiteRow,
    SnapshotRow,
    Storage,
)
from tests.contract.authors import HLC, NOW_MS, SECRET_HASH, Author, enter, whole_log
from tests.contract.databases import make_storage

pytestmark = pytest.mark.anyio


async def test_a_room_is_made_once(storage: Storage, other: Storage):
    assert await storage.head("plan") is None

    rooms = await asyncio.gather(*(through.create_room("plan", NOW_MS) for through in (storage, other) * 4))

    assert rooms == [RoomRow("plan", 0, 0, NOW_MS, NOW_MS, 0)] * 8
    assert await storage.create_room("plan", NOW_MS + 5) == rooms[0] == await other.head("plan")


async def test_rooms_are_listed_by_code_points_and_in_pages(storage: Storage):
    names = ["b", "a", "Z", "é", "a b", "\U0001f600", "10", "9", "_"]
    for name in names:
        await storage.create_room(name, NOW_MS)

    listed = []
    while page := await storage.list_rooms(limit=4, after=listed[-1] if listed else ""):
        assert len(page) <= 4
        listed += [room.room_id for room in page]

    assert listed == sorted(names)


async def test_a_deleted_room_is_gone_with_all_that_belonged_to_it(storage: Storage):
    ann, bob = await enter(storage), await enter(storage, "notes")
    await storage.append([ann.next(3), bob.next()])
    await storage.refuse("plan", 7, 1, Refusal(4, 1, "too-large", "a value"))
    await storage.save_snapshot(SnapshotRow("plan", 3, {"live": b"state"}), NOW_MS)

    assert await storage.delete_room("plan") is True
    assert await storage.delete_room("plan") is False

    assert await storage.head("plan") is None
    assert await whole_log(storage) == []
    assert await storage.site("plan", 7) is None
    assert await storage.latest_snapshot("plan") is None
    assert await storage.find_envelope("plan", 7, 4) is None
    assert [room.room_id for room in await storage.list_rooms()] == ["notes"]

    again = await enter(storage)
    assert await storage.append([again.next()]) == [Appended(1, HLC)]
    assert await storage.latest_snapshot("plan") is None
    assert len(await whole_log(storage, "notes")) == 1


async def test_reading_gives_the_range_asked_for(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(10)])

    async def seqs(*bounds: int) -> list[int]:
        return [row.seq async for rows in storage.read_ops("plan", *bounds) for row in rows]

    assert await seqs(0) == list(range(1, 11))
    assert await seqs(4) == [5, 6, 7, 8, 9, 10]
    assert await seqs(4, 6) == [5, 6]
    assert await seqs(8, 99) == [9, 10]
    assert await seqs(6, 6) == await seqs(7, 6) == await seqs(10) == await seqs(99) == []
    assert [rows async for rows in storage.read_ops("nowhere", 0)] == []


async def test_a_long_log_is_read_in_chunks(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(4000) for _ in range(3)])

    chunks = [rows async for rows in storage.read_ops("plan", 0)]

    assert all(0 < len(rows) <= READ_ROWS_MAX for rows in chunks)
    assert [row.seq for rows in chunks for row in rows] == list(range(1, 12_001))
    assert chunks[-1][-1].payload == b"7:12000"


async def test_large_operations_are_read_few_at_a_time(storage: Storage):
    """5,000 of 256 KiB at once were 1.3 GB."""
    ann = await enter(storage)
    small, large = b"x" * 100, b"x" * (READ_BYTES_MAX // 3)
    payloads = [small] * 50 + [large] * 7 + [b"x" * (READ_BYTES_MAX + 1)] * 2 + [small] * 50
    envelope = dataclasses.replace(ann.next(), ops=tuple((3, payload) for payload in payloads))
    await storage.append([envelope])

    for upto_seq in (None, 58):
        chunks = [rows async for rows in storage.read_ops("plan", 0, upto_seq)]

        assert [row.payload for rows in chunks for row in rows] == payloads[:upto_seq]
        assert all(rows for rows in chunks)
        assert all(len(rows) == 1 or sum(len(row.payload) for row in rows) <= READ_BYTES_MAX for rows in chunks)
    assert len(chunks) < 20


async def test_an_operation_is_found_by_its_seq(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(3)])

    assert (await storage.op_at("plan", 2)).payload == b"7:2"
    for seq in (-1, 0, 4):
        assert await storage.op_at("plan", seq) is None
    assert await storage.op_at("nowhere", 1) is None


async def test_the_log_up_to_a_time_ends_before_the_first_operation_made_later(storage: Storage):
    ann, bob = await enter(storage), await enter(storage, site=8, actor="bob")
    await storage.append([ann.next(2, hlc=HLC), bob.next(2, hlc=HLC + 100), ann.next(hlc=HLC + 5), bob.next(hlc=HLC)])

    found = [await storage.seq_before("plan", HLC + late) for late in (-1, 0, 1, 99, 100, 101)]

    assert found == [0, 1, 2, 2, 3, 6]
    assert await storage.seq_before("nowhere", HLC) == 0


async def test_authors_are_told_of_operations_and_sites(storage: Storage):
    ann, bob = await enter(storage), await enter(storage, site=8, actor="bob")
    await storage.append([ann.next(3), bob.next(2)])
    asked = [(8, 2), (7, 1), (7, 1), (7, 4), (9, 1)]

    assert sorted(await storage.origins("plan", asked)) == [
        OriginRow(7, 1, 1, HLC, "ann"),
        OriginRow(8, 2, 5, HLC + 1, "bob"),
    ]
    assert await storage.actors("plan", [8, 9, 7, 8]) == {7: "ann", 8: "bob"}
    assert await storage.origins("plan", []) == await storage.origins("nowhere", asked) == []
    assert await storage.actors("plan", []) == await storage.actors("nowhere", [7]) == {}


async def test_a_site_is_entered_once(storage: Storage, other: Storage):
    await storage.create_room("plan", NOW_MS)

    taken = await asyncio.gather(
        *(through.new_site("plan", 7, "ann", 3, SECRET_HASH, NOW_MS) for through in (storage, other) * 3)
    )

    assert sorted(taken) == [False] * 5 + [True]
    assert await storage.site("plan", 7) == SiteRow("plan", 7, "ann", 3, 1, SECRET_HASH, 0)
    assert await storage.site("plan", 8) is None
    assert await storage.site("nowhere", 7) is None
    with pytest.raises(RoomNotFoundError, match="nowhere"):
        await storage.new_site("nowhere", 7, "ann", 1, SECRET_HASH, NOW_MS)


async def test_a_resume_raises_the_epoch(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(2)])

    assert await storage.resume_site("plan", 7, NOW_MS) == SiteRow("plan", 7, "ann", 1, 2, SECRET_HASH, 2)
    assert (await storage.resume_site("plan", 7, NOW_MS)).epoch == 3
    assert await storage.resume_site("plan", 8, NOW_MS) is None
    assert await storage.resume_site("nowhere", 7, NOW_MS) is None


async def test_a_refusal_advances_the_counter_over_it(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(2)])
    refusal = Refusal(3, 4, "too-deep", "nested over 64 levels")

    assert await storage.refuse("plan", 7, 1, refusal) is True

    assert (await storage.site("plan", 7)).last_counter == 6
    assert await storage.find_envelope("plan", 7, 3) == refusal
    assert await storage.append([ann.at(7)]) == [Appended(3, HLC)]
    assert (await storage.site("plan", 7)).last_counter == 7


async def test_a_refusal_out_of_order_or_fenced_is_not_stored(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(2)])
    await storage.resume_site("plan", 7, NOW_MS)

    assert await storage.refuse("plan", 7, 1, Refusal(3, 1, "rate", "an older epoch")) is False
    assert await storage.refuse("plan", 7, 2, Refusal(2, 1, "rate", "stored already")) is False
    assert await storage.refuse("plan", 7, 2, Refusal(4, 1, "rate", "a gap")) is False
    assert await storage.refuse("plan", 9, 1, Refusal(1, 1, "rate", "unknown site")) is False
    assert await storage.refuse("nowhere", 7, 1, Refusal(1, 1, "rate", "unknown room")) is False

    assert (await storage.site("plan", 7)).last_counter == 2
    assert await storage.find_envelope("plan", 7, 3) is None


async def test_a_refusal_may_be_sent_twice(storage: Storage):
    await enter(storage)
    refusal = Refusal(1, 2, "invalid-value", "the key 'a\0b' and \ud800")

    assert await storage.refuse("plan", 7, 1, refusal) is True
    assert await storage.refuse("plan", 7, 1, refusal) is True
    assert await storage.refuse("plan", 7, 1, Refusal(1, 2, "rate", "another")) is False

    found = await storage.find_envelope("plan", 7, 1)
    assert found == Refusal(1, 2, "invalid-value", "the key 'a\ufffdb' and ?")


async def test_an_envelope_is_found_by_its_first_counter(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(2), ann.next(hlc=HLC + 7)])

    assert await storage.find_envelope("plan", 7, 1) == Appended(1, HLC, duplicate=True)
    assert await storage.find_envelope("plan", 7, 3) == Appended(3, HLC + 7, duplicate=True)
    assert await storage.find_envelope("plan", 7, 4) is None
    assert await storage.find_envelope("plan", 8, 1) is None
    assert await storage.find_envelope("nowhere", 7, 1) is None


async def test_what_was_stored_is_there_after_a_reopening(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(2)])
    before = await whole_log(storage)

    await storage.close()
    await storage.close()
    await storage.open()
    await storage.open()

    assert await whole_log(storage) == before
    assert await storage.append([ann.next()]) == [Appended(3, HLC)]


async def test_a_storage_is_used_only_while_it_is_open(storage_url: str):
    storage = make_storage(storage_url)
    uses = [
        lambda: storage.head("plan"),
        lambda: storage.create_room("plan", NOW_MS),
        lambda: storage.append([AppendRequest("plan", 1, 1, 1, 0, 0, "ann", ((1, b""),))]),
        lambda: whole_log(storage),
        lambda: storage.op_at("plan", 1),
        lambda: storage.find_envelope("plan", 1, 1),
        lambda: storage.seq_before("plan", 1),
        lambda: storage.origins("plan", [(1, 1)]),
        lambda: storage.actors("plan", [1]),
        lambda: storage.new_site("plan", 1, "ann", 1, b"", NOW_MS),
        lambda: storage.site("plan", 1),
        lambda: storage.resume_site("plan", 1, NOW_MS),
        lambda: storage.refuse("plan", 1, 1, Refusal(1, 1, "rate", "")),
        lambda: storage.save_snapshot(SnapshotRow("plan", 0, {}), NOW_MS),
        lambda: storage.latest_snapshot("plan"),
        lambda: storage.list_rooms(),
        lambda: storage.delete_room("plan"),
    ]

    async def all_refuse() -> None:
        for use in uses:
            with pytest.raises(ClosedError):
                await use()

    await all_refuse()
    await storage.open()
    await storage.close()
    await all_refuse()


async def test_closing_finishes_what_is_under_way(storage: Storage):
    ann = await enter(storage)
    task = asyncio.create_task(storage.append([ann.next(2000)]))
    await asyncio.sleep(0)

    await storage.close()

    assert await task == [Appended(1, HLC)]
    await storage.open()
    assert (await storage.head("plan")).seq == 2000


async def test_durability_is_known_once_it_is_open(storage_url: str, storage: Storage):
    relaxed = make_storage(storage_url, durable=False)
    await relaxed.open()

    assert storage.is_durable is (storage_url != "memory://")
    assert relaxed.is_durable is False

    author = Author("plan", 7)
    await relaxed.create_room("plan", NOW_MS)
    await relaxed.new_site("plan", 7, "ann", 1, SECRET_HASH, NOW_MS)
    assert await relaxed.append([author.next()]) == [Appended(1, HLC)]
    await relaxed.close()


async def test_a_full_room_drops_sites_that_never_wrote_and_were_not_heard_of_lately(storage: Storage):
    writer = await enter(storage, "plan", 1)
    for site in range(2, 7):
        assert await storage.new_site("plan", site, "ann", 1, SECRET_HASH, NOW_MS + site)
    await storage.append([writer.next()])
    assert await storage.refuse("plan", 2, 1, Refusal(1, 1, "too-large", "no"))
    await storage.resume_site("plan", 3, NOW_MS + 1000)

    assert await storage.free_sites("plan", 2000, NOW_MS + 500) == FREE_SITES_MAX
    assert await storage.site("plan", 4) is not None, "there is place enough"
    assert await storage.free_sites("plan", 6, NOW_MS + 6) == 2, "4 and 5 are gone; 6 is too new"
    assert [site for site in range(1, 7) if await storage.site("plan", site)] == [1, 2, 3, 6]
    assert await storage.free_sites("plan", 4, NOW_MS) == 0
    with pytest.raises(RoomNotFoundError):
        await storage.free_sites("nowhere", 4, NOW_MS)
