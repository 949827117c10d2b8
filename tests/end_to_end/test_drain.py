"""Two real servers, of which one is drained under writing clients: all go on at the other, at once."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.bounds import HANG_S
from tests.end_to_end.servers import Cluster, sessions
from tests.end_to_end.writers import Writers, lost_or_doubled
from tests.server_extension.running_server import RunningServer, xsrf_headers

ROOM = "drained"
CLIENTS = 20
DRAIN_S = 3.0
GAP_S = 5.0
"""Between two acknowledgements of one client that writes all the time. Half of what one waits who backs off
(``reconnect_max_ms``), where they are to go on at once; a busy machine takes seconds to open the room elsewhere."""


@pytest.mark.timeout(0)
def test_all_go_on_at_the_other_server_and_nothing_is_lost(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(tmp_path, count=2, start=1))
        writers = Writers(ROOM, cluster, 1, CLIENTS, 0.05)
        stack.callback(writers.kill)
        writers.wait_for("writing")
        cluster.start_next()
        drained, other = cluster.servers
        assert [sessions(server) for server in cluster.servers] == [CLIENTS, 0]

        began_s = time.time()
        answer = drained.request("POST", "collabkernel/api/drain", {"seconds": DRAIN_S}, **xsrf_headers())
        assert (answer.status, answer.json["status"]) == (202, "draining")
        wait_for_sessions(drained, 0)
        took_s = time.time() - began_s
        wait_for_sessions(other, CLIENTS)
        assert drained.stop() < drained.stop_s_max
        writers.check_alive()
        writers.finish()
        shown = other.request("GET", f"collabkernel/api/rooms/{ROOM}").json
        (told,) = writers.tell(shown["seq"])

    assert took_s > DRAIN_S / 2, "they were not moved in slices"
    assert len(set(told["states"])) == 1
    assert told["json"] == shown["state"]
    assert sum(map(len, told["acked"])) > 10 * CLIENTS, "hardly anything was written"
    assert lost_or_doubled([told], shown["state"]) == []
    assert [pause["url"] for pause in told["pauses"]] == [drained.base_url] * CLIENTS
    gaps_s = [gap_s for at_s in told["acked_at_s"] for gap_s in gaps_since(at_s, began_s)]
    print(
        f"{len(gaps_s)} acknowledgements since the drain, the longest gap {max(gaps_s):.2f} s; it took {took_s:.1f} s"
    )
    assert max(gaps_s) < GAP_S


def wait_for_sessions(server: RunningServer, count: int) -> None:
    """Until so many are there."""
    deadline_s = time.monotonic() + HANG_S
    while sessions(server) != count:
        assert time.monotonic() < deadline_s, f"there are {sessions(server)} sessions, not {count}"
        time.sleep(0.1)


def gaps_since(at_s: list[float], since_s: float) -> list[float]:
    """Between acknowledgements, of which the later is after a time."""
    return [later_s - earlier_s for earlier_s, later_s in pairwise(at_s) if later_s > since_s]
