"""jupyter-collaboration's own tests, out of its source distribution, run against collabkernel.

docs/CONFORMANCE.md says for each that cannot apply why not; whatever it does not name is run and must pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import collabkernel_server
import pytest

import collabkernel
from tests.peers import install

CONFORMANCE = install.ROOT / "docs" / "CONFORMANCE.md"
APPLICABLE = 14
TOO_LONG = re.compile(r"assert \d+\.\d+ < [\d.]+$")
"""What its tests say last, when everything was right but took longer than on their authors' machine."""
TRIES_MORE = 2
"""Some sleep for as long as an edit takes there, and look."""

# The first run installs.
pytestmark = pytest.mark.timeout(900)


def not_applicable() -> list[str]:
    """``FILE::NAME`` of the tests in CONFORMANCE.md's tables."""
    return re.findall(r"^\| `(test_\w+\.py::\w+)`", CONFORMANCE.read_text(), re.MULTILINE)


def outcomes(folder: Path, *options: str) -> dict[str, str]:
    """Name with parameters to "passed", or what went wrong."""
    if not (folder / "tests").exists():
        shutil.copytree(install.sdist() / "tests", folder / "tests")
    shutil.copy(Path(__file__).parent / "upstream_conftest.py", folder / "tests" / "conftest.py")
    paths = [str(Path(package.__file__ or "").parents[1]) for package in (collabkernel, collabkernel_server)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    python = str(install.python_of("upstream-tests"))
    left_out = [f"--deselect=tests/{name}" for name in not_applicable()]
    arguments = ["-q", "--junitxml=report.xml", "--timeout=300", *options]
    command = [python, "-P", "-m", "pytest", *arguments, *left_out, "tests"]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    report = folder / "report.xml"
    assert report.exists(), run.stdout[-3000:] + run.stderr[-3000:]
    assert options or f"{len(left_out)} deselected" in run.stdout, "CONFORMANCE.md names tests that are not there"
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        faults = [each.get("message") or each.tag for each in case if each.tag in ("failure", "error", "skipped")]
        is_slow = [bool(TOO_LONG.match(fault)) for fault in faults] == [True]
        found[str(case.get("name"))] = "passed" if is_slow else "; ".join(faults) or "passed"
    return found


def test_every_test_that_can_apply_passes(tmp_path: Path) -> None:
    found = outcomes(tmp_path)
    for _ in range(TRIES_MORE):
        if set(found.values()) != {"passed"}:
            found |= outcomes(tmp_path, "--last-failed")

    assert {name: outcome for name, outcome in found.items() if outcome != "passed"} == {}
    assert len(found) == APPLICABLE
