"""Take the README's picture anew: ``python -m tests.browser.picture``. Two people and an agent on one board."""

from __future__ import annotations

import base64
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.agent import agent_in
from tests.browser.lab import Lab
from tests.browser.notebook_page import NotebookPage

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "board.png"
CELL = """\
import collabkernel as ck

room = ck.connect("planning")
room.root"""
TASKS = [
    {"title": "Book the hall", "done": True, "hours": 2},
    {"title": "Invite everybody", "done": False, "hours": 1.5},
    {"title": "Bring cake", "done": False, "hours": 3},
]
NOTES = "Ann: the hall is free from ten.\nBob: I bring the music."
WINDOW = {"width": 850, "height": 790}


def open_board(browser: Browser, lab: Lab, person: str) -> NotebookPage:
    """A narrow window without a sidebar."""
    lab.write_notebook(person, [CELL])
    page = NotebookPage(browser, lab, person, person)
    page.wait_for_kernel()
    page.page.get_by_role("tab", name="File Browser").click()
    page.page.set_viewport_size(WINDOW)
    return page


def side_by_side(browser: Browser, shots: list[bytes]) -> bytes:
    """One picture of them all."""
    images = "".join(f"<img src='data:image/png;base64,{base64.b64encode(shot).decode()}'>" for shot in shots)
    page = browser.new_page(viewport={"width": 2 * WINDOW["width"] - 64, "height": 100})
    style = "body { margin: 0; display: flex; gap: 16px; } img { flex: 1; min-width: 0; align-self: start; }"
    page.set_content(f"<style>{style}</style><body>{images}</body>")
    return page.screenshot(full_page=True, omit_background=True)


def take(browser: Browser, lab: Lab) -> bytes:
    """The scene."""
    with agent_in(lab, "planning") as scout:
        scout.edit(lambda room: room.root.update(title="Summer party", day="Friday"))
        scout.edit(lambda room: room.list("tasks").extend(TASKS))
        scout.edit(lambda room: room.text("notes").insert(0, NOTES))
        ann_page, bob_page = (open_board(browser, lab, person) for person in ("ann", "bob"))
        ann, bob = ann_page.show(), bob_page.show()
        bob_page.choose("Settings", "Theme", "JupyterLab Dark")
        ann.text("notes").scroll_into_view_if_needed()
        ann.field("tasks", 1, "title").click()
        bob.text("notes").click()
        for view in (ann, bob):
            expect(view.root.locator(".ck-focused")).to_have_count(1)
        return side_by_side(browser, [each.page.screenshot() for each in (ann_page, bob_page)])


def main() -> None:
    """Write the picture."""
    chromium = shutil.which("chromium")
    lab = Lab(Path(tempfile.mkdtemp()) / "lab")
    lab.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            PICTURE.write_bytes(take(browser, lab))
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
