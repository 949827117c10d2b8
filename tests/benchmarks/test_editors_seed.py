"""What makes a run of the seed's load count, and when a scale is held."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.editors_seed import Looked, LostError, Run, check, rows_of
from tests.benchmarks.editors_seed_load import LoadResult

COUNTED = {
    "ops_sent": 40.0,
    "frames_sent": 50.0,
    "frames": 400.0,
    "frames_read": 0,
    "bytes": 4e6,
    "cpu_s": 1.0,
    "s": 2.0,
}


def load(**changes: Any) -> LoadResult:
    stream = [(7, "a"), (8, "b")]
    found = LoadResult(
        ack_ms=[10.0] * 20,
        batch_ack_ms=[20.0] * 20,
        visible_ms=[100.0] * 20,
        cursor_ms=[200.0] * 20,
        acked=[(5, 1, 7), (5, 2, 8)],
        unanswered=0,
        went_back=0,
        refused={"busy": 3},
        closed=0,
        streams=[stream, list(stream)],
        joined_s=1.0,
        counted=COUNTED,
    )
    return found | changes  # type: ignore[return-value]  # of the same keys


def run(cpu_s: float = 1.5, **changes: Any) -> Run:
    return Run(
        load(**changes), Looked(0.0, 0.0, 100 << 20), Looked(2.0, cpu_s, 101 << 20), 90 << 20, 99 << 20, 0.1, False
    )


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "rooms.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table ops (site, counter, seq)")
        connection.executemany("insert into ops values (?, ?, ?)", [(5, 1, 7), (5, 2, 8)])
    return path


def test_a_scale_is_held_when_all_is_in_time_and_fits_a_core() -> None:
    assert run().is_held
    assert not run(cpu_s=2.1).is_held
    assert not run(batch_ack_ms=[60.0] * 20).is_held, "agents count"
    assert not run(visible_ms=[]).is_held, "nobody saw anything"


def test_what_was_put_off_and_sent_again_is_no_loss(database: Path) -> None:
    check(load(), database, is_shown=True)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"acked": [(5, 1, 7), (5, 3, 9)]}, "'lost': 1"),
        ({"acked": [(5, 1, 8)]}, "'lost': 1"),
        ({"unanswered": 2}, "'unanswered': 2"),
        ({"went_back": 1}, "through went back"),
        ({"closed": 1}, "closed"),
        ({"refused": {"busy": 1, "rate": 4}}, "'refused': 4"),
        ({"streams": [[(7, "a")], [(7, "b")]]}, "replicas that differ"),
    ],
)
def test_what_was_lost_fails_the_run(database: Path, changes: dict[str, Any], what: str) -> None:
    with pytest.raises(LostError, match=what):
        check(load(**changes), database, is_shown=True)


def test_a_client_that_sees_something_else_fails_the_run(database: Path) -> None:
    with pytest.raises(LostError, match="SDK client"):
        check(load(), database, is_shown=False)


def test_figures_are_per_second_of_what_was_counted() -> None:
    value_by_name = {each["name"]: each["value"] for each in rows_of("x", [run()])}

    assert value_by_name["x/cpu"] == 75
    assert value_by_name["x/ops_sent"] == 20
    assert value_by_name["x/bytes"] == 2
    assert (value_by_name["x/memory"], value_by_name["x/memory_grown"]) == (101, 1)
    assert value_by_name["x/ack_p95"] == 10
