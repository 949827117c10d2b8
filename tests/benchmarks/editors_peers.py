"""Yjs rooms beside the best of the field: who sees an edit when, and what it costs; cursors, joins and a kill.

One server at a time, in turn for every system, so that what the machine does meanwhile falls on all. What each is
configured as, and what counts as an acknowledgement there, tells docs/BENCHMARKS.md.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.benchmarks.editors_dialects import dialect
from tests.benchmarks.editors_peers_load import LoadResult, Plan
from tests.benchmarks.in_turn import cell_sources, in_turn, notebook_json, notebook_update, run_clients
from tests.benchmarks.report import Row, percentile, row
from tests.benchmarks.server_process import LIFTED
from tests.peers.node_servers import HOCUSPOCUS, LIVEBLOCKS, TLDRAW, Y_WEBSOCKET
from tests.peers.servers import DOCUMENTS, OURS, PYCRDT, PYCRDT_STORED, YDOC, PeerServer, persons_headers

SYSTEMS = (OURS, HOCUSPOCUS, Y_WEBSOCKET, TLDRAW, LIVEBLOCKS, YDOC, DOCUMENTS, PYCRDT)
STORING = tuple(PYCRDT_STORED if each == PYCRDT else each for each in SYSTEMS)
RUNS = 5
EDITORS = ((100, 100), (200, 200), (500, 20), (1000, 20), (1000, 200))
"""Clients, and edits a second of all together."""
CURSORS = (100, 250, 500, 1000)
"""Clients, each of whom moves its cursor once a second."""
JOINING = 200
CELLS, CELL_BYTES = 2_000, 2_200
"""The document that is joined: 4.4 MB."""
WRITERS, WRITES, WRITING_S = 10, 500, 15.0
DURATION_S, QUICK_DURATION_S = 10.0, 6.0
BOUND_S = 45.0
"""A run that takes longer did not finish, which is its result."""
END_S = 150.0
"""What the clients' process may take beyond that, until it is ended: the machine may stand still for a while."""
STOOD_STILL_S_MAX = 3.0
"""A run in which the clients' process did nothing for longer tells of the machine alone, and is made again."""
ATTEMPTS = 3

Put = Callable[[str, Sequence[float], str], Row]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured of every system."""

    name: str
    part: str
    clients: int
    rate: float = 0.0
    systems: tuple[str, ...] = SYSTEMS

    @property
    def load(self) -> float:
        """Deliveries a second."""
        return self.clients * self.rate


CASES = (
    *[Case(f"yjs/{clients}x{rate}", "yjs", clients, rate) for clients, rate in EDITORS],
    *[Case(f"presence/{clients}", "presence", clients, clients) for clients in CURSORS],
    Case(f"join/{JOINING}_clients", "join", JOINING + 2),
    Case("crash", "crash", WRITERS, WRITES / WRITING_S, STORING),
)


def part_rows(part: str, console: Console, *, is_quick: bool, only: str = "") -> list[Row]:
    """Every figure of a part's cases; with ``only``, of those whose ``CASE/SYSTEM`` holds it."""
    cases = [case for case in CASES if case.part == part]
    runs = 1 if is_quick else RUNS
    found: list[Row] = []
    too_much: dict[str, float] = {}
    """By system, the load that it did not come through: it is not asked for more."""

    def systems_of(case: Case) -> list[str]:
        systems = [system for system in case.systems if only in f"{case.name}/{system}"]
        return [system for system in systems if case.load < too_much.get(system, math.inf)]

    measure = partial(_measured, is_quick=is_quick, console=console)
    for case, results in in_turn(cases, systems_of, runs, measure, console):
        for system, each in results.items():
            found += rows_of_case(case, system, each)
            if any(result["unfinished"] for result in each):
                too_much[system] = min(case.load, too_much.get(system, math.inf))
    return found


def _measured(case: Case, system: str, *, is_quick: bool, console: Console) -> LoadResult:
    for attempt in range(1, ATTEMPTS + 1):
        result = _measure(case, system, is_quick)
        if result["stood_still_s"] <= STOOD_STILL_S_MAX or attempt == ATTEMPTS:
            break
        console.print(f"the machine stood still for {result['stood_still_s']:.0f} s; {system} again", markup=False)
    return result


def _measure(case: Case, system: str, is_quick: bool) -> LoadResult:
    options = [f"--CollabKernelServer.{name}={value}" for name, value in LIFTED.items()] if system == OURS else []
    with tempfile.TemporaryDirectory() as folder, PeerServer(system, Path(folder), options=options) as server:
        if case.part == "join":
            return _loaded(_join_plan(server, case), server)
        (server.files / "shared.txt").touch()
        url = server.socket_url(server.room_of("shared.txt"))
        if case.part == "crash":
            return _crash(server, case, url)
        duration_s = QUICK_DURATION_S if is_quick else DURATION_S
        return _loaded(_plan(server, case, url, part=case.part, duration_s=duration_s), server)


def _plan(server: PeerServer, case: Case, url: str, *, part: str, duration_s: float = 0.0) -> Plan:
    schema = server.request("GET", "schema").json if server.kind == TLDRAW else None
    headers, pid = persons_headers("ann"), server.process.pid
    what = case.clients, case.rate, duration_s
    return Plan(server.kind, part, url, headers, pid, *what, schema=schema, bound_s=BOUND_S)


def _loaded(plan: Plan, server: PeerServer) -> LoadResult:
    result: LoadResult = run_clients("tests.benchmarks.editors_peers_load", plan, server, plan.bound_s + END_S)
    return result


def rows_of_case(case: Case, system: str, results: list[LoadResult]) -> list[Row]:
    """The figures of the runs, or how far the one came that did not finish."""

    def put(name: str, values: Sequence[float], unit: str) -> Row:
        # One name a system in all parts, with a store or without.
        return row(f"{case.name}/{name}", values, unit, PYCRDT if system == PYCRDT_STORED else system)

    if any(each["unfinished"] for each in results):
        late = results[-1]
        delivered = late["delivered"] / max(1, late["expected"]) * 100
        return [put("did_not_finish_within", [BOUND_S], "s"), put("delivered", [delivered], "%")]
    rows_of = {"yjs": _seen_rows, "presence": _seen_rows, "join": _join_rows, "crash": _crash_rows}[case.part]
    return rows_of(results, put) if results else []


# ---------------------------------------------------------------- edits and cursors


def _seen_rows(results: list[LoadResult], put: Put) -> list[Row]:
    seen = [each for each in results if each["delivered"]]
    if not seen:
        return [put("delivered", [0.0], "%")]
    return [
        *[put(f"visible_p{percent}", [each["visible_ms"][percent] for each in seen], "ms") for percent in (50, 95, 99)],
        put("delivered", [each["delivered"] / each["expected"] * 100 for each in seen], "%"),
        put("cpu_per_delivery", [each["cpu_s"] / each["delivered"] * 1e6 for each in seen], "us"),
        put("cpu", [each["cpu_s"] / each["elapsed_s"] * 100 for each in seen], "%"),
        put("memory_above_idle", [each["memory_bytes"] / 2**20 for each in seen], "MiB"),
        put("generator_cpu", [each["generator_cpu_s"] / each["elapsed_s"] * 100 for each in seen], "%"),
        put("sent_away", [each["lines_ended"] for each in seen], "clients"),
    ]


# ---------------------------------------------------------------- joins


def _join_plan(server: PeerServer, case: Case) -> Plan:
    sources = cell_sources(CELLS, CELL_BYTES)
    large = ""
    if server.is_jupyter:
        (server.files / "large.ipynb").write_text(notebook_json(sources))
        url = server.socket_url(server.room_of("large.ipynb", type="notebook"))
    else:
        url = server.socket_url(server.room_of("shared"))
        path = server.folder / "large"
        path.write_bytes(json.dumps(sources).encode() if server.kind == TLDRAW else notebook_update(sources))
        large = str(path)
    plan = _plan(server, case, url, part="join")
    return dataclasses.replace(plan, large=large, state_bytes=CELLS * CELL_BYTES * 9 // 10)


def _join_rows(results: list[LoadResult], put: Put) -> list[Row]:
    came = [each for each in results if each["join_ms"]]
    if not came:
        return [put("joined", [0.0], "%")]
    return [
        *[put(f"joined_p{p}", [percentile(each["join_ms"], p) for each in came], "ms") for p in (50, 95, 100)],
        put("joined", [len(each["join_ms"]) / JOINING * 100 for each in results], "%"),
        put("cpu", [each["cpu_s"] for each in results], "s"),
        put("generator_cpu", [each["generator_cpu_s"] for each in results], "s"),
        put("memory_above_idle", [each["memory_bytes"] / 2**20 for each in results], "MiB"),
    ]


# ---------------------------------------------------------------- a crash


def _crash(server: PeerServer, case: Case, url: str) -> LoadResult:
    """Write, kill, start again on the same folder, and let somebody read; ``shown`` becomes what he finds."""
    written = _loaded(_plan(server, case, url, part="write", duration_s=WRITING_S), server)
    server.process.wait()
    server.restart()
    url = server.socket_url(server.room_of("shared.txt"))
    one = dataclasses.replace(case, clients=1)
    read = _loaded(_plan(server, one, url, part="read"), server)
    promised = written["acked"] if dialect(server.kind, 1).ack else written["shown"]
    unfinished = written["unfinished"] or read["unfinished"]
    stood_still_s = max(written["stood_still_s"], read["stood_still_s"])
    found = {"unfinished": unfinished, "acked": promised, "shown": read["shown"], "stood_still_s": stood_still_s}
    return {**written, **found}  # type: ignore[typeddict-item]  # they are keys of it


def _crash_rows(results: list[LoadResult], put: Put) -> list[Row]:
    lost = [len(set(each["acked"]) - set(each["shown"])) for each in results]
    has_ack = {True: "acknowledged", False: "shown_to_others"}
    system = put("", [0.0], "")["system"]
    name = has_ack[bool(dialect(system, 1).ack)]
    return [put(name, [len(each["acked"]) for each in results], "writes"), put("lost", lost, "writes")]
