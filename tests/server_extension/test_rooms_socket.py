"""The room's WebSocket on a real server: who gets in, how, and what bad frames do."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import BinaryIO

import pytest
from websockets.exceptions import InvalidStatus

from collabkernel.limits import UPGRADES_AT_ONCE
from collabkernel.wire.messages import Role
from tests.server_extension.running_server import RunningServer, upgrade_request


def read_answer(answers: BinaryIO) -> tuple[int, bytes]:
    """Status and body of one HTTP answer on a line that stays open."""
    status = int(answers.readline().split()[1])
    length = 0
    while (header := answers.readline()) != b"\r\n":
        if header.lower().startswith(b"content-length:"):
            length = int(header.split(b":")[1])
    return status, answers.read(length)


def refusal(server: RunningServer, room: str, query: str = "", **options: object) -> tuple[int, bytes]:
    """Status and body of an upgrade that must be refused."""
    with pytest.raises(InvalidStatus) as refused:
        server.open(room, query, **options)
    return refused.value.response.status_code, refused.value.response.body or b""


def test_person_joins_as_jupyter_knows_him(server: RunningServer) -> None:
    with server.open("ws-join") as member:
        welcome = member.greet()

        assert (welcome.actor, welcome.name, welcome.color, welcome.role) == ("ann", "Ann", "#aabbcc", Role.WRITER)
        assert member.socket.subprotocol == "collabkernel.v1"


def test_what_one_writes_the_other_sees(server: RunningServer) -> None:
    with server.join("ws-two") as ann, server.join("ws-two", person="bob") as bob:
        ann.put("title", "Plan")

        assert ann.receive(lambda message: message.acks).acks[0].seq == 1
        assert bob.receive(lambda message: message.ops).ops[0].actor == "ann"


def test_nobody_and_strangers_are_refused(server: RunningServer) -> None:
    assert refusal(server, "ws-x", person=None)[0] == 403
    assert refusal(server, "ws-x", person="stranger")[0] == 403


def test_reader_reads_and_each_write_is_refused(server: RunningServer) -> None:
    with server.join("ws-reader") as ann, server.open("ws-reader", person="reader") as reader:
        assert reader.greet().role == Role.READER
        for _ in range(2):
            reader.put("title", "mine")
            assert reader.receive(lambda message: message.rejects).rejects[0].code == "read-only"
            reader.counter = 1
        ann.put("title", "Plan")

        assert reader.receive(lambda message: message.ops).ops[0].actor == "ann"


def test_ticket_opens_one_socket_as_its_user(server: RunningServer) -> None:
    query = f"?auth_ticket={server.mint('ws-ticket', person='bob')}"

    with server.open("ws-ticket", query, person=None) as member:
        assert member.greet().actor == "bob"
    status, body = refusal(server, "ws-ticket", query, person=None)
    assert (status, b"bad-ticket" in body) == (403, True)


def test_ticket_is_for_its_room(server: RunningServer) -> None:
    assert refusal(server, "ws-other", f"?auth_ticket={server.mint('ws-ticket')}", person=None)[0] == 403


def test_bad_ticket_is_refused_even_beside_a_login(server: RunningServer) -> None:
    assert refusal(server, "ws-ticket", "?auth_ticket=nonsense")[0] == 403


def test_ticket_of_a_reader_reads(server: RunningServer) -> None:
    query = f"?auth_ticket={server.mint('ws-ticket', person='reader')}"

    with server.open("ws-ticket", query, person=None) as member:
        assert member.greet().role == Role.READER


def test_ticket_of_a_login_with_rights_of_its_own_has_the_role_that_he_had(server: RunningServer) -> None:
    for person, role in (("hub-ann", Role.WRITER), ("reader", Role.READER)):
        query = f"?auth_ticket={server.mint('ws-hub', person=person)}"
        with server.open("ws-hub", query, person=None) as member:
            assert member.greet().role is role


def test_ticket_is_not_logged(server: RunningServer) -> None:
    good, wrong_room = server.mint("ws-log"), server.mint("ws-log")
    server.join("ws-log", f"?auth_ticket={good}", person=None).socket.close()
    refusal(server, "ws-log", f"?auth_ticket={good}", person=None)
    refusal(server, "ws-log2", f"?auth_ticket={wrong_room}", person=None)
    refusal(server, "ws-log", f"?auth_ticket={server.mint('ws-log')}", person=None, subprotocols=["other"])
    server.request("GET", "collabkernel/api/rooms")

    assert "ws-log/ws?auth_ticket=[secret]" in server.log
    for secret in (good, wrong_room, server.kernel_token):
        assert secret not in server.log


def test_kernels_token_opens_a_socket_without_a_ticket(server: RunningServer) -> None:
    token = {"Authorization": f"token {server.kernel_token}"}
    actors = set()
    for _ in range(2):
        with server.open("ws-kernel", person=None, additional_headers=token) as member:
            actors.add(member.greet().actor)

    assert actors == {server.request("GET", "collabkernel/api/info", person=None, **token).json["user"]["actor"]}
    assert refusal(server, "ws-kernel", person=None, additional_headers=token, origin="https://evil.example")[0] == 403
    assert server.kernel_token not in server.log


def test_own_origin_is_allowed(server: RunningServer) -> None:
    server.join("ws-origin", origin=server.origin).socket.close()


def test_foreign_origin_is_refused_with_login_and_with_ticket(server: RunningServer) -> None:
    evil = "https://evil.example"
    assert refusal(server, "ws-origin", origin=evil)[0] == 403
    assert refusal(server, "ws-origin", f"?auth_ticket={server.mint('ws-origin')}", person=None, origin=evil)[0] == 403


def test_foreign_origin_is_allowed_when_the_ticket_names_it(server: RunningServer) -> None:
    def query() -> str:
        return f"?auth_ticket={server.mint('ws-origin', origin='https://page.example')}"

    server.join("ws-origin", query(), person=None, origin="https://page.example").socket.close()
    server.join("ws-origin", query(), person=None, origin="https://Page.Example").socket.close()
    assert refusal(server, "ws-origin", query(), person=None, origin="https://page.example.evil")[0] == 403


def test_browser_that_says_cross_site_is_refused(server: RunningServer) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}

    assert refusal(server, "ws-origin", additional_headers=headers)[0] == 403


@pytest.mark.parametrize("subprotocols", [None, ["collabkernel.v2"]])
def test_subprotocol_is_required(server: RunningServer, subprotocols: list[str] | None) -> None:
    status, body = refusal(server, "ws-sub", subprotocols=subprotocols)

    assert (status, b"subprotocol-required" in body) == (400, True)


def test_ours_is_chosen_among_others(server: RunningServer) -> None:
    with server.open("ws-sub", subprotocols=["a", "collabkernel.v1", "b"]) as member:
        assert member.socket.subprotocol == "collabkernel.v1"


@pytest.mark.parametrize("room", ["a%20b", "-a", "x" * 129, "%00", "a%2Fb"])
def test_bad_room_name_is_refused(server: RunningServer, room: str) -> None:
    status, body = refusal(server, room)

    assert (status, b"invalid-room-name" in body) == (400, True)


def test_plain_get_is_no_socket(server: RunningServer) -> None:
    answer = server.request("GET", "collabkernel/api/rooms/ws-get/ws", Sec_WebSocket_Protocol="collabkernel.v1")

    assert answer.status == 400


@pytest.mark.parametrize("frame", [b"\xff", b"", b"\x0a", b"x" * 1000, b"y" * 70_000])
def test_bad_frame_gets_a_notice_and_the_socket_stays(server: RunningServer, frame: bytes) -> None:
    with server.join("ws-bad") as member:
        member.socket.send(frame)
        notice = member.receive(lambda message: message.notices).notices[0]
        assert notice.code == ("frame-too-large" if len(frame) > 65536 else "malformed-frame")

        member.put("still", "here")
        assert member.receive(lambda message: message.acks)


def test_frame_far_over_the_limit_closes_the_socket_alone(server: RunningServer) -> None:
    with server.join("ws-huge") as member, server.join("ws-huge", person="bob") as bob:
        member.socket.send(b"z" * 140_000)
        assert member.close_code() in (1009, None)

        bob.put("still", "here")
        assert bob.receive(lambda message: message.acks)


def test_text_frame_is_a_violation(server: RunningServer) -> None:
    with server.join("ws-text") as member:
        member.socket.send("hello")

        assert member.close_code() == 1008
        assert member.seen[-1].bye is not None
        assert member.seen[-1].bye.code == "malformed-frame"


def test_full_room_says_when_to_come_back(server: RunningServer) -> None:
    members = [server.join("ws-full") for _ in range(4)]
    with server.open("ws-full") as late:
        assert late.close_code() == 1013
        bye = late.seen[-1].bye
    for member in members:
        member.socket.close()

    assert bye is not None
    assert (bye.code, bye.retry_after_ms > 0) == ("too-many", True)


def test_unauthenticated_upgrades_leave_nothing_behind(server: RunningServer) -> None:
    before = server.request("GET", "collabkernel/api/info").json
    host = server.origin.removeprefix("http://")
    with server.open_raw("flood-0") as line:
        answers = line.makefile("rb")
        for number in range(1, 1501):
            status, body = read_answer(answers)
            assert (status, b"access-denied" in body) == (403, True)
            line.sendall(upgrade_request(f"/base/collabkernel/api/rooms/flood-{number}/ws", host, {}))
    after = server.request("GET", "collabkernel/api/info").json

    assert (after["rooms_loaded"], after["sessions"]) <= (before["rooms_loaded"], before["sessions"])
    assert not [
        room
        for room in server.request("GET", "collabkernel/api/rooms?after=flood").json["rooms"]
        if room["room"].startswith("flood")
    ]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="a process cannot be stopped here")
def test_who_has_gone_before_it_was_his_turn_leaves_nothing_behind(start_server: Callable[..., RunningServer]) -> None:
    server = start_server()
    server.process.send_signal(signal.SIGSTOP)
    for _ in range(20 * UPGRADES_AT_ONCE):
        server.open_raw("gone", X_Person="ann").close()
    server.process.send_signal(signal.SIGCONT)
    with server.join("gone", person="bob"):  # all before him have had their turn
        pass

    assert server.stop() < server.stop_s_max
    assert "did not answer their close" not in server.log, server.log[-3000:]
