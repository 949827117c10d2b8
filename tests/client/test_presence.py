"""Who is here, and what they show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collabkernel.client.presence import Me, other_of, to_json
from collabkernel.client.replica import Replica
from collabkernel.crdt.ids import OpId
from collabkernel.errors import InvalidValueError, TooLargeError
from collabkernel.wire.messages import Presence, PresenceEntry, SessionKind

pytestmark = pytest.mark.core


@pytest.fixture
def sent() -> list[str]:
    return []


@pytest.fixture
def me(sent: list[str]) -> Me:
    return Me(Replica(SessionKind.SCRIPT, "test"), lambda presence: sent.append(presence.state_json))


def test_me_is_a_dict_whose_changes_are_sent_whole(me, sent):
    me["cursor"] = 3
    me.update(status="away", list=(1, 2))
    del me["cursor"]

    assert me == {"status": "away", "list": [1, 2]}
    assert sent[0] == '{"cursor":3}'
    assert sent[-1] == '{"status":"away","list":[1,2]}'
    me.clear()
    assert sent[-1] == "{}"
    assert len(me) == 0
    with pytest.raises(KeyError):
        del me["nothing"]


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud800", {1, 2}])
def test_only_json_is_shown(me, sent, value):
    with pytest.raises(InvalidValueError):
        me["x"] = value

    assert dict(me) == {}
    assert sent == []


def test_too_much_is_refused(me):
    with pytest.raises(TooLargeError):
        me["x"] = "y" * 5000


def test_others_are_shown_with_their_state():
    entry = PresenceEntry(7, "ann", "Ann", "#aabbcc", SessionKind.AGENT, '{"cursor":3}')

    other = other_of(entry)

    assert (other.site, other.actor, other.name, other.kind, other.state) == (7, "ann", "Ann", "agent", {"cursor": 3})
    assert other.block is None
    assert other_of(replace(entry, block=OpId(5, 3))).block == "b3.5"


def test_me_is_in_a_block_by_its_whole_name():
    shown: list[Presence] = []
    me = Me(Replica(SessionKind.SCRIPT, "test"), shown.append)

    me.block = "b3.5"
    assert me.block == "b3.5"
    me["cursor"] = 4
    me.block = None

    assert shown == [Presence("{}", OpId(5, 3)), Presence('{"cursor":4}', OpId(5, 3)), Presence('{"cursor":4}')]
    for name in ("b3", "x"):
        with pytest.raises(InvalidValueError):
            me.block = name


def test_json_is_compact():
    assert to_json({"a": "ü"}, "x", 100) == '{"a":"ü"}'
