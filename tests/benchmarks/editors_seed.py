"""A thousand people and 150 agents in one document of 2,000 blocks, on one Jupyter server with SQLite, durable commits.

What is measured, so that the figures are read aright:

- *scale 1*: 1,000 people with viewports of 50 blocks, half of them in the same tenth of the document; each makes 1.5
  edits, 3 moves of its cursor and 1 scroll a second. 150 agents make 20 operations a second each, in batches of 10.
  Smaller scales have fewer of both. Eight full replicas, which have no viewport, are sent everything.
- *ack*, *visible*, *cursor*: from the call that sends it until its author is told that it is durable, and until one of
  the sampled sessions (one in 25) that are sent it has its frame. Frames are read when the work is over: what of them
  was read before (*read_meanwhile*, 0 unless a run is long) kept others from being timed.
- *cpu*: of the server's process, all threads, in percent of one core.
- A run counts only if every acknowledged edit is in the log, once and where its Ack says; if the full replicas were
  sent the same log without a gap; if a client of the SDK that joins afterwards has what the log folds to; and if no
  session was told a ``through`` before the last one.
- *clock*: a million stores into a dict, before each run: 0.065 s where these figures were aimed at.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from collabkernel import aio
from collabkernel.server.reader import Reader
from collabkernel.storage import open_storage
from collabkernel.wire.room_state import join_parts
from tests.benchmarks.editors_seed_disturb import KINDS
from tests.benchmarks.editors_seed_load import LoadResult, Plan
from tests.benchmarks.open_cost import SITE, envelopes, letters, store_document
from tests.benchmarks.report import Row, percentile, row
from tests.benchmarks.server_process import TOKEN, Server, running_server
from tests.simulation.verdict import encoded

BLOCKS = 2_000
PEOPLE, AGENTS, REPLICAS = 1_000, 150, 8
SCALES = (1.0, 0.7, 0.6, 0.5, 0.35, 0.25)
"""Until one is held."""
WARM_UP_S = 4.0
LIMITS = ("--CollabKernelServer.sessions_per_room=20000",)
LONGEST_S = 1000.0
"""A run's joins and last answers included."""
ACK_MS, VISIBLE_MS, CURSOR_MS, CPU_PERCENT = 50.0, 150.0, 300.0, 100.0
"""What is wanted of scale 1, p95."""


class LostError(Exception):
    """A run in which something was lost, doubled or shown otherwise than it was stored."""


class Looked(NamedTuple):
    """The server's process at one time."""

    at_s: float
    cpu_s: float
    memory_bytes: int


class Run(NamedTuple):
    """One run."""

    load: LoadResult
    before: Looked
    after: Looked
    idle_bytes: int
    """What the server's process takes with the document loaded and nobody in it."""
    joined_bytes: int
    clock_s: float
    is_compiled: bool
    """Whether the server ran the compiled core (decision 0022)."""

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return 100 * (self.after.cpu_s - self.before.cpu_s) / (self.after.at_s - self.before.at_s)

    def p95(self, of: list[float]) -> float:
        """The 95th percentile; infinite if nothing was seen."""
        return percentile(of, 95) if of else float("inf")

    @property
    def is_held(self) -> bool:
        """Whether what is wanted was reached."""
        load = self.load
        acks = load["ack_ms"] + load["batch_ack_ms"]
        wanted = ((acks, ACK_MS), (load["visible_ms"], VISIBLE_MS), (load["cursor_ms"], CURSOR_MS))
        return all(self.p95(of) <= most for of, most in wanted) and self.cpu_percent <= CPU_PERCENT


def rows(is_quick: bool) -> list[Row]:
    """The seed's load at the largest scale that is held, and those that are not on the way there."""
    found: list[Row] = []
    for scale in SCALES:
        runs = [run_once(_plan(scale, 10.0 if is_quick else 60.0, seed)) for seed in range(1 if is_quick else 5)]
        found += rows_of(f"seed/scale_{scale:g}", runs)
        held = sum(run.is_held for run in runs)
        found.append(row(f"seed/scale_{scale:g}/held", [held], f"of {len(runs)} runs"))
        if held * 2 > len(runs):
            break
    return found


def flat_rows(is_quick: bool) -> list[Row]:
    """What a session costs as there are more of them, in a document that grows with them: its view is the same."""
    found: list[Row] = []
    for people in (50, 100, 200) if is_quick else (100, 300, 1000):
        plan = dataclasses.replace(
            _plan(0.0, 10.0 if is_quick else 30.0, 0, blocks=5 * people),
            people=people,
            edits_per_s=0.1,
            cursors_per_s=0.2,
            views_per_s=0.0,
            crowd=0.0,
        )
        run = run_once(plan)
        counted = run.load["counted"]
        name = f"flat/{people}_sessions"
        cpu_ms = run.cpu_percent * 10
        found.append(row(f"{name}/cpu_a_session", [cpu_ms / people], "ms/s"))
        found.append(row(f"{name}/bytes_a_session", [counted["bytes"] / counted["s"] / people], "bytes/s"))
        found += [each for each in rows_of(name, [run]) if each["name"].endswith(("p95", "cpu", "clock"))]
    return found


def idle_rows(is_quick: bool) -> list[Row]:
    """Many who are connected, of whom a part works at a time, until each has edited."""
    people, active, seconds, edits_per_s = (1_000, 100, 20.0, 0.5) if is_quick else (10_000, 1_000, 220.0, 0.05)
    plan = dataclasses.replace(
        _plan(0.0, seconds, 0),
        people=people,
        active=active,
        edits_per_s=edits_per_s,
        cursors_per_s=edits_per_s / 2.5,
        views_per_s=edits_per_s / 2.5,
    )
    run = run_once(plan)
    name = f"idle/{people}_sessions_{active}_active"
    taken = (run.joined_bytes - run.idle_bytes) / people / 1024
    edited = len({site for site, _, _ in run.load["acked"]})
    return [
        row(f"{name}/memory_a_session", [taken], "KiB"),
        row(f"{name}/edited", [edited], "sessions"),
        row(f"{name}/joined", [run.load["joined_s"]], "s"),
        *rows_of(name, [run]),
    ]


def disturbed_rows(is_quick: bool) -> list[Row]:
    """What people see of those who disturb them, each kind between two runs without."""
    plan = dataclasses.replace(
        _plan(0.0, 20.0 if is_quick else 60.0, 0), people=60, edits_per_s=1.0, cursors_per_s=1.0, views_per_s=0.2
    )
    calm = [run_once(plan)]
    found: list[Row] = []
    for kind in KINDS:
        run = run_once(plan, kind)
        calm.append(run_once(plan))
        for what in ("ack_ms", "visible_ms", "cursor_ms"):
            before_after = [each.p95(each.load[what]) for each in calm[-2:]]  # type: ignore[literal-required]  # one of three
            seen = run.p95(run.load[what])  # type: ignore[literal-required]  # one of three
            name = f"disturbed/{kind}/{what.removesuffix('_ms')}_p95"
            found.append(row(name, [seen], "ms"))
            found.append(row(f"{name}/more_than_calm", [100 * (2 * seen / sum(before_after) - 1)], "%"))
        found.append(row(f"disturbed/{kind}/cpu", [run.cpu_percent], "%"))
    return [*rows_of("disturbed/calm", calm), *found]


def rows_of(name: str, runs: Sequence[Run]) -> Iterator[Row]:
    """Figures of one load, a value a run."""
    loads = [run.load for run in runs]

    def put(figure: str, values: list[float], unit: str) -> Row:
        return row(f"{name}/{figure}", values, unit)

    for what, of in (
        ("ack", "ack_ms"),
        ("batch_ack", "batch_ack_ms"),
        ("visible", "visible_ms"),
        ("cursor", "cursor_ms"),
    ):
        for percent in (50, 95):
            seen: list[list[float]] = [load[of] for load in loads]  # type: ignore[literal-required]  # one of four
            if all(seen):
                yield put(f"{what}_p{percent}", [percentile(each, percent) for each in seen], "ms")
    yield put("cpu", [run.cpu_percent for run in runs], "%")
    yield put("memory", [run.after.memory_bytes / 2**20 for run in runs], "MiB")
    yield put("memory_grown", [(run.after.memory_bytes - run.before.memory_bytes) / 2**20 for run in runs], "MiB")
    for figure, unit in (("ops_sent", "ops/s"), ("frames_sent", "frames/s"), ("frames", "frames/s")):
        yield put(figure, [load["counted"][figure] / load["counted"]["s"] for load in loads], unit)
    yield put("read_meanwhile", [load["counted"]["frames_read"] for load in loads], "frames")
    yield put("bytes", [load["counted"]["bytes"] / load["counted"]["s"] / 1e6 for load in loads], "MB/s")
    yield put("generator_cpu", [100 * load["counted"]["cpu_s"] / load["counted"]["s"] for load in loads], "%")
    yield put("put_off", [load["refused"].get("busy", 0) for load in loads], "batches")
    yield put("clock", [run.clock_s for run in runs], "s")
    yield put("compiled", [float(run.is_compiled) for run in runs], "of 1")


def _plan(scale: float, duration_s: float, seed: int, blocks: int = BLOCKS) -> Plan:
    return Plan(
        url="",
        token=TOKEN,
        blocks=[(SITE, 2 + 2 * i, letters(i)) for i in range(blocks)],
        people=int(PEOPLE * scale),
        agents=int(AGENTS * scale),
        replicas=REPLICAS if scale else 2,
        duration_s=duration_s,
        warm_up_s=WARM_UP_S,
        seed=seed,
    )


def run_once(plan: Plan, disturber: str = "") -> Run:
    """One run against a server of its own, beside one kind of those who disturb.

    Raises:
        LostError: What must hold of every run does not.
    """
    clock_s = _clock_s()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/rooms.sqlite"
        asyncio.run(_store(url, len(plan.blocks)))
        with running_server(folder, *LIMITS) as server:
            socket_url = f"{server.url.replace('http', 'ws', 1)}collabkernel/api/rooms/seed/ws"
            plan = dataclasses.replace(plan, url=socket_url)
            (folder / "plan.json").write_text(json.dumps(dataclasses.asdict(plan)))
            with _disturbed(folder, disturber):
                load, looked, idle_bytes = _drive(server, folder)
            shown = asyncio.run(_shown(server.url, url))
            is_compiled = bool(server.ask("collabkernel/api/info")["is_compiled"])
        check(load, folder / "rooms.sqlite", shown)
    return Run(
        load, looked["working"], looked["worked"], idle_bytes, looked["joined"].memory_bytes, clock_s, is_compiled
    )


@contextlib.contextmanager
def _disturbed(folder: Path, kind: str) -> Iterator[None]:
    if not kind:
        yield
        return
    command = [sys.executable, "-m", "tests.benchmarks.editors_seed_disturb", kind, str(folder / "plan.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
            process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
        if process.returncode:
            raise RuntimeError(f"who was to disturb by {kind} failed")


def _drive(server: Server, folder: Path) -> tuple[LoadResult, dict[str, Looked], int]:
    """Run the load, and look at the server when that says how far it is."""
    command = [sys.executable, "-m", "tests.benchmarks.editors_seed_load", str(folder / "plan.json")]
    idle_bytes, looked = server.memory_bytes(), {}
    output = folder / "load.json"
    with output.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said = (said + line)[-3000:]
            looked.setdefault(line.split()[0] if line.split() else "", _look(server))
            if line.startswith("worked"):
                looked["worked"] = _look(server)
        if process.wait(LONGEST_S):
            raise RuntimeError(f"the load failed:\n{said}")
    load: LoadResult = json.loads(output.read_text())
    return load, looked, idle_bytes


def _look(server: Server) -> Looked:
    return Looked(time.monotonic(), server.cpu_s(), server.memory_bytes())


async def _store(url: str, blocks: int) -> None:
    storage = open_storage(url)
    await storage.open()
    await store_document(storage, "seed", envelopes(blocks))
    await storage.close()


async def _shown(server_url: str, database_url: str) -> bool:
    """Whether a client that joins now has what the log folds to."""
    async with aio.connect("seed", url=server_url, token=TOKEN, timeout_s=60) as room:
        shown = room.replica.state
        storage = open_storage(database_url)
        await storage.open()
        fold, _ = await Reader(storage).load("seed")
        await storage.close()
        return join_parts(encoded(shown, fold)) == join_parts(encoded(fold.state, fold))


def check(load: LoadResult, database: Path, is_shown: bool) -> None:
    """Whether a run counts.

    Raises:
        LostError: What must hold of every run does not.
    """
    with sqlite3.connect(database) as connection:
        stored = {
            (site, counter): seq for site, counter, seq in connection.execute("select site, counter, seq from ops")
        }
    lost = [each for each in load["acked"] if stored.get((each[0], each[1])) != each[2]]
    streams = [[tuple(each) for each in stream] for stream in load["streams"]]
    wrong = {
        "lost": len(lost),
        "unanswered": load["unanswered"],
        "through went back": load["went_back"],
        "closed": load["closed"],
        "refused": sum(load["refused"].values()) - load["refused"].get("busy", 0),
        "replicas that differ": sum(stream != streams[0] for stream in streams),
        "an SDK client that differs": int(not is_shown),
    }
    if any(wrong.values()):
        raise LostError(f"{ {what: count for what, count in wrong.items() if count} }, refused: {load['refused']}")


def _clock_s() -> float:
    began_s = time.perf_counter()
    into: dict[int, int] = {}
    for i in range(1_000_000):
        into[i] = i
    return time.perf_counter() - began_s
