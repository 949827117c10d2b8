"""How a test starts a Jupyter application: as ``python -m`` does, and sooner."""

from __future__ import annotations

import sys
from pathlib import Path

# jsonschema compiles a grammar of IRIs when it is imported, and does without where that package is not there: nearly
# half of the processor time that a server takes to start, and no schema of Jupyter's asks for an IRI.
_START = """
import runpy, sys
sys.modules["rfc3987_syntax"] = None
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def jupyter_command(module: str, python: str | Path = sys.executable) -> list[str]:
    """What stands for ``python -m MODULE`` before the arguments."""
    return [str(python), "-c", _START, module]
