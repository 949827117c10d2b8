"""The cost benchmark measures every operation of every system, in rows of the agreed shape."""

from __future__ import annotations

from statistics import median

from tests.benchmarks.crdt_cost import rows


def test_every_case_gives_a_row():
    found = rows(is_quick=True, sizes=(100,))
    systems_by_name: dict[str, set[str]] = {}
    for row in found:
        assert row["runs"]
        assert min(row["runs"]) > 0
        assert row["value"] == median(row["runs"])
        assert row["unit"] == {"map apply": "ops/s", "list load": "ms"}.get(row["name"].split("/")[1], "us")
        systems_by_name.setdefault(row["name"], set()).add(row["system"].split()[0])

    assert all("collabkernel" in systems for systems in systems_by_name.values())
    assert systems_by_name["crdt_cost/edited list random insert/100"] == {"collabkernel", "pycrdt", "loro"}
    assert systems_by_name["crdt_cost/list move/100"] == {"collabkernel", "loro"}
