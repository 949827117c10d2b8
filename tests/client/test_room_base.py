"""What both faces share: statuses, presence, events, typed accessors."""

from __future__ import annotations

from contextlib import suppress

import pytest

from collabkernel.client.live_list import LiveList
from collabkernel.client.live_map import LiveMap
from collabkernel.client.live_object import LiveObject
from collabkernel.client.live_text import LiveText
from collabkernel.client.presence import Broadcast, Other
from collabkernel.client.room_base import RoomBase
from collabkernel.errors import DetachedError, InvalidValueError
from collabkernel.wire.codec import decode_client_message
from collabkernel.wire.messages import Ack, Event, Presence, PresenceEntry, RoomEvent, ServerMessage, SessionKind
from tests.client.log_world import LIMITS, World

pytestmark = pytest.mark.core


class Settings(LiveObject):
    title: str = "Plan"


@pytest.fixture
def room() -> RoomBase:
    return World(1).rooms[0]


def test_accessors_give_live_values(room):
    assert isinstance(room.list("l"), LiveList)
    assert isinstance(room.map("m"), LiveMap)
    assert isinstance(room.text("t"), LiveText)
    assert isinstance(room.object("o"), LiveObject)
    assert type(room.object("s", Settings)) is Settings
    assert room.object("s", Settings).title == "Plan"
    assert room.to_json() == {"l": [], "m": {}, "t": "", "o": {}, "s": {}}
    assert room.root["l"] is room.list("l")


def test_it_says_who_and_how_it_is(room):
    room.set_status("live")

    assert (room.name, room.site, room.role, room.status, room.sync_status) == ("test", 101, "writer", "live", "saved")
    room.root.a = 1
    assert room.sync_status == "saving"
    assert repr(room) == "<Room 'test', live, saving>"
    assert (room.me.actor, room.me.name, room.me.site) == ("user101", "User 101", 101)


def test_it_says_when_the_servers_database_does_not_answer(room):
    room.set_status("live")
    with room.lock:
        room.receive_message(ServerMessage(degraded=True))
    assert room.sync_status == "saved"
    room.root.a = 1
    assert room.sync_status == "degraded"
    assert room.frames_to_send() == []

    with room.lock:
        room.receive_message(ServerMessage(degraded=False))

    assert room.sync_status == "saving"
    assert len(room.frames_to_send()) == 1


@pytest.mark.parametrize(("is_buffered", "status"), [(True, "buffered"), (False, "saved")])
def test_it_says_when_the_server_stores_without_being_safe_from_a_power_cut(room, is_buffered, status):
    room.set_status("live")
    room.root.a = 1
    counter = next(iter(room.replica.pending)).envelope.counter

    with room.lock:
        room.receive_message(ServerMessage(acks=(Ack(counter, 1, buffered=is_buffered),)))

    assert room.sync_status == status


def test_what_a_failed_batch_only_looked_at_goes_on():
    room = World(1).rooms[0]
    room.list("tasks").append({"done": False})
    with suppress(ZeroDivisionError), room.batch():
        task = room.list("tasks")[0]
        task["done"] = True
        made = room.map("made")
        made["x"] = 1 / 0

    assert task["done"] is False
    task["done"] = True
    assert room.to_json()["tasks"] == [{"done": True}]
    with pytest.raises(DetachedError):
        made["x"] = 1


def test_others_come_change_and_go(room):
    seen: list[list[Other]] = []
    room.on_presence(seen.append)
    bob = PresenceEntry(9, "bob", "Bob", "#ffffff", SessionKind.PERSON, '{"cursor": 1}')

    with room.lock:
        room.receive_message(ServerMessage(presence=(bob,)))
    assert [(each.name, each.state) for each in room.others] == [("Bob", {"cursor": 1})]
    gone = PresenceEntry(9, "bob", "Bob", "#ffffff", SessionKind.PERSON, left=True)
    with room.lock:
        room.receive_message(ServerMessage(presence=(gone,)))

    assert room.others == []
    assert [len(each) for each in seen] == [1, 0]


def test_presence_is_sent_once_and_again_on_a_new_connection():
    world = World(1)
    room, line = world.rooms[0], world.lines[0]
    room.me["cursor"] = 1
    room.me["cursor"] = 2

    def sent() -> list[str]:
        messages = [decode_client_message(frame, LIMITS) for frame in room.frames_to_send()]
        return [message.state_json for message in messages if isinstance(message, Presence)]

    assert sent() == ['{"cursor":2}']
    assert sent() == []
    line.cut()
    assert sent() == []
    line.connect()
    line.deliver_one()
    assert sent() == ['{"cursor":2}']


def test_broadcasts_go_out_while_live_and_come_in_by_name(room):
    seen: list[Broadcast] = []
    room.on("ping", seen.append)
    room.broadcast("ping", 1)
    room.set_status("live")
    room.broadcast("ping", {"n": 2})
    messages = [decode_client_message(frame, LIMITS) for frame in room.frames_to_send()]

    assert [message for message in messages if isinstance(message, Event)] == [Event("ping", '{"n":2}')]
    events = (RoomEvent(9, "bob", "ping", "[1]"), RoomEvent(9, "bob", "pong", "2"))
    with room.lock:
        room.receive_message(ServerMessage(events=events))
    room.off("ping", seen.append)
    with room.lock:
        room.receive_message(ServerMessage(events=events))
    assert seen == [Broadcast("ping", [1], "bob", 9)]
    with pytest.raises(InvalidValueError):
        room.broadcast("x", object())


def test_statuses_are_told_once_each(room):
    seen: list[str] = []
    room.on_status(seen.append)
    for status in ("live", "live", "reconnecting"):
        with room.lock:
            room.set_status(status)

    assert seen == ["live", "reconnecting"]


def test_an_empty_batch_sends_nothing(room):
    count = len(room.replica.pending)
    with room.batch() as same:
        assert same is room

    assert len(room.replica.pending) == count
