"""Clients in this process, in a real hub's rooms: they converge, know what is stored, and outlive a room that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from collabkernel_server.lab.document_client import SERVER, DocumentClient, RefusedEditError
from collabkernel_server.lab.local_transport import LocalTransport
from jupyter_ydoc import YNotebook, YUnicode
from pycrdt import Doc, Text

from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.errors import ClosedError, RoomNotFoundError, StorageError, TooManyError
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.hub import Hub
from collabkernel.storage.base import Appended, AppendRequest, NotAppended
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Role
from tests.bounds import HANG_S
from tests.server.raw import eventually
from tests.server.test_hub_degraded import LIMITS as QUICK
from tests.server.test_hub_degraded import CutStorage

DEFAULTS = Limits()
DOCUMENT = "text:file:plan"
NOTEBOOK = "json:notebook:plan"


class FailingStorage(MemoryStorage):
    """Fails so many appends."""

    failures_left = 0

    async def append(self, requests: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        if self.failures_left:
            self.failures_left -= 1
            raise StorageError("the disk is full")
        return await super().append(requests)


def seed(text: str = "") -> bytes:
    document = YUnicode(Doc(client_id=1))
    document.set(text or "plan")
    return bytes(document.ydoc.get_update())


@asynccontextmanager
async def running_hub(limits: Limits = DEFAULTS) -> AsyncIterator[Hub]:
    hub = Hub(FailingStorage(), limits)
    await hub.start()
    await hub.seed_document(DOCUMENT, seed(), "ann")
    yield hub
    await hub.stop()


@asynccontextmanager
async def member(hub: Hub, room_id: str = DOCUMENT, type_name: str = "file") -> AsyncIterator[DocumentClient]:
    client = DocumentClient(hub, room_id, type_name)
    await client.start()
    yield client
    await client.stop()


def run(test: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(test, HANG_S))  # type: ignore[arg-type]


def test_client_has_what_the_room_has_when_it_has_started() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as client:
            assert client.document.get() == "plan"
            assert client.is_alive

    run(test())


def test_edit_of_one_reaches_the_other_and_a_flush_stores_it() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann, member(hub) as bob:
            ann.document.set("plan of a house")
            await ann.flush()
            await bob.synced()

            assert bob.document.get() == "plan of a house"
            head = await hub.storage.head(DOCUMENT)
            assert head is not None
            assert head.seq >= 2

    run(test())


def test_notebook_is_a_notebook() -> None:
    async def test() -> None:
        notebook = YNotebook(Doc(client_id=1))
        notebook.set({"cells": [{"cell_type": "code", "source": "1 + 1", "id": "a"}], "metadata": {}, "nbformat": 4})
        async with running_hub() as hub:
            await hub.seed_document(NOTEBOOK, notebook.ydoc.get_update(), "ann")
            async with member(hub, NOTEBOOK, "notebook") as ann, member(hub, NOTEBOOK, "notebook") as bob:
                source = ann.document.ycells[0]["source"]  # type: ignore[attr-defined]
                source += " # two"
                await ann.flush()
                await bob.synced()

                assert bob.document.get()["cells"][0]["source"] == "1 + 1 # two"

    run(test())


def test_unknown_room_is_told_at_the_start() -> None:
    async def test() -> None:
        async with running_hub() as hub:
            with pytest.raises(RoomNotFoundError):
                await DocumentClient(hub, "text:file:none", "file").start()

    run(test())


def test_client_outlives_its_room_and_brings_what_was_edited_meanwhile() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann:
            assert isinstance(hub.storage, FailingStorage)
            hub.storage.failures_left = 1
            ann.document.set("plan B")
            await ann.flush()
            assert hub.storage.failures_left == 0
            async with member(hub) as bob:
                assert bob.document.get() == "plan B"

    run(test())


def test_stopped_client_follows_no_longer() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann:
            bob = DocumentClient(hub, DOCUMENT, "file")
            await bob.start()
            await bob.stop()
            ann.document.set("plan C")
            await ann.flush()

            assert not bob.is_alive
            assert bob.document.get() == "plan"
            with pytest.raises(ClosedError):
                await bob.synced()

    run(test())


def test_observer_that_fails_stops_nobody() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann, member(hub) as bob:
            bob.document.observe(lambda *_: 1 / 0)
            ann.document.set("one")
            await ann.flush()
            ann.document.set("two")
            await ann.flush()
            await bob.synced()

            assert bob.document.get() == "two"

    run(test())


def test_remote_edits_wait_for_a_local_one_of_several_steps() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann, member(hub) as bob:
            async with bob.editing() as document:
                ann.document.set("plan, by ann")
                await ann.flush()
                assert document.get() == "plan"
            await bob.synced()
            assert bob.document.get() == "plan, by ann"

    run(test())


def test_edit_that_the_room_refused_is_not_flushed() -> None:
    async def test() -> None:
        async with running_hub(Limits(document_bytes=5_000)) as hub, member(hub) as ann, member(hub) as bob:
            ann.document.set("x" * 10_000)
            with pytest.raises(RefusedEditError):
                await ann.flush()
            bob.document.set("plan B")
            await bob.flush()
            await bob.synced()
            assert bob.document.get() == "plan B"

    run(test())


def test_edits_that_came_from_elsewhere_are_flushed_under_their_own_clients() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann, member(hub) as bob:
            for number in range(3):
                fork = Doc(client_id=10 + number)
                fork.apply_update(ann.ydoc.get_update())
                fork.get("source", type=Text).insert(0, str(number))
                ann.ydoc.apply_update(fork.get_update(ann.ydoc.get_state()))
            ann.document.source = f"{ann.document.source}!"
            await ann.flush()
            await bob.synced()

            assert bob.document.get() == ann.document.get()

    run(test())


def test_servers_own_clients_take_nobodys_place() -> None:
    async def test() -> None:
        guest = Principal("ann", "ann", "", Role.WRITER)
        full = Limits(sessions_per_room=1, sessions_per_actor=1, joins_burst=1)
        async with running_hub(full) as hub, member(hub), member(hub), member(hub):
            client = DocumentClient(hub, DOCUMENT, "file", guest)
            await client.start()
            with pytest.raises(TooManyError):
                await hub.open_document(
                    DOCUMENT, Principal("bob", "bob", "", Role.WRITER), LocalTransport(1 << 20, 1), FILE_POLICY
                )
            assert hub.info()["sessions"] == 1
            await client.stop()

    run(test())


def test_servers_own_edits_are_signed_as_its_own() -> None:
    assert SERVER.actor == "collabkernel"


def test_edits_of_others_are_taken_in_together() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann, member(hub) as bob:
            seen: list[str] = []
            source = bob.ydoc.get("source", type=Text)
            subscription = source.observe(lambda _: seen.append(str(source)))
            for letter in "hello":
                ann.document.set(ann.document.get() + letter)
                await ann.flush()
            await bob.synced()

            assert seen[-1] == "planhello"
            assert len(seen) <= 3
            source.unobserve(subscription)

    run(test())


def test_its_client_id_is_no_wider_than_those_of_yjs():
    async def test() -> None:
        async with running_hub() as hub, member(hub) as client:
            assert client.ydoc.client_id < 1 << 32

    run(test())


def test_it_holds_nothing_of_what_was_deleted():
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann, member(hub) as bob:
            for _ in range(3):
                ann.document.source = "x" * 10_000
                ann.document.source = ""
                await ann.flush()
            await bob.synced()

            assert bob.document.source == ""
            for client in (ann, bob):
                assert len(client.ydoc.get_update()) < 1_000

    run(test())


def test_a_reader_gets_the_document_and_follows_it() -> None:
    async def test() -> None:
        reader = Principal("rob", "Rob", "", Role.READER)
        async with running_hub() as hub, member(hub) as ann:
            rob = DocumentClient(hub, DOCUMENT, "file", reader)
            await rob.start()
            assert rob.document.source == "plan"
            ann.document.source = "a new plan"
            await ann.flush()
            await rob.synced()
            assert rob.document.source == "a new plan"
            await rob.stop()

    run(test())


def test_one_that_rests_has_no_replica_hears_of_news_and_has_all_when_it_wakes() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann:
            client = DocumentClient(hub, DOCUMENT, "file")
            news = asyncio.Event()
            client.on_news.append(news.set)
            await client.start_resting()
            assert not client.is_awake

            ann.document.set("plan of a house")
            await news.wait()
            assert not client.is_awake

            woken: list[str] = []
            client.on_wake.append(lambda: woken.append(client.document.get()))
            await asyncio.gather(client.wake(), client.wake())
            assert woken == ["plan of a house"]

            ann.document.set("plan of a garden")
            await ann.flush()
            await client.synced()
            assert client.document.get() == "plan of a garden"
            await client.stop()

    run(test())


def test_a_document_larger_than_what_pages_send_at_once_is_read_and_written() -> None:
    async def test() -> None:
        large = "x" * 5000
        async with running_hub(replace(DEFAULTS, document_frame_bytes=1000)) as hub, member(hub) as ann:
            ann.document.source = large
            await ann.flush()
            async with member(hub) as bob:
                assert bob.document.source == large

    run(test())


def test_what_was_edited_here_is_stored_before_one_rests() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as client, member(hub) as ann:
            client.document.set("plan of a house")
            async with client.editing():
                assert not await client.rest(), "it is edited just now"
            assert await client.rest()

            await ann.synced()
            assert ann.document.get() == "plan of a house"
            async with client.editing() as document:
                assert document.get() == "plan of a house"

    run(test())


def test_one_that_rests_is_told_when_its_room_began_anew() -> None:
    async def test() -> None:
        async with running_hub() as hub, member(hub) as ann:
            client = DocumentClient(hub, DOCUMENT, "file")
            await client.start_resting()
            news = asyncio.Event()
            client.on_news.append(news.set)

            hub.storage.failures_left = 1  # type: ignore[attr-defined]
            ann.document.set("plan of a house")
            await news.wait()
            await ann.flush()
            await client.synced()

            assert client.document.get() == "plan of a house"
            await client.stop()

    run(test())


def test_what_is_edited_while_the_database_is_away_is_flushed_when_it_is_back() -> None:
    """It was dropped, and the answer to the client's step 1 said that it had been refused."""

    async def test() -> None:
        storage = CutStorage()
        hub = Hub(storage, QUICK)
        await hub.start()
        await hub.seed_document(DOCUMENT, seed(), "ann")
        async with member(hub) as ann, member(hub) as bob:
            storage.is_cut = True
            ann.document.set("plan B")
            await eventually(lambda: _is(hub.info()["degraded_since_ms"]))
            ann.document.set("plan C")
            flushes = [asyncio.create_task(ann.flush()) for _ in range(3)]
            await eventually(lambda: _is(storage.asked > 5))
            assert not any(flush.done() for flush in flushes)
            assert bob.document.get() == "plan"

            storage.is_cut = False
            async with asyncio.timeout(HANG_S):
                await asyncio.gather(*flushes)
                await bob.synced()
            assert bob.document.get() == "plan C"
        await hub.stop()

    run(test())


async def _is(what: object) -> bool:
    return bool(what)
