"""One board, two people in JupyterLab and a script: all see the same, whoever edits."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.agent import agent_in
from tests.browser.cells import board
from tests.browser.conftest import OpenNotebook
from tests.browser.lab import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_two_people_and_an_agent_edit_one_board_in_place_and_converge(lab: Lab, open_notebook: OpenNotebook) -> None:
    ann_page = open_notebook("ann", board("planning"), "tasks")
    bob_page = open_notebook("bob", board("planning"))
    ann, ann_tasks, bob = ann_page.show(), ann_page.show(1), bob_page.show()
    with agent_in(lab, "planning") as scout:
        scout.edit(lambda room: room.list("tasks").append({"title": "Book the hall", "done": False, "days": 1}))
        ann.add("Bring cake", "tasks")
        bob.expect_value({"notes": "", "tasks": [{"title": "Book the hall", "done": False, "days": 1}, "Bring cake"]})

        ann.put("3", "tasks", 0, "days")
        bob.put("Book the big hall", "tasks", 0, "title")
        bob.field("tasks", 0, "done").check()
        bob.press("Move up", "tasks", 1)
        ann.type_text("Friday, 10:00", "notes")
        scout.edit(lambda room: room.list("tasks").append({"title": "Send the invitations", "done": False}))

        wanted = {
            "notes": "Friday, 10:00",
            "tasks": [
                "Bring cake",
                {"title": "Book the big hall", "done": True, "days": 3},
                {"title": "Send the invitations", "done": False},
            ],
        }
        for view in (ann, bob):
            view.expect_value(wanted)
        ann_tasks.expect_value(wanted["tasks"])
        assert lab.state("planning") == scout.value() == wanted

        bob.field("tasks", 1, "title").click()
        for view in (ann, ann_tasks):
            expect(view.root.locator(".ck-focused")).to_have_attribute("data-who", "Bob")
        assert ann.people()[0] == "Ann (you)"
        assert set(ann.people()) > {"Bob", "Scout (agent)"}
        ann_page.screenshot("board-ann")
        bob_page.screenshot("board-bob")
    expect(ann.root.get_by_label("Scout (agent)")).to_have_count(0)
    assert len(ann_page.room_sockets) == 1, "one connection a page and room, however many views"
