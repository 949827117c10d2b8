"""Results are medians, survive their file, and compare by what is better."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks import report


def test_a_row_is_the_median_of_its_runs():
    assert report.row("a", [3.0, 1.0, 2.0], "ms") == {
        "name": "a",
        "value": 2.0,
        "unit": "ms",
        "system": "collabkernel",
        "runs": [3.0, 1.0, 2.0],
    }


def test_percentiles_by_nearest_rank():
    values = [float(i) for i in range(1, 101)]

    assert [report.percentile(values, percent) for percent in (50, 95, 99, 100)] == [50.0, 95.0, 99.0, 100.0]


def test_rows_come_back_from_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rows = [report.row("a", [1.5], "ms"), report.row("b", [2.0], "ops/s", "peer 1.0")]

    path = report.write("bench", rows)

    assert path == Path("build/bench/bench.json")
    assert report.read(path) == rows


@pytest.mark.parametrize(
    ("unit", "first", "second", "said"),
    [
        ("ms", 10.0, 5.0, "2.00 times better"),
        ("ms", 5.0, 10.0, "2.00 times worse"),
        ("ops/s", 10.0, 5.0, "2.00 times worse"),
        ("ops/s", 5.0, 10.0, "2.00 times better"),
        ("ms", 10.0, 10.2, "the same"),
    ],
)
def test_comparison_knows_which_way_is_better(unit: str, first: float, second: float, said: str):
    verdict = report.verdict(report.row("a", [first], unit), report.row("a", [second], unit))

    assert said in verdict


def test_comparison_shows_rows_that_one_file_lacks():
    console = Console(width=100)
    before, after = [report.row("gone", [1.0], "ms")], [report.row("new", [2.0], "ms")]

    with console.capture() as capture:
        console.print(report.compare(before, after))

    assert "gone" in capture.get()
    assert "new" in capture.get()
