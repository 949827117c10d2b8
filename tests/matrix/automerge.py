"""Automerge in Node: all scenarios in one process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.bounds import HANG_S
from tests.matrix.scenarios import ORDERS, SCENARIOS, Outline
from tests.peers import install

NAME = "Automerge"
SCRIPT = Path(__file__).parent / "automerge.cjs"


def outcomes() -> list[list[Outline]]:
    """Of each scenario, what all see in the end: with the last of them as the lowest actor, and with the first."""
    scenarios = [{"outline": each.outline, "edits": each.edits} for each in SCENARIOS]
    asked = {"folder": str(install.node_folder("automerge")), "scenarios": scenarios, "orders": ORDERS}
    done = subprocess.run(
        [*install.node_command(), str(SCRIPT)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [[_outline(order) for order in orders] for orders in json.loads(done.stdout)]


def _outline(told: Any) -> Outline:
    return [(text, _outline(below)) for text, below in told]
