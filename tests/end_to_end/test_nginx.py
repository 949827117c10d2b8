"""Two real servers behind a real nginx, known by one URL: a ticket of either opens a socket at the other."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.bounds import HANG_S
from tests.end_to_end.nginx import Nginx
from tests.end_to_end.servers import Cluster, sessions
from tests.end_to_end.test_drain import wait_for_sessions
from tests.end_to_end.writers import Writers, lost_or_doubled
from tests.server_extension.running_server import RunningServer, xsrf_headers

ROOM = "balanced"
CLIENTS = 10
DRAIN_S = 2.0
JOINS = 8


class Front(RunningServer):
    """What is asked of a server, asked of nginx."""

    def __init__(self, nginx: Nginx) -> None:
        self.base_url = nginx.base_url


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, folder: Path) -> tuple[Cluster, Nginx]:
    cluster = stack.enter_context(Cluster(folder, count=2))
    nginx = Nginx(folder / "nginx", [int(urlsplit(url).port or 0) for url in cluster.urls])
    stack.callback(nginx.stop)
    return cluster, nginx


@pytest.mark.timeout(0)
def test_one_server_is_drained_and_stopped_and_nobody_loses_anything(tmp_path: Path, stack: ExitStack) -> None:
    cluster, nginx = started(stack, tmp_path)
    drained, other = cluster.servers
    writers = Writers(ROOM, cluster, 1, CLIENTS, 0.05, urls=[nginx.base_url])
    stack.callback(writers.kill)
    writers.wait_for("writing")
    spread = [sessions(server) for server in cluster.servers]
    assert (sum(spread), min(spread) > 0) == (CLIENTS, True), f"they are spread as {spread}"

    answer = drained.request("POST", "collabkernel/api/drain", {"seconds": DRAIN_S}, **xsrf_headers())
    assert answer.status == 202
    assert {ready(nginx) for _ in range(4)} == {"ready"}
    assert drained.request("GET", "collabkernel/api/ready").json == {"status": "draining"}
    join(nginx)
    wait_for_sessions(drained, 0)
    assert drained.stop() < drained.stop_s_max
    wait_for_sessions(other, CLIENTS)
    assert {ready(nginx) for _ in range(4)} == {"ready"}
    join(nginx)
    writers.check_alive()
    writers.finish()
    shown = other.request("GET", f"collabkernel/api/rooms/{ROOM}").json
    (told,) = writers.tell(shown["seq"])

    assert len(set(told["states"])) == 1
    assert told["json"] == shown["state"]
    assert sum(map(len, told["acked"])) > 5 * CLIENTS, "hardly anything was written"
    assert lost_or_doubled([told], shown["state"]) == []
    assert "auth_ticket=" not in nginx.access_log.read_text()


@pytest.mark.timeout(0)
def test_tickets_of_one_server_open_sockets_at_both(tmp_path: Path, stack: ExitStack) -> None:
    cluster, nginx = started(stack, tmp_path)
    front, (one, two) = Front(nginx), cluster.servers

    for _ in range(JOINS):
        stack.enter_context(front.join("joined", f"?auth_ticket={one.mint('joined')}", person=None))

    assert [sessions(server) for server in (one, two)] == [JOINS // 2, JOINS // 2]
    join(nginx)
    for path in ("collabkernel/api/drain", "metrics"):
        assert front.request("GET", path).status == 404, f"{path} is asked of one server, by its own address"


def ready(nginx: Nginx) -> str:
    """What a check through nginx says."""
    with urllib.request.urlopen(f"{nginx.base_url}collabkernel/api/ready", timeout=HANG_S) as answer:
        return str(json.load(answer)["status"])


def join(nginx: Nginx) -> None:
    """As a page does: a ticket, and a socket with it and no other login."""
    front = Front(nginx)
    with front.join("joined", f"?auth_ticket={front.mint('joined')}", person=None):
        pass
