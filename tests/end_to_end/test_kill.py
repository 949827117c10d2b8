"""kill -9 of a real server at random moments under writing clients: nothing acknowledged is lost, nothing is twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.server_extension.running_server import RunningServer

ROOT = Path(__file__).parents[2]
CLIENTS = 50
FLUSH_WAIT_S = 300
START_S = 2.0
"""What a server's start takes on a quiet machine; where it takes longer, servers live longer in proportion, or fifty
clients never come back before the next is killed."""


def start(folder: Path, port: int) -> RunningServer:
    return RunningServer(folder, port=port)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kills", [7, pytest.param(200, marks=pytest.mark.long)])
def test_nothing_acknowledged_is_lost_or_doubled_when_the_server_is_killed(tmp_path: Path, kills: int) -> None:
    seed = int(os.environ.get("COLLABKERNEL_KILL_SEED", "1"))
    rng, port = random.Random(seed), free_port()
    server = start(tmp_path, port)
    start_s = START_S
    command = [sys.executable, "-m", "tests.end_to_end.kill_run", server.base_url, server.token, str(CLIENTS)]
    writers = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert writers.stdout is not None
        assert writers.stdout.readline() == "writing\n", writers.communicate()[1][-4000:]
        for _ in range(kills):
            time.sleep(rng.uniform(0.1, 2.0) * max(start_s / START_S, 1.0))
            assert writers.poll() is None, writers.communicate()[1][-4000:]
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            begun_s = time.monotonic()
            server = start(tmp_path, port)
            start_s = time.monotonic() - begun_s
        time.sleep(0.5)
        writers.send_signal(signal.SIGTERM)
        out, errors = writers.communicate(timeout=FLUSH_WAIT_S)
        assert writers.returncode == 0, errors[-4000:]
        state = server.request("GET", "collabkernel/api/rooms/kill").json["state"]
    finally:
        writers.kill()
        server.process.kill()

    told = json.loads(out.splitlines()[-1])
    assert len(told["states"]) == CLIENTS
    assert len(set(told["states"])) == 1, "replicas differ"
    assert told["json"] == state, "the server differs from its clients"
    names = Counter(state["log"])
    acked = [name for names in told["acked"] for name in names]
    assert len(acked) > max(2 * CLIENTS, 10 * kills), "hardly anything was written"
    assert [name for name in acked if names[name.removesuffix("+text")] != 1] == [], "lost or doubled"
    typed = [name.removesuffix("+text") for name in acked if name.endswith("+text")]
    assert [name for name in typed if state["notes"].count(f"<{name}>") != 1] == [], "typed text lost or doubled"
    assert max(names.values()) == 1, "something that was not acknowledged is there twice"
