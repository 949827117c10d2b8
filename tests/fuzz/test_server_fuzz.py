"""A whole server under hostile Yjs updates: each is applied or refused with a code, and the next client is served.

``COLLABKERNEL_FUZZ_SEED`` names another history.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "server_fuzz_run.py"
CASES_A_SECOND_MIN = 100
"""A slower run is taken for a hang; a quiet machine does 2,000."""
SERVED_COST_MAX = 50
"""Processor time until the typist is served, in what it takes at the median: hostile updates are handled in it too."""
GROWTH_BYTES_MAX = 20 << 20


@pytest.mark.timeout(0)
@pytest.mark.parametrize("cases", [8_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_server_stands_hostile_updates_and_serves_the_next_client(tmp_path: Path, cases: int) -> None:
    progress = tmp_path / "case"
    seed = os.environ.get("COLLABKERNEL_FUZZ_SEED", "1")

    command = [sys.executable, str(RUN), seed, str(cases), str(progress)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 + cases / CASES_A_SECOND_MIN)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it hangs: {_last_case(progress)}")
    assert done.returncode == 0, f"it died: {_last_case(progress)}\n{done.stderr[-4000:]}"

    result = json.loads(done.stdout)
    print(result)
    assert sum(result["counts"].values()) == cases
    assert set(result["counts"]) == {"applied", "invalid-yjs-update"}
    assert min(result["counts"].values()) > cases / 10
    assert result["slowest_ms"] <= SERVED_COST_MAX * result["median_ms"]
    assert result["growth_bytes"] <= GROWTH_BYTES_MAX


def _last_case(progress: Path) -> str:
    return progress.read_bytes().rstrip(b"\0").decode() if progress.exists() else "before the first case"
