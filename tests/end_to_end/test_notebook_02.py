"""The second notebook, cell by cell, in a kernel of a real Jupyter server; and without one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.end_to_end.notebooks import check_stored_without_outputs, executed, kernel_environment, texts
from tests.server_extension.running_server import RunningServer

NOTEBOOK = "02-documents.ipynb"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("notebook"))
    yield server
    server.process.kill()
    server.process.wait(10)


def check_story(shown: str) -> None:
    assert "heading: Autumn plan" in shown
    assert "- [ ] Write the outline\n- [x] Invite everybody" in shown
    assert "### Later" in shown
    assert "['We meet on Monday', ' and talk about the board. Bring coffee.']" in shown
    assert "['We meet on Monday and talk about the board. Bring coffee.']" in shown
    assert "both see the same: True" in shown
    assert "['We meet at noon on Monday', 'and talk about the board. Bring coffee.']" in shown
    assert "[('move', 'Draw the big picture.')]" in shown
    assert "'Monday' of 'Reminder: We meet at noon on Monday'" in shown
    assert ": Is Tuesday better?" in shown
    assert ": Monday is fine." in shown
    assert "resolved: True" in shown
    assert "<DocDiff: 1 added, 1 removed, 0 moved, 1 changed>" in shown
    assert "{+Winter+}[-Autumn-] plan" in shown
    assert "gone: ['Write the outline'] new: ['Hibernate.']" in shown
    assert "as it was: True - Autumn plan\nundo: True - Winter plan\nredo: True - Autumn plan" in shown
    assert "not-loaded\n" in shown
    assert "['Autumn plan', 'Draw the big picture.']" in shown
    assert "# Autumn plan\n\nDraw the *big* picture.\n\nReminder: We meet at noon on Monday" in shown


def test_it_writes_the_plan_on_a_real_server_twice(server: RunningServer) -> None:
    environment = kernel_environment(server)
    for _ in range(2):
        notebook = executed(NOTEBOOK, environment)
        shown = texts(notebook)
        assert "<Room 'autumn-plan', live, saved>" in shown
        check_story(shown)
        for secret in (server.token, server.kernel_token):
            assert secret not in json.dumps(notebook)


def test_without_a_server_it_says_what_to_do_and_goes_on_in_memory() -> None:
    shown = texts(executed(NOTEBOOK, {}))

    assert "jupyter lab" in shown
    check_story(shown)
    assert "paragraph by several: ['Reminder: ', 'We meet', ' at noon', ' on Monday']" in shown


def test_it_is_stored_without_outputs() -> None:
    check_stored_without_outputs(NOTEBOOK)
