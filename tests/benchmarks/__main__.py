"""``python -m tests.benchmarks``: run a benchmark, or compare the results of two runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import click

from tests.benchmarks import report

# Name to whether it is among the quick ones that run when no name is given.
BENCHMARKS = {
    "live_rooms": True,
    "documents": True,
    "jupyterlab": False,
    "servers": False,
    "compaction": False,
    "editors": False,
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure collabkernel with fixed seeds. Results go to build/bench/NAME.json."""


@main.command()
@click.argument("name", required=False, type=click.Choice(sorted(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="Fewer repeats: figures for a first look, not for a claim.")
@click.option("--only", default="", help="Measure only the parts whose name holds this text.")
def run(name: str | None, quick: bool, only: str) -> None:
    """Run the benchmark NAME, or without a name all quick ones."""
    console = report.make_console()
    for chosen in [name] if name else [each for each, is_quick in BENCHMARKS.items() if is_quick]:
        measure: Callable[..., list[report.Row]] = importlib.import_module(f"tests.benchmarks.{chosen}").rows
        rows = report.machine_rows() + measure(console, is_quick=quick, only=only)
        report.show(chosen, rows, console)
        name_parts = [chosen, *filter(None, only.split("/"))]
        console.print(f"wrote {report.write('-'.join(name_parts), rows)}")


@main.command()
@click.argument("first", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("second", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def compare(first: Path, second: Path) -> None:
    """Show the figures of two result files side by side."""
    report.make_console().print(report.compare(report.read(first), report.read(second)))


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks")
