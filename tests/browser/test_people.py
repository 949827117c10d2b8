"""What each person may and sees: readers, and two in one text."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import expect

from tests.browser.agent import agent_in
from tests.browser.cells import board
from tests.browser.conftest import OpenNotebook
from tests.browser.lab import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_a_reader_sees_every_edit_and_makes_none(lab: Lab, open_notebook: OpenNotebook) -> None:
    page = open_notebook("reader-cy", board("read"))
    with agent_in(lab, "read") as scout:
        scout.edit(lambda room: room.list("tasks").append({"title": "Look", "done": False, "days": 2}))
        page.run_cell(0)
        view = page.view()
        view.expect_status("read only")
        wanted = {"notes": "", "tasks": [{"title": "Look", "done": False, "days": 2}]}
        view.expect_value(wanted)
        page.screenshot("reader")

        assert view.root.get_by_role("button").count() == 0, "nothing to add, move or delete with"
        expect(view.field("tasks", 0, "done")).to_be_disabled()
        for control in (view.field("tasks", 0, "title"), view.field("tasks", 0, "days"), view.text("notes")):
            expect(control).not_to_be_editable()
        view.put("not mine to write", "tasks", 0, "title")
        # JupyterLab would make Markdown of the cell and delete it, if these keys came through to it.
        view.row("tasks").locator("summary").first.click()
        page.page.keyboard.type("mdd")
        scout.edit(lambda room: room.text("notes").insert(0, "still live"))
        view.expect_value(wanted | {"notes": "still live"})
        assert lab.state("read") == wanted | {"notes": "still live"}


def test_two_people_type_into_one_text_at_once_and_keep_their_places(open_notebook: OpenNotebook) -> None:
    pages = [open_notebook(person, board("text", "notes")) for person in ("ann", "bob")]
    ann, bob = (page.show() for page in pages)
    ann.type_text("[middle]")
    bob.expect_value("[middle]")
    bob.type_text("", at="Control+Home")

    # Each key at once in both browsers, each in its own place: at the end and at the beginning.
    from_ann, from_bob = "Ann: ten o'clock then.", "Bob: when do we meet?"
    for ann_key, bob_key in itertools.zip_longest(from_ann, from_bob, fillvalue=" "):
        pages[0].page.keyboard.type(ann_key)
        pages[1].page.keyboard.type(bob_key)

    for view in (ann, bob):
        view.expect_value(f"{from_bob} [middle]{from_ann}")
    pages[1].screenshot("text-bob")
