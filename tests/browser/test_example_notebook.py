"""The example notebook, as somebody meets it who has just started."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook
from tests.browser.lab import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01-live-objects.ipynb"


def test_the_example_runs_to_its_end_and_leaves_a_live_view(lab: Lab, open_notebook: OpenNotebook) -> None:
    page = open_notebook("ann", copy_of=NOTEBOOK)
    page.run_all()
    expect(page.page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']")).to_have_count(0)
    view = page.any_view()
    view.root.scroll_into_view_if_needed()
    view.expect_status("live")
    view.expect_value(lab.state("planning-board")["tasks"])
    page.screenshot("example-notebook")
