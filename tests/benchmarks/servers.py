"""Several servers on one database: when an edit at one is visible at another, while 50 write at all of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks.load import Plan
from tests.benchmarks.report import Row, percentile, row
from tests.benchmarks.server_process import Server, running_server
from tests.benchmarks.servers_load import Seen, Written
from tests.bus.valkey import Valkey
from tests.contract.databases import postgres_server

WRITERS = 50
WARM_UP_S = 4.0
"""What a server does for the first time in a room costs more; what has come together meanwhile is worked off."""
SETTLE_S = 3.0
"""After the last ack, for what is on its way to the onlookers: a message that Redis lost is made up for within two."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to set servers up, and to spread the writers."""

    database: str
    has_redis: bool
    servers: int
    rooms: int
    ops_per_s: int = 1000
    """Of all writers."""

    @property
    def name(self) -> str:
        """As in the results."""
        way = "redis" if self.has_redis else "polling"
        rooms = f"{self.rooms}_room{'s' * (self.rooms > 1)}"
        return f"{self.database}_{way}/{self.servers}_servers/{rooms}/{self.ops_per_s}_ops_a_second"


CASES = (
    Case("postgres", True, 2, 1),
    Case("postgres", True, 2, 10),
    Case("postgres", True, 2, 10, 250),
    Case("postgres", True, 3, 10),
    Case("postgres", False, 2, 10),
    Case("sqlite", True, 2, 10),
    Case("sqlite", False, 2, 10),
)
QUICK = (CASES[1], CASES[4], CASES[5])


def rows(console: Console, *, is_quick: bool = False, only: str = "") -> list[Row]:
    """Every figure of the cases whose name holds ``only``; of a few when it is to be quick and none is named."""
    chosen = [case for case in (QUICK if is_quick and not only else CASES) if only in case.name]
    found: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(chosen))
        for case in chosen:
            progress.update(task, description=case.name)
            with running_servers(case) as servers:
                found += _measured(case, servers, is_quick)
            progress.advance(task)
    return found


@contextmanager
def running_servers(case: Case) -> Iterator[list[Server]]:
    """The servers of a case, each with a folder of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if case.database == "postgres":
            url = stack.enter_context(postgres_server()).url
        else:
            url = f"sqlite:///{folder}/rooms.sqlite"
        options = []
        if case.has_redis:
            valkey = Valkey(folder / "valkey").start()
            stack.callback(valkey.kill)
            options.append(f"--CollabKernelServer.redis_url={valkey.url}")
        servers = []
        for number in range(case.servers):
            (folder / f"{number}").mkdir()
            servers.append(stack.enter_context(running_server(folder / f"{number}", *options, db_url=url)))
        yield servers


def _measured(case: Case, servers: Sequence[Server], is_quick: bool) -> list[Row]:
    duration_s, runs = (6.0, 1) if is_quick else (15.0, 3)
    figures: dict[tuple[str, str], list[float]] = {}
    for run in range(runs):
        for key, value in _run(case, servers, duration_s, run).items():
            figures.setdefault(key, []).append(value)
    return [row(f"{case.name}/{name}", values, unit) for (name, unit), values in figures.items()]


def _run(case: Case, servers: Sequence[Server], duration_s: float, run: int) -> dict[tuple[str, str], float]:
    rooms = [f"servers-{run}-{number}" for number in range(case.rooms)]
    writers_at = [number % len(servers) for number in range(WRITERS)]
    # Each room has writers at every server, and an onlooker there.
    urls = [servers[at].socket_url(rooms[number // len(servers) % len(rooms)]) for number, at in enumerate(writers_at)]
    looked_at = [(at, room) for at in range(len(servers)) for room in rooms]
    plan = Plan(urls, duration_s, WRITERS / case.ops_per_s, window=100, warm_up_s=WARM_UP_S, seed=run)
    command = [sys.executable, "-m", "tests.benchmarks.servers_load"]
    look_plan = json.dumps(asdict(Plan([servers[at].socket_url(room) for at, room in looked_at], duration_s)))
    onlookers = subprocess.Popen(
        [*command, "onlookers", look_plan], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert onlookers.stdout is not None
        if onlookers.stdout.readline() != "ready\n":
            raise RuntimeError("the onlookers were not let in")
        before_s = [server.cpu_s() for server in servers]
        done = subprocess.run([*command, "writers", json.dumps(asdict(plan))], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the load failed:\n{done.stderr[-3000:]}")
        server_s = sum(server.cpu_s() for server in servers) - sum(before_s)
        time.sleep(SETTLE_S)
        seen: Seen = json.loads(onlookers.communicate()[0])
    finally:
        onlookers.kill()
        onlookers.wait()
    written: Written = json.loads(done.stdout)
    return figures_of(plan, written, seen, writers_at, [at for at, _ in looked_at], server_s)


def figures_of(
    plan: Plan,
    written: Written,
    seen: Seen,
    writers_at: Sequence[int],
    onlookers_at: Sequence[int],
    server_s: float,
) -> dict[tuple[str, str], float]:
    """Percentiles of what was sent after the warm-up.

    Raises:
        RuntimeError: If something was never seen at another server.
    """
    from_s = min(sent_s[0] for sent_s in written["sent_s"]) + plan.warm_up_s
    writer_by_site = {site: index for index, site in enumerate(written["sites"])}
    here_ms: list[float] = []
    elsewhere_ms: list[float] = []
    for at, what in zip(onlookers_at, seen["seen"], strict=True):
        for site, counter, seen_s in what:
            writer = writer_by_site[site]
            sent_s = written["sent_s"][writer][counter - 1]
            if sent_s >= from_s:
                (here_ms if writers_at[writer] == at else elsewhere_ms).append((seen_s - sent_s) * 1000)
    counted = [sent_s for each in written["sent_s"] for sent_s in each if sent_s >= from_s]
    missed = len(counted) * len(set(onlookers_at)) - len(here_ms) - len(elsewhere_ms)
    if missed:
        raise RuntimeError(f"{missed} of {len(counted)} operations were not seen at every server")
    acked_ms = [
        rtt_ms
        for sent, rtt in zip(written["sent_s"], written["rtt_ms"], strict=True)
        for sent_s, rtt_ms in zip(sent, rtt, strict=True)
        if sent_s >= from_s
    ]
    elapsed_s = max(counted) - from_s
    figures = {
        (f"{name}_p{percent}", "ms"): percentile(values, percent)
        for name, values in (("visible_elsewhere", elsewhere_ms), ("visible_here", here_ms), ("ack", acked_ms))
        for percent in (50, 95)
    }
    cpu_percent = 100 / (elapsed_s + plan.warm_up_s)
    return figures | {
        ("rate", "ops/s"): len(counted) / elapsed_s,
        ("servers_cpu", "%"): server_s * cpu_percent,
        ("generator_cpu", "%"): (written["cpu_s"] + seen["cpu_s"]) * cpu_percent,
    }
