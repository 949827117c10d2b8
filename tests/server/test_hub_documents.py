"""Documents at a hub: clients with real Yjs documents, nothing between them and the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pycrdt import Doc, Text

from collabkernel.bus.memory import MemoryBus
from collabkernel.crdt.yjs.parse import write_uint
from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.errors import BannedError, RoomNotFoundError, TooManyError
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.connection import Connection
from collabkernel.server.hub import Hub
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Role
from collabkernel.wire.y_protocol import Awareness, SyncStep1, SyncUpdate
from tests.bounds import HANG_S
from tests.server.raw import run

ROOM = "text:file:1"


class YClient:
    """A stock client that is its own transport: it applies what comes, and sends what is typed."""

    def __init__(self, name: str, role: Role = Role.WRITER) -> None:
        self.principal = Principal(name, name.title(), "", role)
        self.doc: Doc[Any] = Doc()
        self.source = self.doc.get("source", type=Text)
        self.is_synced = False
        self.echoed: list[bytes] = []
        self.shown: dict[int, Any] = {}
        self.closed: tuple[str, str] | None = None
        self.buffered_bytes = 0
        self.asked: list[bytes] = []
        self.connection: Connection
        self._changed = asyncio.Event()

    def send(self, frame: bytes) -> None:
        """As a transport: the hub sends."""
        message = y_protocol.decode_y_message(frame, Limits())
        match message:
            case SyncUpdate():
                self.doc.apply_update(message.update)
                self.is_synced = self.is_synced or message.is_step_2
                self.echoed.append(message.update)
            case SyncStep1():
                self.asked.append(message.state_vector)
            case Awareness():
                self.shown.update({entry.client: entry.state for entry in message.entries})
        self._changed.set()

    def close(self, code: str, reason: str) -> None:
        """As a transport: the hub closes the socket."""
        self.closed = (code, reason)
        self._changed.set()

    async def enter(self, hub: Hub, room_id: str = ROOM) -> None:
        """Open a socket, and sync as stock clients do."""
        self.connection = await hub.open_document(room_id, self.principal, self, FILE_POLICY)
        await self.connection.receive(y_protocol.encode_step_1(self.doc.get_state()))
        await self.until(lambda: self.is_synced)
        while self.asked:
            await self.connection.receive(y_protocol.encode_step_2(self.doc.get_update(self.asked.pop())))

    async def type(self, text: str) -> bytes:
        """Type at the end, and send it."""
        before = self.doc.get_state()
        self.source += text
        update = self.doc.get_update(before)
        await self.connection.receive(y_protocol.encode_update(update))
        return update

    async def until(self, is_there: Callable[[], Any]) -> None:
        """Wait until something is true of what was received."""
        async with asyncio.timeout(HANG_S):
            while not is_there():
                self._changed.clear()
                await self._changed.wait()

    @property
    def echoed_text(self) -> str:
        """What the server has sent, without what was typed here and did not come back."""
        doc: Doc[Text] = Doc()
        for update in self.echoed:
            doc.apply_update(update)
        return str(doc.get("source", type=Text))

    @property
    def text(self) -> str:
        return str(self.source)


def seed(text: str) -> bytes:
    doc: Doc[Text] = Doc(client_id=0)
    source = doc.get("source", type=Text)
    source += text
    return doc.get_update()


async def entered(hub: Hub, *names: str) -> list[YClient]:
    clients = [YClient(name) for name in names]
    for client in clients:
        await client.enter(hub)
    return clients


def test_two_clients_converge_and_the_log_has_it_all():
    storage = MemoryStorage()

    async def edit(hub: Hub) -> None:
        assert await hub.seed_document(ROOM, seed("seed "), "ann")
        ann, bob = await entered(hub, "ann", "bob")
        assert ann.text == bob.text == "seed "
        await ann.type("hello ")
        await bob.type("world ")
        await ann.until(lambda: "world" in ann.text and "hello" in ann.echoed_text)
        await bob.until(lambda: "hello" in bob.text)
        assert ann.text == bob.text
        found.append(ann.text)

    async def read(hub: Hub) -> None:
        (cat,) = await entered(hub, "cat")
        assert [cat.text] == found

    found: list[str] = []
    run(edit, Hub(storage))
    run(read, Hub(storage))


def test_a_document_is_seeded_once_whoever_tries():
    storage = MemoryStorage()

    async def scenario(hub: Hub) -> None:
        other = Hub(storage)
        outcomes = await asyncio.gather(*[server.seed_document(ROOM, seed("once"), "ann") for server in (hub, other)])
        assert sorted(outcomes) == [False, True]
        assert not await hub.seed_document(ROOM, seed("again"), "bob")
        (ann,) = await entered(hub, "ann")
        assert ann.text == "once"

    run(scenario, Hub(storage))


def test_what_was_not_seeded_is_not_there():
    async def scenario(hub: Hub) -> None:
        with pytest.raises(RoomNotFoundError):
            await YClient("ann").enter(hub)
        await hub.storage.create_room(ROOM, 0)
        with pytest.raises(RoomNotFoundError):
            await YClient("ann").enter(hub)

    run(scenario, Hub(MemoryStorage()))


def test_two_servers_on_one_storage_show_each_others_edits():
    storage, bus = MemoryStorage(), MemoryBus()

    async def scenario(hub: Hub) -> None:
        other = Hub(storage, bus=bus)
        await other.start()
        await hub.seed_document(ROOM, seed(""), "ann")
        (ann,) = await entered(hub, "ann")
        (bob,) = await entered(other, "bob")
        await ann.type("from one ")
        await bob.until(lambda: "one" in bob.text)
        await bob.type("from two")
        await ann.until(lambda: "two" in ann.text)
        assert ann.text == bob.text == "from one from two"
        await ann.connection.close()
        await bob.connection.close()

    run(scenario, Hub(storage, bus=bus))


def test_who_sent_what_could_break_it_is_kept_out():
    async def scenario(hub: Hub) -> None:
        await hub.seed_document(ROOM, seed("x"), "ann")
        ann, eve = await entered(hub, "ann", "eve")
        await eve.connection.receive(y_protocol.encode_update(b"\x01\x01\x05\x00\xff\xff"))
        await ann.until(lambda: len(ann.echoed) > 1)
        with pytest.raises(BannedError):
            await YClient("eve").enter(hub)
        await YClient("bob").enter(hub)

    run(scenario, Hub(MemoryStorage()))


def test_awareness_rooms_need_no_document():
    async def scenario(hub: Hub) -> None:
        ann, bob = YClient("ann"), YClient("bob")
        for client in (ann, bob):
            client.connection = await hub.open_awareness("JupyterLab:globalAwareness", client.principal, client)
        await ann.connection.receive(y_protocol.encode_awareness([(11, 1, b'{"current":null}')]))
        await bob.until(lambda: bob.shown == {11: {"current": None}})
        await ann.connection.close()
        await bob.until(lambda: bob.shown == {11: None})

    run(scenario, Hub(MemoryStorage()))


def test_a_stop_closes_everybody_with_its_code():
    async def scenario(hub: Hub) -> None:
        await hub.seed_document(ROOM, seed("x"), "ann")
        clients.extend(await entered(hub, "ann"))

    clients: list[YClient] = []
    run(scenario, Hub(MemoryStorage()))

    assert clients[0].closed is not None
    assert clients[0].closed[0] == "server-stopping"


def hostile(structs: int) -> bytes:
    """An update that is judged whole, struct by struct, and then refused: it deletes what is not there."""
    one = b"".join([b"\x44", write_uint(7)])
    first = b"\x04\x01\x06source\x01a"
    rest = b"".join([one + write_uint(clock) + b"\x01b" for clock in range(structs - 1)])
    return write_uint(1) + write_uint(structs) + b"\x07\x00" + first + rest + b"\x01\x09\x01\x05\x05"


def test_seconds_of_judging_hold_up_neither_the_loop_nor_other_rooms() -> None:
    """A megabyte of structs kept the loop for five seconds, and eight came a second."""

    async def scenario(hub: Hub) -> None:
        await hub.seed_document(ROOM, seed(""), "ann")
        eve = YClient("eve")
        eve.connection = await hub.open_document(ROOM, eve.principal, eve, FILE_POLICY)
        await eve.until(lambda: eve.asked)
        eve.asked.clear()
        update = y_protocol.encode_update(hostile(20_000))
        loop_before_s, all_before_s = time.thread_time(), time.process_time()
        await eve.connection.receive(update)
        await eve.until(lambda: eve.asked)
        of_the_loop_s = time.thread_time() - loop_before_s
        assert of_the_loop_s < (time.process_time() - all_before_s) / 2

        allowance = asyncio.create_task(eve.connection.allowance(1))
        await asyncio.wait([allowance], timeout=0.1)
        assert not allowance.done()  # a millisecond of work is owed for a second
        allowance.cancel()

    run(scenario, Hub(MemoryStorage(), replace(Limits(), document_work_burst_ms=1, document_work_ms_per_s=1)))


def test_the_server_s_own_clients_are_in_no_count() -> None:
    """500 open documents were all that a server took: each has a client of the server's."""

    async def scenario(hub: Hub) -> None:
        await hub.seed_document(ROOM, seed(""), "ann")
        (ann,) = await entered(hub, "ann")
        server = Principal("ann", "", "", Role.WRITER, is_service=True)
        for _ in range(3):
            await hub.open_document(ROOM, server, YClient("x"), FILE_POLICY)
        with pytest.raises(TooManyError):
            await hub.open_document(ROOM, ann.principal, YClient("x"), FILE_POLICY)

    run(scenario, Hub(MemoryStorage(), replace(Limits(), sessions_per_actor=1)))


def test_awareness_reaches_other_servers():
    async def main() -> None:
        bus, storage = MemoryBus(), MemoryStorage()
        servers = [Hub(storage, bus=bus) for _ in range(2)]
        for hub in servers:
            await hub.start()
        await servers[0].seed_document(ROOM, seed("plan"), "server")
        ann, bob = YClient("ann"), YClient("bob")
        await ann.enter(servers[0])
        await ann.connection.receive(y_protocol.encode_awareness([(11, 1, b'{"x":1}')]))
        await ann.until(lambda: 11 in ann.shown)
        await bob.enter(servers[1])

        await bob.until(lambda: bob.shown.get(11) == {"x": 1})
        await ann.connection.close()
        await bob.until(lambda: bob.shown[11] is None)
        for hub in servers:
            await hub.stop()

    asyncio.run(main())
