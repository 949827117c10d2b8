"""A whole run of the clients against a small server that speaks the y-protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import Thread

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from tests.benchmarks import editors_peers_load
from tests.benchmarks.editors_peers_load import Load, Plan
from tests.peers import y_protocol as y
from tests.peers.node_servers import Y_WEBSOCKET


@pytest.fixture
def relay() -> Iterator[Server]:
    """Answers a step 1 with a state, and tells everybody what anybody tells it."""
    here: set[ServerConnection] = set()
    state = y.sync_frame(y.STEP2, y.EMPTY_UPDATE + b"\0" * 100)

    def talk(connection: ServerConnection) -> None:
        here.add(connection)
        for message in connection:
            assert isinstance(message, bytes)
            if message[:2] == bytes((y.SYNC, y.STEP1)):
                connection.send(state)
                continue
            for each in list(here):
                each.send(message)
        here.discard(connection)

    with serve(talk, "127.0.0.1", 0, compression=None) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _plan(server: Server, part: str, **more: object) -> Plan:
    url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
    return Plan(Y_WEBSOCKET, part, url, {}, os.getpid(), **{"clients": 3, **more})  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("part", ["yjs", "presence"])
def test_every_edit_reaches_all_but_its_author(relay: Server, monkeypatch: pytest.MonkeyPatch, part: str):
    monkeypatch.setattr(editors_peers_load, "WARM_UP_S", 0.1)

    result = Load(_plan(relay, part, rate=50.0, duration_s=0.2)).run()

    assert (result["unfinished"], result["delivered"], result["expected"]) == ("", 20, 20)
    assert len(result["visible_ms"]) == 101


def test_those_who_join_at_once_are_each_timed(relay: Server):
    result = Load(_plan(relay, "join", clients=5, state_bytes=100)).run()

    assert result["unfinished"] == ""
    assert len(result["join_ms"]) == 3


def test_a_state_that_never_comes_is_an_unfinished_run(relay: Server):
    result = Load(_plan(relay, "join", state_bytes=1_000, bound_s=0.2)).run()

    assert result["unfinished"] == "opening the document: 0 of 3 clients had joined"
