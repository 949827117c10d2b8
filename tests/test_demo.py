"""The demonstration plays to its end, and what it says at the end is true."""

from __future__ import annotations

import io

from rich.console import Console

from collabkernel.demo import run_demo


def test_demo_plays_to_the_end_without_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    run_demo(0.0, console)
    told = console.file.getvalue()

    assert "Bob adds one at the same moment" in told
    assert "✔" in told
    assert told.count("Celebrate") == 1
    assert told.count(", by Friday") == 1
    assert "?" not in told
    assert "Ann was here." in told
    assert told.rstrip().endswith("collabkernel.connect('planning')")


def test_demo_draws_three_replicas_in_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=130, force_terminal=True)
    run_demo(0.3, console)
    drawn = console.file.getvalue()

    for name in ("Ann", "Bob", "Robin"):
        assert f"{name}'s replica" in drawn
