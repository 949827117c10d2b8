"""One person's JupyterLab with shared documents open in it: what they type, what they see, and who else is there."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.converge import wait_until_equal
from tests.browser.lab import PERSON_COOKIE, Lab
from tests.browser.notebook_page import SHOTS
from tests.browser.profiles import Profiles

# Every dialog and every notice of an error, also those that are gone before anybody looks.
TELL_DIALOGS = """
new MutationObserver(changes => {
  for (const node of changes.flatMap(change => [...change.addedNodes])) {
    if (!(node instanceof Element)) continue;
    for (const each of [node, ...node.querySelectorAll('*')])
      if (each.matches('.jp-Dialog, .Toastify__toast--error'))
        setTimeout(() => window.tellDialog(each.textContent), 0);
  }
}).observe(document, { childList: true, subtree: true });
"""
KEEP_SOCKETS = """
window.documentSockets = [];
window.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    if (/collaboration[/]room[/](json|text)/.test(url)) window.documentSockets.push(this);
  }
};
"""
WATCH_EDITORS = """
read => {
  window.shownTexts = [];
  const editors = '.jp-Document:not(.lm-mod-hidden) .cm-content';
  const tell = () => window.shownTexts.push(read([...document.querySelectorAll(editors)]));
  new MutationObserver(tell).observe(document, { childList: true, subtree: true, characterData: true });
}
"""
READ_EDITORS = """
editors => editors.map(editor => [...editor.querySelectorAll('.cm-line')].map(line => line.textContent).join('\\n'))
"""
SLOW = "The document is taking some time to load."
"""What JupyterLab says after five seconds; on a busy machine that tells nothing of us."""
OWN_WORKSPACE = "lab/workspaces/{workspace}"
CLOSED_EARLY = {
    "Cannot read properties of null (reading 'observe')",
    "Error: Canceled future for create_subshell_request message before replies were done",
}
"""What JupyterLab says when a notebook is closed before its cells have their sizes, or its kernel has answered."""

_numbers = itertools.count(1)

INSERT_LOOKS = 40
"""Looks for what was inserted, in two seconds: an editor shows it in a few milliseconds."""


class DocumentPage:
    """A page of somebody who is logged in."""

    def __init__(self, profiles: Profiles, lab: Lab, person: str, address: str = OWN_WORKSPACE) -> None:
        self.person = person
        self._lab = lab
        self._workspace = f"{person}-{next(_numbers)}"  # its own: a page shows again what its workspace had open
        self._sockets = 0
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        self.page: Page = profiles.new_page(lab, person, 1100, 760)
        self.page.expose_function("tellDialog", self._on_dialog)
        self.page.add_init_script(TELL_DIALOGS)
        self.page.add_init_script(KEEP_SOCKETS)
        slow = self.page.locator("dialog.jp-Dialog").filter(has_text=SLOW)
        self.page.add_locator_handler(slow, lambda dialog: dialog.get_by_text("Continue waiting").click())
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(lab.url + address.format(workspace=self._workspace), wait_until="commit")

    def _on_dialog(self, text: str) -> None:
        if SLOW not in text:
            self.dialogs.append(text)

    def change_login(self, person: str) -> None:
        """Log in as somebody else, as in another tab, and let the document's socket be lost and found again."""
        self.page.context.add_cookies([{"name": PERSON_COOKIE, "value": person, "url": self._lab.url}])
        lost = "window.documentSockets.splice(0).map(socket => socket.close()).length"
        self._sockets = self.page.evaluate(lost)
        self.page.wait_for_function(
            f"documentSockets.filter(each => each.readyState === WebSocket.OPEN).length === {self._sockets}"
        )

    def wait_for_another_socket(self) -> None:
        """Wait until one more is open than after the change of the login."""
        self.page.wait_for_function(
            f"documentSockets.length > {self._sockets} && documentSockets.at(-1).readyState === WebSocket.OPEN"
        )

    @property
    def document(self) -> Locator:
        """The document in front."""
        return self.page.locator(".jp-Document:not(.lm-mod-hidden)")

    def run_command(self, command: str, **arguments: Any) -> None:
        """What a menu or a key would do."""
        run = "([command, args]) => jupyterapp.restored.then(() => jupyterapp.commands.execute(command, args))"
        self.page.wait_for_function("window.jupyterapp !== undefined")
        self.page.evaluate(f"call => {{ ({run})(call); }}", [command, arguments])

    def open(self, path: str) -> None:
        """Open a document of the folder and wait until its content is there."""
        self.run_command("docmanager:open", path=path)
        expect(self.tab(path)).to_be_visible()
        expect(self.editor(0)).to_be_visible()

    def close_documents(self) -> None:
        """Close all tabs, once what was typed is saved."""
        self.expect_saved()
        self.run_command("application:close-all")
        expect(self.page.locator(".jp-Document")).to_have_count(0)

    def tab(self, path: str) -> Locator:
        """The tab of a document."""
        label = self.page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel")
        return label.filter(has_text=re.compile(f"^{re.escape(path)}$"))

    # ------------------------------------------------------------ its text

    def editor(self, index: int) -> Locator:
        """Where the source of a cell, or of a file, is typed."""
        return self.document.locator(".cm-content").nth(index)

    def texts(self) -> list[str]:
        """What is shown of each cell's source; of a file one text."""
        return list(self.document.locator(".cm-content").evaluate_all(READ_EDITORS))

    def expect_texts(self, *wanted: str) -> None:
        """Wait until it shows this."""
        wait_until_equal(self.texts, list(wanted), lambda: self.page.wait_for_timeout(50))

    def watch_texts(self) -> Callable[[], list[list[str]]]:
        """From now on all that is shown, also what is gone before anybody looks; a function that tells it."""
        self.page.evaluate(f"() => ({WATCH_EDITORS})({READ_EDITORS})")
        return lambda: list(self.page.evaluate("window.shownTexts"))

    def go_to(self, index: int, key: str = "Control+End") -> None:
        """Put the cursor into an editor, at its end or where a key takes it."""
        self.editor(index).click()
        self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        """Type where the cursor is."""
        self.page.keyboard.type(text)

    def insert(self, text: str) -> None:
        """Put text where the cursor is in one edit, as an input method does: no dialog can take a part of the keys."""
        self.page.keyboard.insert_text(text)

    def insert_despite_dialogs(self, index: int, text: str) -> None:
        """Put text at the end of an editor; again, if a dialog that came just then has taken it."""
        wanted = self.texts()[index] + text
        while self.texts()[index] != wanted:
            self.pass_over_dialogs()
            self.go_to(index)
            self.insert(text)
            for _ in range(INSERT_LOOKS):
                if self.texts()[index] == wanted:
                    return
                self.page.wait_for_timeout(50)

    def dialog(self) -> Locator:
        """The dialog in front."""
        return self.page.locator("dialog.jp-Dialog")

    def load_again(self) -> None:
        """Agree to load the page again, as a dialog proposes."""
        self._wait_until_it_comes_back()
        with self.page.expect_navigation():
            self.dialog().get_by_role("button", name="Reload").click()
        expect(self.editor(0)).to_be_visible()

    def pass_over_dialogs(self) -> None:
        """Close what JupyterLab says of a server that is gone."""
        while self.page.locator("dialog.jp-Dialog").count():
            self.page.keyboard.press("Escape")

    def save(self) -> None:
        """Ctrl+S; returns when the tab has no mark of what is unsaved."""
        self.page.keyboard.press("Control+S")
        self.expect_saved()

    def save_to_the_end(self) -> None:
        """What Ctrl+S does; returns when JupyterLab has done all of it. What it says then is gone two seconds later."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save').then(() => undefined)")

    def expect_saved(self) -> None:
        """Wait until no tab has the mark of what is unsaved."""
        expect(self.page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)

    # ------------------------------------------------------------ its kernel

    def wait_for_kernel(self) -> None:
        """Wait until its kernel does nothing: a run that comes before that is lost."""
        idle = self.document.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        expect(idle).to_be_visible()

    def run(self, index: int) -> None:
        """Run a cell, and wait until it has its number."""
        self.wait_for_kernel()
        self.editor(index).click()
        self.page.keyboard.press("Control+Enter")
        prompt = self.document.locator(".jp-CodeCell").nth(index).locator(".jp-InputArea-prompt")
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"))

    def output(self, index: int) -> Locator:
        """What stands under a cell."""
        return self.document.locator(".jp-CodeCell").nth(index).locator(".jp-OutputArea-output")

    # ------------------------------------------------------------ its file

    def rename(self, old: str, new: str) -> None:
        """Rename a file in the file browser, as a person does."""
        self.run_command("filebrowser:activate")
        self.page.locator(f".jp-DirListing-item[title^='Name: {old}']").click()
        self.page.keyboard.press("F2")
        self.page.locator(".jp-DirListing-editor").fill(new)
        self.page.keyboard.press("Enter")

    # ------------------------------------------------------------ the others

    def cursor_names(self) -> Locator:
        """The names at others' cursors."""
        return self.page.locator(".jp-remote-userFlag-name")

    def cursors(self) -> Locator:
        """Others' cursors."""
        return self.document.locator(".jp-remote-cursor")

    def collaborators(self) -> Locator:
        """Who is here, as the panel at the side tells."""
        self.page.evaluate("jupyterapp.shell.activateById('jp-collaboration-panel')")
        return self.page.locator(".jp-CollaboratorsList .jp-CollaboratorHeader")

    # ------------------------------------------------------------ the browser

    def reload(self) -> None:
        """Load the page anew; the tabs that were open come back."""
        self._wait_until_it_comes_back()
        self.page.reload()
        expect(self.editor(0)).to_be_visible()

    def _wait_until_it_comes_back(self) -> None:
        """Wait until JupyterLab has kept that the document in front is open: 0.75 s after the last change it does."""
        path = self.page.evaluate("jupyterapp.shell.currentWidget.context.path")
        wait_until_equal(lambda: path in self._kept_open(), True, lambda: self.page.wait_for_timeout(50))

    def _kept_open(self) -> set[str]:
        workspace = self._lab.get(f"lab/api/workspaces/{self._workspace}")
        return {name.partition(":")[2] for name in workspace["data"]}

    def screenshot(self, name: str) -> None:
        """Keep a picture for people to look at."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def close(self) -> None:
        """Close the page; no script in the page may have failed."""
        self.page.close()
        errors = [error for error in self.errors if error not in CLOSED_EARLY]
        assert not errors, errors
