"""Stamps of a site whose clock was set forward: they come down again."""

from __future__ import annotations

import pytest

from collabkernel.client.site_clock import SiteClock, is_decided_by_stamps
from collabkernel.crdt.clock import hlc_from_ms, ms_from_hlc
from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapSet, NewDocument, Op, TextEdit
from tests.client.log_world import World

pytestmark = pytest.mark.core

T_MS = 1_700_000_000_000


def envelope(hlc: int, op: Op | None = None) -> Envelope:
    return Envelope(1, 0, hlc, (op or MapSet(ROOT, "k", 1),))


def test_a_clock_that_ran_ahead_goes_on_from_the_log_when_all_is_answered():
    clock = SiteClock()
    clock.welcomed(server_time_ms=T_MS, local_ms=T_MS)
    local_ms = T_MS + 30_000  # it was set forward after the Welcome
    clock.stamps.tick(clock.now_ms(local_ms))

    clock.answered(envelope(hlc_from_ms(T_MS + 5)), is_lowered=True, is_last=False, local_ms=local_ms + 6)
    assert clock.now_ms(local_ms + 6) == T_MS + 5
    assert ms_from_hlc(clock.stamps.highest) == T_MS + 30_000, "another was stamped so, and is not answered yet"
    clock.answered(envelope(hlc_from_ms(T_MS + 9)), is_lowered=True, is_last=True, local_ms=local_ms + 10)

    assert clock.stamps.tick(clock.now_ms(local_ms + 10)) == hlc_from_ms(T_MS + 9) + 1


def test_a_clock_never_goes_below_what_the_log_has():
    clock = SiteClock()
    clock.observe(hlc_from_ms(T_MS + 50), local_ms=T_MS)

    clock.answered(envelope(hlc_from_ms(T_MS)), is_lowered=True, is_last=True, local_ms=T_MS)

    assert clock.stamps.tick(T_MS) == hlc_from_ms(T_MS + 50) + 1


def test_text_and_places_do_not_go_by_stamps():
    assert not is_decided_by_stamps(envelope(1, TextEdit(ROOT, b"")))
    assert not is_decided_by_stamps(envelope(1, NewDocument(ROOT, "body")))
    assert is_decided_by_stamps(envelope(1))


def test_typing_with_a_clock_that_is_ahead_costs_no_resync():
    world = World(1)
    (room,), (line,) = world.rooms, world.lines
    room.text("notes")
    world.settle()
    world.log.lower_to = world.log.hlc + 1

    room.text("notes").insert(0, "a")
    line.send()
    line.serve_one()
    line.flush()
    while line.down:
        line.deliver_one()

    assert room.frames_to_send() == []
