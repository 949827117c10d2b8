"""The plots of many editors."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import editors_plot
from tests.benchmarks.report import row

ROWS = [
    row("machine/fsync", [1.0], "ms"),
    row("yjs/100x100/visible_p95", [30.0], "ms"),
    row("yjs/100x100/cpu_per_delivery", [3.0], "us"),
    row("yjs/200x200/visible_p95", [40.0], "ms"),
    row("yjs/200x200/visible_p95", [70.0], "ms", "a peer"),
    row("yjs/200x200/did_not_finish_within", [45.0], "s", "another"),
]


def test_points_are_by_system_and_case():
    assert editors_plot.points(ROWS, "visible_p95") == {
        "collabkernel": {"100x100": 30.0, "200x200": 40.0},
        "a peer": {"200x200": 70.0},
    }


def test_a_part_is_drawn_when_there_are_rows_of_it_and_the_same_rows_make_the_same_file(tmp_path: Path):
    (path,) = editors_plot.write(ROWS, tmp_path)
    first = path.read_bytes()

    editors_plot.write(ROWS, tmp_path)

    assert path == tmp_path / "editors-yjs.svg"
    assert b"a peer" in first
    assert b"another" not in first
    assert path.read_bytes() == first
