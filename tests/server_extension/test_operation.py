"""Ready, and drained: what load balancers are told without a login, and who may send sessions away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.server_extension.running_server import RunningServer, xsrf_headers

API = "collabkernel/api/"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path)
    yield server
    server.process.kill()
    server.process.wait(10)


def drain(server: RunningServer, body: object = None, person: str | None = "ann", **headers: str) -> tuple[int, str]:
    answer = server.request("POST", API + "drain", body, person=person, **(headers or xsrf_headers()))
    return answer.status, answer.json.get("code") or answer.json.get("status")


def ready(server: RunningServer) -> tuple[int, object]:
    answer = server.request("GET", API + "ready", person=None)
    return answer.status, answer.json


def test_a_server_is_drained_by_who_may_shut_it_down(server: RunningServer) -> None:
    assert ready(server) == (200, {"status": "ready"})
    kernel = {"Authorization": f"token {server.kernel_token}"}
    for person, headers in (("reader", {}), ("stranger", {}), (None, {}), (None, kernel)):
        assert drain(server, None, person, **headers) == (403, "access-denied")
    for body in (b"[]", b"{", {"seconds": -1}, {"seconds": 3601}, {"seconds": True}, {"seconds": "1"}, {"now": 1}):
        assert drain(server, body) == (400, "bad-request")
    assert ready(server) == (200, {"status": "ready"})

    ticket = server.mint("drained")
    with server.join("drained") as member:
        member.put("a", 1)
        member.receive(lambda message: message.acks)
        assert drain(server, {"seconds": 0}) == (202, "draining")
        bye = member.receive(lambda message: message.bye).bye
        assert bye is not None
        assert (bye.code, bye.retry_after_ms) == ("server-draining", 0)
        assert member.close_code() == 4012

    assert ready(server) == (503, {"status": "draining"})
    refused = server.request("POST", API + "auth_ticket", {"room": "drained"}, **xsrf_headers())
    assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (503, "server-draining", "5")
    for query in ("", f"?auth_ticket={ticket}", f"?auth_ticket={ticket}"):  # another server may still spend it
        with pytest.raises(InvalidStatus) as caught:
            server.open("drained", query)
        assert caught.value.response.status_code == 503
    assert drain(server, {"seconds": 60}) == (202, "draining")
    info = server.request("GET", API + "info").json
    assert (info["status"], info["sessions"]) == ("draining", 0)
    assert server.request("GET", API + "rooms/drained").json["state"] == {"a": 1}
    assert server.stop() < server.stop_s_max


def test_a_server_without_its_database_is_not_ready_and_tells_strangers_no_more(tmp_path: Path) -> None:
    (tmp_path / "rooms.sqlite").write_bytes(b"no database" * 100)
    server = RunningServer(tmp_path, f"--CollabKernelServer.db_url=sqlite:///{tmp_path}/rooms.sqlite")
    try:
        assert ready(server) == (503, {"status": "unavailable"})
    finally:
        server.process.kill()
        server.process.wait(10)
