"""The REST interface on a real server: who may, what is answered, and tickets."""

from __future__ import annotations

import json
import time

import pytest
from collabkernel_server.rest import json_pieces

from collabkernel.room import room
from tests.server_extension.running_server import RunningServer, xsrf_headers

API = "collabkernel/api/"


def fill(server: RunningServer, room: str, **values: str | int) -> None:
    with server.join(room) as member:
        for key, value in values.items():
            member.put(key, value)
            member.receive(lambda message: message.acks)


def test_room_is_listed_shown_and_deleted(server: RunningServer) -> None:
    fill(server, "rest-a", title="Plan", size=2**60)
    fill(server, "rest-b")

    page = server.request("GET", API + "rooms?limit=1&after=rest-").json
    assert [room["room"] for room in page["rooms"]] == ["rest-a"]
    assert page["rooms"][0]["seq"] == 2
    following = server.request("GET", API + f"rooms?limit=1&after={page['next']}").json
    assert [room["room"] for room in following["rooms"]] == ["rest-b"]

    shown = server.request("GET", API + "rooms/rest-a").json
    assert (shown["room"], shown["seq"], shown["state"]) == ("rest-a", 2, {"title": "Plan", "size": 2**60})

    assert server.request("DELETE", API + "rooms/rest-a", **xsrf_headers()).status == 204
    assert server.request("GET", API + "rooms/rest-a").status == 404


def test_last_page_has_no_next(server: RunningServer) -> None:
    assert server.request("GET", API + "rooms").json["next"] is None


def test_deleting_tells_who_is_in_the_room(server: RunningServer) -> None:
    member = server.join("rest-gone")

    assert server.request("DELETE", API + "rooms/rest-gone", **xsrf_headers()).status == 204

    assert member.close_code() == 4004
    assert member.seen[-1].bye is not None
    assert member.seen[-1].bye.code == "room-deleted"


@pytest.mark.parametrize("path", ["rooms/no-such-room", "rooms/no-such-room/"])
def test_unknown_room_is_not_found(server: RunningServer, path: str) -> None:
    assert server.request("GET", API + path).status == 404


def test_errors_are_json_with_a_code(server: RunningServer) -> None:
    answer = server.request("GET", API + "rooms/no-such-room")

    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json == {
        "message": "there is no room 'no-such-room'",
        "code": "room-not-found",
        "retry_after_ms": None,
    }


def test_bad_room_name_is_told_so(server: RunningServer) -> None:
    answer = server.request("GET", API + "rooms/a%20b%25s")

    assert (answer.status, answer.json["code"]) == (400, "invalid-room-name")
    assert "a b%s" in answer.json["message"]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1e3", "9" * 400, "%C2%B2"])
def test_bad_limit_is_refused(server: RunningServer, limit: str) -> None:
    assert server.request("GET", API + f"rooms?limit={limit}").status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "rooms"), ("GET", "rooms/x"), ("DELETE", "rooms/x"), ("GET", "info"), ("POST", "auth_ticket")],
)
def test_nobody_and_strangers_are_refused(server: RunningServer, method: str, path: str) -> None:
    for person in (None, "stranger"):
        answer = server.request(method, API + path, person=person, **xsrf_headers())
        assert (answer.status, answer.json["code"]) == (403, "access-denied"), (person, answer)


def test_reader_reads_but_does_not_delete(server: RunningServer) -> None:
    fill(server, "rest-kept")

    assert server.request("GET", API + "rooms/rest-kept", person="reader").status == 200
    assert server.request("DELETE", API + "rooms/rest-kept", person="reader", **xsrf_headers()).status == 403
    assert server.request("GET", API + "rooms/rest-kept").status == 200


@pytest.mark.parametrize("path", ["auth_ticket", "rooms/x"])
def test_another_sites_form_is_refused(server: RunningServer, path: str) -> None:
    method = "POST" if path == "auth_ticket" else "DELETE"

    assert server.request(method, API + path, {"room": "x"} if method == "POST" else None).status == 403


def test_page_of_another_origin_is_refused(server: RunningServer) -> None:
    assert server.request("GET", API + "info", Origin="http://evil.example").status == 404


def test_info_tells_who_asks(server: RunningServer) -> None:
    info = server.request("GET", API + "info", person="reader").json

    assert info["user"] == {"actor": "reader", "name": "Reader", "color": "#aabbcc", "role": "reader"}
    assert info["protocol"] == "collabkernel.v1"
    assert info["is_compiled"] is not str(room.__file__).endswith(".py")


def test_ticket_says_when_it_ends_and_where_it_goes(server: RunningServer) -> None:
    before_ms = time.time_ns() // 10**6
    answer = server.request("POST", API + "auth_ticket", {"room": "rest-t"}, **xsrf_headers())

    assert answer.headers["Cache-Control"] == "no-store"
    assert before_ms + 60_000 <= answer.json["expires_ms"] <= time.time_ns() // 10**6 + 60_000
    assert answer.json["url"] == f"ws{server.base_url.removeprefix('http')}{API}rooms/rest-t/ws"
    assert len(answer.json["ticket"]) == 43


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad-request"),
        (b"{", 400, "bad-request"),
        (b"[" * 4000, 400, "bad-request"),
        (b"\xff", 400, "bad-request"),
        (b"[]", 400, "bad-request"),
        (b"{}", 400, "bad-request"),
        (b'{"room": 1}', 400, "bad-request"),
        (b'{"room": "x", "role": "writer"}', 400, "bad-request"),
        (b'{"room": "x", "origin": 1}', 400, "bad-request"),
        (b'{"room": "x", "origin": "null"}', 400, "invalid-value"),
        (b'{"room": "x y"}', 400, "invalid-room-name"),
        (b'{"room": "' + b"x" * 5000 + b'"}', 413, "too-large"),
    ],
)
def test_bad_ticket_request_is_refused(server: RunningServer, body: bytes, status: int, code: str) -> None:
    answer = server.request("POST", API + "auth_ticket", body, **xsrf_headers())

    assert (answer.status, answer.json["code"]) == (status, code)


def test_kernel_token_mints_tickets_for_one_stable_user(server: RunningServer) -> None:
    header = {"Authorization": f"token {server.kernel_token}"}
    assert server.kernel_token != server.token

    actors = set()
    for _ in range(2):
        answer = server.request("POST", API + "auth_ticket", {"room": "rest-k"}, person=None, **header)
        with server.open("rest-k", f"?auth_ticket={answer.json['ticket']}", person=None) as member:
            actors.add(member.greet().actor)
    info = server.request("GET", API + "info", person=None, **header).json

    assert actors == {info["user"]["actor"]}
    assert info["user"]["role"] == "writer"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", API + "rooms"),
        ("GET", API + "rooms/x"),
        ("DELETE", API + "rooms/x"),
        ("GET", "api/contents"),
        ("GET", "api/kernels"),
    ],
)
def test_kernel_token_opens_nothing_else(server: RunningServer, method: str, path: str) -> None:
    assert server.request(method, path, person=None, Authorization=f"token {server.kernel_token}").status == 403


def test_kernel_token_is_no_query_argument(server: RunningServer) -> None:
    assert server.request("GET", API + f"info?token={server.kernel_token}", person=None).status == 403


def test_servers_own_token_works_as_everywhere_in_jupyter(server: RunningServer) -> None:
    header = {"Authorization": f"token {server.token}"}

    answer = server.request("POST", API + "auth_ticket", {"room": "rest-k"}, person=None, **header)

    assert answer.status == 200


def test_metrics_are_among_jupyters_own(server: RunningServer) -> None:
    fill(server, "rest-metrics", title="Plan")

    text = server.request("GET", "metrics").body.decode()

    for name in ("storage_op_rtt_ms", "storage_op_rate", "oplog_lag"):
        assert name in text


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        "ü\u2028👩",
        {"a": [], "b": {}, "c": {"d": [1, [2.5, {"e": None}], True]}, "": ""},
        {f"k{n}": n for n in range(1200)},
        [{"n": n} for n in range(1200)],
        [*range(1200), [1]],
    ],
)
def test_json_in_pieces_is_the_same_json(value: object) -> None:
    assert json.loads("".join(json_pieces(value))) == value


def test_json_in_pieces_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        "".join(json_pieces({"a": [float("nan")]}))
