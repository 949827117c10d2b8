"""A resync whose snapshot is older than what the replica has shown, and one that the server refuses for now."""

from __future__ import annotations

import pytest

from collabkernel.client.incoming import Incoming, Joining, Resyncing
from collabkernel.client.pending import PendingQueue
from collabkernel.client.site import client_limits
from collabkernel.crdt.ids import ROOT
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import Envelope, MapSet
from collabkernel.document.room_state import RoomState
from collabkernel.errors import PurgedError
from collabkernel.wire.codec import decode_client_message
from collabkernel.wire.messages import Notice, Reject, Resync, Role, ServerMessage, Welcome
from tests.client.log_world import LIMITS, NOW_MS, World

pytestmark = pytest.mark.core


def world_with_an_old_snapshot() -> World:
    """One replica that is resynced from before all that it has typed."""
    world = World(2)
    (ann, _), (line, _) = world.rooms, world.lines
    ann.text("notes")
    world.settle()
    world.log.kept = world.log.snapshot()
    ann.text("notes").insert(0, "in the log, ")
    ann.doc("body").append("a block")
    world.settle()
    world.log.refuse_counters.add((ann.replica.site, ann.replica.pending.next_counter))
    ann.root["k"] = "refused for good, so a resync follows"
    line.send()
    line.serve_one()
    line.deliver_one()
    line.send()
    line.serve_one()
    assert isinstance(line.down[0].snapshot, type(world.log.kept)), "the snapshot is on its way, and nothing else"
    return world


def test_the_old_state_is_shown_until_the_new_one_has_all_of_it():
    world = world_with_an_old_snapshot()
    (ann, bob), line = world.rooms, world.lines[0]

    line.deliver_one()

    assert ann.to_json()["notes"] == "in the log, "
    assert [block.text for block in ann.doc("body")] == ["a block"]
    world.settle()
    assert ann.to_json() == bob.to_json() == {"notes": "in the log, "}


def test_what_is_typed_before_the_log_has_come_behind_a_snapshot_is_kept():
    world = world_with_an_old_snapshot()
    (ann, bob), line = world.rooms, world.lines[0]
    ann.text("notes").insert(12, "pending, ")

    line.deliver_one()
    ann.text("notes").insert(21, "typed meanwhile")
    block = ann.doc("body")[0]
    block.text += " with an end"
    world.settle()

    assert str(ann.text("notes")) == str(bob.text("notes")) == "in the log, pending, typed meanwhile"
    assert ann.doc("body").text == bob.doc("body").text == "a block with an end"


def test_a_line_that_is_cut_meanwhile_begins_anew():
    world = world_with_an_old_snapshot()
    (ann, bob), line = world.rooms, world.lines[0]
    line.deliver_one()

    line.cut()
    ann.text("notes").insert(12, "typed offline")
    world.settle()

    assert str(ann.text("notes")) == str(bob.text("notes")) == "in the log, typed offline"
    assert "k" not in ann.to_json()


def test_a_resync_that_is_refused_for_now_is_asked_for_again():
    world = World(1)
    (ann,), (line,) = world.rooms, world.lines
    world.log.refuse_counters.add((ann.replica.site, 1))
    ann.root["k"] = 1
    line.send()
    line.serve_one()
    line.deliver_one()
    assert [decode_client_message(frame, LIMITS) for frame in ann.frames_to_send()] == [Resync()]

    ann.receive_message(ServerMessage(notices=(Notice("rate", "too many resyncs", 700),)))

    assert ann.frames_to_send() == []
    assert ann.replica.wake_ms(NOW_MS) == NOW_MS + 700
    frames = ann.replica.outgoing(NOW_MS + 700)
    assert [decode_client_message(frame, LIMITS) for frame in frames] == [Resync()]


def test_what_was_wanted_on_an_older_connection_is_wanted_still():
    resync = Resyncing()
    resync.want()
    assert resync.take_request(now_ms=0)
    resync.came(Incoming(RoomState(LiveTree(7)), 0, None, 7, goal_seq=5))
    assert resync.is_under_way
    assert not resync.ignores_log

    resync.connected(is_sent=False)

    assert resync.take_request(now_ms=0)
    resync.connected(is_sent=True)
    assert not resync.take_request(now_ms=0), "the server sends it by itself"
    assert resync.ignores_log


def test_a_new_site_begins_with_all_that_the_old_one_had_seen_stored():
    def welcome(site: int) -> ServerMessage:
        limits = World(1).rooms[0].replica.limits
        made = Welcome(site, b"s" * 16, 2, 0, Role.WRITER, "", "", "", client_limits(limits), 1)
        return ServerMessage(welcome=made)

    joining, pending = Joining(), PendingQueue()
    pending.add(Envelope(1, 0, 1, (MapSet(ROOT, "k", 1), MapSet(ROOT, "k", 2))), b"")
    pending.acknowledge(1, 5)
    joining.note_taken(Reject(3, "rate", "", final=False), pending, 7, 4)
    assert joining.take(welcome(8), 0, 8) != []
    joining.note_taken(Reject(3, PurgedError.code, "", final=False), pending, 7, 4)

    assert joining.take(welcome(8), 0, 7) == []
    assert joining.take(ServerMessage(through=5), 0, 7) == []
    joining.start_over()
    assert joining.take(welcome(9), 0, 7) == []
    assert len(joining.take(ServerMessage(through=6), 0, 7)) == 2
    told = welcome(9).welcome
    assert told is not None
    assert joining.goal(told) == 6
    for site in (7, 10):  # what is resumed, the log of a backup may lack
        other = welcome(site).welcome
        assert other is not None
        assert joining.goal(other) == 2
