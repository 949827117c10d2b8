"""The inbox: order, shares, turns, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from collabkernel.limits import Limits
from collabkernel.room.events import BusLost, FrameReceived, OpsPublished, SessionClosed, Ticked
from collabkernel.server.inbox import NEWS_MAX, QUANTUM_BYTES, SESSION_EVENTS, TURN_S, Inbox
from tests.bounds import HANG_S


def clock(step_s: float) -> Callable[[], float]:
    """A clock that goes on by so much each time it is asked."""
    times: Iterator[float] = iter([step_s * n for n in range(1000)])
    return lambda: next(times)


async def is_waiting(task: asyncio.Task[None]) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


def test_events_come_out_in_order_while_the_turn_lasts() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        for _ in range(10):
            inbox.post(Ticked())
        await inbox.wait()
        assert len(list(inbox.turn(clock(0)))) == 10
        for n in range(10):
            await inbox.put(FrameReceived(1, bytes([n])), 1)
        turns = [list(inbox.turn(clock(TURN_S * 0.6))) for _ in range(4)]
        assert turns == [[FrameReceived(1, bytes([n])), FrameReceived(1, bytes([n + 1]))] for n in (0, 2, 4, 6)]

    asyncio.run(main())


def test_an_event_that_takes_all_of_the_turn_is_alone_in_it() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        inbox.post(Ticked())
        inbox.post(Ticked())
        assert len(list(inbox.turn(clock(1)))) == 1

    asyncio.run(main())


def test_a_session_that_floods_waits_for_itself_and_no_other_does() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        for _ in range(SESSION_EVENTS):
            await inbox.put(FrameReceived(1, b"x"), 1)
        flood = asyncio.create_task(inbox.put(FrameReceived(1, b"x"), 1))
        assert await is_waiting(flood)
        await asyncio.wait_for(inbox.put(FrameReceived(2, b"y"), 1), HANG_S)

        next(inbox.turn(clock(1)))

        await flood

    asyncio.run(main())


def test_a_keystroke_does_not_wait_for_the_batches_of_others() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        batches = [FrameReceived(agent, b"batch") for agent in range(1, 6)]
        for batch in batches:
            await inbox.put(batch, 10 * QUANTUM_BYTES)
        keys = [FrameReceived(9, b"k"), FrameReceived(9, b"l")]
        for key in keys:
            await inbox.put(key, 100)
        inbox.post(Ticked())

        assert list(inbox.turn(clock(0))) == [Ticked(), *keys, *batches]
        assert not inbox.has_events

    asyncio.run(main())


def test_a_keystroke_does_not_wait_for_batches_that_have_saved_up_what_they_take() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        batches = [FrameReceived(agent, b"batch") for agent in range(1, 6)]
        for batch in batches:
            await inbox.put(batch, 10 * QUANTUM_BYTES)
        assert next(inbox.turn(clock(1))) == batches[0]
        key = FrameReceived(9, b"k")
        await inbox.put(key, 100)

        assert list(inbox.turn(clock(0))) == [key, *batches[1:]]

    asyncio.run(main())


def test_who_sends_again_whenever_he_was_heard_keeps_nobody_waiting() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        batches = [FrameReceived(agent, b"batch") for agent in (1, 2)]
        for batch in batches:
            await inbox.put(batch, 5 * QUANTUM_BYTES)
        heard: list[object] = []
        while inbox.has_events:
            if len(heard) < 20:
                for busy in (8, 9):
                    await inbox.put(FrameReceived(busy, b"k"), 500)
            heard += list(inbox.turn(clock(1)))

        assert all(heard.index(batch) < 20 for batch in batches)
        assert len(heard) == 42

    asyncio.run(main())


def test_who_sends_much_in_small_frames_has_his_turn_among_the_others() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        for n in range(4):
            await inbox.put(FrameReceived(1, bytes([n])), QUANTUM_BYTES // 2)
        await inbox.put(FrameReceived(2, b"x"), QUANTUM_BYTES)

        assert [event.session_id for event in inbox.turn(clock(0))] == [1, 1, 2, 1, 1]  # type: ignore[union-attr]  # frames

    asyncio.run(main())


def test_that_a_session_closed_is_told_behind_what_it_has_sent() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        await inbox.put(FrameReceived(1, b"x"), 1)
        inbox.post(SessionClosed(1))
        inbox.post(SessionClosed(2))

        assert list(inbox.turn(clock(0))) == [SessionClosed(2), FrameReceived(1, b"x"), SessionClosed(1)]

    asyncio.run(main())


def test_a_session_has_a_frames_worth_of_bytes_and_all_together_so_many() -> None:
    async def main() -> None:
        inbox = Inbox(Limits(frame_bytes=100, room_inbox_bytes=150))
        await inbox.put(FrameReceived(1, b"x"), 100)
        more = asyncio.create_task(inbox.put(FrameReceived(1, b"x"), 1))
        assert await is_waiting(more)
        await inbox.put(FrameReceived(2, b"y"), 60)
        late = asyncio.create_task(inbox.put(FrameReceived(3, b"z"), 1))
        assert await is_waiting(late)
        assert len(list(inbox.turn(clock(0)))) == 2
        await asyncio.gather(more, late)

    asyncio.run(main())


def test_a_large_frame_is_no_part_of_a_turn_and_keeps_its_place() -> None:
    async def main() -> None:
        inbox = Inbox(Limits(), alone_bytes=10)
        frames = [FrameReceived(1, bytes([n])) for n in range(3)]
        for frame, size_bytes in zip(frames, (1, 11, 1), strict=True):
            await inbox.put(frame, size_bytes)

        assert inbox.take_large() is None
        assert list(inbox.turn(clock(0))) == frames[:1]
        assert list(inbox.turn(clock(0))) == []
        assert inbox.take_large() == (frames[1], None)
        assert list(inbox.turn(clock(0))) == frames[2:]

    asyncio.run(main())


def test_who_sent_a_frame_is_charged_for_the_work_it_made() -> None:
    async def main() -> None:
        inbox, charged = Inbox(Limits()), []
        await inbox.put(FrameReceived(1, b"x"), 1, charged.append)
        inbox.post(Ticked())
        for _ in inbox.turn(clock(0)):
            sum(range(10_000))
        assert len(charged) == 1
        assert charged[0] > 0

    asyncio.run(main())


def test_what_sessions_sent_is_held_and_what_is_posted_is_not() -> None:
    async def main() -> None:
        held = [True]
        inbox = Inbox(Limits(), alone_bytes=10, is_held=lambda: held[0])
        frames = [FrameReceived(1, b"x"), FrameReceived(2, b"y" * 20)]
        for frame in frames:
            await inbox.put(frame, len(frame.frame))
        waiting = asyncio.create_task(inbox.wait())
        assert await is_waiting(waiting)
        assert (inbox.has_events, inbox.take_large(), list(inbox.turn(clock(0)))) == (False, None, [])

        inbox.post(Ticked())
        await waiting
        assert list(inbox.turn(clock(0))) == [Ticked()]
        held[0] = False
        assert list(inbox.turn(clock(0))) == frames[:1]
        assert inbox.take_large() == (frames[1], None)

    asyncio.run(main())


def test_who_asks_is_told_when_nothing_of_a_session_is_here_any_more() -> None:
    async def main() -> None:
        inbox = Inbox(Limits())
        await inbox.handed_on(1)
        for session in (1, 2, 1):
            await inbox.put(FrameReceived(session, b"x"), 1)
        waiting = [asyncio.create_task(inbox.handed_on(1)) for _ in range(2)]
        next(inbox.turn(clock(1)))
        assert await is_waiting(waiting[0])

        assert next(inbox.turn(clock(1))) == FrameReceived(1, b"x")

        await asyncio.gather(*waiting)
        assert inbox.has_events, "another's is still here"

    asyncio.run(main())


def test_more_news_of_other_servers_than_it_can_take_is_read_from_the_log() -> None:
    inbox = Inbox(Limits())
    inbox.post(Ticked())
    for seq in range(1, NEWS_MAX + 2):
        inbox.post(OpsPublished(seq, seq, b""))
    inbox.post(OpsPublished(seq + 1, seq + 1, b""))

    assert list(inbox.turn(lambda: 0.0)) == [Ticked(), BusLost(), OpsPublished(seq + 1, seq + 1, b"")]
    for _ in range(NEWS_MAX):
        inbox.post(OpsPublished(1, 1, b""))
        assert list(inbox.turn(lambda: 0.0)) == [OpsPublished(1, 1, b"")]


def test_nobody_waits_for_a_closed_inbox() -> None:
    async def main() -> None:
        inbox = Inbox(Limits(room_inbox_events=1))
        await inbox.put(FrameReceived(1, b"x"), 1)
        late = asyncio.create_task(inbox.put(FrameReceived(2, b"x"), 1))
        asking = asyncio.create_task(inbox.handed_on(1))
        assert await is_waiting(late)
        assert await is_waiting(asking)
        inbox.close()
        await asyncio.gather(late, asking)
        inbox.post(Ticked())
        await inbox.wait()
        assert list(inbox.turn(clock(0))) == []

    asyncio.run(main())
