"""A real Jupyter server for the tests of the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server_extension.running_server import RunningServer


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Shared by the tests that leave it running."""
    server = RunningServer(tmp_path_factory.mktemp("jupyter"))
    yield server
    server.process.kill()
    server.process.wait(10)
