"""The storage contract, part one: what an append promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from collabkernel.storage.base import Appended, AppendRequest, NotAppended, Refusal, Storage
from tests.contract.authors import HLC, NOW_MS, Author, enter, rows_of, whole_log

pytestmark = pytest.mark.anyio


def codes(answers: list[Appended | NotAppended]) -> list[str]:
    return [answer.code if isinstance(answer, NotAppended) else "stored" for answer in answers]


async def test_an_envelope_is_in_the_log_as_it_was_given(storage: Storage):
    ann = await enter(storage, actor="ann é \U0001f600")
    request = replace(ann.next(), ops=((3, b"\0\xff"), (200, b""), (1, b"x" * 70_000)), base=12, hlc=HLC + 5)

    answers = await storage.append([request])

    assert answers == [Appended(1, HLC + 5)]
    assert await whole_log(storage) == rows_of(request, answers[0])


async def test_a_batch_is_stored_in_its_order_without_gaps(storage: Storage):
    ann, bob = await enter(storage, site=7), await enter(storage, site=2**32 - 1)
    batch = [ann.next(2), bob.next(3), ann.next(1), ann.next(4), bob.next(1)]

    answers = await storage.append(batch)

    assert [answer.seq for answer in answers] == [1, 3, 6, 7, 11]
    assert await whole_log(storage) == [row for pair in zip(batch, answers, strict=True) for row in rows_of(*pair)]
    assert (await storage.head("plan")).seq == 11


async def test_each_room_has_its_own_order(storage: Storage):
    plan, notes = await enter(storage, "plan"), await enter(storage, "notes")

    answers = await storage.append([plan.next(2), notes.next(), plan.next(), notes.next(5)])

    assert [answer.seq for answer in answers] == [1, 1, 3, 2]
    assert [row.payload for row in await whole_log(storage, "notes")] == [f"7:{i}".encode() for i in range(1, 7)]


async def test_an_empty_batch_has_no_answers(storage: Storage):
    assert await storage.append([]) == []


async def test_a_resend_is_answered_from_the_log(storage: Storage):
    ann, bob = await enter(storage, site=7), await enter(storage, site=8)
    first, second = ann.next(2), ann.next(1, hlc=HLC + 9)
    await storage.append([first, bob.next(), second])
    before = await whole_log(storage)

    answers = await storage.append([first, second, ann.next()])

    assert answers == [Appended(1, HLC, duplicate=True), Appended(4, HLC + 9, duplicate=True), Appended(5, HLC)]
    assert (await whole_log(storage))[:-1] == before


async def test_a_resend_in_the_same_batch_is_a_duplicate(storage: Storage):
    ann = await enter(storage)
    request = ann.next(2)

    answers = await storage.append([request, request, ann.next(), request])

    assert answers == [Appended(1, HLC), Appended(1, HLC, True), Appended(3, HLC), Appended(1, HLC, True)]
    assert len(await whole_log(storage)) == 3


async def test_a_resend_that_reaches_beyond_what_is_stored_is_a_gap(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(2)])

    answers = await storage.append([ann.at(1, ops_count=3), ann.at(2, ops_count=2), ann.at(3)])

    assert codes(answers) == ["counter-gap", "counter-gap", "stored"]
    assert "expected counter 3, got 1" in answers[0].reason


async def test_a_gap_stops_its_site_alone(storage: Storage):
    ann, bob = await enter(storage, site=7), await enter(storage, site=8)

    answers = await storage.append([ann.at(1), ann.at(3), bob.next(), ann.at(4), bob.next()])

    assert codes(answers) == ["stored", "counter-gap", "stored", "counter-gap", "stored"]
    assert [(row.site, row.counter) for row in await whole_log(storage)] == [(7, 1), (8, 1), (8, 2)]


@pytest.mark.parametrize("epoch", [0, 1, 3])
async def test_another_epoch_than_the_stored_one_is_fenced(storage: Storage, epoch: int):
    ann = await enter(storage)
    assert (await storage.resume_site("plan", 7, NOW_MS)).epoch == 2

    answers = await storage.append([replace(ann.at(1), epoch=epoch), replace(ann.at(1), epoch=2)])

    assert codes(answers) == ["fenced", "stored"]


async def test_a_resend_of_an_older_epoch_is_fenced_too(storage: Storage):
    ann = await enter(storage)
    request = ann.next()
    await storage.append([request])
    await storage.resume_site("plan", 7, NOW_MS)

    assert codes(await storage.append([request])) == ["fenced"]


async def test_unknown_rooms_and_sites_are_told_apart(storage: Storage):
    ann = await enter(storage)

    answers = await storage.append([Author("gone", 7).next(), Author("plan", 9).next(), ann.next()])

    assert codes(answers) == ["room-not-found", "fenced", "stored"]
    assert answers[2].seq == 1


@pytest.mark.parametrize(
    "change",
    [
        {"ops": ()},
        {"counter": 0},
        {"counter": 2**53},
        {"site": 0},
        {"site": 2**32},
        {"hlc": -1},
        {"hlc": 2**63 - 1, "ops": ((1, b"a"), (1, b"b"))},
        {"base": -1},
        {"base": 2**53},
        {"actor": "nul\0"},
        {"actor": "lone \ud800"},
        {"room_id": "nul\0"},
        {"room_id": "lone \udfff"},
    ],
    ids=str,
)
async def test_what_no_database_takes_is_refused_alone(storage: Storage, change: dict[str, object]):
    ann = await enter(storage)

    answers = await storage.append([ann.next(), replace(ann.at(2), **change), ann.next()])

    assert codes(answers) == ["stored", "invalid-operation", "stored"]


async def test_the_largest_numbers_are_kept(storage: Storage):
    ann = await enter(storage)
    await storage.refuse("plan", 7, 1, Refusal(1, 2**53 - 2, "rate", "a jump over all counters but the last"))
    request = ann.at(2**53 - 1, base=2**53 - 1, hlc=2**63 - 1)

    answers = await storage.append([request])

    assert await whole_log(storage) == rows_of(request, answers[0])
    assert (await storage.head("plan")).hlc == 2**63 - 1


async def test_the_room_keeps_its_highest_stamp(storage: Storage):
    ann = await enter(storage)

    await storage.append([ann.next(3, hlc=HLC + 100), ann.next(hlc=HLC)])

    room = await storage.head("plan")
    assert (room.seq, room.hlc, room.created_ms) == (4, HLC + 102, NOW_MS)
    assert room.updated_ms >= NOW_MS


async def test_a_refused_envelope_is_answered_the_same_at_every_resend(storage: Storage):
    ann = await enter(storage)
    first, refused, after = ann.next(), ann.next(3), ann.next()
    await storage.append([first])
    assert await storage.refuse("plan", 7, 1, Refusal(2, 3, "unknown-target", "no such list"))

    answers = await storage.append([refused, after, refused])

    assert answers == [
        NotAppended("unknown-target", "no such list"),
        Appended(2, HLC),
        NotAppended("unknown-target", "no such list"),
    ]


async def test_appends_at_once_give_one_order_without_gaps(storage: Storage, other: Storage):
    authors = [await enter(storage, site=site) for site in range(1, 9)]

    async def write(author: Author, through: Storage) -> list[tuple[AppendRequest, object]]:
        written = []
        for _ in range(6):
            batch = [author.next(2), author.next(1)]
            written += list(zip(batch, await through.append(batch), strict=True))
        return written

    writers = [write(author, (storage, other)[i % 2]) for i, author in enumerate(authors)]
    written = [pair for pairs in await asyncio.gather(*writers) for pair in pairs]

    log = await whole_log(other)
    assert [row.seq for row in log] == list(range(1, 8 * 6 * 3 + 1))
    assert log == sorted(row for pair in written for row in rows_of(*pair))
    for author in authors:
        assert [row.counter for row in log if row.site == author.site] == list(range(1, author.counter + 1))


async def test_batches_over_many_rooms_in_any_order_do_not_deadlock(storage: Storage, other: Storage):
    authors = [await enter(storage, f"room {i}") for i in range(12)]

    for _ in range(3):
        batch = [author.next() for author in authors]
        answers, reverse = await asyncio.gather(storage.append(batch), other.append(batch[::-1]))
        for one, two in zip(answers, reverse[::-1], strict=True):
            assert (one.seq, one.duplicate) == (two.seq, not two.duplicate)


async def write_on(storage: Storage, author: Author, under_way: asyncio.Event) -> None:
    """Append until something is not stored."""
    while codes(await storage.append([author.next()])) == ["stored"]:
        if author.counter == 5:
            under_way.set()
        await asyncio.sleep(0)


async def test_after_a_resume_nothing_of_the_older_epoch_is_stored(storage: Storage, other: Storage):
    ann = await enter(storage)

    under_way = asyncio.Event()
    writer = asyncio.create_task(write_on(storage, ann, under_way))
    await under_way.wait()
    resumed = await other.resume_site("plan", 7, NOW_MS)
    await writer

    assert resumed.last_counter == (await other.head("plan")).seq == (await other.site("plan", 7)).last_counter


async def test_a_cancelled_caller_leaves_all_or_nothing_and_a_storage_that_works(storage: Storage):
    ann = await enter(storage)
    for _ in range(10):
        task = asyncio.create_task(storage.append([ann.next(3), ann.next(2)]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        answers = await storage.append([ann.at(ann.counter - 4, 3), ann.at(ann.counter - 1, 2)])
        assert codes(answers) == ["stored", "stored"]

    assert [row.counter for row in await whole_log(storage)] == list(range(1, 51))


async def test_behind_a_purge_comes_only_what_has_seen_it(storage: Storage):
    ann, keeper = await enter(storage, site=7), await enter(storage, site=1)
    assert codes(await storage.append([ann.next(), replace(keeper.next(2), is_purge=True)])) == ["stored"] * 2

    late = ann.next()
    assert codes(await storage.append([late, replace(ann.next(), purged_seq=1)])) == ["room-reset", "counter-gap"]
    seen = replace(late, purged_seq=3)
    assert await storage.append([seen]) == [Appended(4, HLC)]

    assert [(row.site, row.counter) for row in await whole_log(storage)] == [(7, 1), (1, 1), (1, 2), (7, 2)]
    assert await storage.append([late, seen]) == [Appended(4, HLC, duplicate=True)] * 2


async def test_a_purge_counts_within_its_batch_and_for_its_room_alone(storage: Storage):
    ann, keeper, bob = await enter(storage), await enter(storage, site=1), await enter(storage, "notes")
    purge = replace(keeper.next(), is_purge=True)

    answers = await storage.append([purge, ann.next(), bob.next(), replace(keeper.next(), purged_seq=1)])

    assert codes(answers) == ["stored", "room-reset", "stored", "stored"]
    assert codes(await storage.append([replace(ann.at(1), purged_seq=1)])) == ["stored"]
    assert codes(await storage.append([replace(bob.next(), purged_seq=1)])) == ["room-reset"]


async def test_of_two_purges_at_once_one_is_stored(storage: Storage, other: Storage):
    sites = [await enter(storage, site=site) for site in (1, 2)]
    purges = [[replace(site.next(), is_purge=True)] for site in sites]

    answers = await asyncio.gather(storage.append(purges[0]), other.append(purges[1]))

    assert sorted(codes([*answers[0], *answers[1]])) == ["room-reset", "stored"]


async def test_a_purge_is_a_point_in_what_others_append_meanwhile(storage: Storage, other: Storage):
    ann, keeper = await enter(storage), await enter(storage, site=1)
    purge = replace(keeper.next(), is_purge=True)
    under_way = asyncio.Event()
    writer = asyncio.create_task(write_on(storage, ann, under_way))
    await under_way.wait()
    assert codes(await other.append([purge])) == ["stored"]
    await writer

    log = await whole_log(storage)
    assert (log[-1].site, log[-1].counter) == (1, 1)
    assert codes(await storage.append([replace(ann.at(ann.counter), purged_seq=log[-1].seq)])) == ["stored"]
