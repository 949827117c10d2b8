"""A socket's frames on their way in: order, cutting, and floods that are slowed where they come from."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapSet
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub, wall_clock_ms
from collabkernel.server.inbox import SESSION_EVENTS
from collabkernel.storage import open_storage
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Presence, Submit
from tests.bounds import HANG_S
from tests.server.raw import enter, join, run


def memory_hub(limits: Limits | None = None) -> Hub:
    return Hub(open_storage("memory://"), limits)


def many(first: int, count: int) -> bytes:
    hlc = wall_clock_ms() << 16
    return encode_client_message(
        Submit(tuple([Envelope(n, 0, hlc + n, (MapSet(ROOT, "k", n),)) for n in range(first, first + count)]))
    )


def test_a_large_frame_keeps_its_place_among_small_ones() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        frames = [many(1, 1), many(2, 2000), many(2002, 1), many(2003, 1500)]
        await asyncio.gather(*[ann.connection.receive(frame) for frame in frames])
        await ann.until(lambda: len(ann.acks) == 3502)
        assert ann.codes == []
        assert sorted(ann.acks.values()) == list(range(1, 3503))

    run(scenario, memory_hub())


def test_a_large_frame_holds_up_nobody_for_long() -> None:
    """A megabyte of tiny envelopes is up to a second of work; the loop goes on meanwhile."""

    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        frame = many(1, 20_000)
        worst_s = 0.0

        async def watch() -> None:
            """Processor time of this thread, which stalls of the machine do not count into."""
            nonlocal worst_s
            while True:
                before = time.thread_time()
                await asyncio.sleep(0.001)
                worst_s = max(worst_s, time.thread_time() - before)

        watching = asyncio.create_task(watch())
        started = time.process_time()
        await ann.connection.receive(frame)
        await ann.until(lambda: len(ann.acks) == 20_000)
        whole_s = time.process_time() - started
        watching.cancel()
        assert worst_s < whole_s / 5

    run(scenario, memory_hub())


def test_a_large_frame_that_is_no_message_is_refused_as_a_small_one_is() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        for size in (10, 100_000, (1 << 20) + 1):
            await ann.connection.receive(b"\xff" * size)
        await ann.until(lambda: len(ann.codes) == 3)
        assert ann.codes == ["malformed-frame", "malformed-frame", "frame-too-large"]
        assert await ann.store(1) == 1

    run(scenario, memory_hub())


def test_a_flood_of_bytes_or_frames_is_slowed_and_answered_all_the_same() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        started = time.perf_counter()
        for n in range(1, 16):
            await ann.submit(n, MapSet(ROOT, "k", "v" * 10_000))
        await ann.until(lambda: len(ann.acks) == 15)
        assert time.perf_counter() - started > 0.2
        assert ann.codes == []

    run(scenario, memory_hub(replace(Limits(), frame_bytes_per_s=50_000)))
    run(scenario, memory_hub(replace(Limits(), frames_per_s=20)))


def test_a_flood_that_waits_ends_when_its_socket_does() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        flood = [asyncio.create_task(ann.say(Presence("{}"))) for _ in range(10)]
        await asyncio.sleep(0)
        await ann.leave()
        _, waiting = await asyncio.wait(flood, timeout=HANG_S)
        assert not waiting

    run(scenario, memory_hub(replace(Limits(), frames_per_s=2)))


def test_who_talks_but_never_says_hello_is_closed() -> None:
    async def scenario(hub: Hub) -> None:
        mute = await enter(hub)
        await mute.connection.receive(b"\xff")
        await mute.until(lambda: mute.closed)
        assert mute.bye == "hello-timeout"
        assert hub.info()["sessions"] == 0

    run(scenario, memory_hub(replace(Limits(), hello_timeout_ms=20)))


def test_a_frame_is_taken_at_once_only_when_nothing_is_in_its_way() -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        taken = [ann.connection.take(many(number, 1)) for number in range(1, SESSION_EVENTS + 2)]
        assert taken == [True] * SESSION_EVENTS + [False]
        await ann.connection.receive(many(SESSION_EVENTS + 1, 1))
        await ann.until(lambda: len(ann.acks) == SESSION_EVENTS + 1)

        large = asyncio.create_task(ann.connection.receive(many(SESSION_EVENTS + 2, 2000)))
        await asyncio.sleep(0)
        assert not ann.connection.take(many(SESSION_EVENTS + 2002, 1))
        await large
        assert ann.codes == []

    run(scenario, memory_hub())
