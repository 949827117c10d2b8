"""An edit applies at once, checks its limits, and is taken back exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collabkernel.client.live_text import LiveText
from collabkernel.client.room_base import RoomBase
from collabkernel.errors import InvalidValueError, TooDeepError, TooLargeError
from collabkernel.wire.state import encode_state
from tests.client.log_world import World

pytestmark = pytest.mark.core


@pytest.fixture
def room() -> RoomBase:
    world = World(1)
    room = world.rooms[0]
    room.list("items").extend([1, {"a": [2]}, 3])
    room.root.note = LiveText("Grüße")
    world.settle()
    return room


def limited(room: RoomBase, **limits: int) -> None:
    room.replica.limits = replace(room.replica.limits, **limits)


def test_a_failed_batch_leaves_no_trace(room):
    before = encode_state(room.replica.tree, 0, 0), room.replica.tree.size_bytes, room.replica.pending.next_counter

    with pytest.raises(ZeroDivisionError), room.batch():  # noqa: PT012  # the batch is what fails
        room.root.x = {"deep": [1, {"deeper": LiveText("t")}]}
        room.list("items").move(0, 2)
        room.list("items")[1] = {"b": 1}
        del room.list("items")[0]
        room.text("note").insert(2, "𝄞")
        room.text("note").format(0, 2, bold=True)
        1 / 0  # noqa: B018  # raises

    after = encode_state(room.replica.tree, 0, 0), room.replica.tree.size_bytes, room.replica.pending.next_counter
    assert after == before


def test_what_fails_inside_a_batch_is_taken_back_alone(room):
    with room.batch():
        room.root.x = 1
        with pytest.raises(InvalidValueError):
            room.root.y = [1, object()]
        with pytest.raises(ZeroDivisionError), room.batch():  # noqa: PT012  # the batch is what fails
            room.root.z = 1
            1 / 0  # noqa: B018  # raises
        room.root.w = 2

    assert set(room.root) == {"items", "note", "x", "w"}
    assert len([entry for entry in room.replica.pending if len(entry.envelope.ops) == 2]) == 1


def test_a_batch_is_one_envelope(room):
    count = len(room.replica.pending)

    with room.batch():
        room.root.a = 1
        room.root.b = [1, 2, 3]

    assert len(room.replica.pending) == count + 1


def test_keys_values_and_batches_over_their_limits_are_refused_here(room):
    limited(room, key_bytes=8, value_bytes=64, envelope_ops=5, depth=4)
    before = room.to_json()

    with pytest.raises(TooLargeError, match="key"):
        room.root["ü" * 5] = 1
    with pytest.raises(TooLargeError, match="value"):
        room.root.x = "x" * 65
    with pytest.raises(TooLargeError, match="make several batches"):
        room.root.x = [1] * 6
    with pytest.raises(TooDeepError):
        room.root.x = [[[[[1]]]]]

    assert room.to_json() == before


def test_an_envelope_over_a_frame_is_refused_here(room):
    limited(room, frame_bytes=1000)

    with pytest.raises(TooLargeError, match="several batches"):
        room.root.x = ["y" * 300] * 4


def test_a_long_paste_goes_in_pieces_of_one_envelope(room):
    text = "𝄞x" * 50_000

    room.text("note").append(text)

    assert str(room.text("note")) == "Grüße" + text
    last = list(room.replica.pending)[-1]
    assert len(last.envelope.ops) > 1
    assert max(len(op.update) for op in last.envelope.ops) <= room.replica.limits.value_bytes
