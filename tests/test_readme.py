"""The README's Python runs, and says what it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.bounds import HANG_S

ROOT = Path(__file__).parent.parent


def python_of_readme() -> str:
    """The README's one block of Python."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return block


def test_the_ten_lines_run_and_print_what_they_say(tmp_path: Path):
    said = re.findall(r"print\(.*# (.*)$", python_of_readme(), re.MULTILINE)

    result = subprocess.run(
        [sys.executable, "-c", python_of_readme()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == said
    assert result.stderr == ""


def test_the_ten_lines_are_ten():
    assert len(python_of_readme().strip().splitlines()) <= 11
