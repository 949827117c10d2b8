"""Yjs updates out of a grammar against the validator and the rope: applied or refused, and nothing else.

It runs in a process of its own with a watchdog, because yrs can hang with the interpreter's lock held, or die. A
failure names the seed, the case and its bytes; ``python tests/fuzz/yjs_fuzz_run.py SEED CASES FILE`` plays it again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "yjs_fuzz_run.py"
CASES = int(os.environ.get("COLLABKERNEL_FUZZ_CASES", "20000"))
CASES_LONG = 1_000_000
QUIET_S_MAX = 20
"""A child that starts no new case for so long hangs."""
CASE_MS_MAX = 50
"""CPU time of one case, on a noisy machine."""
GROWTH_BYTES_MAX = 32 << 20


def run_child(seed: str, cases: int, folder: Path) -> dict[str, Any]:
    """What the run tells of itself; fails with the case that it stopped at."""
    progress = folder / "progress"
    progress.touch()
    with (folder / "out").open("w+") as out:
        child = subprocess.Popen(
            [sys.executable, str(SCRIPT), seed, str(cases), str(progress)], stdout=out, stderr=subprocess.STDOUT
        )
        last = None
        try:
            while child.poll() is None:
                try:
                    child.wait(QUIET_S_MAX)
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
    assert result["applied"] + result["refused"] >= cases
    # A fuzzer whose every case is refused, or none, tests nothing.
    assert 0.1 < result["applied"] / cases < 0.9
    assert result["slowest_ms"] < CASE_MS_MAX, result["slowest"]
    assert result["growth_bytes"] < GROWTH_BYTES_MAX


def test_updates_are_applied_or_refused(tmp_path: Path):
    result = run_child("1", CASES, tmp_path)

    check(result, CASES)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_updates_are_applied_or_refused(tmp_path: Path):
    result = run_child("long", CASES_LONG, tmp_path)

    check(result, CASES_LONG)


def test_a_dead_child_names_its_case(tmp_path: Path):
    (tmp_path / "progress").write_text("world 9:9 case 9")

    with pytest.raises(pytest.fail.Exception, match=r"died with 1 at or after world 9:9 case 9"):
        run_child("1", "no number", tmp_path)  # type: ignore[arg-type]  # which is what kills it
