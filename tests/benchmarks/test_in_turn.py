"""Systems are asked in turn, and who fails or does not finish has that for a result."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from rich.console import Console

from tests.benchmarks.in_turn import LoadFailedError, cell_sources, in_turn, notebook_json
from tests.peers.servers import OURS

pytestmark = pytest.mark.core


class Thing(NamedTuple):
    name: str


def test_each_run_begins_with_another_system_and_who_did_not_finish_is_asked_no_more():
    asked: list[str] = []

    def measure(case: Thing, system: str) -> dict[str, str]:
        asked.append(f"{case.name}{system}")
        return {"unfinished": "half of it" if system == "b" else ""}

    found = list(in_turn([Thing("1"), Thing("2")], lambda _: ["a", "b", "c"], 3, measure, Console(quiet=True)))

    assert asked == [*["1a", "1b", "1c", "1c", "1a", "1c", "1a"], *["2a", "2b", "2c", "2c", "2a", "2c", "2a"]]
    assert [(case.name, {system: len(each) for system, each in results.items()}) for case, results in found] == [
        ("1", {"a": 3, "b": 1, "c": 3}),
        ("2", {"a": 3, "b": 1, "c": 3}),
    ]


def test_a_peer_that_fails_has_no_results_and_our_own_failure_ends_it():
    def measure(_: Thing, system: str) -> dict[str, str]:
        if system != "fine":
            raise LoadFailedError("it did not start")
        return {"unfinished": ""}

    (found,) = in_turn([Thing("1")], lambda _: ["fine", "broken"], 1, measure, Console(quiet=True))
    assert found == (Thing("1"), {"fine": [{"unfinished": ""}], "broken": []})
    with pytest.raises(LoadFailedError):
        list(in_turn([Thing("1")], lambda _: [OURS], 1, measure, Console(quiet=True)))


def test_a_notebook_has_cells_of_the_size_that_is_asked_for():
    cells = json.loads(notebook_json(cell_sources(3, 2000)))["cells"]

    assert len({cell["id"] for cell in cells}) == 3
    assert all(1980 <= len(cell["source"]) <= 2000 for cell in cells)
