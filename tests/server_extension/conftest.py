"""Real Jupyter servers for the tests of the extension."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server_extension.running_server import RunningServer


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningServer]]:
    servers = []

    def start(*arguments: str, folder: Path | None = None) -> RunningServer:
        server = RunningServer(folder or tmp_path_factory.mktemp("server"), *arguments)
        servers.append(server)
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)


@pytest.fixture(scope="session")
def server(start_server: Callable[..., RunningServer]) -> RunningServer:
    """Shared by all tests that leave it running; a small frame limit, so that tests can pass it cheaply."""
    return start_server("--CollabKernelServer.frame_bytes=65536", "--CollabKernelServer.sessions_per_room=4")
