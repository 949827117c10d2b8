"""Processes of clients that write while their servers fail or are drained."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.end_to_end.servers import Cluster
from tests.end_to_end.servers_run import Plan

ROOT = Path(__file__).parents[2]
WAIT_S = 300


class Writers:
    """The processes of the clients."""

    def __init__(
        self,
        room: str,
        cluster: Cluster,
        processes: int,
        clients: int,
        pause_s: float,
        urls: list[str] | None = None,
    ) -> None:
        """Start them.

        Args:
            room: Where all write.
            cluster: The servers.
            processes: How many.
            clients: In each process.
            pause_s: Between two writes of one client, on average.
            urls: By which they know the servers; None: each by its own.
        """
        self._processes = []
        for number in range(processes):
            plan = Plan(room, urls or cluster.urls, cluster.servers[0].token, clients, number * clients, pause_s)
            command = [sys.executable, "-m", "tests.end_to_end.servers_run", json.dumps(asdict(plan))]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self._processes.append(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))  # type: ignore[call-overload]

    def wait_for(self, word: str) -> None:
        """Until all of them say it."""
        for process in self._processes:
            line = process.stdout.readline()
            assert line == f"{word}\n", line + process.communicate()[1][-4000:]

    def check_alive(self) -> None:
        """None has given up."""
        for process in self._processes:
            assert process.poll() is None, process.communicate()[1][-4000:]

    def finish(self) -> None:
        """Let them write no more, and have everything acknowledged."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        self.wait_for("written")

    def tell(self, through: int) -> list[dict[str, Any]]:
        """What each has to tell at that seq."""
        for process in self._processes:
            process.stdin.write(f"{through}\n")
            process.stdin.flush()
        told = []
        for process in self._processes:
            out, errors = process.communicate(timeout=WAIT_S)
            assert process.returncode == 0, errors[-4000:]
            told.append(json.loads(out.splitlines()[-1]))
        return told

    def kill(self) -> None:
        """End them."""
        for process in self._processes:
            process.kill()


def lost_or_doubled(told: Sequence[dict[str, Any]], state: dict[str, Any]) -> list[str]:
    """What was acknowledged and is not there, and what is there twice, acknowledged or not."""
    names, typed = Counter(state["log"]), Counter(re.findall("<([^>]*)>", state["notes"]))
    acked = [name for each in told for names_of_client in each["acked"] for name in names_of_client]
    lost = [name for name in acked if not names[name.removesuffix("+text")]]
    lost += [name for name in acked if name.endswith("+text") and not typed[name.removesuffix("+text")]]
    return lost + [name for counts in (names, typed) for name, count in counts.items() if count > 1]
