"""A room's past over REST: who may ask, and what is answered."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.document.live_tree import MapNode
from collabkernel.wire.room_state import decode_room
from tests.server_extension.running_server import RunningServer, xsrf_headers

API = "collabkernel/api/rooms/"


@pytest.fixture(scope="module")
def plan(server: RunningServer) -> str:
    with server.join("history-plan") as member:
        for n in range(1, 4):
            member.put("n", n)
            member.receive(lambda message: message.acks)
    return API + "history-plan"


def test_a_past_state_is_told_by_seq_and_by_time(server: RunningServer, plan: str) -> None:
    for query, seq in (("seq=0", 0), ("seq=2", 2), ("time_ms=0", 0), ("time_ms=200000000000000", 3)):
        answer = server.request("GET", f"{plan}/past?{query}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
        state, at, _ = decode_room(answer.body, None)
        assert (at, state.tree.to_json()) == (seq, {"n": seq} if seq else {})


@pytest.mark.parametrize("query", ["", "seq=", "seq=-1", "seq=9", "seq=1&time_ms=1", "seq=1e3", f"seq={'9' * 400}"])
def test_what_is_no_place_in_the_past_is_refused(server: RunningServer, plan: str, query: str) -> None:
    assert server.request("GET", f"{plan}/past?{query}").status == 400


def test_authors_are_told(server: RunningServer, plan: str) -> None:
    state, _, _ = decode_room(server.request("GET", f"{plan}/past?seq=3").body, None)
    root = state.tree.nodes[ROOT]
    assert isinstance(root, MapNode)
    register = root.entries.register("n")
    assert register is not None
    stamp = register[0]
    body = {"ops": [[stamp.site, 2], [stamp.site, 99]], "sites": [stamp.site, 1]}

    told = server.request("POST", f"{plan}/authors", body, **xsrf_headers()).json

    ((site, counter, seq, time_ms, actor),) = told["ops"]
    assert (site, counter, seq, time_ms <= stamp.hlc >> 16) == (stamp.site, 2, 2, True)
    assert told["sites"] == [[stamp.site, actor]]


@pytest.mark.parametrize(
    "body", [b"", b"{", [], {"ops": 1}, {"ops": [[1]]}, {"ops": [[1, -1]]}, {"sites": ["7"]}, {"who": 1}]
)
def test_a_question_that_is_none_is_refused(server: RunningServer, plan: str, body: object) -> None:
    assert server.request("POST", f"{plan}/authors", body, **xsrf_headers()).status == 400


def test_nobody_asks_who_may_not_read(server: RunningServer, plan: str) -> None:
    assert server.request("GET", f"{plan}/past?seq=1", person=None).status == 403
    assert server.request("POST", f"{plan}/authors", {}, person=None, **xsrf_headers()).status == 403
    assert server.request("GET", f"{plan}/past?seq=1", person="stranger").status == 403
    assert server.request("POST", f"{plan}/authors", {}, person="stranger", **xsrf_headers()).status == 403
    assert server.request("GET", f"{plan}/past?seq=1", person="reader").status == 200
    assert server.request("GET", f"{API}history-none/past?seq=0").status == 404
