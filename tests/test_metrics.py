"""What operators see at ``/metrics``."""

from __future__ import annotations

import subprocess
import sys

import prometheus_client
import pytest

from collabkernel import errors, metrics
from collabkernel.metrics import RateMeter
from tests.bounds import HANG_S


def exposed() -> str:
    """What Jupyter serves: the default registry."""
    return prometheus_client.generate_latest(prometheus_client.REGISTRY).decode()


def value(name: str, **labels: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0.0


def test_the_names_of_the_design_are_there():
    names = {line.split()[2] for line in exposed().splitlines() if line.startswith("# TYPE")}

    assert {"storage_op_rtt_ms", "storage_op_rate", "snapshot_latency_ms", "oplog_lag"} <= names
    assert {"collabkernel_sessions", "collabkernel_rooms", "collabkernel_rejects_total"} <= names


def test_every_code_of_the_errors_is_a_label():
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}

    missing = codes - metrics.REJECT_CODES - {"error"}

    assert missing == set(), "add these to metrics.REJECT_CODES, or operators will see them as 'other'"


def test_refusals_are_counted_by_code_and_unknown_codes_together():
    before = value("collabkernel_rejects_total", code="rate"), value("collabkernel_rejects_total", code="other")

    metrics.count_reject("rate")
    for i in range(3):
        metrics.count_reject(f"made-up-{i}")

    assert value("collabkernel_rejects_total", code="rate") == before[0] + 1
    assert value("collabkernel_rejects_total", code="other") == before[1] + 3
    assert "made-up" not in exposed()


def test_frames_are_counted_with_their_bytes():
    before = [
        value(f"collabkernel_{name}_total", direction=d) for name in ("frames", "frame_bytes") for d in ("in", "out")
    ]

    metrics.count_frame_in(10)
    metrics.count_frames_out(2, 15)

    after = [
        value(f"collabkernel_{name}_total", direction=d) for name in ("frames", "frame_bytes") for d in ("in", "out")
    ]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 2, 10, 15]


def test_the_rate_is_the_mean_of_the_last_full_seconds():
    meter = RateMeter(window_s=10)

    for second in range(30):
        meter.add("plan", 100, second + 0.2)
        meter.add("notes", 20, second + 0.9)

    assert meter.total_per_s(30.0) == 120
    assert meter.busiest_per_s(30.5) == 100
    assert meter.total_per_s(35.0) == 60
    assert meter.total_per_s(40.0) == meter.busiest_per_s(40.0) == 0


def test_the_rate_does_not_count_the_second_that_is_under_way():
    meter = RateMeter(window_s=10)
    meter.add("plan", 50, 7.1)

    assert meter.total_per_s(7.9) == 0
    assert meter.total_per_s(8.0) == 5


def test_stored_operations_show_in_the_counter():
    before = value("collabkernel_storage_ops_total")

    metrics.count_stored("plan", 12)

    assert value("collabkernel_storage_ops_total") == before + 12


@pytest.mark.parametrize("first", ["collabkernel.metrics", "jupyter_server.prometheus.metrics"])
def test_the_metrics_stand_beside_those_of_jupyter(first: str):
    program = f"import {first}, collabkernel.metrics, jupyter_server.prometheus.metrics, prometheus_client as p;"
    program += "assert b'oplog_lag' in p.generate_latest()"

    subprocess.run([sys.executable, "-c", program], check=True, timeout=HANG_S)
