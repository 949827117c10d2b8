"""Two real servers on one SQLite file, with Redis and without: one room, one log, everybody sees each edit once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest
from websockets.exceptions import InvalidStatus

from tests.bounds import HANG_S
from tests.bus.valkey import Valkey
from tests.server_extension.running_server import Member, RunningServer, xsrf_headers

EDITS = 50
ROOM = "shared"


def write(member: Member, name: str) -> None:
    """Edit and wait for the ack, again and again; then read on until everybody's last edit has come."""
    for number in range(1, EDITS + 1):
        member.put(f"{name}{number}", number)
        member.receive(lambda message: any(ack.counter == member.counter - 1 for ack in message.acks))
    member.receive(lambda message: message.through >= 2 * EDITS)


@pytest.fixture(scope="module", params=["polling", "redis"])
def servers(
    request: pytest.FixtureRequest,
    start_server: Callable[..., RunningServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, RunningServer]]:
    folder = tmp_path_factory.mktemp("two")
    options = [f"--CollabKernelServer.db_url=sqlite:///{folder}/rooms.sqlite"]
    with ExitStack() as stack:
        if request.param == "redis":
            valkey = Valkey(folder / "valkey").start()
            stack.callback(valkey.kill)
            options.append(f"--CollabKernelServer.redis_url={valkey.url}")
        yield {name: start_server(*options, folder=folder / name) for name in ("one", "two")}


def test_what_both_store_at_once_both_show_once(servers: dict[str, RunningServer]) -> None:
    members = {name: server.join(ROOM) for name, server in servers.items()}
    writers = [threading.Thread(target=write, args=(member, name)) for name, member in members.items()]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(HANG_S)

    for member in members.values():
        shown = [(stored.seq, stored.site) for message in member.seen for stored in message.ops]
        assert [seq for seq, _ in shown] == list(range(1, 2 * EDITS + 1))
        assert sorted(sum(site == of for _, of in shown) for site in {site for _, site in shown}) == [EDITS, EDITS]
    expected = {f"{name}{number}": number for name in servers for number in range(1, EDITS + 1)}
    for server in servers.values():
        answer = server.request("GET", f"collabkernel/api/rooms/{ROOM}").json
        assert (answer["seq"], answer["state"]) == (2 * EDITS, expected)


def test_a_ticket_of_one_server_is_spent_once_at_the_other(servers: dict[str, RunningServer]) -> None:
    one, two = servers.values()
    query = f"?auth_ticket={one.mint('tickets', person='reader')}"

    with two.open("tickets", query, person=None) as member:
        assert member.socket.subprotocol == "collabkernel.v1"
    for server in (one, two):
        assert refused(server, "tickets", query) == (403, "bad-ticket")


def test_a_ticket_that_is_spent_at_two_servers_at_once_opens_one_socket(servers: dict[str, RunningServer]) -> None:
    with ThreadPoolExecutor() as pool:
        for _ in range(10):
            query = f"?auth_ticket={servers['one'].mint('race')}"
            came = list(pool.map(partial(came_in, room="race", query=query), servers.values()))
            assert sorted(came) == [False, True]


def test_a_ticket_is_for_its_room_and_origin_at_every_server(servers: dict[str, RunningServer]) -> None:
    one, two = servers.values()
    page = "https://page.example"
    query = f"?auth_ticket={one.mint('origin', origin=page)}"

    two.open("origin", query, person=None, origin=page).socket.close()
    assert refused(two, "other", f"?auth_ticket={one.mint('origin')}") == (403, "bad-ticket")
    with pytest.raises(InvalidStatus) as foreign:
        two.open("origin", f"?auth_ticket={one.mint('origin')}", person=None, origin=page)
    assert foreign.value.response.status_code == 403


def came_in(server: RunningServer, room: str, query: str) -> bool:
    """Whether a ticket opens a socket."""
    try:
        server.open(room, query, person=None).socket.close()
    except InvalidStatus as error:
        if error.response.status_code != 403:
            raise
        return False
    return True


def refused(server: RunningServer, room: str, query: str) -> tuple[int, str]:
    """Status and code."""
    with pytest.raises(InvalidStatus) as error:
        server.open(room, query, person=None)
    return error.value.response.status_code, str(json.loads(error.value.response.body)["code"])


def test_a_room_deleted_at_one_server_ends_at_the_other(servers: dict[str, RunningServer]) -> None:
    one, two = servers.values()
    member = two.join("deleted")
    member.put("a", 1)
    member.receive(lambda message: message.acks)

    assert one.request("DELETE", "collabkernel/api/rooms/deleted", **xsrf_headers()).status == 204

    bye = member.receive(lambda message: message.bye).bye
    assert bye is not None
    assert bye.code == "room-deleted"
    assert two.request("GET", "collabkernel/api/rooms/deleted").status == 404
