"""JupyterLab's documents side by side: ours, jupyter-server-ydoc, jupyter-server-documents and pycrdt-websocket.

Each case starts a server of its own, in turn for every system, so that what the machine does meanwhile falls on all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from tests.benchmarks.in_turn import cell_sources, in_turn, notebook_json, notebook_update, run_clients
from tests.benchmarks.jupyterlab_load import LoadResult, Plan
from tests.benchmarks.report import Row, row
from tests.benchmarks.server_process import LIFTED
from tests.peers.servers import DOCUMENTS, OURS, PYCRDT, YDOC, PeerServer, persons_headers

SYSTEMS = (OURS, YDOC, DOCUMENTS, PYCRDT)
READERS = (10, 50, 150, 500)
SILENT = 500
"""Readers that show no awareness, beside as many that do: who goes under in 500 cursors may still carry edits."""
WRITERS = ((1, 20.0), (50, 2.0))
"""How many, and edits a second of each."""
IDLE_ROOMS = 150
JOINING = 200
CELLS, CELL_BYTES = 2_000, 2_048
BOUND_S = 90.0
"""A run that takes longer did not finish, which is its result; ours at 500 readers takes 25 s with its joins."""
END_S = 30.0
"""What the clients' process may take beyond that, until it is ended."""

Put = Callable[[str, list[float], str], Row]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured of every system."""

    name: str
    plan: Callable[[PeerServer, bool], Plan]
    rows: Callable[[list[LoadResult], Put], list[Row]]


def rows(console: Console, *, is_quick: bool = False, only: str = "") -> list[Row]:
    """Every figure of the cases whose name holds ``only``."""
    cases = [case for case in _cases() if only in case.name]
    runs = 1 if is_quick else 3
    found: list[Row] = []
    measure = lambda case, system: _measure(case, system, is_quick)  # noqa: E731  # a run of this benchmark
    for case, results in in_turn(cases, lambda _: SYSTEMS, runs, measure, console):
        for system, each in results.items():
            found += _rows_of(case, system, each)
    return found


def _rows_of(case: Case, system: str, results: list[LoadResult]) -> list[Row]:
    """The figures of the runs that finished, or that one did not."""
    put = _putter(case.name, system)
    if any(each["unfinished"] for each in results):
        return [put("did_not_finish_within", [BOUND_S], "s")]
    return case.rows(results, put) if results else []


def _putter(case: str, system: str) -> Put:
    return lambda name, values, unit: row(f"{case}/{name}", values, unit, system)


def _cases() -> Iterator[Case]:
    for writers, edits_per_s in WRITERS:
        for readers in READERS:
            name = f"edits/{readers}_readers/{writers}_writers_{edits_per_s:g}_a_second"
            yield Case(name, _edit_plan(readers, writers, edits_per_s), _edit_rows)
        name = f"edits/{SILENT}_silent_readers/{writers}_writers_{edits_per_s:g}_a_second"
        yield Case(name, _edit_plan(SILENT, writers, edits_per_s, shows_awareness=False), _edit_rows)
    yield Case(f"idle/{IDLE_ROOMS}_rooms", _idle_plan, _idle_rows)
    yield Case(f"join/{JOINING}_clients_4_MB", _join_plan, _join_rows)


def _measure(case: Case, system: str, is_quick: bool) -> LoadResult:
    options = [f"--CollabKernelServer.{name}={value}" for name, value in LIFTED.items()] if system == OURS else []
    with tempfile.TemporaryDirectory() as folder, PeerServer(system, Path(folder), options=options) as server:
        plan = case.plan(server, is_quick)
        result: LoadResult = run_clients("tests.benchmarks.jupyterlab_load", plan, server, BOUND_S + END_S)
        return result


# ---------------------------------------------------------------- edits


def _edit_plan(
    readers: int, writers: int, edits_per_s: float, *, shows_awareness: bool = True
) -> Callable[[PeerServer, bool], Plan]:
    def plan(server: PeerServer, is_quick: bool) -> Plan:
        (server.files / "shared.txt").touch()
        url = server.socket_url(server.room_of("shared.txt"))
        plan = _plan(server, [url] * (readers + writers), is_quick, writers=writers, edits_per_s=edits_per_s)
        return replace(plan, shows_awareness=shows_awareness)

    return plan


def _edit_rows(results: list[LoadResult], put: Put) -> list[Row]:
    return [
        *[put(f"visible_p{percent}", [each["visible_ms"][percent] for each in results], "ms") for percent in (50, 95)],
        put("delivered", [each["delivered"] / each["expected"] * 100 for each in results], "%"),
        put("cpu_per_delivered_edit", [each["cpu_s"] / each["delivered"] * 1e6 for each in results], "us"),
        put("memory_above_idle", [each["memory_bytes"] / 2**20 for each in results], "MiB"),
        put("generator_cpu", [each["generator_cpu_s"] / each["elapsed_s"] * 100 for each in results], "%"),
    ]


# ---------------------------------------------------------------- idle rooms


def _idle_plan(server: PeerServer, is_quick: bool) -> Plan:
    urls = []
    for number in range(IDLE_ROOMS):
        (server.files / f"idle-{number}.txt").touch()
        urls.append(server.socket_url(server.room_of(f"idle-{number}.txt")))
    return _plan(server, urls, is_quick)


def _idle_rows(results: list[LoadResult], put: Put) -> list[Row]:
    return [
        put("cpu", [each["cpu_s"] / each["elapsed_s"] * 100 for each in results], "%"),
        put("memory_above_idle", [each["memory_bytes"] / 2**20 for each in results], "MiB"),
    ]


# ---------------------------------------------------------------- joins


def _join_plan(server: PeerServer, is_quick: bool) -> Plan:
    sources = cell_sources(CELLS, CELL_BYTES)
    (server.files / "large.ipynb").write_text(notebook_json(sources))
    url = server.socket_url(server.room_of("large.ipynb", type="notebook"))
    push = _file_of_update(server.folder, sources) if server.kind == PYCRDT else ""
    return _plan(server, [url] * (JOINING + 1), is_quick, join_bytes=CELLS * CELL_BYTES * 9 // 10, push=push)


def _file_of_update(folder: Path, sources: list[str]) -> str:
    """A file with the same cells, for a server that reads no notebooks."""
    path = folder / "large.update"
    path.write_bytes(notebook_update(sources))
    return str(path)


def _join_rows(results: list[LoadResult], put: Put) -> list[Row]:
    return [
        put("all_synced", [max(each["join_ms"]) / 1000 for each in results], "s"),
        put("cpu", [each["cpu_s"] for each in results], "s"),
        put("memory_above_idle", [each["memory_bytes"] / 2**20 for each in results], "MiB"),
    ]


def _plan(
    server: PeerServer,
    urls: list[str],
    is_quick: bool,
    *,
    writers: int = 0,
    edits_per_s: float = 0.0,
    join_bytes: int = 0,
    push: str = "",
) -> Plan:
    # An idle server is watched for longer: what it does, it does once a second or less.
    duration_s = (4 if is_quick else 10) if writers else (10 if is_quick else 30)
    headers, pid = persons_headers("ann"), server.process.pid
    return Plan(urls, headers, pid, writers, edits_per_s, duration_s, join_bytes, push, bound_s=BOUND_S)
