"""The tree's cost benchmark gives every figure, and both systems get the same moves."""

from __future__ import annotations

from statistics import median

from tests.benchmarks.tree_cost import concurrent_rows


def test_both_systems_import_concurrent_moves():
    found = concurrent_rows(blocks=100, sites=3)

    assert [row["system"].split()[0] for row in found] == ["collabkernel", "loro"]
    for row in found:
        assert row["name"] == "tree/concurrent remote move/100"
        assert min(row["runs"]) > 0
        assert row["value"] == median(row["runs"])
