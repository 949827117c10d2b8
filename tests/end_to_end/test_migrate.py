"""Rooms move to another database and back while real servers serve them and people write: nobody notices."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from collabkernel_server.migrate import migrate as command

import collabkernel
from tests.end_to_end.servers_run import settle
from tests.end_to_end.writers import Writers, lost_or_doubled
from tests.ports import free_port
from tests.server_extension.running_server import RunningServer
from tests.simulation.verdict import digest

ROOM = "servers"
ROOT = Path(__file__).parents[2]
PASS_S = 0.3
"""What people write between two moves."""


@dataclass
class Servers:
    """Servers on one database that know another one."""

    folder: Path
    options: list[str]
    servers: list[RunningServer] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        """Of them all."""
        return [server.base_url for server in self.servers]

    def start(self, *options: str) -> RunningServer:
        """One more."""
        server = RunningServer(
            self.folder / f"server-{len(self.servers)}",
            f"--ServerApp.cookie_secret_file={self.folder / 'cookie_secret'}",
            "--IdentityProvider.cookie_name=rooms",
            *(options or self.options),
            port=free_port(),
        )
        self.servers.append(server)
        return server


def migrate(urls: tuple[str, str], *options: str) -> dict[str, Any]:
    """Run the command to its end."""
    done = CliRunner().invoke(command, ["--from", urls[0], "--to", urls[1], "--json", *options])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def kill_migrate(urls: tuple[str, str], after_s: float, *options: str) -> None:
    """Run it, and kill it in the middle, perhaps."""
    run = [sys.executable, "-m", "collabkernel_server.migrate", "--from", urls[0], "--to", urls[1], *options]
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("servers_count", "clients", "kills"),
    [(1, 2, 0), pytest.param(3, 30, 40, marks=pytest.mark.long)],
    ids=["short", "long"],
)
def test_rooms_move_and_come_back_under_writing_clients(
    tmp_path: Path, servers_count: int, clients: int, kills: int
) -> None:
    rng = random.Random(int(os.environ.get("COLLABKERNEL_MIGRATE_SEED", "1")))
    urls = (f"sqlite:///{tmp_path}/old.sqlite", f"sqlite:///{tmp_path}/new.sqlite")
    both = [f"--CollabKernelServer.db_url={urls[0]}", f"--CollabKernelServer.migrate_to_url={urls[1]}"]
    with ExitStack() as stack:
        cluster = Servers(tmp_path, both)
        for _ in range(servers_count):
            server = cluster.start()
            stack.callback(server.process.kill)
        writers = Writers(ROOM, cluster, servers_count, clients, 0.1, cluster.urls)  # type: ignore[arg-type]
        stack.callback(writers.kill)
        writers.wait_for("writing")
        assert migrate(urls, "--verify")["rooms_equal"] == 1
        for percent in (100, 0, 100) if kills else (100, 0):
            for _ in range(kills // 2):
                kill_migrate(urls, rng.uniform(0.2, 2.0), "--switch", str(rng.choice([0, 100])))
                writers.check_alive()
            told = migrate(urls, "--switch", str(percent))
            assert told["rooms_moved_to"] == percent // 100, told
            print(f"to {percent} %: the room was closed for {told['closed_ms']} ms")
            assert told["files"] == ("to" if percent else "from")
            time.sleep(PASS_S)
            writers.check_alive()
        writers.finish()
        shown = [server.request("GET", f"collabkernel/api/rooms/{ROOM}").json for server in cluster.servers]
        told_by_clients = writers.tell(max(answer["seq"] for answer in shown))
        states = {each for told in told_by_clients for each in told["states"]}
        assert migrate(urls, "--verify")["rooms_equal"] == 1
        if kills:
            migrate(urls, "--finish")
            on_new = cluster.start(f"--CollabKernelServer.db_url={urls[1]}")
            stack.callback(on_new.process.kill)
            states.add(asyncio.run(state_at(on_new)))
        logs = [server.log for server in cluster.servers]

    assert len(states) == 1, "replicas differ"
    assert all(answer["state"] == shown[0]["state"] for answer in shown), "servers differ"
    acked = sum(len(names) for told in told_by_clients for names in told["acked"])
    assert acked > 10 * servers_count, "hardly anything was written"
    assert lost_or_doubled(told_by_clients, shown[0]["state"]) == []
    if not kills:
        assert [pause for told in told_by_clients for pause in told["pauses"]] == [], "somebody noticed"
    assert not [line for log in logs for line in log.splitlines() if "failed" in line and "Room" in line]


async def state_at(server: RunningServer) -> str:
    """What a newcomer gets."""
    async with collabkernel.aio.connect(ROOM, url=server.base_url, token=server.token, timeout_s=60) as room:
        (state,) = await settle([room], 0)
        assert state == digest(room.replica.tree)
        return state
