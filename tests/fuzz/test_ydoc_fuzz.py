"""Twisted updates of stock clients against a document on its server: applied or refused, and nothing else.

As ``test_yjs_fuzz``, for nested documents and updates of many clients. What was accepted must leave nothing pending in
yrs, and make the same document in any causal order. To play a failure again:
``PYTHONPATH=. python tests/fuzz/ydoc_fuzz_run.py SEED CASES FILE``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.fuzz_child import check, run_child

SCRIPT = Path(__file__).parent / "ydoc_fuzz_run.py"
CASES = int(os.environ.get("COLLABKERNEL_FUZZ_CASES", "2500"))
CASES_LONG = 1_000_000


def test_updates_of_documents_are_applied_or_refused(tmp_path: Path):
    result = run_child(SCRIPT, "1", CASES, tmp_path)

    check(result, CASES)
    assert result["gap"] > CASES / 100, "gaps are told from harm"


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_million_updates_of_documents_are_applied_or_refused(tmp_path: Path):
    result = run_child(SCRIPT, "long", CASES_LONG, tmp_path)

    check(result, CASES_LONG)
