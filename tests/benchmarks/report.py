"""Results of a benchmark: rows as JSON, a table for people, and two files side by side."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from rich.console import Console
from rich.table import Table

BUILD = Path("build/bench")
FSYNC_RUNS = 50

_HIGHER_IS_BETTER = ("/s",)


class Row(TypedDict):
    """One measured figure."""

    name: str
    value: float
    """The median of ``runs``."""
    unit: str
    system: str
    """``collabkernel``, or the peer's name and version; for the machine itself, what it is."""
    runs: list[float]


def row(name: str, runs: Sequence[float], unit: str, system: str = "collabkernel") -> Row:
    """A row whose value is the median of ``runs``."""
    return Row(name=name, value=statistics.median(runs), unit=unit, system=system, runs=list(runs))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which ``percent`` of the sorted values are (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def machine_rows() -> list[Row]:
    """What was measured on: the system, and its fsync, which every durable commit waits for."""
    system = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    runs = []
    with tempfile.NamedTemporaryFile(dir=_build_folder()) as file:
        for _ in range(FSYNC_RUNS):
            file.write(b"x" * 4096)
            file.flush()
            start_s = time.perf_counter()
            os.fsync(file.fileno())
            runs.append((time.perf_counter() - start_s) * 1000)
    return [row("machine/fsync", runs, "ms", system)]


def write(name: str, rows: Sequence[Row]) -> Path:
    """Write ``build/bench/NAME.json``."""
    path = _build_folder() / f"{name}.json"
    path.write_text(json.dumps(rows, indent=1) + "\n")
    return path


def read(path: Path) -> list[Row]:
    """The rows of a file that ``write`` made."""
    rows: list[Row] = json.loads(path.read_text())
    return rows


def show(title: str, rows: Iterable[Row], console: Console) -> None:
    """Print rows as a table."""
    table = Table(title=title, title_justify="left")
    _add_columns(table, "value", "unit", "lowest .. highest")
    for item in rows:
        spread = f"{number(min(item['runs']))} .. {number(max(item['runs']))}" if len(item["runs"]) > 1 else ""
        table.add_row(_label(item), number(item["value"]), item["unit"], spread)
    console.print(table)


def compare(before: Sequence[Row], after: Sequence[Row]) -> Table:
    """A table of what both files have, with how many times better (or worse) the second is."""
    table = Table(title="two benchmarks", title_justify="left")
    _add_columns(table, "first", "second", "unit", "second is")
    second_by_key = {_key(item): item for item in after}
    for first in before:
        second = second_by_key.pop(_key(first), None)
        if second is None:
            table.add_row(_label(first), number(first["value"]), "-", first["unit"], "")
        else:
            values = number(first["value"]), number(second["value"])
            table.add_row(_label(first), *values, first["unit"], verdict(first, second))
    for second in second_by_key.values():
        table.add_row(_label(second), "-", number(second["value"]), second["unit"], "")
    return table


def verdict(first: Row, second: Row) -> str:
    """How the second figure stands to the first, in words: ``1.25 times better``."""
    if not first["value"] or not second["value"]:
        return ""
    gain = second["value"] / first["value"]
    if not first["unit"].endswith(_HIGHER_IS_BETTER):
        gain = 1 / gain
    if 0.95 < gain < 1.05:
        return "the same"
    return f"[green]{gain:.2f} times better[/]" if gain > 1 else f"[red]{1 / gain:.2f} times worse[/]"


def number(value: float) -> str:
    """A figure with three significant digits, thousands separated."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def make_console() -> Console:
    """A console that does not cut tables where there is no terminal to ask for its width."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _add_columns(table: Table, *headings: str) -> None:
    table.add_column("name", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)


def _label(item: Row) -> str:
    is_ours = item["system"] == "collabkernel" or item["name"].startswith("machine/")
    return item["name"] if is_ours else f"{item['name']}  ({item['system']})"


def _key(item: Row) -> tuple[str, str]:
    system = "machine" if item["name"].startswith("machine/") else item["system"]
    return item["name"], system


def _build_folder() -> Path:
    BUILD.mkdir(parents=True, exist_ok=True)
    return BUILD
