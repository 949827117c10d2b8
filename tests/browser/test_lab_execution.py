"""Stock JupyterLab, told to let the server run cells: they go on when every page is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.converge import wait_until_equal
from tests.browser.lab import Lab
from tests.browser.notebook_page import NotebookPage
from tests.browser.profiles import Profiles

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
WAIT = """\
import os, sys, time
print('waiting')
while not os.path.exists('go'): time.sleep(0.05)
print('went on alone', flush=True)
for percent in range(101): print(f'\\r{percent} %', end='', file=sys.stderr)"""
PICTURE = """\
import os, struct, zlib
from IPython.display import Image, display
def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
rows = b''.join(b'\\0' + os.urandom(1500) for _ in range(500))
header = struct.pack('>IIBBBBB', 500, 500, 8, 2, 0, 0, 0)
png = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
display(Image(png, width=200))"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "lab")
    lab.start("--CollabKernelServer.server_side_execution=True")
    yield lab
    lab.stop()


def queue(lab: Lab) -> list[str]:
    """The cells that run and wait, of all kernels."""
    return [
        cell["state"] for kernel in lab.get("api/kernels") for cell in lab.get(f"api/kernels/{kernel['id']}/execute")
    ]


def test_cells_go_on_when_every_page_is_closed(profiles: Profiles, server: Lab) -> None:
    server.write_notebook("run", [WAIT, PICTURE, "6 * 7"])
    ann = NotebookPage(profiles, server, "ann", "run")
    ann.wait_for_kernel()
    ann.choose("Run", "Run All Cells")
    expect(ann.cell(0).locator(".jp-Cell-outputArea")).to_contain_text("waiting")
    bob = NotebookPage(profiles, server, "bob", "run")
    for page in (ann, bob):
        for cell in range(3):
            expect(page.prompt(cell)).to_have_text("[*]:")
    assert queue(server) == ["running", "queued", "queued"]
    bob.screenshot("lab-execution-running")
    for page in (ann, bob):
        page.close()

    (server.notebooks / "go").touch()
    wait_until_equal(lambda: queue(server), [], lambda: None)

    ann = NotebookPage(profiles, server, "ann", "run")
    expect(ann.cell(0).locator(".jp-Cell-outputArea")).to_contain_text("waiting\nwent on alone")
    expect(ann.cell(0).locator(".jp-Cell-outputArea")).to_contain_text("100 %")
    expect(ann.cell(2).locator(".jp-Cell-outputArea")).to_contain_text("42")
    image = ann.cell(1).locator(".jp-Cell-outputArea img")
    expect(image).to_be_visible()
    wait_until_equal(lambda: image.evaluate("image => image.naturalWidth"), 500, lambda: None)
    assert "api/collaboration/outputs/" in str(image.get_attribute("src"))
    assert [ann.prompt(cell).inner_text() for cell in range(3)] == ["[1]:", "[2]:", "[3]:"]
    ann.screenshot("lab-execution-reopened")
    ann.close()
