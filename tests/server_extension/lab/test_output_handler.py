"""Where files of outputs are, and as what a browser gets them; test_execute_handler.py asks a real server for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from collabkernel_server.lab.output_files import OutputFiles
from collabkernel_server.lab.output_handler import default_folder

from tests.server_extension.running_server import RunningServer


@pytest.mark.core
def test_files_are_beside_the_database() -> None:
    assert default_folder("sqlite:////srv/rooms.sqlite") == Path("/srv/outputs")
    assert default_folder("postgresql://host/rooms").parts[-2:] == ("collabkernel", "outputs")
    assert default_folder("memory://").parts[-2:] == ("collabkernel", "outputs")


@pytest.mark.parametrize(
    ("suffix", "content_type", "policy", "is_download"),
    [
        ("png", "image/png", "sandbox; default-src 'none'", False),
        ("svg", "image/svg+xml", "sandbox; default-src 'none'", False),
        ("html", "text/html; charset=utf-8", "sandbox allow-scripts", False),
        ("bin", "application/octet-stream", "sandbox", True),
    ],
)
def test_browser_takes_no_file_for_a_page_of_this_server(
    lab_outputs: tuple[RunningServer, Path], suffix: str, content_type: str, policy: str, is_download: bool
) -> None:
    server, folder = lab_outputs
    name = OutputFiles(folder, "", 1 << 20, 1 << 20).put(b"<script>alert(1)</script>", suffix)

    answer = server.request("GET", f"api/collaboration/outputs/{name}")

    assert (answer.status, answer.body) == (200, b"<script>alert(1)</script>")
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert policy in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
    assert ("Content-Disposition" in answer.headers) == is_download
    assert server.request("GET", f"api/collaboration/outputs/{name}", person="stranger").status == 403


@pytest.fixture(scope="module")
def lab_outputs(
    start_server: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunningServer, Path]:
    folder = tmp_path_factory.mktemp("outputs")
    return start_server(f"--CollabKernelServer.outputs_dir={folder}"), folder
