"""The replica against a simulated log: convergence, go-back-N, resync, resume, reissue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.client.live_text import LiveText
from collabkernel.client.replica import Replica
from collabkernel.client.room_base import RoomBase
from collabkernel.client.site import SiteLostError, StoredSite
from collabkernel.errors import ClosedError, ReadOnlyError, RejectedError
from collabkernel.wire.messages import Role, SessionKind
from collabkernel.wire.state import encode_state
from tests.client.log_world import NOW_MS, Line, World, make_room
from tests.examples import examples

pytestmark = pytest.mark.core


def assert_converged(world: World) -> None:
    states = [without_texts(room) for room in world.rooms]
    texts = [room.to_json() for room in world.rooms]
    assert all(text == world.log.tree.to_json() for text in texts)
    assert len(set(states)) == 1
    assert all(not len(room.replica.pending) for room in world.rooms)


def without_texts(room: RoomBase) -> bytes:
    """The state as bytes; yrs may keep what an undo needs, so texts are compared as texts."""
    tree = room.replica.tree
    ropes = {id: node for id, node in tree.nodes.items() if hasattr(node, "rope")}
    for id in ropes:
        del tree.nodes[id]
    try:
        return encode_state(tree, 0, 0)
    finally:
        tree.nodes.update(ropes)


def test_an_edit_is_here_at_once_and_there_when_it_is_stored():
    world = World(2)
    ann, bob = world.rooms

    ann.list("tasks").append({"title": "Write", "tags": ["a", b"b", 1, 1.5, None, True]})

    assert ann.to_json() == {"tasks": [{"title": "Write", "tags": ["a", b"b", 1, 1.5, None, True]}]}
    assert bob.to_json() == {}
    assert ann.sync_status == "offline" or ann.sync_status == "saving"
    world.settle()
    assert bob.to_json() == ann.to_json()
    assert ann.sync_status == "saved"
    assert_converged(world)


def test_two_who_ask_for_one_list_at_once_share_it():
    world = World(2)
    ann, bob = world.rooms

    ann.list("tasks").append("a")
    bob.list("tasks").append("b")
    world.settle()

    assert sorted(ann.list("tasks")) == ["a", "b"]
    assert_converged(world)


def test_nothing_can_be_edited_before_the_state_has_come():
    room = make_room()

    with pytest.raises(ClosedError):
        room.list("tasks")


def test_a_reader_cannot_write():
    world = World(1)
    world.lines[0].role = Role.READER
    world.lines[0].cut()
    world.settle()

    with pytest.raises(ReadOnlyError):
        world.rooms[0].root.title = "no"


def test_edits_made_while_away_arrive_once_in_order():
    world = World(2)
    ann, bob = world.rooms
    ann.list("tasks")
    world.settle()

    world.lines[0].cut()
    for i in range(5):
        ann.list("tasks").append(i)
    bob.list("tasks").append("b")
    world.settle()

    assert [item for item in bob.list("tasks") if item != "b"] == [0, 1, 2, 3, 4]
    assert_converged(world)


def test_an_answer_that_was_lost_is_asked_for_again_and_nothing_is_doubled():
    world = World(2)
    ann = world.rooms[0]
    line = world.lines[0]
    ann.list("tasks").append("x")
    line.send()
    while line.up:
        line.serve_one()
    line.cut()  # stored, but neither Ack nor Ops arrived

    world.settle()

    assert world.log.tree.to_json() == {"tasks": ["x"]}
    assert_converged(world)


def test_a_final_refusal_rolls_back_that_edit_alone():
    world = World(2)
    ann = world.rooms[0]
    refused: list[RejectedError] = []
    ann.on_reject(refused.append)
    ann.root.keep = 1
    counter = ann.replica.pending.next_counter
    world.log.refuse_counters.add((ann.site, counter))

    ann.root.keep = 2
    ann.root.after = 3
    world.settle()

    assert ann.to_json() == {"keep": 1, "after": 3}
    assert len(refused) == 1
    assert_converged(world)


def test_a_lowered_stamp_becomes_everybodys():
    world = World(2)
    ann, bob = world.rooms
    ann.root.x = "ann"
    world.settle()
    world.log.lower_to = 5

    ann.root.x = "too late"
    world.settle()

    assert ann.to_json() == {"x": "ann"}
    assert bob.to_json() == {"x": "ann"}
    assert_converged(world)


def test_messages_wait_while_a_batch_is_open():
    world = World(2)
    ann, bob = world.rooms
    bob.root.x = 1
    line = world.lines[0]
    with ann.batch():
        ann.root.y = 2
        world.lines[1].send()
        world.lines[1].serve_one()
        line.flush()
        line.deliver_one()
        assert ann.to_json() == {"y": 2}

    assert ann.to_json() == {"x": 1, "y": 2}
    world.settle()
    assert_converged(world)


def test_a_site_that_may_not_resume_joins_anew_and_makes_its_edits_again():
    world = World(2)
    ann, bob = world.rooms
    tasks = ann.list("tasks")
    tasks.append({"title": "stored"})
    ann.root.note = LiveText("Hello")
    world.settle()
    line = world.lines[0]
    ann.list("tasks").append({"title": "stored, but nobody told"})
    ann.text("note").append(", world")
    line.send()
    while line.up:
        line.serve_one()
    line.cut()
    card = {"title": "not stored", "tags": [1]}
    tasks.append(card)
    live_card = tasks[2]
    tasks.move(2, 0)
    ann.text("note").insert(0, "Oh! ")
    bob.text("note").append("?")

    line.lose_site(201)
    world.settle()

    assert ann.site == 201
    assert ann.to_json() == {
        "tasks": [card, {"title": "stored"}, {"title": "stored, but nobody told"}],
        "note": "Oh! Hello, world?",
    }
    assert live_card.path == ("tasks", 0)
    assert_converged(world)


def test_a_stored_site_goes_on_where_it_was():
    world = World(2)
    ann, bob = world.rooms
    ann.list("tasks").append(1)
    world.settle()
    world.lines[0].cut()
    ann.list("tasks").append(2)
    ann.list("tasks").append(3)
    replica = ann.replica
    envelopes = tuple(entry.envelope for entry in replica.pending)
    stored = StoredSite(replica.site, replica.secret, replica.pending.next_counter, envelopes)

    reborn = make_room(stored)
    world.rooms[0] = world.lines[0].room = reborn
    world.settle()
    reborn.list("tasks").append(4)
    world.settle()

    assert list(bob.list("tasks")) == [1, 2, 3, 4]
    assert reborn.site == ann.site
    assert_converged(world)


def test_a_replica_that_saw_a_snapshot_alone_resumes_from_its_operation():
    world = World(1)
    world.rooms[0].list("tasks").extend(["a", "b"])
    world.settle()
    bob = make_room()
    line = Line(world.log, bob, 150)
    world.rooms.append(bob)
    world.lines.append(line)
    line.connect()
    assert [message.snapshot is not None for message in line.down] == [False, True]
    world.settle()

    line.cut()
    world.rooms[0].list("tasks").append("c")
    world.lines[0].send()
    world.lines[0].serve_one()
    resume = bob.replica.hello().resume
    assert resume is not None
    assert (resume.through, resume.through_op) == (3, world.log.op_at(3))
    line.connect()

    assert [[stored.seq for stored in message.ops] for message in line.down] == [[], [4]]
    world.settle()
    assert_converged(world)


def test_a_resync_too_leaves_a_replica_that_can_resume():
    world = World(2)
    ann, bob = world.rooms
    ann.root.keep = 1
    world.log.refuse_counters.add((ann.site, ann.replica.pending.next_counter))
    ann.root.keep = 2
    world.settle()
    world.lines[0].cut()
    bob.root.more = 3
    world.settle()

    assert ann.to_json() == {"keep": 1, "more": 3}
    assert_converged(world)


def test_a_room_before_its_first_operation_is_resumed_from_nothing():
    world = World(1)
    world.lines[0].cut()

    resume = world.rooms[0].replica.hello().resume

    assert resume is not None
    assert (resume.through, resume.through_op) == (0, None)


@pytest.mark.parametrize("counter", [1, 50])
def test_counters_of_another_past_make_the_site_lost(counter):
    world = World(2)
    ann = world.rooms[0]
    ann.root.a = 1
    world.settle()
    ann.root.b = 2
    line = world.lines[0]
    line.cut()
    world.log.next_counter[ann.site] = counter  # a restored backup, or a copy of the queue that ran elsewhere
    line.connect()

    with pytest.raises(SiteLostError, match="joining anew"):
        line.deliver_one()
    line.lose_site(201)
    world.settle()

    assert world.rooms[1].to_json() == {"a": 1, "b": 2}
    assert_converged(world)


def test_a_gap_before_all_that_is_here_makes_the_site_lost():
    world = World(1)
    ann = world.rooms[0]
    ann.root.a = 1
    world.settle()
    world.log.next_counter[ann.site] = 1
    ann.root.b = 2
    line = world.lines[0]
    line.send()
    line.serve_one()

    with pytest.raises(SiteLostError, match="joining anew"):
        line.deliver_one()


def test_hello_of_a_new_replica_asks_for_a_site():
    replica = Replica(SessionKind.AGENT, "x")

    assert replica.hello().resume is None


@pytest.mark.heavy
def test_the_window_in_flight_is_bounded():
    world = World(1)
    room = world.rooms[0]
    items = room.list("l")
    world.settle()
    limit = room.replica.limits.ops_per_s
    for _ in range(3):
        items.extend(range(limit))

    sent = sum(len(frame) for frame in room.replica.outgoing(NOW_MS))

    assert sent > 0
    assert room.replica.outgoing(NOW_MS) == []
    assert not room.replica.pending.is_all_sent


# -- random histories

KEYS = st.sampled_from(["a", "b", "c"])
WORDS = st.text("abcé𝄞", min_size=1, max_size=3)
ACTIONS = st.one_of(
    st.tuples(st.just("set"), KEYS, st.integers(0, 9)),
    st.tuples(st.just("put"), KEYS, st.just([1, {"x": "y"}])),
    st.tuples(st.just("delete"), KEYS, st.none()),
    st.tuples(st.just("insert"), st.integers(0, 9), st.integers(0, 99)),
    st.tuples(st.just("remove"), st.integers(0, 9), st.none()),
    st.tuples(st.just("move"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("replace"), st.integers(0, 9), st.just({"n": 1})),
    st.tuples(st.just("type"), st.integers(0, 20), WORDS),
    st.tuples(st.just("erase"), st.integers(0, 20), st.integers(1, 3)),
    st.tuples(st.just("undo"), st.none(), st.none()),
    st.tuples(st.just("redo"), st.none(), st.none()),
    st.tuples(st.just("failing batch"), KEYS, st.integers(0, 9)),
)
EVENTS = st.one_of(
    st.tuples(st.just("edit"), st.integers(0, 2), ACTIONS),
    st.tuples(st.just("send"), st.integers(0, 2), st.none()),
    st.tuples(st.just("serve"), st.integers(0, 2), st.none()),
    st.tuples(st.just("show"), st.integers(0, 2), st.none()),
    st.tuples(st.just("deliver"), st.integers(0, 2), st.none()),
    st.tuples(st.just("cut"), st.integers(0, 2), st.none()),
    st.tuples(st.just("connect"), st.integers(0, 2), st.none()),
    st.tuples(st.just("lose site"), st.integers(0, 2), st.none()),
    st.tuples(st.just("refuse next"), st.integers(0, 2), st.none()),
    st.tuples(st.just("lower next"), st.integers(0, 2), st.none()),
)


def act(room: RoomBase, action: tuple[str, object, object]) -> None:
    kind, a, b = action
    items, text = room.list("items"), room.text("text")
    if kind in ("set", "put"):
        room.map("map")[a] = b
    elif kind == "delete":
        room.map("map").pop(a, None)
    elif kind == "insert":
        items.insert(min(a, len(items)), b)
    elif kind == "type":
        text.insert(min(a, len(text)), b)
    elif kind == "erase":
        text.delete(a, a + b)
    elif kind == "undo":
        room.history.undo()
    elif kind == "redo":
        room.history.redo()
    elif kind == "failing batch":
        failing_batch(room, a, b)
    elif len(items):
        act_on_item(items, kind, a % len(items), b)


def act_on_item(items, kind: str, at: int, b) -> None:
    if kind == "remove":
        del items[at]
    elif kind == "move":
        items.move(at, b % len(items))
    else:
        items[at] = b


class StopError(Exception):
    """Ends a batch."""


def failing_batch(room: RoomBase, key: str, number: int) -> None:
    before = room.to_json()
    with pytest.raises(StopError), room.batch():  # noqa: PT012  # the batch is what fails
        room.map("map")[key] = {"deep": [number]}
        room.list("items").insert(0, number)
        if len(room.list("items")) > 1:
            room.list("items").move(0, 1)
            del room.list("items")[0]
        room.text("text").append("zz")
        raise StopError
    assert room.to_json() == before


def happen(world: World, event: tuple[str, int, object]) -> None:
    kind, at, action = event
    line, room = world.lines[at], world.rooms[at]
    if kind == "edit":
        act(room, action)
    elif kind == "refuse next":
        world.log.refuse_counters.add((room.site, room.replica.pending.next_counter))
    elif kind == "lower next":
        world.log.lower_to = max(world.log.hlc - 1000, 1)
    elif kind == "lose site":
        line.lose_site(max(each.new_site for each in world.lines) + 1)
    elif kind == "connect":
        if not line.is_up:
            line.connect()
    else:
        {"send": line.send, "serve": line.serve_one, "show": line.flush, "deliver": line.deliver_one, "cut": line.cut}[
            kind
        ]()


@examples(40)
@given(st.lists(EVENTS, max_size=60))
def test_replicas_converge_whatever_happens(events):
    world = World(3)

    for event in events:
        happen(world, event)
    world.settle()

    assert_converged(world)
