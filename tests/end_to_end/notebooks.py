"""Runs the notebooks of this project as their readers do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.bounds import HANG_S
from tests.server_extension.running_server import RunningServer

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def executed(notebook_name: str, environment: dict[str, str]) -> Any:
    """A notebook with its outputs, run in a kernel that finds no server but the one that ``environment`` names."""
    notebook = nbformat.read(NOTEBOOKS / notebook_name, as_version=4)
    names = ("COLLABKERNEL_", "JUPYTER_TOKEN")
    env = {name: value for name, value in os.environ.items() if not name.startswith(names)} | environment
    NotebookClient(notebook, timeout=HANG_S, kernel_name="python3").execute(env=env)
    return notebook


def kernel_environment(server: RunningServer) -> dict[str, str]:
    """What a server tells the kernels that it starts."""
    (token_file,) = server.runtime_dir.glob("collabkernel-*.token")
    return {"COLLABKERNEL_URL": server.base_url, "COLLABKERNEL_TOKEN_FILE": str(token_file)}


def texts(notebook: Any) -> str:
    """All that a notebook shows as text, a cell after the other."""
    return "\n".join("".join(map(_text, cell.get("outputs", []))) for cell in notebook.cells)


def _text(output: Any) -> str:
    """What is printed comes in as many pieces as the kernel had time for, so they are joined as they are."""
    if "text" in output:
        return str(output["text"])
    return f"{output.get('data', {}).get('text/plain', '')}\n"


def check_stored_without_outputs(notebook_name: str) -> None:
    """A notebook in the repository is valid, and shows nothing."""
    notebook = nbformat.read(NOTEBOOKS / notebook_name, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.cells)
