"""JupyterLab as it comes, on our rooms: people who edit notebooks and files together."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.converge import wait_until_equal
from tests.browser.document_page import DocumentPage
from tests.browser.lab import Lab
from tests.browser.profiles import Profiles

# Parts of JupyterLab's collaboration that Notebook 7 has no place for; it says so whatever the server.
NOTEBOOK_7_ERRORS = {
    "Cannot read properties of undefined (reading 'schema')",
    "Command 'filebrowser:open-path' not registered.",
}

TIMELINE_STEP_MS = 1_100
"""Edits within a second are one step of the timeline."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def opened(profiles: Profiles, lab: Lab) -> Iterator[list[DocumentPage]]:
    """Two people's pages, for all tests of this module."""
    pages = [DocumentPage(profiles, lab, person) for person in ("ann", "bob")]
    yield pages
    for page in pages:
        page.close()
    lab.end_kernels()


@pytest.fixture
def pair(opened: list[DocumentPage]) -> Iterator[list[DocumentPage]]:
    """Ann and Bob with nothing open; at the end nobody has met a dialog."""
    yield opened
    for page in opened:
        page.screenshot(f"end-together-{page.person}")
        page.close_documents()
    met = [page.dialogs[:] for page in opened]
    for page in opened:
        page.dialogs.clear()
    assert met == [[], []]


def open_all(pages: list[DocumentPage], path: str) -> None:
    for page in pages:
        page.open(path)


def sources_on_disk(lab: Lab, path: str) -> list[str]:
    return [cell.source for cell in nbformat.read(lab.notebooks / path, as_version=4).cells]


def expect_on_disk(lab: Lab, page: DocumentPage, path: str, *sources: str) -> None:
    """Wait until the file holds these cells; nobody has to save."""
    wait_until_equal(lambda: sources_on_disk(lab, path), list(sources), lambda: page.page.wait_for_timeout(100))


def type_at_once(ann: DocumentPage, from_ann: str, bob: DocumentPage, from_bob: str) -> None:
    """A key in one browser, a key in the other."""
    for ann_key, bob_key in itertools.zip_longest(from_ann, from_bob, fillvalue=""):
        ann.type(ann_key)
        bob.type(bob_key)


def test_two_people_edit_run_and_save_one_notebook(lab: Lab, pair: list[DocumentPage]) -> None:
    ann, bob = pair
    lab.write_notebook("together", ["# sum\n", "# product\n"])
    open_all(pair, "together.ipynb")
    ann.go_to(0)
    bob.go_to(1)
    type_at_once(ann, "print(6 + 7)", bob, "print(6 * 7)")
    sources = "# sum\nprint(6 + 7)", "# product\nprint(6 * 7)"
    for page in pair:
        page.expect_texts(*sources)

    for page, other in ((ann, "Bob"), (bob, "Ann")):
        expect(page.cursors().first).to_be_attached()
        expect(page.cursor_names()).to_have_text([other])
        expect(page.collaborators()).to_contain_text([other])
    ann.run(0)
    bob.run(1)
    for page in pair:
        expect(page.output(0)).to_have_text("13")
        expect(page.output(1)).to_have_text("42")
        page.screenshot(f"together-{page.person}")

    ann.save()
    bob.expect_saved()
    assert sources_on_disk(lab, "together.ipynb") == list(sources)
    outputs = [cell.outputs[0].text for cell in nbformat.read(lab.notebooks / "together.ipynb", as_version=4).cells]
    assert outputs == ["13\n", "42\n"]
    bob.go_to(0, "Control+Home")
    bob.type("# saved without a key\n")
    expect_on_disk(lab, bob, "together.ipynb", f"# saved without a key\n{sources[0]}", sources[1])
    bob.save()


def test_a_renamed_notebook_is_followed_reloaded_left_and_found_again(lab: Lab, pair: list[DocumentPage]) -> None:
    ann, bob = pair
    lab.write_notebook("before", ["one"])
    open_all(pair, "before.ipynb")
    ann.go_to(0)
    ann.type(" two")
    bob.expect_texts("one two")
    ann.rename("before.ipynb", "after.ipynb")
    for page in pair:
        expect(page.tab("after.ipynb")).to_be_visible()
        expect(page.tab("before.ipynb")).to_have_count(0)
    assert not (lab.notebooks / "before.ipynb").exists()

    bob.go_to(0)
    bob.type(" three")
    expect_on_disk(lab, bob, "after.ipynb", "one two three")
    ann.reload()
    ann.expect_texts("one two three")
    bob.close_documents()
    ann.go_to(0)
    ann.type(" four")
    bob.open("after.ipynb")
    bob.expect_texts("one two three four")
    bob.go_to(0)
    bob.type(" five")
    ann.expect_texts("one two three four five")
    ann.save()
    expect_on_disk(lab, bob, "after.ipynb", "one two three four five")
    assert not (lab.notebooks / "before.ipynb").exists()


def test_a_change_on_disk_joins_what_is_being_typed(lab: Lab, pair: list[DocumentPage]) -> None:
    ann, bob = pair
    lab.write_notebook("outside", ["typed", "untouched"])
    open_all(pair, "outside.ipynb")
    ann.go_to(0)
    path = lab.notebooks / "outside.ipynb"
    words = [f" word{number}" for number in range(30)]
    for number, word in enumerate(words):
        ann.type(word)
        if number == 10:
            notebook = json.loads(path.read_text())
            notebook["cells"][1]["source"] = "changed outside"
            path.write_text(json.dumps(notebook))
    typed = "typed" + "".join(words)
    for page in (ann, bob):
        page.expect_texts(typed, "changed outside")
    expect_on_disk(lab, bob, "outside.ipynb", typed, "changed outside")


@pytest.mark.parametrize("name", ["notes.txt", "notes.md"])
def test_two_people_edit_one_file(lab: Lab, pair: list[DocumentPage], name: str) -> None:
    ann, bob = pair
    path = lab.notebooks / name
    path.write_text("# Plan\n")
    open_all(pair, name)
    ann.go_to(0)
    bob.go_to(0, "Control+Home")
    type_at_once(ann, "ends with Ann", bob, "Bob begins: ")
    wanted = "Bob begins: # Plan\nends with Ann"
    for page in pair:
        page.expect_texts(wanted)
    expect(ann.cursor_names()).to_have_text(["Bob"])
    ann.screenshot(f"file-{name}")
    ann.save()
    bob.expect_saved()
    assert path.read_text() == wanted
    path.write_text(f"{wanted}\nand a line from outside\n")
    for page in pair:
        page.expect_texts(f"{wanted}\nand a line from outside\n")


def test_both_type_on_while_the_server_is_killed_and_started_again(lab: Lab, pair: list[DocumentPage]) -> None:
    bob = pair[1]
    lab.write_notebook("killed", ["Ann:", "Bob:"])
    open_all(pair, "killed.ipynb")
    texts = ["Ann:", "Bob:"]
    for number in range(12):
        if number == 4:
            for page in pair:
                page.expect_texts(*texts)
        if number == 5:
            lab.kill()
        if number == 8:
            lab.start()
        for index, page in enumerate(pair):
            page.insert_despite_dialogs(index, f" {number}")
            texts[index] += f" {number}"
    for page in pair:
        page.expect_texts(*texts)
    expect_on_disk(lab, bob, "killed.ipynb", *texts)
    for page in pair:
        page.pass_over_dialogs()
        page.screenshot(f"killed-{page.person}")
        told = [text for text in page.dialogs if "Server Connection Error" not in text]
        page.dialogs.clear()
        assert told == []


def test_the_timeline_shows_what_was_and_brings_it_back(lab: Lab, pair: list[DocumentPage]) -> None:
    ann, bob = pair
    lab.write_notebook("history", ["first"])
    open_all(pair, "history.ipynb")
    bob.go_to(0)
    for word, text in ((" second", "first second"), (" third", "first second third")):
        bob.page.wait_for_timeout(TIMELINE_STEP_MS)
        bob.type(word)
        ann.expect_texts(text)
    ann.page.get_by_title("Document Timeline").click()
    slider = ann.page.locator("input.jp-Slider")
    expect(slider).to_be_visible()
    last = int(slider.get_attribute("max") or 0)
    assert last >= 2
    slider.focus()
    seen = ann.watch_texts()
    for _ in range(last):
        # One more step than there are words: a kernel that starts writes its language into the notebook.
        with ann.page.expect_response(lambda answer: "undo_redo" in answer.url):
            ann.page.keyboard.press("ArrowLeft")
    ann.expect_texts("first")
    ann.screenshot("timeline")
    assert ["first second"] in seen()
    assert bob.texts() == ["first second third"], "others are not taken along"
    ann.page.locator(".jp-restoreBtn").click()
    for page in pair:
        page.expect_texts("first")
    expect_on_disk(lab, bob, "history.ipynb", "first")


def test_two_people_share_a_notebook_in_notebook_7(profiles: Profiles, lab: Lab) -> None:
    lab.write_notebook("classic", ["# Ann", "# Bob"])
    pages = [DocumentPage(profiles, lab, person, "notebooks/classic.ipynb") for person in ("ann", "bob")]
    ann, bob = pages
    try:
        for index, page in enumerate(pages):
            page.go_to(index)
        type_at_once(ann, "\nprint(1)", bob, "\nprint(2)")
        for page in pages:
            page.expect_texts("# Ann\nprint(1)", "# Bob\nprint(2)")
        ann.run(0)
        expect(bob.output(0)).to_have_text("1")
        bob.page.keyboard.press("Control+S")
        expect_on_disk(lab, bob, "classic.ipynb", "# Ann\nprint(1)", "# Bob\nprint(2)")
        for page in pages:
            page.screenshot(f"notebook-7-{page.person}")
            assert page.dialogs == []
            page.errors = [error for error in page.errors if error not in NOTEBOOK_7_ERRORS]
    finally:
        for page in pages:
            page.close()
        lab.end_kernels()
