"""One person's browser with a notebook open in JupyterLab, and the views in it as plain values."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.browser.converge import wait_until_equal
from tests.browser.lab import Lab
from tests.browser.profiles import Profiles

SHOTS = Path(os.environ.get("COLLABKERNEL_SCREENSHOTS", "build/screenshots"))
FOCUS_TRIES = 3
ROOM_SOCKET = re.compile(r"/collabkernel/api/rooms/.*/ws")

# What a view shows, as JSON: every field as a person reads it, and the values of shut records too.
READ_VIEW = """
view => {
  const rowsOf = container => [...container.querySelector(':scope > .ck-rows').children];
  const read = container => {
    const area = container.querySelector(':scope > .ck-cell > textarea');
    if (area) return area.value;
    if (container.matches('.ck-list')) return rowsOf(container).map(readRow);
    const keyOf = row => row.querySelector(':scope > .ck-head').textContent;
    return Object.fromEntries(rowsOf(container).map(row => [keyOf(row), readRow(row)]));
  };
  const readRow = row => {
    const cell = row.querySelector(':scope > .ck-cell');
    const nested = cell.querySelector(':scope > details > .ck-container');
    if (nested) return read(nested);
    const field = cell.querySelector(':scope > input');
    if (!field) return null;
    if (field.type === 'checkbox') return field.checked;
    return field.inputMode === 'decimal' ? Number(field.value) : field.value;
  };
  const container = view.querySelector(':scope > .ck-content > .ck-container');
  return container && read(container);
}
"""


class NotebookPage:
    """A page in which one person has one notebook open."""

    def __init__(self, profiles: Profiles, lab: Lab, person: str, notebook: str) -> None:
        self.person = person
        self.errors: list[str] = []
        self.room_sockets: list[WebSocketRoute] = []
        self.may_use_sockets = True
        self.page: Page = profiles.new_page(lab, person, 1280, 900)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route_web_socket(ROOM_SOCKET, self._on_room_socket)
        self.page.add_locator_handler(self.page.locator("dialog.jp-Dialog"), self._answer)
        self.page.goto(f"{lab.url}lab/workspaces/{notebook}/tree/{notebook}.ipynb", wait_until="commit")

    def _on_room_socket(self, socket: WebSocketRoute) -> None:
        """A wire between page and server that tests can cut."""
        if not self.may_use_sockets:
            socket.close(code=1001, reason="the network lets no WebSocket through")
            return
        socket.connect_to_server()
        self.room_sockets.append(socket)

    def _answer(self, dialog: Locator) -> None:
        """Take the kernel that is proposed; wait on where loading is slow; pass over what is said after a kill."""
        is_question = dialog.get_by_text(re.compile("Select Kernel|taking some time to load")).count() > 0
        self.page.keyboard.press("Enter" if is_question else "Escape")

    def cut_wire(self) -> None:
        """End the room's sockets, and let no other through."""
        self.may_use_sockets = False
        for socket in self.room_sockets:
            socket.close(code=1001, reason="the wire was cut")
        self.room_sockets.clear()

    def mend_wire(self) -> None:
        """Let sockets through again."""
        self.may_use_sockets = True

    # ------------------------------------------------------------ the notebook

    def wait_for_kernel(self) -> None:
        """Wait until the notebook is there and its kernel does nothing: a run that comes before that is lost."""
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text("| Idle")
        self.wait_for_idle()

    def wait_for_idle(self) -> None:
        """Wait until every cell that was run is done."""
        expect(self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible()

    def cell(self, index: int) -> Locator:
        """A code cell."""
        return self.page.locator(".jp-CodeCell").nth(index)

    def prompt(self, index: int) -> Locator:
        """What stands beside a cell: [ ] before it has run, [*] meanwhile, [1] after."""
        return self.cell(index).locator(".jp-InputArea-prompt")

    def begin_cell(self, index: int) -> None:
        """Run a cell, not waiting for its end."""
        self.cell(index).locator(".jp-InputArea .cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def run_cell(self, index: int) -> Locator:
        """Run a cell to its end; its output. A run is lost while the kernel gets connected: then once more."""
        self.wait_for_kernel()

        def has_run() -> bool:
            before = self.prompt(index).inner_text()
            self.begin_cell(index)
            with suppress(AssertionError):
                expect(self.prompt(index)).not_to_have_text(before, timeout=2_000)
            expect(self.prompt(index)).not_to_have_text("[*]:")
            return re.fullmatch(r"\[\d+\]:", self.prompt(index).inner_text().strip()) is not None

        wait_until_equal(has_run, True, lambda: None)
        return self.cell(index).locator(".jp-Cell-outputArea")

    def choose(self, *names: str) -> None:
        """Choose from the menus."""
        for name in names:
            self.page.locator(".lm-MenuBar, .lm-Menu").get_by_text(name, exact=True).click()

    def run_all(self) -> None:
        """Run every cell by the menu; returns when the kernel has done them."""
        self.wait_for_kernel()

        def has_begun() -> bool:
            self.choose("Run", "Run All Cells")
            with suppress(AssertionError):
                expect(self.prompt(0)).not_to_have_text("[ ]:", timeout=2_000)
            return self.prompt(0).inner_text().strip() != "[ ]:"

        wait_until_equal(has_begun, True, lambda: None)
        self.wait_for_idle()

    def show(self, index: int = 0) -> View:
        """Run a cell whose last line is a live value; its view, which is live."""
        self.run_cell(index)
        view = self.view(index)
        view.expect_status("live")
        return view

    def view(self, index: int = 0) -> View:
        """The view under a cell."""
        return View(self.page, self.cell(index).locator(".ck-view"))

    def any_view(self) -> View:
        """The first view in the notebook."""
        return View(self.page, self.page.locator(".ck-view").first)

    def screenshot(self, name: str) -> None:
        """Keep a picture for people to look at."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def reload(self) -> None:
        """Save the notebook and load the page again."""
        self.page.keyboard.press("Control+S")
        expect(self.page.locator(".jp-Document.jp-mod-dirty, .lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)
        self.room_sockets.clear()
        self.page.reload()

    def close(self) -> None:
        """Close the page; no script in the page may have failed."""
        self.screenshot(f"end-{self.person}")
        self.page.close()
        assert self.errors == []


class View:
    """A live view in a page, used as a person does."""

    def __init__(self, page: Page, root: Locator) -> None:
        self.page = page
        self.root = root

    def value(self) -> Any:
        """What it shows, as plain JSON; None while it waits for the room."""
        return self.root.evaluate(READ_VIEW)

    def expect_value(self, wanted: Any) -> None:
        """Wait until it shows this."""
        wait_until_equal(self.value, wanted, lambda: self.page.wait_for_timeout(50))

    def expect_status(self, text: str) -> None:
        """Wait until it says this of its connection."""
        expect(self.root.locator(".ck-status")).to_have_text(text)

    def row(self, *path: str | int) -> Locator:
        """The row at a path of keys and indices."""
        rows = self.root.locator(":scope > .ck-content > .ck-container > .ck-rows > .ck-row")
        row = self._pick(rows, path[0])
        for step in path[1:]:
            rows = row.locator(":scope > .ck-cell > details > .ck-container > .ck-rows > .ck-row")
            row = self._pick(rows, step)
        return row

    def _pick(self, rows: Locator, step: str | int) -> Locator:
        if isinstance(step, int):
            return rows.nth(step)
        head = self.page.locator(f":scope > .ck-head:text-is({step!r})")
        return rows.filter(has=head)

    def field(self, *path: str | int) -> Locator:
        """The input at a path."""
        return self.row(*path).locator(":scope > .ck-cell > input")

    def text(self, *path: str | int) -> Locator:
        """The text area of the shared text at a path; of the view itself, if that is one."""
        if not path:
            return self.root.locator(":scope > .ck-content > .ck-container > .ck-cell > textarea")
        return self.row(*path).locator(":scope > .ck-cell textarea")

    def put(self, text: str, *path: str | int) -> None:
        """Type a new value over the one at a path."""
        self._type_into(self.field(*path), "Control+A", text)
        self.page.keyboard.press("Enter")

    def type_text(self, text: str, *path: str | int, at: str = "Control+End") -> None:
        """Type into the shared text at a path, at its end or where a key takes one."""
        self._type_into(self.text(*path), at, text)

    def _type_into(self, field: Locator, first: str, text: str) -> None:
        """At one stroke, and again if JupyterLab took the focus before it: for a dialog, or a cell that has begun."""
        before = field.input_value()
        for _ in range(FOCUS_TRIES):
            field.click()
            self.page.keyboard.press(first)
            self.page.keyboard.insert_text(text)
            if field.input_value() != before or field.evaluate("field => field === document.activeElement"):
                return

    def press(self, label: str, *path: str | int) -> None:
        """Press a button of the row at a path, such as "Move up"."""
        self.row(*path).locator(f":scope > .ck-buttons > button[aria-label='{label}']").click()

    def add(self, value: str, *path: str | int) -> None:
        """Add a text to the list at a path."""
        adder = self.row(*path).locator(":scope > .ck-cell > details > .ck-container > div").last
        adder.get_by_text("+ item", exact=True).click()
        self.page.keyboard.type(value)
        self.page.keyboard.press("Enter")

    def people(self) -> list[str]:
        """Who is here, as the header tells."""
        chips = self.root.locator(".ck-people .ck-chip")
        return [str(label) for label in chips.evaluate_all("chips => chips.map(chip => chip.ariaLabel)")]
