"""A connection against the real hub: it comes back, sends again, waits, and knows when to stop."""

from __future__ import annotations

import asyncio
import random

import pytest

from collabkernel import aio
from collabkernel.client.async_room import AsyncRoom
from collabkernel.client.replica import Replica
from collabkernel.client.servers import Servers
from collabkernel.client.transport import Link, LinkError
from collabkernel.crdt.ids import OpId
from collabkernel.errors import AccessError, ClosedError, RejectedError, RoomNotFoundError
from collabkernel.limits import Limits
from collabkernel.memory import MemoryConnector, memory_server
from collabkernel.room.fold import Fold
from collabkernel.server.hub import wall_clock_ms
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.frames import bye_part, snapshot_part
from collabkernel.wire.messages import Bye, Hello, SessionKind
from collabkernel.wire.room_state import join_parts

pytestmark = pytest.mark.anyio

LIMITS = Limits(reconnect_min_ms=1, reconnect_max_ms=5)


class UnreliableConnector(MemoryConnector):
    """Lines to this process's hub that the test can cut, and refuse to open."""

    def __init__(self, room: str, name: str = "ann") -> None:
        super().__init__(room, name)
        self.link: CutLink | None = None
        self.refusals: list[Exception] = []
        self.opened_count = 0

    async def open(self) -> Link:
        if self.refusals:
            raise self.refusals.pop(0)
        self.link = CutLink(await super().open())
        self.opened_count += 1
        return self.link


class CutLink:
    """A line that the test can cut, and put frames on."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._is_cut = asyncio.Event()
        self.injected: asyncio.Queue[bytes] = asyncio.Queue()
        self.received = 0
        """Frames that were asked for after those that came."""

    def cut(self) -> None:
        self._is_cut.set()

    async def send(self, frame: bytes) -> None:
        if self._is_cut.is_set():
            raise LinkError("cut by the test")
        await self._link.send(frame)

    async def receive(self) -> bytes:
        self.received += 1
        waits = [
            asyncio.ensure_future(each) for each in (self._is_cut.wait(), self.injected.get(), self._link.receive())
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if waits[0].done():
                raise LinkError("cut by the test")
            if waits[1].done():
                return waits[1].result()
            return await waits[2]
        finally:
            for each in waits:
                each.cancel()

    async def close(self) -> None:
        await self._link.close()


def room_on(connector: UnreliableConnector, name: str, limits: Limits = LIMITS) -> AsyncRoom:
    replica = Replica(SessionKind.SCRIPT, "test", limits)
    return AsyncRoom(name, replica, connector, limits, random.Random(1), wall_clock_ms)


async def joined(name: str) -> tuple[AsyncRoom, UnreliableConnector]:
    connector = UnreliableConnector(name)
    room = room_on(connector, name)
    await room.join(10)
    return room, connector


async def test_it_comes_back_with_the_same_site_and_sends_again():
    room, connector = await joined("comes-back")
    statuses: list[str] = []
    room.on_status(statuses.append)
    site = room.site
    for i in range(5):
        room.list("l").append(i)
        connector.link.cut()
        await room.flush()

    assert room.site == site
    assert connector.opened_count > 1
    assert {"reconnecting", "live"} <= set(statuses)
    state = await hub_state("comes-back")
    assert state == {"l": [0, 1, 2, 3, 4]}
    await room.close()
    assert room.status == "closed"


async def hub_state(name: str) -> object:
    server = memory_server()
    asked = asyncio.run_coroutine_threadsafe(server.hub.room_state(name), server.thread.loop)
    return (await asyncio.wrap_future(asked))["state"]


async def test_it_tries_until_the_server_is_there():
    connector = UnreliableConnector("tries")
    connector.refusals = [LinkError("not yet", retry_after_ms=1) for _ in range(3)]
    room = room_on(connector, "tries")

    await room.join(10)

    assert room.status == "live"
    await room.close()


async def test_a_first_no_is_final():
    connector = UnreliableConnector("no")
    connector.refusals = [AccessError("no")]
    room = room_on(connector, "no")

    with pytest.raises(AccessError, match="no"):
        await room.join(10)
    assert room.status == "closed"


async def test_a_later_no_is_asked_again():
    room, connector = await joined("later-no")
    connector.refusals = [AccessError("the token is old")]
    room.root.a = 1
    connector.link.cut()

    await room.flush()

    assert room.status == "live"
    await room.close()


async def test_joining_gives_up_in_time_and_says_why():
    connector = UnreliableConnector("gives-up")
    connector.refusals = [LinkError("nobody there") for _ in range(1000)]
    room = room_on(connector, "gives-up")

    with pytest.raises(LinkError, match="nobody there"):
        await room.join(0.05)


@pytest.mark.parametrize("bye", [Bye("server-stopping", "soon", 1), Bye("slow-consumer", "late"), Bye("anything", "")])
async def test_after_most_goodbyes_it_comes_back(bye):
    room, connector = await joined("goodbye")
    connector.link.injected.put_nowait(bye_part(bye))
    room.root.a = 1
    await room.flush()

    assert connector.opened_count >= 1
    assert room.status == "live"
    await room.close()


@pytest.mark.parametrize(
    ("code", "error"),
    [("superseded", ClosedError), ("room-deleted", RoomNotFoundError), ("access-denied", AccessError)],
)
async def test_after_some_it_does_not(code, error):
    room, connector = await joined(f"final-{code}")
    connector.link.injected.put_nowait(bye_part(Bye(code, "go")))
    gone = asyncio.Event()
    room.on_status(lambda status: gone.set() if status == "offline" else None)
    await gone.wait()

    room.root.a = 1
    assert room.sync_status == "offline"
    with pytest.raises(ClosedError, match="not saved"):
        await room.flush(1)
    assert isinstance(room._connection.error, error)
    await room.close()


async def at_two_servers(name: str) -> tuple[AsyncRoom, UnreliableConnector, str]:
    """A room whose connector counts as two servers; the one that it is at."""
    connector = UnreliableConnector(name)
    connector.servers = Servers(["memory://a", "memory://b"], random.Random(1))
    room = room_on(connector, name)
    await room.join(10)
    return room, connector, connector.servers.url


NEVER_MS = 10**7


@pytest.mark.parametrize("bye", [Bye("server-draining", "", 0), Bye("storage-error", "", NEVER_MS), None])
async def test_who_is_sent_away_or_cut_off_goes_to_the_next_server_at_once(bye):
    room, connector, first = await at_two_servers("next-server")
    if bye is None:
        connector.link.cut()
    else:
        connector.link.injected.put_nowait(bye_part(bye))
    room.root.a = 1
    await room.flush()

    assert connector.servers.url != first
    assert room.address == connector.servers.url
    await room.close()


async def test_a_server_that_is_down_is_passed_over():
    connector = UnreliableConnector("passed-over")
    connector.servers = Servers(["memory://a", "memory://b"], random.Random(1))
    first = connector.servers.url
    connector.refusals = [LinkError("down", NEVER_MS)]
    room = room_on(connector, "passed-over")
    await room.join(10)

    assert not connector.refusals
    assert connector.servers.url != first
    await room.close()


async def test_the_server_is_kept_when_the_fault_is_not_its_own():
    room, connector, first = await at_two_servers("kept")
    room.replica.secret = b"x" * 16
    connector.link.injected.put_nowait(bye_part(Bye("bad-resume", "")))
    room.root.a = 1
    await room.flush()

    assert connector.servers.url == first
    await room.close()


async def test_a_site_that_may_not_resume_is_replaced_and_nothing_is_lost():
    room, connector = await joined("bad-resume")
    room.list("l").append("a")
    await room.flush()
    site, room.replica.secret = room.site, b"x" * 16
    room.list("l").append("b")
    connector.link.cut()

    await room.flush()

    assert room.site != site
    assert await hub_state("bad-resume") == {"l": ["a", "b"]}
    await room.close()


async def test_a_server_that_breaks_the_protocol_is_left_and_tried_again():
    room, connector = await joined("broken")
    connector.link.injected.put_nowait(b"\xff\xff")
    room.root.a = 1
    await room.flush()

    assert room.status == "live"
    await room.close()


async def test_a_line_that_comes_back_during_a_batch_is_live_after_it():
    room, connector = await joined("batch-across")
    opened = connector.opened_count
    with room.batch():
        room.root.a = 1
        connector.link.cut()
        while connector.opened_count == opened or connector.link.received < 2:  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0.001)
        assert room.status == "reconnecting"
    await room.flush()

    assert room.status == "live"
    assert await hub_state("batch-across") == {"a": 1}
    await room.close()


async def test_what_breaks_the_protocol_during_a_batch_breaks_the_line_after_it():
    room, connector = await joined("broken-in-batch")
    opened = connector.opened_count
    with room.batch():
        room.root.a = 1
        connector.link.injected.put_nowait(snapshot_part(5, join_parts(Fold().to_parts()), OpId(room.site, 9)))
        received = connector.link.received
        while connector.link.received == received:  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0.001)
    await room.flush()

    assert connector.opened_count == opened + 1
    assert room.status == "live"
    await room.close()


async def test_flush_raises_a_refusal_once():
    room, _ = await joined("refused")
    room.root.a = 1
    await room.flush()
    # The server checks text updates itself, so an edit behind our own checks is refused there.
    room.replica.limits = room.replica.limits.__class__(*(2**31,) * 7)
    room.root.big = "x" * (Limits().value_bytes + 1)

    with pytest.raises(RejectedError, match="too-large"):
        await room.flush()
    await room.flush()
    room.root.b = 2
    await room.flush()
    assert await hub_state("refused") == {"a": 1, "b": 2}
    await room.close()


async def test_flush_gives_up_in_time_and_keeps_the_edits():
    room, connector = await joined("patience")
    connector.refusals = [LinkError("away") for _ in range(20)]
    connector.link.cut()
    room.root.a = 1

    with pytest.raises(TimeoutError, match="stay queued"):
        await room.flush(0.001)
    await room.flush()
    assert await hub_state("patience") == {"a": 1}
    await room.close()


async def test_what_is_looked_at_comes_over_the_next_line_or_not_in_time():
    connector = UnreliableConnector("sight-in-time")
    room = AsyncRoom(
        "sight-in-time",
        Replica(SessionKind.SCRIPT, "test", LIMITS, is_lazy=True),
        connector,
        LIMITS,
        random.Random(1),
        wall_clock_ms,
    )
    async with aio.connect("sight-in-time", url="memory://") as ann, room:
        ann.doc("body").append("one")
        await ann.flush()
        await room.join(5)
        doc = room.doc("body")
        assert connector.link is not None
        connector.refusals = [LinkError("not yet")] * 10_000
        connector.link.cut()
        with pytest.raises(TimeoutError, match="did not come in 0 s"):
            await doc.show(doc[0], timeout_s=0)
        connector.refusals.clear()
        await doc.show(doc[0])
        assert doc[0].text == "one"
    with pytest.raises(ClosedError, match="not loaded"):
        await doc.show_all()


async def test_a_second_hello_is_a_notice_and_harms_nothing():
    room, connector = await joined("notice")
    await connector.link.send(encode_client_message(Hello(SessionKind.SCRIPT, "again")))
    room.root.a = 1
    await room.flush()

    assert room.status == "live"
    await room.close()
