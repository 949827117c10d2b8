"""``collabkernel.connect``, and what the package shows at its top."""

from __future__ import annotations

import subprocess
import sys

import pytest

import collabkernel as ck
from collabkernel.client.discover import NoServerError
from collabkernel.client.transport import LinkError
from tests.bounds import HANG_S


def test_ten_lines_of_python_do_what_they_say():
    room = ck.connect("ten-lines", url="memory://")
    tasks = room.list("tasks")
    tasks.append({"title": "Write", "done": False})
    tasks[0]["done"] = True
    room.flush()

    with ck.connect("ten-lines", url="memory://") as other:
        assert other.to_json() == {"tasks": [{"title": "Write", "done": True}]}
    room.close()


def test_without_a_server_the_error_says_what_to_do(monkeypatch):
    monkeypatch.delenv("COLLABKERNEL_URL", raising=False)

    with pytest.raises(NoServerError, match="jupyter lab"):
        ck.connect("x")
    with pytest.raises(LinkError, match="no server answers"):
        ck.connect("x", url="http://127.0.0.1:9/", timeout_s=0.2)


def test_a_server_does_not_load_the_client():
    code = "import collabkernel.server.hub, sys; print([m for m in sys.modules if 'client' in m and 'collab' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S)

    assert done.stdout.strip() == "[]"


def test_the_top_shows_its_names():
    assert {"connect", "aio", "LiveObject", "LiveText", "Change"} <= set(dir(ck))
    assert all(getattr(ck, name) is not None for name in ck.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ck.nothing
