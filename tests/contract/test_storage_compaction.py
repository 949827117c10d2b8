"""The storage contract: dropping the log below a snapshot, versions, and heads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collabkernel.errors import LeaseLostError, LogDroppedError, RoomNotFoundError, StorageError
from collabkernel.limits import VERSIONS_PER_ROOM
from collabkernel.storage.base import Appended, NotAppended, Refusal, SnapshotRow, Storage, VersionBounds
from collabkernel.storage.migrating import MigratingStorage
from tests.contract.authors import HLC, NOW_MS, Author, enter, whole_log

pytestmark = pytest.mark.anyio


async def snapshot_at(storage: Storage, seq: int, room_id: str = "plan") -> None:
    await storage.save_snapshot(SnapshotRow(room_id, seq, {"live": b"at %d" % seq}), NOW_MS)


async def dropped_room(storage: Storage) -> Author:
    """Ten operations in five envelopes, a snapshot at 8, and the log dropped to there."""
    ann = await enter(storage)
    await storage.append([ann.next(2) for _ in range(5)])
    await snapshot_at(storage, 8)
    assert await storage.drop_ops("plan", 8) == 7
    return ann


async def test_the_log_is_dropped_below_the_snapshot(storage: Storage):
    await dropped_room(storage)

    assert [row.seq async for rows in storage.read_ops("plan", 7) for row in rows] == [8, 9, 10]
    head = await storage.head("plan")
    assert head is not None
    assert (head.seq, head.snapshot_seq, head.dropped_seq) == (10, 8, 7)
    assert await storage.drop_ops("plan", 8) == 0
    assert await storage.drop_ops("plan", 3) == 0


@pytest.mark.parametrize(("after_seq", "upto_seq"), [(0, None), (6, None), (0, 3), (-5, None), (6, 9)])
async def test_a_read_from_below_is_told(storage: Storage, after_seq: int, upto_seq: int | None):
    await dropped_room(storage)

    with pytest.raises(LogDroppedError) as raised:
        async for _ in storage.read_ops("plan", after_seq, upto_seq):
            pass

    assert raised.value.dropped_seq == 7
    assert [rows async for rows in storage.read_ops("plan", 10)] == []


async def test_an_operation_is_found_at_the_snapshot_and_not_below(storage: Storage):
    await dropped_room(storage)

    assert await storage.op_at("plan", 7) is None
    assert await storage.op_at("plan", 0) is None
    kept = await storage.op_at("plan", 8)
    assert kept is not None
    assert kept.counter == 8


async def test_only_what_a_snapshot_has_may_be_dropped(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(6)])

    with pytest.raises(StorageError, match="newest snapshot is at 0"):
        await storage.drop_ops("plan", 3)
    with pytest.raises(RoomNotFoundError):
        await storage.drop_ops("nowhere", 1)

    assert len(await whole_log(storage)) == 6


@pytest.mark.parametrize(("older_seq", "is_kept"), [(4, False), (6, False), (7, True)])
async def test_an_older_snapshot_goes_when_the_log_no_longer_leads_on_from_it(
    storage: Storage, older_seq: int, is_kept: bool
):
    ann = await enter(storage)
    await storage.append([ann.next(10)])
    for seq in (older_seq, 9):
        await snapshot_at(storage, seq)
    await storage.drop_ops("plan", 3)
    assert await storage.latest_snapshot("plan", before_seq=9) is not None

    await storage.drop_ops("plan", 7)

    older = await storage.latest_snapshot("plan", before_seq=9)
    assert older == (SnapshotRow("plan", 7, {"live": b"at 7"}) if is_kept else None)
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 9, {"live": b"at 9"})
    head = await storage.head("plan")
    assert head is not None
    assert (head.snapshot_seq, head.dropped_seq) == (9, 7)
    await snapshot_at(storage, 10)
    assert await storage.latest_snapshot("plan", before_seq=10) == SnapshotRow("plan", 9, {"live": b"at 9"})


async def test_a_resend_of_what_was_dropped_is_stored_already(storage: Storage):
    ann = await dropped_room(storage)

    answers = await storage.append([ann.at(1, 2), ann.at(5, 2), ann.at(9, 2, hlc=HLC), ann.next()])

    assert answers == [
        Appended(7, HLC, duplicate=True),
        Appended(7, HLC, duplicate=True),
        Appended(9, HLC, duplicate=True),
        Appended(11, HLC),
    ]
    assert await storage.find_envelope("plan", 7, 3) == Appended(7, 0, duplicate=True)
    assert await storage.find_envelope("plan", 7, 12) is None
    assert await storage.find_envelope("plan", 8, 1) is None


async def test_a_site_goes_on_behind_what_was_dropped(storage: Storage):
    ann = await enter(storage)
    bob = await enter(storage, site=8, actor="bob")
    await storage.append([ann.next(3), bob.next()])
    await snapshot_at(storage, 4)
    await storage.drop_ops("plan", 4)

    for _ in range(2):
        row = await storage.site("plan", 7)
        assert row is not None
        assert row.last_counter == 3
    assert not await storage.new_site("plan", 7, "eve", 1, b"", NOW_MS)
    resumed = await storage.resume_site("plan", 7, NOW_MS)
    assert resumed is not None
    assert resumed.last_counter == 3
    ann.epoch = 2
    gap, stored = await storage.append([ann.at(5), ann.at(4)])
    assert isinstance(gap, NotAppended)
    assert gap.code == "counter-gap"
    assert stored == Appended(5, HLC)


async def test_a_refusal_is_answered_the_same_when_the_log_around_it_is_gone(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next()])
    refusal = Refusal(2, 3, "too-large", "no")
    assert await storage.refuse("plan", 7, 1, refusal)
    ann.counter = 4
    await storage.append([ann.next(2)])
    await snapshot_at(storage, 3)
    assert await storage.drop_ops("plan", 3) == 2

    again, inside, dropped = await storage.append([ann.at(2, 3), ann.at(3), ann.at(5)])

    assert again == NotAppended("too-large", "no")
    assert isinstance(inside, NotAppended)
    assert inside.code == "counter-gap"
    assert dropped == Appended(2, HLC, duplicate=True)


async def test_a_long_log_is_dropped_whole(storage: Storage):
    ann = await enter(storage)
    for _ in range(3):
        await storage.append([ann.next(2500)])
    await snapshot_at(storage, 7500)

    assert await storage.drop_ops("plan", 7000) == 7000

    assert [row.seq for row in [r async for rows in storage.read_ops("plan", 7000) for r in rows]] == list(
        range(7001, 7501)
    )
    assert await storage.append([ann.at(4999)]) == [Appended(7000, HLC, duplicate=True)]


async def test_other_rooms_keep_their_log(storage: Storage):
    await dropped_room(storage)
    bob = await enter(storage, "notes")
    await storage.append([bob.next(3)])

    assert len(await whole_log(storage, "notes")) == 3
    assert await storage.heads(["notes", "plan", "nowhere", "a\0b"]) == {"notes": 3, "plan": 10}
    assert await storage.heads([]) == {}


async def test_a_change_by_another_server_is_marked(storage: Storage, other: Storage):
    ann = await enter(storage)
    before = await other.change_mark()
    assert await other.change_mark() == before

    await storage.append([ann.next()])

    assert await other.change_mark() != before


async def test_versions_are_listed_oldest_first(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(9)])
    for seq, name in ((5, ""), (2, "draft"), (9, "final")):
        await storage.save_version("plan", seq, name, b"state %d" % seq * 1000, NOW_MS + seq)

    rows = await storage.versions("plan")

    assert [(row.seq, row.name, row.created_ms) for row in rows] == [
        (2, "draft", NOW_MS + 2),
        (5, "", NOW_MS + 5),
        (9, "final", NOW_MS + 9),
    ]
    assert all(0 < row.size_bytes < 1000 for row in rows)
    assert await storage.version_state("plan", 5) == b"state 5" * 1000
    assert await storage.version_state("plan", 6) is None
    assert await storage.versions("nowhere") == []
    assert await storage.version_state("nowhere", 5) is None


async def test_a_version_of_a_seq_is_made_once_and_may_be_named_later(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next()])
    for name, state in (("", b"first"), ("named", b"other"), ("", b"other")):
        await storage.save_version("plan", 1, name, state, NOW_MS)

    assert [(row.seq, row.name) for row in await storage.versions("plan")] == [(1, "named")]
    assert await storage.version_state("plan", 1) == b"first"
    with pytest.raises(StorageError, match="ahead of its log, which ends at 1"):
        await storage.save_version("plan", 2, "", b"", NOW_MS)
    with pytest.raises(RoomNotFoundError):
        await storage.save_version("nowhere", 0, "", b"", NOW_MS)


async def test_the_oldest_unnamed_versions_go_first(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(VERSIONS_PER_ROOM + 2)])
    for seq in range(1, VERSIONS_PER_ROOM + 3):
        await storage.save_version("plan", seq, "kept" if seq == 1 else "", b"", NOW_MS)

    assert [row.seq for row in await storage.versions("plan")] == [1, *range(4, VERSIONS_PER_ROOM + 3)]
    await storage.delete_room("plan")
    await storage.create_room("plan", NOW_MS)
    assert await storage.versions("plan") == []


async def test_who_has_lost_his_lease_drops_nothing_and_keeps_nothing(storage: Storage, other: Storage):
    if isinstance(storage, MigratingStorage):
        pytest.skip("nobody compacts while rooms move")
    ann = await enter(storage)
    await storage.append([ann.next(6)])
    await snapshot_at(storage, 6)
    lease = await storage.acquire_lease("compaction", "one", 60_000)
    assert lease is not None
    await storage.save_version("plan", 2, "", b"at 2", NOW_MS, lease=lease)
    assert await storage.drop_ops("plan", 2, lease) == 2

    await storage.release_lease(lease)
    taken = await other.acquire_lease("compaction", "two", 60_000)
    assert taken is not None
    for lost in (storage.save_version("plan", 4, "", b"", NOW_MS, lease=lease), storage.drop_ops("plan", 4, lease)):
        with pytest.raises(LeaseLostError):
            await lost

    assert [row.seq for row in await storage.versions("plan")] == [2]
    head = await storage.head("plan")
    assert head is not None
    assert head.dropped_seq == 2
    assert await other.drop_ops("plan", 4, taken) == 2
    await other.release_lease(taken)  # a server of PostgreSQL is there for the next test too


async def test_a_lease_that_has_expired_and_nobody_took_will_do(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(6)])
    await snapshot_at(storage, 6)
    lease = await storage.acquire_lease("compaction of one", "one", 0)
    assert lease is not None
    assert not await storage.holds_lease(lease)

    await storage.save_version("plan", 2, "", b"", NOW_MS, lease=lease)

    assert await storage.drop_ops("plan", 2, lease) == 2


async def test_versions_are_thinned_to_the_bounds_that_are_given(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(9)])

    for seq in range(1, 10):
        await storage.save_version("plan", seq, "", b"", NOW_MS + seq, VersionBounds(4, 1000))

    seqs = [row.seq for row in await storage.versions("plan")]
    assert len(seqs) == 4
    assert (seqs[0], seqs[-1]) == (1, 9)
    await storage.save_version("plan", 9, "", b"", NOW_MS, VersionBounds(4, 0))
    assert [row.seq for row in await storage.versions("plan")] == [9]


async def test_a_database_tells_what_it_takes(storage: Storage):
    before = await storage.size_bytes()
    ann = await enter(storage)
    for _ in range(4):
        request = ann.next(500)
        await storage.append([replace(request, ops=tuple([(kind, bytes(500)) for kind, _ in request.ops]))])

    assert await storage.size_bytes() - before >= 1_000_000
