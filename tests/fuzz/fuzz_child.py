"""Runs a fuzz script in a process of its own, with a watchdog: yrs can hang with the lock held, or die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bounds import HANG_S

ROOT = Path(__file__).parents[2]
CASE_COST_MAX = 500
"""Processor time of one case, in cases of average cost."""
GROWTH_BYTES_MAX = 32 << 20


def run_child(script: Path, seed: str, cases: int, folder: Path) -> dict[str, Any]:
    """What the run tells of itself; fails with the case that it stopped at."""
    progress = folder / "progress"
    progress.touch()
    with (folder / "out").open("w+") as out:
        child = subprocess.Popen(
            [sys.executable, str(script), seed, str(cases), str(progress)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])},
        )
        last = None
        try:
            while child.poll() is None:
                try:
                    child.wait(HANG_S)
                except subprocess.TimeoutExpired:
                    now = progress.read_bytes()
                    if now == last:
                        pytest.fail(f"hangs at {_case(now)}")
                    last = now
        finally:
            child.kill()
            child.wait()
        out.seek(0)
        text = out.read()
    if child.returncode != 0:
        pytest.fail(f"died with {child.returncode} at or after {_case(progress.read_bytes())}\n{text[-3000:]}")
    result: dict[str, Any] = json.loads(text.splitlines()[-1])
    return result


def _case(progress: bytes) -> str:
    return progress.rstrip(b"\0").decode(errors="replace")


def check(result: dict[str, Any], cases: int) -> None:
    """All cases ran, none much longer than others, and without growth."""
    assert result["applied"] + result["refused"] >= cases
    # A fuzzer whose every case is refused, or none, tests nothing.
    assert 0.1 < result["applied"] / cases < 0.9
    print(f"slowest {result['slowest_ms']:.2f} ms, average {result['spent_ms'] / cases:.2f} ms")
    assert result["slowest_ms"] < CASE_COST_MAX * result["spent_ms"] / cases, result["slowest"]
    assert result["growth_bytes"] < GROWTH_BYTES_MAX
