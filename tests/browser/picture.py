"""Take the pictures of the documentation anew: ``python -m tests.browser.picture [board] [notebook]``.

``board.png`` has two people and an agent on one board, ``notebook.png`` two people in one notebook.
"""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.agent import agent_in
from tests.browser.document_page import DocumentPage
from tests.browser.lab import Lab
from tests.browser.notebook_page import NotebookPage
from tests.browser.profiles import Profiles

IMAGES = Path(__file__).parents[2] / "docs" / "images"
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
FORECAST = """\
days = ["Thu", "Fri", "Sat", "Sun"]
rain_mm = [4, 0, 1, 7]"""
CHART = """\
for day, mm in zip(days, rain_mm):
    print(f"{day} {mm} mm", mm * "▒▒")"""


def open_board(browser: Browser, lab: Lab, person: str) -> NotebookPage:
    """A narrow window without a sidebar."""
    lab.write_notebook(person, [CELL])
    page = NotebookPage(Profiles(browser), lab, person, person)
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


def take_notebook(browser: Browser, lab: Lab) -> bytes:
    """Ann and Bob write one notebook; each sees where the other types."""
    lab.write_notebook("weather", [FORECAST, CHART, "best ="])
    profiles = Profiles(browser)
    pages = ann, bob = [DocumentPage(profiles, lab, person) for person in ("ann", "bob")]
    for page in pages:
        page.open("weather.ipynb")
        page.collaborators()
    for index in (0, 1):
        ann.run(index)
    for page in pages:
        expect(page.output(1)).to_contain_text("Sun")
        page.page.set_viewport_size({"width": WINDOW["width"], "height": 420})
    bob.go_to(2)
    ann.go_to(1, "End")
    bob.type(" min(zip(rain_mm, days))")
    ann.page.keyboard.press("ArrowLeft")
    expect(ann.cursor_names()).to_be_visible()
    expect(bob.cursor_names()).to_be_visible()
    return side_by_side(browser, [page.page.screenshot() for page in pages])


def take_board(browser: Browser, lab: Lab) -> bytes:
    """Ann, Bob and an agent on one board."""
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


SCENES = {"board": take_board, "notebook": take_notebook}


def main() -> None:
    """Take those named, or all."""
    chromium = shutil.which("chromium")
    lab = Lab(Path(tempfile.mkdtemp()) / "lab")
    lab.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name in sys.argv[1:] or SCENES:
                (IMAGES / f"{name}.png").write_bytes(SCENES[name](browser, lab))
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
