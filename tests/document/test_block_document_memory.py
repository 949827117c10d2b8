"""What blocks are counted as against what they take: a room's limit is one on memory, or it is none."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.document.test_live_tree_memory import FACTOR_MAX

PROGRAM = """
import gc, json, os
from tests.benchmarks.text_cost import make_document

def resident_bytes():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

kept, found = [make_document(10)], {}
for name, text in (("empty", ""), ("typed", "The quick brown fox jumps over the lazy dog, as it must do. ")):
    before = resident_bytes()
    document = make_document(3000, text, texts_warm=100)
    document.cool(0)
    kept.append(document)
    found[name] = [document.size_bytes // 3000, (resident_bytes() - before) // 3000]
print(json.dumps(found))
"""


@pytest.mark.heavy
def test_blocks_are_counted_by_what_they_take() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    found: dict[str, list[int]] = json.loads(run.stdout)

    wrong = {
        name: f"counted {counted}, took {taken} bytes"
        for name, (counted, taken) in found.items()
        if not taken / FACTOR_MAX <= counted <= taken * FACTOR_MAX
    }
    assert not wrong
