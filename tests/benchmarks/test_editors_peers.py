"""What becomes of runs: figures, or what was not reached."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks import editors, editors_peers
from tests.benchmarks.editors_peers import CASES, Case
from tests.benchmarks.editors_peers_load import LoadResult
from tests.peers.node_servers import HOCUSPOCUS, Y_WEBSOCKET
from tests.peers.servers import OURS

pytestmark = pytest.mark.core


def _result(**more: Any) -> LoadResult:
    result = LoadResult(
        unfinished="",
        visible_ms=[float(percent) for percent in range(101)],
        delivered=1_000,
        expected=2_000,
        cpu_s=0.002,
        generator_cpu_s=0.5,
        elapsed_s=2.0,
        memory_bytes=1 << 20,
        join_ms=[10.0, 30.0],
        lines_ended=0,
        stood_still_s=0.0,
        acked=[],
        shown=[],
    )
    return {**result, **more}  # type: ignore[typeddict-item]  # keys of it


def _figures(case: Case, system: str, *results: LoadResult) -> dict[str, float]:
    rows = editors_peers.rows_of_case(case, system, list(results))
    return {row["name"].removeprefix(f"{case.name}/"): row["value"] for row in rows}


def test_every_part_has_its_cases():
    assert {case.part for case in CASES} == {"yjs", "presence", "join", "crash"} <= set(editors.PARTS)
    assert all(OURS in case.systems for case in CASES)


def test_figures_are_medians_over_runs():
    case = Case("yjs/2x2", "yjs", 2, 2)

    found = _figures(case, OURS, _result(), _result(cpu_s=0.004), _result(cpu_s=0.009))

    assert (found["visible_p95"], found["delivered"], found["generator_cpu"]) == (95.0, 50.0, 25.0)
    assert found["cpu_per_delivery"] == pytest.approx(4.0)


def test_a_run_that_did_not_finish_tells_how_far_it_came():
    case = Case("presence/9", "presence", 9, 9)

    found = _figures(case, HOCUSPOCUS, _result(), _result(unfinished="editing"))

    assert found == {"did_not_finish_within": editors_peers.BOUND_S, "delivered": 50.0}


def test_lost_is_what_was_promised_and_is_not_there():
    case = Case("crash", "crash", 2, 2)
    result = _result(acked=[1, 2, 3], shown=[2, 9])

    assert _figures(case, HOCUSPOCUS, result) == {"acknowledged": 3, "lost": 2}
    assert _figures(case, Y_WEBSOCKET, result) == {"shown_to_others": 3, "lost": 2}


def test_nobody_who_joined_is_told_as_that():
    assert _figures(Case("join/3", "join", 3), HOCUSPOCUS, _result(join_ms=[])) == {"joined": 0.0}
