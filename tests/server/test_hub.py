"""The hub with a real database: rooms come and go, what was acknowledged is there, one room's fate is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import MapSet
from collabkernel.errors import InvalidRoomNameError, RoomNotFoundError, StorageError, TooManyError
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from collabkernel.storage.base import Appended, AppendRequest, NotAppended
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Resync, Role
from tests.bounds import HANG_S
from tests.server.raw import RawClient, enter, eventually, join, run


def hub_on(path: Path, limits: Limits | None = None) -> Hub:
    return Hub(open_storage(f"sqlite:///{path / 'rooms.sqlite'}"), limits)


def memory_hub(limits: Limits | None = None) -> Hub:
    return Hub(open_storage("memory://"), limits)


def test_two_sessions_see_each_others_edits() -> None:
    async def scenario(hub: Hub) -> None:
        ann, bob = await join(hub, actor="ann"), await join(hub, actor="bob")
        assert await ann.store(1) == 1
        assert await bob.store(1, MapSet(ROOT, "b", 2)) == 2
        for client in (ann, bob):
            await client.until(lambda c=client: c.through == 2)
            assert [(e.seq, e.actor) for e in client.envelopes] == [(1, "ann"), (2, "bob")]
        assert (await hub.room_state("board"))["state"] == {"k": 1, "b": 2}

    run(scenario, memory_hub())


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    async def write(hub: Hub) -> None:
        ann = await join(hub)
        for counter in range(1, 6):
            await ann.store(counter)

    async def read(hub: Hub) -> None:
        bob = await join(hub, actor="bob")
        assert [e.envelope.counter for e in bob.envelopes] == [1, 2, 3, 4, 5]
        assert (await hub.room_state("board"))["seq"] == 5

    run(write, hub_on(tmp_path))
    run(read, hub_on(tmp_path))


def test_a_cold_start_goes_from_the_snapshot_and_the_operations_after_it(tmp_path: Path) -> None:
    limits = replace(Limits(), snapshot_ops=3, snapshot_min_interval_ms=0)

    async def write(hub: Hub) -> None:
        ann = await join(hub)
        for counter in range(1, 11):
            await ann.store(counter, MapSet(ROOT, f"k{counter}", counter))
        await eventually(lambda: hub.storage.latest_snapshot("board"))

    async def read(hub: Hub) -> None:
        snapshot = await hub.storage.latest_snapshot("board")
        assert snapshot is not None
        bob = await join(hub, actor="bob")
        assert [message.snapshot.seq for message in bob.messages if message.snapshot] == [snapshot.seq]
        assert [e.seq for e in bob.envelopes] == list(range(snapshot.seq + 1, 11))
        assert (await hub.room_state("board"))["state"] == {f"k{n}": n for n in range(1, 11)}

    run(write, hub_on(tmp_path, limits))
    run(read, hub_on(tmp_path))  # which makes no other snapshot meanwhile


def test_a_resume_brings_what_was_missed_and_answers_resends(tmp_path: Path) -> None:
    async def scenario(hub: Hub) -> None:
        ann, bob = await join(hub, actor="ann"), await join(hub, actor="bob")
        await ann.store(1)
        await ann.until(lambda: ann.through == 1)
        resume = ann.resume()
        await ann.leave()
        await bob.store(1)

        again = await join(hub, actor="ann", resume=resume)
        assert again.welcome is not None
        assert (again.welcome.site, again.welcome.resync, again.welcome.next_counter) == (resume.site, False, 2)
        await again.until(lambda: again.through == 2)
        assert [e.seq for e in again.envelopes] == [2]
        assert await again.store(1) == 1
        assert await again.store(2) == 3

    run(scenario, hub_on(tmp_path))


def test_a_resume_after_a_bare_snapshot_brings_only_what_is_newer(tmp_path: Path) -> None:
    limits = replace(Limits(), snapshot_ops=3, snapshot_min_interval_ms=0)

    async def scenario(hub: Hub) -> None:
        ann = await join(hub, actor="ann")
        for counter in range(1, 4):
            await ann.store(counter)
        await eventually(lambda: hub.storage.latest_snapshot("board"))
        bob = await join(hub, actor="bob")
        assert bob.envelopes == []
        resume = bob.resume()
        assert (resume.through, resume.through_op) == (3, ann.envelopes[-1].op_id(0))
        await bob.leave()
        await ann.store(4)

        again = await join(hub, actor="bob", resume=resume)

        assert again.welcome is not None
        assert not again.welcome.resync
        await again.until(lambda: again.through == 4)
        assert [message.snapshot for message in again.messages if message.snapshot] == []
        assert [e.seq for e in again.envelopes] == [4]

    run(scenario, hub_on(tmp_path, limits))


@pytest.mark.parametrize("forge", ["secret", "actor", "site"])
def test_a_resume_needs_its_secret_its_actor_and_its_site(forge: str) -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub, actor="ann")
        good = ann.resume()
        forged = {
            "secret": replace(good, secret=b"x" * 16),
            "site": replace(good, site=good.site ^ 1),
            "actor": good,
        }[forge]

        eve = await join(hub, actor="eve" if forge == "actor" else "ann", resume=forged)

        assert eve.bye == "bad-resume"
        assert ann.closed is None
        assert await ann.store(1) == 1

    run(scenario, memory_hub())


def test_a_resume_on_a_restored_backup_is_told_to_resync() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        await ann.store(1)
        await ann.until(lambda: ann.through == 1)
        resume = replace(ann.resume(), through=40)

        again = await join(hub, resume=resume)

        assert again.welcome is not None
        assert again.welcome.resync
        await again.until(lambda: any(message.snapshot for message in again.messages))

    run(scenario, memory_hub())


def test_a_resync_starts_from_a_snapshot_of_nothing_when_there_is_none() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        await ann.store(1)
        await ann.until(lambda: ann.through == 1)
        ann.messages.clear()

        await ann.say(Resync())
        await ann.until(lambda: ann.through == 1)

        assert ann.messages[0].snapshot is not None
        assert [e.seq for e in ann.envelopes] == [1]

    run(scenario, memory_hub())


def test_rooms_and_sessions_are_bounded() -> None:
    async def scenario(hub: Hub) -> None:
        await join(hub, "one")
        with pytest.raises(TooManyError) as caught:
            await enter(hub, "one")
        assert caught.value.retry_after_ms
        with pytest.raises(TooManyError):
            await enter(hub, "two")
        with pytest.raises(InvalidRoomNameError):
            await enter(hub, "../etc")

    run(scenario, memory_hub(replace(Limits(), sessions_per_room=1, rooms_per_server=1)))


def test_connections_of_one_user_are_bounded_over_all_rooms_and_leave_others_alone() -> None:
    """Each had an allowance of its own: two thousand of them could take the whole processor."""

    async def scenario(hub: Hub) -> None:
        first = await join(hub, "one", actor="eve")
        await join(hub, "two", actor="eve")
        with pytest.raises(TooManyError, match="of this user at a time") as caught:
            await enter(hub, "three", actor="eve")
        assert caught.value.retry_after_ms
        await join(hub, "one", actor="ann")
        await first.leave()
        await join(hub, "three", actor="eve")
        with pytest.raises(TooManyError):
            await enter(hub, "one", actor="eve")

    run(scenario, memory_hub(replace(Limits(), sessions_per_actor=2)))


def test_a_full_server_makes_no_rows_for_rooms_that_it_refuses() -> None:
    async def scenario(hub: Hub) -> None:
        await join(hub, "one")
        for n in range(5):
            with pytest.raises(TooManyError):
                await enter(hub, f"more-{n}")
        assert [room["room"] for room in await hub.list_rooms()] == ["one"]

    run(scenario, memory_hub(replace(Limits(), rooms_per_server=1)))


def test_a_reader_makes_no_room() -> None:
    async def scenario(hub: Hub) -> None:
        with pytest.raises(RoomNotFoundError) as caught:
            await enter(hub, role=Role.READER)
        assert caught.value.retry_after_ms
        assert await hub.list_rooms() == []
        await join(hub)
        assert (await join(hub, actor="eve", role=Role.READER)).welcome is not None

    run(scenario, memory_hub())


def test_one_user_cannot_join_without_end_and_no_other_waits_for_him() -> None:
    now_ms = 0

    async def scenario(hub: Hub) -> None:
        nonlocal now_ms
        for n in range(3):
            await join(hub, f"room-{n}", actor="eve")
        with pytest.raises(TooManyError) as caught:
            await enter(hub, "another", actor="eve")
        await join(hub, actor="ann")
        assert caught.value.retry_after_ms is not None
        now_ms += caught.value.retry_after_ms
        await join(hub, "another", actor="eve")

    limits = replace(Limits(), joins_burst=3, joins_per_s=2)
    run(scenario, Hub(open_storage("memory://"), limits, now_ms=lambda: now_ms))


def test_idle_rooms_are_unloaded_and_come_back() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        await ann.store(1)
        await ann.leave()

        async def is_unloaded() -> bool:
            return hub.info()["rooms_loaded"] == 0

        await eventually(is_unloaded)
        bob = await join(hub, actor="bob")
        assert [e.seq for e in bob.envelopes] == [1]

    run(scenario, memory_hub(replace(Limits(), room_idle_ms=20)))


def test_a_deleted_room_says_bye_and_is_gone() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        await ann.store(1)
        await hub.delete_room("board")
        assert ann.closed is not None
        assert ann.closed[0] == "room-deleted"
        with pytest.raises(RoomNotFoundError):
            await hub.room_state("board")
        with pytest.raises(RoomNotFoundError):
            await hub.delete_room("board")
        assert await hub.list_rooms() == []
        bob = await join(hub)
        assert bob.envelopes == []

    run(scenario, memory_hub())


def test_a_socket_that_says_nothing_is_closed() -> None:
    async def scenario(hub: Hub) -> None:
        client = await enter(hub)
        await client.until(lambda: client.closed)
        assert client.bye == "hello-timeout"

    run(scenario, memory_hub(replace(Limits(), hello_timeout_ms=10)))


def test_a_socket_that_takes_nothing_costs_its_high_mark_and_is_caught_up() -> None:
    async def scenario(hub: Hub) -> None:
        ann, bob = await join(hub, actor="ann"), await join(hub, actor="bob")
        bob.is_stuck = True
        for counter in range(1, 101):
            await ann.store(counter, MapSet(ROOT, "k", f"{counter:01000}"))
        assert bob.buffered_bytes < 20_000

        bob.is_stuck, bob.buffered_bytes = False, 0
        bob.connection.drained()
        await bob.until(lambda: bob.through == 100)
        assert [e.seq for e in bob.envelopes] == list(range(1, 101))

    run(scenario, memory_hub(replace(Limits(), session_queue_bytes=10_000, session_queue_low_bytes=5_000)))


class FailingStorage(MemoryStorage):
    """A real storage whose disk is full while ``is_failing``."""

    is_failing = False

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        if self.is_failing:
            raise StorageError("the disk is full")
        return await super().append(batch)


def test_a_failing_database_acknowledges_nothing_and_the_client_comes_back() -> None:
    storage = FailingStorage()

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        await ann.store(1)
        await ann.until(lambda: ann.through == 1)
        storage.is_failing = True
        await ann.submit(2)
        await ann.until(lambda: ann.closed)
        assert ann.bye == "storage-error"
        assert 2 not in ann.acks

        storage.is_failing = False
        again = await join(hub, resume=ann.resume())
        assert await again.store(2) == 2

    run(scenario, Hub(storage))


@pytest.mark.interpreted
def test_a_room_that_fails_touches_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(hub: Hub) -> None:
        ann, bob = await join(hub, "one"), await join(hub, "two")
        runner = hub._runner_by_room["one"]  # the fault is put where no message can reach
        monkeypatch.setattr(runner._room, "handle_all", lambda *_: 1 / 0)
        await ann.submit(1)
        await ann.until(lambda: ann.closed)
        assert ann.bye == "room-failed"

        assert await bob.store(1) == 1
        again = await join(hub, "one")
        assert await again.store(1) == 1

    run(scenario, memory_hub())


def test_a_stop_stores_what_is_in_flight_and_says_bye(tmp_path: Path) -> None:
    clients: list[RawClient] = []

    async def scenario(hub: Hub) -> None:
        for n in range(10):
            clients.append(await join(hub, actor=f"a{n}"))
        for client in clients:
            await client.submit(1)

    async def read(hub: Hub) -> None:
        acked = {seq for client in clients for seq in client.acks.values()}
        bob = await join(hub)
        assert acked <= {e.seq for e in bob.envelopes}

    run(scenario, hub_on(tmp_path))
    assert {client.bye for client in clients} == {"server-stopping"}
    run(read, hub_on(tmp_path))


def test_a_reader_is_refused_at_each_message() -> None:
    async def scenario(hub: Hub) -> None:
        await join(hub)
        eve = await join(hub, actor="eve", role=Role.READER)
        await eve.submit(1)
        await eve.submit(2)
        await eve.until(lambda: len(eve.codes) == 2)
        assert eve.codes == ["read-only", "read-only"]
        assert (await hub.room_state("board"))["seq"] == 0

    run(scenario, memory_hub())


def test_the_state_of_a_room_that_never_rests_is_told() -> None:
    """It waited for a moment without anything in flight, which a busy room may never have."""

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        await ann.store(1, MapSet(ROOT, "a", 1))

        async def write() -> None:
            counter = 2
            while True:
                await ann.submit(counter, MapSet(ROOT, "k", counter))
                counter += 1
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        try:
            async with asyncio.timeout(HANG_S):
                told = await hub.room_state("board")
        finally:
            writing.cancel()
        assert told["state"]["a"] == 1
        assert told["seq"] >= 1
        assert [session["actor"] for session in told["sessions"]] == ["ann"]

    run(scenario, memory_hub(replace(Limits(), ops_per_s=10**6, ops_burst=10**6, frames_per_s=10**6)))


def test_the_state_of_a_large_room_is_told_as_that_of_a_small_one() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        await ann.store(1, *[MapSet(ROOT, f"k{n}", "v" * 100) for n in range(2000)])
        await ann.store(2001, MapSet(ROOT, "bytes", b"\x01"))
        told = await hub.room_state("board")
        assert (told["room"], told["seq"], len(told["state"])) == ("board", 2001, 2001)
        assert told["state"]["bytes"] == {"$base64": "AQ=="}
        assert [session["actor"] for session in told["sessions"]] == ["ann"]

    run(scenario, memory_hub())


def test_asking_for_states_loads_no_rooms() -> None:
    async def scenario(hub: Hub) -> None:
        for n in range(3):
            await hub.storage.create_room(f"room-{n}", 0)
            assert (await hub.room_state(f"room-{n}"))["state"] == {}
        assert hub.info()["rooms_loaded"] == 0

    run(scenario, memory_hub())


def test_the_list_of_rooms_is_paged() -> None:
    async def scenario(hub: Hub) -> None:
        for name in ("a", "b", "c"):
            await join(hub, name)
        for document in ("a:1", "a:2", "a:3", "text:file:1"):
            await hub.storage.create_room(document, 0)
        assert [room["room"] for room in await hub.list_rooms(limit=2)] == ["a", "b"], "documents are not among them"
        assert [room["room"] for room in await hub.list_rooms(limit=2, after="b")] == ["c"]
        assert (await hub.list_rooms())[0]["sessions"] == 1

    run(scenario, memory_hub())
