"""A real Jupyter server for the tests of JupyterLab's documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server_extension.running_server import RunningServer


@pytest.fixture(scope="session")
def server(start_server: Callable[..., RunningServer]) -> RunningServer:
    """Shared by all tests that leave it running; each edit is a step of the timeline, so that none waits a second."""
    return start_server("--CollabKernelServer.timeline_step_ms=0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the files are of a server in this process; its database is beside."""
    root = tmp_path / "root"
    root.mkdir()
    return root
