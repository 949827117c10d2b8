"""Yjs updates out of a grammar against the validator and the rope: applied or refused, and nothing else.

It runs in a process of its own with a watchdog, because yrs can hang with the interpreter's lock held, or die. A
failure names the seed, the case and its bytes; ``python tests/fuzz/yjs_fuzz_run.py SEED CASES FILE`` plays it again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.fuzz_child import check, run_child

SCRIPT = Path(__file__).parent / "yjs_fuzz_run.py"
CASES = int(os.environ.get("COLLABKERNEL_FUZZ_CASES", "10000"))
CASES_LONG = 1_000_000


def test_updates_are_applied_or_refused(tmp_path: Path):
    result = run_child(SCRIPT, "1", CASES, tmp_path)

    check(result, CASES)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_updates_are_applied_or_refused(tmp_path: Path):
    result = run_child(SCRIPT, "long", CASES_LONG, tmp_path)

    check(result, CASES_LONG)


def test_a_dead_child_names_its_case(tmp_path: Path):
    (tmp_path / "progress").write_text("world 9:9 case 9")

    with pytest.raises(pytest.fail.Exception, match=r"died with 1 at or after world 9:9 case 9"):
        run_child(SCRIPT, "1", "no number", tmp_path)  # type: ignore[arg-type]  # which is what kills it
