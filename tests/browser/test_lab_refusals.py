"""JupyterLab as it comes, when an edit is not taken: its user is told once, and finds the way back by loading again."""

from __future__ import annotations

from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.converge import wait_until_equal
from tests.browser.document_page import DocumentPage
from tests.browser.lab import Lab
from tests.browser.profiles import Profiles

FACES = "a\N{GRINNING FACE}b"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def sources(lab: Lab, name: str) -> list[str]:
    """The cells of a notebook on disk."""
    return [cell.source for cell in nbformat.read(lab.notebooks / f"{name}.ipynb", as_version=4).cells]


@pytest.fixture
def ann(profiles: Profiles, lab: Lab) -> Iterator[DocumentPage]:
    page = DocumentPage(profiles, lab, "ann")
    yield page
    page.close()
    lab.end_kernels()


def test_a_guest_who_types_is_told_once_and_a_save_asks_nothing(
    profiles: Profiles, lab: Lab, ann: DocumentPage
) -> None:
    lab.write_notebook("shown", ["seen", "safe"])
    ann.open("shown.ipynb")
    guest = DocumentPage(profiles, lab, "guest-gil")
    try:
        guest.open("shown.ipynb")
        expect(guest.page.locator("#jp-main-statusbar")).to_contain_text("| Idle")
        expect(guest.document.get_by_text("notebook is read-only")).to_be_visible()
        guest.go_to(1)
        guest.page.keyboard.press("Control+S")
        expect(guest.page.get_by_text("shown.ipynb is read-only")).to_be_visible()
        guest.screenshot("guest-is-read-only")
        assert guest.dialogs == [], "opening, running a kernel and saving ask nothing"

        guest.type("mine")
        expect(guest.dialog()).to_contain_text("You may read this document, not change it.")
        guest.screenshot("guest-is-told")
        ann.go_to(0)
        ann.type(" by all")
        ann.save()
        guest.load_again()
        guest.expect_texts("seen by all", "safe")
        ann.expect_texts("seen by all", "safe")
        assert sources(lab, "shown") == ["seen by all", "safe"]
        assert len(guest.dialogs) == 1
    finally:
        guest.close()


def test_a_page_that_goes_on_under_another_login_is_told_and_goes_on_when_it_is_loaded_again(
    lab: Lab, ann: DocumentPage
) -> None:
    lab.write_notebook("relogin", ["by Ann"])
    ann.open("relogin.ipynb")
    ann.wait_for_kernel()
    ann.go_to(0)
    ann.type(" and")
    ann.save()

    ann.change_login("bob")
    ann.type(" lost")
    expect(ann.dialog()).to_contain_text("You are now logged in as another user")
    ann.wait_for_another_socket()  # one that was closed again would open a dialog on the first
    ann.screenshot("relogin-is-told")
    assert len(ann.dialogs) == 1
    ann.load_again()
    ann.expect_texts("by Ann and")
    ann.go_to(0)
    ann.type(" Bob")
    ann.save()
    ann.screenshot("relogin-goes-on")
    assert len(ann.dialogs) == 1


def test_who_goes_on_in_the_old_page_has_a_copy_that_is_merged_when_it_is_saved(
    profiles: Profiles, lab: Lab, ann: DocumentPage
) -> None:
    lab.write_notebook("copy", ["by Ann"])
    bob = DocumentPage(profiles, lab, "bob")
    try:
        for page in (ann, bob):
            page.open("copy.ipynb")
            page.expect_texts("by Ann")
        ann.go_to(0)
        ann.type(" and")
        bob.expect_texts("by Ann and")
        ann.save_to_the_end()  # one that is under way would outlive its socket
        wait_until_equal(lambda: sources(lab, "copy"), ["by Ann and"], lambda: ann.page.wait_for_timeout(50))
        ann.change_login("cy")
        ann.insert(" Cy")
        ann.dialog().get_by_role("button", name="Continue").click()
        expect(ann.dialog()).to_have_count(0)
        assert ann.texts() == ["by Ann and Cy"]
        assert bob.texts() == ["by Ann and"]
        ann.page.keyboard.press("Control+S")
        bob.expect_texts("by Ann and Cy")
        ann.screenshot("copy-is-saved")
        assert len(ann.dialogs) == 1
    finally:
        bob.close()


def test_an_edit_that_cuts_a_character_in_two_is_told(profiles: Profiles, lab: Lab, ann: DocumentPage) -> None:
    (lab.notebooks / "faces.txt").write_text(FACES)
    bob = DocumentPage(profiles, lab, "bob")
    try:
        for page in (ann, bob):
            page.open("faces.txt")
            page.expect_texts(FACES)
        ann.page.evaluate("""
            [...jupyterapp.shell.widgets('main')].find(each => each.title.label === 'faces.txt')
                .context.model.sharedModel.updateSource(2, 3, '')
        """)  # as an extension would that counts characters where others count halves of them
        expect(ann.dialog()).to_contain_text("cut a character in two")
        ann.screenshot("half-a-character-is-told")
        ann.load_again()
        for page in (ann, bob):
            page.expect_texts(FACES)
        ann.go_to(0)
        ann.type("!")
        bob.expect_texts(f"{FACES}!")
        assert len(ann.dialogs) == 1
        assert bob.dialogs == []
    finally:
        bob.close()
