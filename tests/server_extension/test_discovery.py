"""Running servers are found by Jupyter's runtime files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from collabkernel_server.discovery import running_servers


def test_running_servers_are_those_with_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    common = {"pid": os.getpid(), "token": "secret"}
    for number, info in enumerate(
        [{"url": "http://localhost:8888/b/", "sock": ""}, {"url": "http+unix://x", "sock": "/x"}]
    ):
        (tmp_path / f"jpserver-{number}.json").write_text(json.dumps(info | common))

    assert list(running_servers()) == [("http://localhost:8888/b/", "secret")]


def test_no_runtime_directory_is_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "none"))

    assert list(running_servers()) == []
