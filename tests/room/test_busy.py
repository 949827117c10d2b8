"""A room of a busy server: agents wait, cursors come less often, and people are served as ever."""

from __future__ import annotations

import pytest

from collabkernel.limits import Limits
from collabkernel.room.busy import PRESENCE_STEPS, Busy
from collabkernel.room.events import Ticked
from collabkernel.wire.messages import Presence, SessionKind
from tests.room.drive import Driver, envelope

pytestmark = pytest.mark.core
WIDEST_MS = Limits().flush_tick_max_ms


def with_agent() -> tuple[Driver, int, int]:
    world = Driver()
    return world, world.join("ann"), world.join("bot", kind=SessionKind.AGENT)


def test_it_begins_at_the_widest_step_and_ends_at_half_of_it() -> None:
    busy, seen = Busy(Limits()), []
    for flush_ms in (0, WIDEST_MS - 1, WIDEST_MS, WIDEST_MS // 2, WIDEST_MS // 2 - 1, WIDEST_MS // 2, WIDEST_MS):
        busy.note(flush_ms, 1)
        seen.append(busy.is_on)

    assert seen == [False, False, True, True, False, False, True]


def test_a_presence_tick_grows_with_sessions_from_a_thousand_on() -> None:
    busy, seen = Busy(Limits()), []
    for sessions in (1, 1000, 3000, 10_000):
        busy.note(0, sessions)
        seen.append(busy.presence_tick_ms)

    assert seen == [100, 100, 300, 1000]


def test_an_agent_is_told_to_send_again_until_the_server_has_time_and_nothing_is_lost() -> None:
    world, ann, bot = with_agent()
    world.flush_ms = WIDEST_MS
    for _ in range(2):
        world.submit(bot, envelope(1))
        world.submit(bot, envelope(2))
    world.submit(ann, envelope(1))

    assert world.rejects(bot) == [(1, "busy", False)] * 2, "each time that it sends again from there"
    assert (world.acks(bot), world.acks(ann)) == ([], [(1, 1)])

    world.flush_ms = 0
    world.submit(bot, envelope(1))
    world.submit(bot, envelope(2))

    assert world.acks(bot) == [(1, 2), (2, 3)]


def test_cursors_of_a_busy_room_come_less_often() -> None:
    world, ann, bot = with_agent()
    tick_ms = world.limits.presence_tick_ms
    world.flush_ms = WIDEST_MS
    world.now_ms += 10 * tick_ms
    world.feed(Ticked())
    world.take(bot)
    world.send(ann, Presence("{}"))

    world.now_ms += tick_ms
    world.feed(Ticked())
    assert [move for message in world.take(bot) for move in message.moves] == []
    world.now_ms += (PRESENCE_STEPS - 1) * tick_ms
    world.feed(Ticked())
    assert [move.state_json for message in world.take(bot) for move in message.moves] == ["{}"]
