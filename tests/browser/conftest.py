"""JupyterLab, chromium, and people who come and go."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.bounds import HANG_S
from tests.browser.lab import Lab
from tests.browser.notebook_page import NotebookPage
from tests.browser.profiles import Profiles

OpenNotebook = Callable[..., NotebookPage]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One JupyterLab for all tests; each has rooms of its own."""
    started = Lab(tmp_path_factory.mktemp("lab"))
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def profiles() -> Iterator[Profiles]:
    """Debian's chromium, or whatever comes near."""
    names = ("chromium", "chromium-browser", "google-chrome")
    paths = [path for name in names if (path := shutil.which(name))]
    assert paths, "no chromium on PATH: apt-get install chromium"
    expect.set_options(timeout=HANG_S * 1000)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=paths[0], args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield Profiles(launched)
        launched.close()


@pytest.fixture
def open_notebook(profiles: Profiles, lab: Lab) -> Iterator[OpenNotebook]:
    """Open a notebook of these cells, or a copy of one, in a page of this person's own."""
    opened: list[NotebookPage] = []

    def open_(person: str, *cells: str, copy_of: Path | None = None) -> NotebookPage:
        # A new name each time: a notebook that is opened again finds the kernel that it had.
        name = f"{person}-{next(_numbers)}"
        if copy_of is not None:
            shutil.copy(copy_of, lab.notebooks / f"{name}.ipynb")
        else:
            lab.write_notebook(name, cells)
        opened.append(NotebookPage(profiles, lab, person, name))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()
    lab.end_kernels()
