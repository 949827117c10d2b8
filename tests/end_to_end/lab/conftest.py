"""JupyterLab servers for the tests here: ours, or with ``COLLABKERNEL_LAB_SERVER`` a peer, to see each test fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.databases import running_postgres
from tests.peers.servers import KINDS, OURS, PeerServer

StartServer = Callable[..., PeerServer]


@pytest.fixture(scope="session")
def kind() -> str:
    """Which server is tested: the first kind whose name begins with what the variable says."""
    wanted = os.environ.get("COLLABKERNEL_LAB_SERVER", OURS)
    return next(each for each in KINDS if each.startswith(wanted))


@pytest.fixture
def start_server(kind: str, tmp_path: Path) -> Iterator[StartServer]:
    """Start servers over one folder; they end with the test."""
    with ExitStack() as servers:

        def start(name: str = "server", **options: object) -> PeerServer:
            return servers.enter_context(PeerServer(kind, tmp_path, name=name, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def server(start_server: StartServer) -> PeerServer:
    """A server of this test's own."""
    return start_server()


@pytest.fixture(scope="module")
def shared_server(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerServer]:
    """One server for the tests of a module that leave it as they found it; each has files of its own."""
    with PeerServer(kind, tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """One PostgreSQL server for the whole run."""
    with running_postgres() as url:
        yield url
