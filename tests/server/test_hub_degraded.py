"""A hub whose database does not answer for a while: sessions stay, presence goes on, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.document.operations import MapSet
from collabkernel.errors import DegradedError
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.storage.base import (
    Appended,
    AppendRequest,
    Lease,
    NotAppended,
    OpRow,
    Refusal,
    RoomRow,
    SiteRow,
    SnapshotRow,
)
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Presence, Resync
from tests.server.raw import RawClient, eventually, join, run
from tests.server.test_hub_documents import ROOM, YClient, entered, seed

T = TypeVar("T")

LIMITS = replace(Limits(), storage_retry_min_ms=5, storage_retry_max_ms=20)


class CutStorage(MemoryStorage):
    """A real storage behind a line that is cut while ``is_cut``."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False
        self.loses_answer = False
        """The next append is stored, and the line is cut before its answer."""
        self.asked = 0
        """Times that it was asked while it was cut."""
        self.held: asyncio.Event | None = None
        """An append under way waits for this."""

    def _check(self) -> None:
        if self.is_cut:
            self.asked += 1
            raise DegradedError("the line is cut")

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        if self.held is not None:
            await self.held.wait()
        self._check()
        outcomes = await super().append(batch)
        if self.loses_answer:
            self.loses_answer, self.is_cut = False, True
        self._check()
        return outcomes

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        self._check()
        return await super().acquire_lease(name, holder, ttl_ms)

    async def head(self, room_id: str) -> RoomRow | None:
        self._check()
        return await super().head(room_id)

    async def latest_snapshot(
        self, room_id: str, wanted: Sequence[str] | None = None, before_seq: int | None = None
    ) -> SnapshotRow | None:
        self._check()
        return await super().latest_snapshot(room_id, wanted, before_seq)

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        self._check()
        return await super().new_site(room_id, site, actor, kind, secret_hash, now_ms)

    async def site(self, room_id: str, site: int) -> SiteRow | None:
        self._check()
        return await super().site(room_id, site)

    async def refuse(self, room_id: str, site: int, epoch: int, refusal: Refusal) -> bool:
        self._check()
        return await super().refuse(room_id, site, epoch, refusal)

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        self._check()
        return await super().find_envelope(room_id, site, counter)

    async def read_ops(
        self, room_id: str, after_seq: int, upto_seq: int | None = None
    ) -> AsyncIterator[Sequence[OpRow]]:
        self._check()
        async for rows in super().read_ops(room_id, after_seq, upto_seq):
            yield rows

    async def log_ids(self, room_id: str = "board") -> list[tuple[int, int]]:
        """(site, counter) of all that is stored, in order."""
        return [(row.site, row.counter) async for rows in super().read_ops(room_id, 0) for row in rows]


def signs(client: RawClient) -> list[bool]:
    """What a client was told of it."""
    return [message.degraded for message in client.messages if message.degraded is not None]


async def told(client: RawClient, is_on: bool) -> None:
    """Wait until it was."""
    await client.until(lambda: signs(client) and signs(client)[-1] is is_on)


@pytest.mark.parametrize("is_stored", [False, True])
def test_an_append_that_was_not_answered_is_stored_once_when_the_database_is_back(is_stored: bool) -> None:
    storage = CutStorage()

    async def scenario(hub: Hub) -> None:
        ann, bob = await join(hub, actor="ann"), await join(hub, actor="bob")
        assert ann.welcome is not None
        site = ann.welcome.site
        await ann.store(1)
        await bob.until(lambda: bob.through == 1)
        storage.loses_answer, storage.is_cut = is_stored, not is_stored
        await ann.submit(2)
        await told(ann, True)
        await told(bob, True)
        await ann.submit(3)  # on its way before he heard of it
        await ann.until(lambda: "degraded" in ann.codes)
        await ann.say(Presence('{"cursor": 1}'))
        await bob.until(lambda: any(message.moves for message in bob.messages))
        assert ann.acks == {1: 1}
        assert [e.seq for e in bob.envelopes] == [1]
        assert await storage.log_ids() == [(site, 1), (site, 2)][: 1 + is_stored]

        storage.is_cut = False
        await told(ann, False)
        assert ann.acks == {1: 1, 2: 2}, "he knows what is stored when he hears that it is over"
        assert await ann.store(3) == 3
        await bob.until(lambda: bob.through == 3)
        assert [e.seq for e in bob.envelopes] == [1, 2, 3]
        assert await storage.log_ids() == [(site, 1), (site, 2), (site, 3)]
        assert ann.closed is None
        assert bob.closed is None

    run(scenario, Hub(storage, LIMITS))


def test_one_probe_for_the_server_and_one_line_of_log_for_each_change(caplog: pytest.LogCaptureFixture) -> None:
    storage = CutStorage()

    async def scenario(hub: Hub) -> None:
        clients = [await join(hub, f"room-{n}") for n in range(20)]
        storage.is_cut = True
        for client in clients:
            await client.submit(1)
        for client in clients:
            await told(client, True)
        before = storage.asked
        await eventually(lambda: _is(storage.asked >= before + 5))
        assert hub.info()["degraded_since_ms"]
        rooms = await hub.list_rooms(limit=2, after="room-1")
        assert [(room["room"], room["sessions"], room["is_degraded"]) for room in rooms] == [
            ("room-10", 1, True),
            ("room-11", 1, True),
        ]
        storage.is_cut = False
        for client in clients:
            await told(client, False)
            assert client.acks == {1: 1}
        assert hub.info()["degraded_since_ms"] is None

    with caplog.at_level(logging.INFO, logger="collabkernel"):
        run(scenario, Hub(storage, replace(LIMITS, storage_retry_min_ms=20)))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert storage.asked < 20, "rooms do not ask, each for itself"


async def _is(what: bool) -> bool:
    return what


def test_a_newcomer_is_told_when_to_come_again_and_nobody_asks_the_database_for_him() -> None:
    storage = CutStorage()

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        resume = ann.resume()
        storage.is_cut = True
        with pytest.raises(DegradedError):  # the first who is not answered
            await join(hub, "another", actor="bob")
        await told(ann, True)
        for room in ("board", "another"):
            with pytest.raises(DegradedError) as caught:
                await join(hub, room, actor="bob")
            assert (caught.value.code, caught.value.retry_after_ms) == ("degraded", 2000)
        with pytest.raises(DegradedError):
            await hub.delete_room("board")
        storage.is_cut = False
        await told(ann, False)
        assert (await join(hub, resume=resume)).welcome is not None
        assert (await join(hub, "another", actor="bob")).welcome is not None

    run(scenario, Hub(storage, LIMITS))


def test_a_read_that_was_not_answered_is_answered_when_the_database_is_back() -> None:
    storage = CutStorage()

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        await ann.store(1)
        await ann.until(lambda: ann.through == 1)
        ann.messages.clear()
        storage.is_cut = True
        await ann.say(Resync())
        await told(ann, True)
        storage.is_cut = False
        await ann.until(lambda: ann.through == 1)
        assert [e.seq for e in ann.envelopes] == [1]
        assert ann.closed is None

    run(scenario, Hub(storage, LIMITS))


def test_a_refusal_and_a_look_up_that_were_not_answered_are_when_the_database_is_back() -> None:
    storage = CutStorage()

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        assert ann.welcome is not None
        await ann.store(1)
        await ann.until(lambda: ann.envelopes)
        storage.is_cut = True
        await ann.submit(1)
        await ann.submit(2, MapSet(ann.envelopes[0].op_id(0), "no such target", 1))
        await told(ann, True)
        storage.is_cut = False
        await told(ann, False)
        await ann.until(lambda: [r for m in ann.messages for r in m.rejects if r.final])
        assert await ann.store(3) == 2
        assert [ack.counter for m in ann.messages for ack in m.acks] == [1, 1, 3]

    run(scenario, Hub(storage, LIMITS))


def test_a_commit_that_takes_too_long_is_told_and_is_over_when_it_is_done() -> None:
    storage = CutStorage()

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        storage.held = asyncio.Event()
        await ann.submit(1)
        await told(ann, True)
        assert ann.acks == {}
        storage.held.set()
        await told(ann, False)
        assert ann.acks == {1: 1}

    run(scenario, Hub(storage, replace(LIMITS, storage_slow_ms=20)))


@pytest.mark.parametrize("retry_ms", [0, 20])
def test_a_server_stops_without_its_database(retry_ms: int) -> None:
    storage = CutStorage()
    clients: list[RawClient] = []

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        clients.append(ann)
        storage.is_cut = True
        await ann.submit(1, MapSet(ROOT, "k", 1))
        await told(ann, True)

    run(scenario, Hub(storage, replace(LIMITS, storage_retry_min_ms=retry_ms, storage_retry_max_ms=retry_ms)))
    assert clients[0].bye == "server-stopping"
    assert clients[0].acks == {}


def test_what_a_room_had_asked_is_not_stored_once_it_is_gone() -> None:
    """A room that is loaded again would not know of it."""
    storage = CutStorage()

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        storage.is_cut = True
        await ann.submit(1)
        await told(ann, True)
        runner = hub._runner_by_room["board"]  # nobody else can end a room now
        runner.stop("room-reset", "for a test")
        await ann.until(lambda: ann.closed)
        storage.is_cut = False
        await eventually(lambda: _is(hub.info()["degraded_since_ms"] is None))
        assert await storage.log_ids() == []
        again = await join(hub, resume=ann.resume())
        assert await again.store(1) == 1

    run(scenario, Hub(storage, LIMITS))


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_document_goes_on_and_asks_for_what_it_dropped_when_the_database_is_back(is_stored: bool) -> None:
    storage = CutStorage()

    async def scenario(hub: Hub) -> None:
        await hub.seed_document(ROOM, seed("seed"), "ann")
        ann, bob = await entered(hub, "ann", "bob")
        storage.loses_answer, storage.is_cut = is_stored, not is_stored
        await ann.type(", in flight")
        await eventually(lambda: _is(hub.info()["degraded_since_ms"]))
        await ann.type(", dropped")
        await ann.connection.receive(y_protocol.encode_awareness([(ann.doc.client_id, 1, b'{"cursor": 1}')]))
        await bob.until(lambda: ann.doc.client_id in bob.shown)
        assert (ann.echoed_text, bob.text) == ("seed", "seed")
        late = YClient("eve")
        late.connection = await hub.open_document(ROOM, late.principal, late, FILE_POLICY)

        ann.asked.clear()
        storage.is_cut = False
        await ann.until(lambda: ann.asked)
        await ann.connection.receive(y_protocol.encode_step_2(ann.doc.get_update(ann.asked.pop())))
        await bob.until(lambda: bob.text == "seed, in flight, dropped")
        await ann.until(lambda: ann.echoed_text == bob.text)
        assert (ann.closed, bob.closed) == (None, None)
        assert len(await storage.log_ids(ROOM)) == 3

    run(scenario, Hub(storage, LIMITS))
