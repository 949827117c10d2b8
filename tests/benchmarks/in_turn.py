"""Systems side by side: each run of each on a fresh server, in an order that is another in each run.

So what the machine does meanwhile falls on all. A system that fails, or does not finish, has that for a result.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pycrdt import Array, Doc, Map, Text
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.peers.install import PeerError
from tests.peers.servers import OURS, PeerServer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class LoadFailedError(Exception):
    """The clients gave up: the server did not serve them."""


class Case(Protocol):
    """One thing that is measured of every system."""

    @property
    def name(self) -> str:
        """What it is called."""


C = TypeVar("C", bound=Case)


def in_turn(
    cases: Sequence[C],
    systems_of: Callable[[C], Sequence[str]],
    runs: int,
    measure: Callable[[C, str], Any],
    console: Console,
) -> Iterator[tuple[C, dict[str, list[Any]]]]:
    """Each case, with the results of all runs of each system: their ``unfinished`` says how far one came in its time.

    Args:
        cases: What is measured.
        systems_of: Whose, asked when a case begins.
        runs: How often.
        measure: One run.
        console: Where progress is shown, and what failed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(cases) * runs)
        for case in cases:
            systems = systems_of(case)
            results: dict[str, list[Any]] = {system: [] for system in systems}
            for run in range(runs):
                turn = run % max(1, len(systems))
                for system in (*systems[turn:], *systems[:turn]):
                    progress.update(task, description=f"{case.name}, {run + 1} of {runs}: {system}")
                    # Who did not finish is not asked again: the whole benchmark has an end too.
                    if not any(each["unfinished"] for each in results[system]):
                        results[system] += _measured(case, system, measure, console)
                progress.advance(task)
            yield case, results


def _measured(case: C, system: str, measure: Callable[[C, str], Any], console: Console) -> list[Any]:
    try:
        result = measure(case, system)
    except (LoadFailedError, PeerError, AssertionError) as error:
        if system == OURS:
            raise
        # A peer that fails is a result too; its rows are missing.
        console.print(f"{system} failed in {case.name}: {str(error)[-600:]}", markup=False)
        return []
    if result["unfinished"]:
        console.print(f"{system} did not finish {case.name}: {result['unfinished']}", markup=False)
    return [result]


def run_clients(module: str, plan: DataclassInstance, server: PeerServer, within_s: float) -> Any:
    """What a process of clients prints that is given a plan.

    Raises:
        LoadFailedError: It failed, or did not end in time.
    """
    command = [sys.executable, "-m", module]
    told = json.dumps(asdict(plan))
    try:
        done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadFailedError(f"its clients did not end\n{server.log[-300:]}") from error
    if done.returncode:
        raise LoadFailedError(f"{done.stderr[-300:]}\n{server.log[-300:]}")
    return json.loads(done.stdout)


def cell_sources(count: int, size_bytes: int) -> list[str]:
    """Sources of so many cells of a notebook."""
    return [f"cell_{number} = '{'x' * (size_bytes - 20)}'" for number in range(count)]


def notebook_json(sources: Sequence[str]) -> str:
    """A notebook with these cells."""
    cells = [
        {"id": f"c{i}", "cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
        for i, text in enumerate(sources)
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def notebook_update(sources: Sequence[str]) -> bytes:
    """The same cells as a Yjs update, for servers that read no notebooks."""
    doc: Doc[Array[Map[object]]] = Doc()
    cells = [Map({"id": f"c{i}", "cell_type": "code", "source": Text(text)}) for i, text in enumerate(sources)]
    doc["cells"] = Array(cells)
    return doc.get_update()
