"""JupyterLab in chromium, as tests drive it: a server of its own, and notebooks whose first cell has run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nbformat

TOKEN = "a-token-for-the-tests"


def chromium_path() -> str:
    """Debian's chromium, or whatever comes near."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    assert found, "no chromium on PATH: apt-get install chromium"
    return found[0]


class LabServer:
    """One JupyterLab with our extension, in folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        env = {name: value for name, value in os.environ.items() if not name.startswith(("COLLABKERNEL_", "JUPYTER"))}
        env |= {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("DATA", "RUNTIME", "CONFIG")}
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={self.port}"]
        command += [f"--ServerApp.root_dir={self.notebooks}", f"--IdentityProvider.token={TOKEN}"]
        self._log = (folder / "server.log").open("w+")
        self._process = subprocess.Popen(command, env=env, stdout=self._log, stderr=subprocess.STDOUT)
        self._wait_ready()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}collabkernel/api/info?token={TOKEN}", timeout=2).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError(f"JupyterLab did not start:\n{self.log}")

    @property
    def log(self) -> str:
        """What it has printed."""
        return Path(self._log.name).read_text()

    def write_notebook(self, name: str, *cells: str) -> None:
        """Put a notebook of code cells where the server shows it."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.notebooks / f"{name}.ipynb")

    def stop(self) -> None:
        """Stop it, and its kernels."""
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


class NotebookPage:
    """A notebook in a browser of its own, with nobody else's cookies."""

    def __init__(self, browser: Any, server: LabServer, name: str) -> None:
        self.name = name
        self.errors: list[str] = []
        self.page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{server.url}lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}&reset")
        self.page.wait_for_selector(".jp-CodeCell", timeout=60_000)
        self.run_cell(0)
        self.page.wait_for_selector(".ck-view .ck-rows", state="attached", timeout=30_000)

    def run_cell(self, index: int) -> None:
        """Run a cell; a run that comes before the kernel is connected is lost, so until it has a number."""
        cell = self.page.locator(".jp-CodeCell").nth(index)
        for _ in range(20):
            # Such as which kernel to use, or that a list of kernels could not be read while one was starting.
            if self.page.locator("dialog.jp-Dialog").count():
                self.page.keyboard.press("Enter")
                self.page.wait_for_timeout(500)
            cell.locator(".cm-content").click()
            self.page.keyboard.press("Shift+Enter")
            self.page.wait_for_timeout(1500)
            if cell.locator(".jp-InputPrompt").first.inner_text().strip() != "[ ]:":
                return
        raise AssertionError(f"cell {index} of {self.name} does not run")

    def type_into(self, selector: str, text: str, keys_before: str) -> None:
        """Click a control of the view, press keys (such as Control+A), type, and press Enter in a field."""
        control = self.page.locator(f".ck-view {selector}").first
        control.click()
        self.page.keyboard.press(keys_before)
        self.page.keyboard.type(text)
        if control.evaluate("each => each.tagName") == "INPUT":
            self.page.keyboard.press("Enter")

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression over ``view`` (the first view's element) is true."""
        self.page.wait_for_function(
            f"(() => {{ const view = document.querySelector('.ck-view'); return {expression}; }})()", timeout=15_000
        )

    def status(self) -> str:
        """What the view says of its connection."""
        return str(self.page.locator(".ck-status").first.inner_text())
