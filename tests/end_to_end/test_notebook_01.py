"""The first notebook, cell by cell, in a kernel of a real Jupyter server; and without one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.end_to_end.notebooks import check_stored_without_outputs, executed, kernel_environment, texts
from tests.server_extension.running_server import RunningServer

NOTEBOOK = "01-live-objects.ipynb"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("notebook"))
    yield server
    server.process.kill()
    server.process.wait(10)


def check_story(shown: str) -> None:
    assert "second thoughts - nothing has changed: True" in shown
    assert "Task.done is a bool; 'nearly' is a str" in shown
    assert "Meet on early Monday." in shown
    assert "hours None -> 1.5" in shown
    assert "the agent hears: {'at': '12:30'}" in shown
    assert "0 tasks; undo: True -> 3 tasks" in shown
    assert "the agent's estimates are still there: [1.5, 2.0, 1.5]" in shown
    assert "the same everywhere: True" in shown
    assert "'closed'" in shown


def test_it_builds_the_board_on_a_real_server(server):
    notebook = executed(NOTEBOOK, kernel_environment(server))

    shown = texts(notebook)
    assert "<Room 'planning-board', live, saved>" in shown
    check_story(shown)
    headers = {"Authorization": f"token {server.token}"}
    state = server.request("GET", "collabkernel/api/rooms/planning-board", person=None, **headers).json["state"]
    assert [task["title"] for task in state["tasks"]] == ["Invite everybody", "Write the outline", "Draw the board"]
    assert state["settings"] == {"name": "Autumn plan", "columns": ["to do", "done"]}
    for secret in (server.token, server.kernel_token):
        assert secret not in json.dumps(notebook)


def test_without_a_server_it_says_what_to_do_and_goes_on_in_memory():
    shown = texts(executed(NOTEBOOK, {}))

    assert "jupyter lab" in shown
    assert "a room inside this kernel" in shown
    check_story(shown)


def test_it_is_stored_without_outputs():
    check_stored_without_outputs(NOTEBOOK)
