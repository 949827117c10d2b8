"""A load that does not come to its end says so, and how far it came."""

from __future__ import annotations

import os
import socket

import pytest

from tests.benchmarks.jupyterlab_load import Load, Plan


@pytest.mark.anyio
async def test_a_server_that_answers_nothing_is_left_at_the_bound():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"

        result = await Load(Plan([url] * 3, {}, os.getpid(), writers=1, edits_per_s=1.0, bound_s=0.05)).run()

    assert result["unfinished"] == "opening the document: 0 of 3 clients had joined, 0 of 0 edits were delivered"
    assert result["visible_ms"] == []
