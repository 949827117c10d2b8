"""Who saw what when, out of what writers and onlookers tell; and what was never seen is no figure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.load import Plan
from tests.benchmarks.servers import figures_of
from tests.benchmarks.servers_load import Seen, Written

PLAN = Plan(["", ""], duration_s=2.0, warm_up_s=1.0)
WRITTEN = Written(sites=[7, 8], sent_s=[[0.0, 1.5, 3.0], [0.0, 2.0]], rtt_ms=[[9, 20, 30], [9, 40]], cpu_s=0.5)
"""Site 7 writes at server 0, site 8 at server 1; what was sent before 1.0 is warm-up."""
AT_0 = [(7, 1, 0.9), (8, 1, 0.9), (7, 2, 1.51), (8, 2, 2.04), (7, 3, 3.01)]
AT_1 = [(7, 1, 0.9), (8, 1, 0.9), (7, 2, 1.55), (8, 2, 2.02), (7, 3, 3.06)]


def test_visible_here_and_elsewhere_are_told_apart_and_the_warm_up_is_not_counted():
    found = figures_of(PLAN, WRITTEN, Seen(seen=[AT_0, AT_1], cpu_s=0.25), [0, 1], [0, 1], server_s=1.5)

    assert found["visible_elsewhere_p50", "ms"] == pytest.approx(50)
    assert found["visible_elsewhere_p95", "ms"] == pytest.approx(60)
    assert found["visible_here_p95", "ms"] == pytest.approx(20)
    assert (found["ack_p50", "ms"], found["ack_p95", "ms"]) == (30, 40)
    assert found["rate", "ops/s"] == pytest.approx(1.5)
    assert (found["servers_cpu", "%"], found["generator_cpu", "%"]) == (50, 25)


def test_what_was_never_seen_fails_the_run():
    with pytest.raises(RuntimeError, match="1 of 3 operations were not seen"):
        figures_of(replace(PLAN), WRITTEN, Seen(seen=[AT_0, AT_1[:-1]], cpu_s=0), [0, 1], [0, 1], server_s=1)
