"""Live rooms: round trips through a real Jupyter server, operations a second, cost of each CRDT, cold start."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import websockets
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import collabkernel
from collabkernel.server.reader import Reader
from collabkernel.storage import open_storage
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Hello, SessionKind
from tests.benchmarks import crdt_cost, storage_cost, yjs_validation
from tests.benchmarks.load import FRAME_BYTES_MAX, SUBPROTOCOL, LoadResult, Plan
from tests.benchmarks.report import Row, percentile, row
from tests.benchmarks.room_log import store_log
from tests.benchmarks.server_process import TOKEN, Server, running_server

COLD_OPS = 100_000
CLIENTS = (1, 10, 100)

Advance = Callable[[str], None]


def rows(console: Console, *, is_quick: bool = False, only: str = "") -> list[Row]:
    """Every figure of this benchmark whose part's name holds ``only``."""
    parts: dict[str, Callable[[bool, Advance], Iterator[Row]]] = {
        "round_trip": round_trips,
        "sdk_flush": sdk_flushes,
        "throughput": throughput,
        "cold_start": cold_start,
        "crdt_cost": _costs(crdt_cost.rows),
        "yjs_validation": _costs(lambda is_quick: yjs_validation.rows(is_quick=is_quick)),
        "storage_cost": _costs(storage_cost.rows),
    }
    chosen = {name: part for name, part in parts.items() if only in name}
    found: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(chosen))
        for name, part in chosen.items():

            def advance(what: str, name: str = name) -> None:
                progress.update(task, description=f"{name}: {what}")

            advance("")
            found.extend(part(is_quick, advance))
            progress.advance(task)
    return found


def round_trips(is_quick: bool, advance: Advance) -> Iterator[Row]:
    """From sending an envelope of one operation to its durable ack, each client one a second."""
    duration_s, runs = (5, 1) if is_quick else (15, 3)
    with _server() as server:
        for clients in CLIENTS:
            samples = []
            for run in range(runs):
                advance(f"{clients} clients, {run + 1} of {runs}")
                # A lone client sends ten a second, or there would be too few samples for a p95.
                interval_s = 0.1 if clients == 1 else 1.0
                urls = [server.socket_url(f"rtt-{clients}-{run}") for _ in range(clients)]
                samples.append(_load(Plan(urls, duration_s, interval_s, window=10, seed=run))["rtt_ms"])
            for percent in (50, 95, 99):
                values = [percentile(sample, percent) for sample in samples]
                yield row(f"round_trip/{clients}_clients/p{percent}", values, "ms")
        yield row("server_memory/after_round_trips", [server.memory_bytes() / 2**20], "MiB")


def sdk_flushes(is_quick: bool, advance: Advance) -> Iterator[Row]:
    """From an edit through the public client to the return of its ``flush``."""
    edits = 50 if is_quick else 300
    with _server() as server:
        advance(f"{edits} edits")
        rtt_ms = asyncio.run(_time_edits(server, edits))
    yield row("sdk_flush/p50", [percentile(rtt_ms, 50)], "ms")
    yield row("sdk_flush/p95", [percentile(rtt_ms, 95)], "ms")


async def _time_edits(server: Server, edits: int) -> list[float]:
    rtt_ms = []
    async with collabkernel.aio.connect("sdk", url=server.url, token=TOKEN) as room:
        state = room.map("state")
        for i in range(edits):
            start_s = time.perf_counter()
            state["count"] = i
            await room.flush()
            rtt_ms.append((time.perf_counter() - start_s) * 1000)
    return rtt_ms


def throughput(is_quick: bool, advance: Advance) -> Iterator[Row]:
    """Operations a second through one room, durable: one an envelope, and a hundred an envelope."""
    duration_s, runs = (3, 1) if is_quick else (8, 3)
    with _server() as server:
        for envelope_ops, window, clients in ((1, 64, 10), (100, 4, 10)):
            rates = []
            for run in range(runs):
                advance(f"{envelope_ops} an envelope, {run + 1} of {runs}")
                urls = [server.socket_url(f"ops-{envelope_ops}-{run}") for _ in range(clients)]
                plan = Plan(urls, duration_s, window=window, envelope_ops=envelope_ops, seed=run)
                result = _load(plan)
                rates.append(result["ops"] / result["elapsed_s"])
            yield row(f"throughput/10_clients/{envelope_ops}_op_envelopes", rates, "ops/s")


def cold_start(is_quick: bool, advance: Advance) -> Iterator[Row]:
    """A room of 100,000 operations without a snapshot: the fold alone, and until a client has all of it."""
    runs = 2 if is_quick else 5
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/rooms.sqlite"
        rooms = [f"cold-{run}" for run in range(runs)]
        advance("writing the log")
        stored_s = asyncio.run(_store(url, rooms))
        yield row("append/2000_op_batches", [COLD_OPS / seconds for seconds in stored_s], "ops/s")
        advance("folding the log")
        yield row(f"cold_start/fold_{COLD_OPS}_ops", asyncio.run(_fold(url, rooms)), "s")
        with running_server(Path(folder)) as server:
            opened = []
            for room in rooms:
                advance(f"opening {room}")
                opened.append(asyncio.run(_open(server.socket_url(room))))
            yield row(f"cold_start/welcome_{COLD_OPS}_ops", [welcome_s for welcome_s, _ in opened], "s")
            yield row(f"cold_start/complete_{COLD_OPS}_ops", [complete_s for _, complete_s in opened], "s")


async def _store(url: str, rooms: list[str]) -> list[float]:
    storage = open_storage(url)
    await storage.open()
    taken_s = []
    for room in rooms:
        start_s = time.perf_counter()
        await store_log(storage, room, COLD_OPS)
        taken_s.append(time.perf_counter() - start_s)
    await storage.close()
    return taken_s


async def _fold(url: str, rooms: list[str]) -> list[float]:
    storage = open_storage(url)
    await storage.open()
    taken_s = []
    for room in rooms:
        start_s = time.perf_counter()
        fold, _ = await Reader(storage).load(room)
        taken_s.append(time.perf_counter() - start_s)
        assert fold.seq == COLD_OPS
    await storage.close()
    return taken_s


async def _open(url: str) -> tuple[float, float]:
    """Seconds from opening the socket to Welcome, and to the last operation."""
    start_s = time.perf_counter()
    welcome_s = 0.0
    subprotocols = [websockets.Subprotocol(SUBPROTOCOL)]
    async with websockets.connect(url, subprotocols=subprotocols, compression=None, max_size=FRAME_BYTES_MAX) as socket:
        await socket.send(encode_client_message(Hello(SessionKind.SCRIPT, "benchmark", None)))
        async for frame in socket:
            message = pb.ServerMessage.FromString(frame)
            if message.HasField("welcome"):
                welcome_s = time.perf_counter() - start_s
            if message.through == COLD_OPS:
                return welcome_s, time.perf_counter() - start_s
    raise RuntimeError("the server closed the socket before the room was complete")


def _costs(measure: Callable[[bool], list[Row]]) -> Callable[[bool, Advance], Iterator[Row]]:
    def part(is_quick: bool, advance: Advance) -> Iterator[Row]:
        advance("each case")
        yield from measure(is_quick)

    return part


@contextmanager
def _server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server:
        yield server


def _load(plan: Plan) -> LoadResult:
    command = [sys.executable, "-m", "tests.benchmarks.load", json.dumps(asdict(plan))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the load failed:\n{result.stderr[-3000:]}")
    found: LoadResult = json.loads(result.stdout)
    return found
