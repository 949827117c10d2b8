"""Who is here, and what they show."""

from __future__ import annotations

import pytest

from collabkernel.client.presence import Me, other_of, to_json
from collabkernel.client.replica import Replica
from collabkernel.errors import InvalidValueError, TooLargeError
from collabkernel.wire.messages import PresenceEntry, SessionKind

pytestmark = pytest.mark.core


@pytest.fixture
def sent() -> list[str]:
    return []


@pytest.fixture
def me(sent: list[str]) -> Me:
    return Me(Replica(SessionKind.SCRIPT, "test"), sent.append)


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


def test_json_is_compact():
    assert to_json({"a": "ü"}, "x", 100) == '{"a":"ü"}'
