"""A room as it was."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from collabkernel.client.past import When, past_room, stored_seq, when_of
from collabkernel.errors import InvalidValueError, MalformedFrameError, ReadOnlyError
from tests.client.log_world import LIMITS, World
from tests.client.test_restore import past_of

pytestmark = pytest.mark.core


def test_it_is_read_like_a_room_and_written_by_nobody() -> None:
    world = World(1)
    (room,) = world.rooms
    empty = past_of(world)
    room.list("tasks").append({"title": "Write"})
    room.text("notes").insert(0, "a word")
    room.doc("body").append("# Plan")
    past = past_of(world)
    room.doc("body").append("more")
    room.list("tasks").clear()
    room.text("notes").clear()
    world.settle()

    assert past.to_json() == {"tasks": [{"title": "Write"}], "notes": "a word"}
    assert (past.list("tasks")[0]["title"], str(past.text("notes"))) == ("Write", "a word")
    assert past.doc("body").markdown() == "# Plan\n"
    assert (past.seq > 0, past.status, past.role) == (True, "closed", "reader")
    for change in (
        lambda: past.list("tasks").clear(),
        lambda: past.doc("body").append("x"),
        lambda: past.doc("other"),
        lambda: past.text("notes").insert(0, "x"),
        lambda: setattr(past.doc("body")[0], "text", "x"),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    assert (empty.seq, empty.to_json()) == (0, {})
    with pytest.raises(ReadOnlyError):
        empty.doc("body")
    with pytest.raises(MalformedFrameError):
        past_room("test", b"\xff", LIMITS)


def test_a_place_in_the_log_is_a_seq_or_a_time() -> None:
    assert when_of(3) == When(seq=3)
    assert when_of(datetime(2026, 1, 1, tzinfo=UTC)) == When(at_ms=1_767_225_600_000)
    for wrong in (-1, True, "3", 1.5, datetime(1969, 1, 1, tzinfo=UTC)):
        with pytest.raises(InvalidValueError):
            when_of(wrong)  # type: ignore[arg-type]  # that is the test


def test_what_was_acknowledged_is_known_to_be_stored_before_it_comes_back() -> None:
    world = World(1)
    (room,), (line,) = world.rooms, world.lines
    room.root.a = 1
    with room.batch():
        room.root.b, room.root.c = 2, 3
    assert stored_seq(room.replica) == 0
    line.send()
    line.serve_one()
    line.deliver_one()
    line.deliver_one()
    assert stored_seq(room.replica) == 3
    assert room.replica.through == 0
    world.settle()
    assert stored_seq(room.replica) == room.replica.through == 3
