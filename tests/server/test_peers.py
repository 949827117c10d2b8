"""Several servers on one storage: each shows what all have stored, in the log's order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from collabkernel.bus.base import EphemeralMessage, OpsStoredMessage
from collabkernel.bus.memory import MemoryBus
from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import ContainerKind, MapSet, NewContainer
from collabkernel.limits import Limits
from collabkernel.room.effects import Publish
from collabkernel.room.events import Event, OpsPublished
from collabkernel.server.hub import Hub
from collabkernel.server.peers import Peers
from collabkernel.storage import memory, open_storage
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Event as SayEvent
from collabkernel.wire.messages import Presence
from tests.server.raw import RawClient, eventually, join

EDITS = 60


def hubs(path: Path, count: int, bus: MemoryBus) -> list[Hub]:
    return [Hub(open_storage(f"sqlite:///{path / 'rooms.sqlite'}"), bus=bus) for _ in range(count)]


async def converge(servers: list[Hub], seq: int) -> list[object]:
    """The servers' states, when each has the whole log."""
    states = []
    for hub in servers:

        async def at_head(hub: Hub = hub) -> object:
            state = await hub.room_state("board")
            return state if state["seq"] == seq else None

        states.append((await eventually(at_head))["state"])
    return states


def test_three_servers_show_one_log(tmp_path: Path) -> None:
    async def main() -> None:
        servers = hubs(tmp_path, 3, MemoryBus())
        for hub in servers:
            await hub.start()
        clients = [await join(hub, actor=f"a{n}") for n, hub in enumerate(servers)]

        async def write(n: int) -> None:
            for counter in range(1, EDITS + 1):
                await clients[n].store(counter, MapSet(ROOT, f"{n}-{counter % 7}", counter))

        await asyncio.gather(*[write(n) for n in range(3)])

        seq = 3 * EDITS
        states = await converge(servers, seq)
        assert states[0] == states[1] == states[2]
        assert states[0] == {
            f"{n}-{k}": max(c for c in range(1, EDITS + 1) if c % 7 == k) for n in range(3) for k in range(7)
        }
        for client in clients:
            await client.until(lambda c=client: c.through == seq)
            assert [e.seq for e in client.envelopes] == list(range(1, seq + 1))
            assert client.closed is None
        for hub in servers:
            await hub.stop()

    asyncio.run(main())


def test_lost_messages_are_filled_from_the_log(tmp_path: Path) -> None:
    class LossyBus(MemoryBus):
        def publish(self, room_id: str, message: bytes) -> None:
            if hash(message) % 3 == 0:
                super().publish(room_id, message)

    async def main() -> None:
        servers = hubs(tmp_path, 2, LossyBus())
        for hub in servers:
            await hub.start()
        ann, bob = await join(servers[0], actor="ann"), await join(servers[1], actor="bob")
        for counter in range(1, EDITS + 1):
            await ann.store(counter)
        await bob.store(1, MapSet(ROOT, "bob", 1))  # its seq tells that something is missing

        await bob.until(lambda: bob.through == EDITS + 1)
        assert [e.seq for e in bob.envelopes] == list(range(1, EDITS + 2))
        for hub in servers:
            await hub.stop()

    asyncio.run(main())


def test_a_room_that_is_deleted_and_made_again_is_another_everywhere(tmp_path: Path) -> None:
    async def main() -> None:
        servers = hubs(tmp_path, 2, MemoryBus())
        for hub in servers:
            await hub.start()
        ann, bob = await join(servers[0], actor="ann"), await join(servers[1], actor="bob")
        for counter in range(1, 11):
            await ann.store(counter)
        await bob.until(lambda: bob.through == 10)

        await servers[1].delete_room("board")
        again = await join(servers[1], actor="bob")
        for counter in range(1, 13):
            await again.store(counter, MapSet(ROOT, "again", counter))

        assert await ann.until(lambda: ann.bye) == "room-deleted"
        assert (await converge(servers, 12)) == [{"again": 12}] * 2
        for hub in servers:
            await hub.stop()

    asyncio.run(main())


def test_a_site_is_resumed_at_another_server(tmp_path: Path) -> None:
    async def main() -> None:
        servers = hubs(tmp_path, 2, MemoryBus())
        for hub in servers:
            await hub.start()
        ann = await join(servers[0])
        await ann.store(1)
        await ann.until(lambda: ann.through == 1)

        moved = await join(servers[1], resume=ann.resume())

        assert await moved.store(1) == 1
        assert await moved.store(2) == 2
        await ann.submit(2)  # the older socket is fenced, and its server starts the room again from the log
        await ann.until(lambda: ann.closed)
        assert (await converge(servers, 2))[0] == {"k": 2}
        for hub in servers:
            await hub.stop()

    asyncio.run(main())


def test_a_server_that_joins_later_begins_at_the_head(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        first, second = hubs(tmp_path, 2, bus)
        await first.start()
        ann = await join(first)
        await ann.store(1)
        await second.start()
        bob = await join(second, actor="bob")
        assert [e.seq for e in bob.envelopes] == [1]
        await ann.store(2)
        await bob.until(lambda: bob.through == 2)
        await first.stop()
        await second.stop()

    asyncio.run(main())


def test_rooms_leave_the_bus_when_they_are_unloaded() -> None:
    async def main() -> None:
        bus = MemoryBus()
        hub = Hub(open_storage("memory://"), replace(Limits(), room_idle_ms=10), bus=bus)
        await hub.start()
        ann = await join(hub)
        await ann.leave()

        async def is_unloaded() -> bool:
            return hub.info()["rooms_loaded"] == 0

        await eventually(is_unloaded)
        again = await join(hub)
        assert await again.store(1) == 1
        await hub.stop()

    asyncio.run(main())


def test_a_room_that_ends_does_not_deafen_the_next_one() -> None:
    async def main() -> None:
        bus = MemoryBus()
        here, there = Peers(bus), Peers(bus)
        await here.open()
        old: list[Event] = []
        new: list[Event] = []
        ending = await here.join("board", old.append)
        await here.join("board", new.append)

        await here.leave(ending)
        there.publish("board", Publish(1, 1, b"x"))
        await asyncio.sleep(0)

        assert (old, new) == ([], [OpsPublished(1, 1, b"x")])

    asyncio.run(main())


def test_presence_and_broadcasts_reach_other_servers(tmp_path: Path) -> None:
    async def main() -> None:
        servers = hubs(tmp_path, 2, MemoryBus())
        for hub in servers:
            await hub.start()
        ann = await join(servers[0], actor="ann")
        await ann.say(Presence('{"at":1}'))
        await ann.until(lambda: shown(ann).get("ann") == '{"at":1}')
        bob = await join(servers[1], actor="bob")

        await bob.until(lambda: shown(bob).get("ann") == '{"at":1}')
        await ann.until(lambda: "bob" in shown(ann))
        await bob.say(SayEvent("ping", '{"n":1}'))
        await ann.until(lambda: [event.name for message in ann.messages for event in message.events] == ["ping"])
        late = await join(servers[1], actor="late")
        assert shown(late).keys() >= {"ann", "bob"}, "with the Welcome"
        await ann.leave()
        await bob.until(lambda: "ann" not in shown(bob))
        assert [event for message in bob.messages for event in message.events] == []
        for hub in servers:
            await hub.stop()

    asyncio.run(main())


def shown(client: RawClient) -> dict[str, str]:
    """What everybody shows, as this client was told."""
    found: dict[str, str] = {}
    actors: dict[int, str] = {}
    for message in client.messages:
        for entry in message.presence:
            found[entry.actor] = entry.state_json
            actors[entry.site] = entry.actor
            if entry.left:
                del found[entry.actor]
        for move in message.moves:
            found[actors[move.site]] = move.state_json
    return found


def test_what_is_no_message_of_a_server_is_passed_over(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        (hub,) = hubs(tmp_path, 1, bus)
        await hub.start()
        ann = await join(hub)
        for parts in (b"\xff\xff", b"\x0a"):
            bus.publish("board", EphemeralMessage(bytes(16), False, parts).encode())
            bus.publish("board", OpsStoredMessage(bytes(16), 1, 1, parts).encode())
        bus.publish("board", b"none")
        assert await ann.store(1) == 1
        assert ann.closed is None
        await hub.stop()

    asyncio.run(main())


def test_who_goes_on_at_a_server_that_is_behind_is_taken_where_he_was(tmp_path: Path) -> None:
    class SilentBus(MemoryBus):
        def publish(self, room_id: str, message: bytes) -> None:
            """Whoever waits for news waits for ever."""

    async def main() -> None:
        servers = hubs(tmp_path, 2, SilentBus())
        for hub in servers:
            await hub.start()
        ann, bob = await join(servers[0], actor="ann"), await join(servers[1], actor="bob")
        await ann.store(1, MapSet(ROOT, "tasks", NewContainer(ContainerKind.MAP, shared=False)))
        assert ann.welcome is not None
        await ann.until(lambda: ann.through == 1)
        tasks = OpId(ann.welcome.site, 1)

        again = await join(servers[1], actor="ann", resume=ann.resume())
        again.base = 1
        assert await again.store(2, MapSet(tasks, "first", True)) == 2

        assert again.codes == []
        await bob.until(lambda: bob.through == 2)
        for hub in servers:
            await hub.stop()

    asyncio.run(main())


def test_what_was_missed_is_read_to_its_end_however_little_a_chunk_of_the_log_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "READ_BYTES_MAX", 1)

    async def main() -> None:
        storage, bus = MemoryStorage(), MemoryBus()
        here, there = Hub(storage), Hub(storage, bus=bus)
        for hub in (here, there):
            await hub.start()
        ann, bob = await join(here, actor="ann"), await join(there, actor="bob")
        for counter in range(1, 4):
            await ann.store(counter)
        bus.tell_gap("board")

        await bob.until(lambda: bob.through == 3)
        for hub in (here, there):
            await hub.stop()

    asyncio.run(main())
