"""Views in real JupyterLab: two people and a script on one board, a busy kernel, a room without a server."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import collabkernel

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_page_path = Path(__file__).parent / "jupyterlab_page.py"
_spec = importlib.util.spec_from_file_location("jupyterlab_page", _page_path)
assert _spec is not None
assert _spec.loader is not None
jupyterlab_page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(jupyterlab_page)

BOARD = """\
import collabkernel as ck
room = ck.connect("board")
room.text("note")
room.list("tasks")
room.root"""
SLEEP = "import time; time.sleep(60)"
SCRATCH = """\
import collabkernel as ck
room = ck.connect("scratch", url="memory://")
room.root["title"] = "in memory"
room.root"""
SHOTS = Path(os.environ.get("COLLABKERNEL_SCREENSHOTS", "build/screenshots"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    started = jupyterlab_page.LabServer(tmp_path_factory.mktemp("lab"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=jupyterlab_page.chromium_path(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


def shoot(page: Any) -> None:
    """Keep a picture for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.page.screenshot(path=SHOTS / f"{page.name}.png")


def test_two_people_and_a_script_converge_on_one_board_while_a_kernel_is_busy(server: Any, browser: Any) -> None:
    for name in ("ann", "bob"):
        server.write_notebook(name, BOARD, SLEEP)
    ann = jupyterlab_page.NotebookPage(browser, server, "ann")
    bob = jupyterlab_page.NotebookPage(browser, server, "bob")
    ann.run_cell(1)  # Her kernel is busy from here on.

    with collabkernel.connect("board", url=server.url, token=jupyterlab_page.TOKEN, kind="agent") as script:
        script.list("tasks").append({"title": "from the script", "done": False})
        script.root["title"] = "Plan"
        script.flush()
        for page in (ann, bob):
            page.wait_for("view.querySelector('input[aria-label=title]')?.value === 'from the script'")
            assert page.status() == "live"

        ann.type_into("textarea", "first line\nsecond line", "Control+End")
        bob.wait_for("view.querySelector('textarea').value === 'first line\\nsecond line'")
        bob.type_into("textarea", "Bob: ", "Control+Home")
        ann.page.locator(".ck-view input[type=checkbox]").first.click()
        bob.page.locator(".ck-view > .ck-content > .ck-map > .ck-rows > .ck-row").last.locator("input").click()
        bob.page.keyboard.press("Control+A")
        bob.page.keyboard.type("Better plan")
        bob.page.keyboard.press("Enter")

        wanted = {
            "note": "Bob: first line\nsecond line",
            "tasks": [{"title": "from the script", "done": True}],
            "title": "Better plan",
        }
        for page in (ann, bob):
            page.wait_for("view.querySelector('textarea').value === 'Bob: first line\\nsecond line'")
            page.wait_for("view.querySelector('input[type=checkbox]').checked")
            page.wait_for("[...view.querySelectorAll('input')].some(each => each.value === 'Better plan')")
            page.wait_for("view.querySelector('.ck-people').children.length >= 3")
            shoot(page)
            assert page.errors == []
        assert script.to_json() == wanted


def test_a_room_without_a_server_goes_through_the_kernel(server: Any, browser: Any) -> None:
    server.write_notebook("scratch", SCRATCH, "room.root['n'] = 5; print(room.to_json())")
    page = jupyterlab_page.NotebookPage(browser, server, "scratch")
    page.wait_for("view.querySelector('.ck-status').textContent === 'via kernel'")
    page.type_into("input[aria-label=title]", "edited <b>here</b>", "Control+A")
    page.run_cell(1)
    page.wait_for("[...view.querySelectorAll('.ck-head')].map(each => each.textContent).join() === 'n,title'")
    shoot(page)

    assert "{'title': 'edited <b>here</b>', 'n': 5}" in page.page.locator(".jp-OutputArea-output").last.inner_text()
    assert page.errors == []
