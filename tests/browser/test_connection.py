"""Views go on: while a kernel is busy, over reloads, kills of the server, cut wires, and without a socket at all."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.agent import agent_in
from tests.browser.cells import board
from tests.browser.conftest import OpenNotebook
from tests.browser.lab import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_a_view_follows_and_edits_while_its_kernel_is_busy(lab: Lab, open_notebook: OpenNotebook) -> None:
    page = open_notebook("ann", board("busy"), "import time; time.sleep(600)")
    view = page.show()
    page.begin_cell(1)
    expect(page.prompt(1)).to_have_text("[*]:")

    with agent_in(lab, "busy") as scout:
        scout.edit(lambda room: room.list("tasks").append({"title": "Wait", "done": False}))
        view.field("tasks", 0, "done").check()
        view.put("Wait no longer", "tasks", 0, "title")
        view.type_text("edited while\nthe kernel sleeps", "notes")

        wanted = {"notes": "edited while\nthe kernel sleeps", "tasks": [{"title": "Wait no longer", "done": True}]}
        scout.expect_value(wanted)
        view.expect_value(wanted)
        assert lab.state("busy") == wanted
    page.screenshot("busy-kernel")


def test_a_reloaded_page_shows_the_view_as_it_was(lab: Lab, open_notebook: OpenNotebook) -> None:
    page = open_notebook("ann", board("reload"))
    page.show().type_text("kept", "notes")
    page.reload()
    view = page.view()
    view.expect_status("live")
    view.expect_value({"notes": "kept", "tasks": []})
    view.type_text(" and edited", "notes")
    view.expect_value({"notes": "kept and edited", "tasks": []})
    with agent_in(lab, "reload") as scout:
        scout.expect_value({"notes": "kept and edited", "tasks": []})


def test_nothing_typed_is_lost_when_the_server_is_killed(lab: Lab, open_notebook: OpenNotebook) -> None:
    pages = [open_notebook(person, board("killed")) for person in ("ann", "bob")]
    ann, bob = (page.show() for page in pages)
    with agent_in(lab, "killed") as scout:
        scout.edit(lambda room: room.list("tasks").append({"title": "Survive", "done": False}))
        for view in (ann, bob):
            view.expect_value({"notes": "", "tasks": [{"title": "Survive", "done": False}]})
        bob.type_text("Bob was here", "notes")
        lab.kill()
        ann.put("Survive a kill", "tasks", 0, "title")
        bob.type_text("Bob, before the kill and in it\n", "notes", at="Control+Home")
        bob.field("tasks", 0, "done").check()
        pages[1].screenshot("server-killed")
        lab.start()

        for view in (ann, bob):
            view.expect_status("live")
        wanted = {
            "notes": "Bob, before the kill and in it\nBob was here",
            "tasks": [{"title": "Survive a kill", "done": True}],
        }
        for view in (ann, bob, scout):
            view.expect_value(wanted)
        assert lab.state("killed") == wanted
        pages[1].screenshot("server-back")


def test_edits_made_behind_a_cut_wire_meet(open_notebook: OpenNotebook) -> None:
    pages = [open_notebook(person, board("cut")) for person in ("ann", "bob")]
    ann, bob = (page.show() for page in pages)
    ann.type_text("one three", "notes")
    bob.expect_value({"notes": "one three", "tasks": []})
    for page in pages:
        page.cut_wire()
    ann.type_text(" from Ann", "notes")
    bob.type_text("Bob's ", "notes", at="Control+Home")
    for page in pages:
        page.mend_wire()
    for view in (ann, bob):
        view.expect_value({"notes": "Bob's one three from Ann", "tasks": []})


def test_without_a_socket_the_kernel_carries_the_frames(lab: Lab, open_notebook: OpenNotebook) -> None:
    page = open_notebook("ann", board("relayed"))
    page.cut_wire()
    page.run_cell(0)
    view = page.view()
    view.expect_status("via kernel")
    with agent_in(lab, "relayed") as scout:
        scout.edit(lambda room: room.list("tasks").append({"title": "Go around", "done": False}))
        view.field("tasks", 0, "done").check()
        view.type_text("through the kernel", "notes")
        wanted = {"notes": "through the kernel", "tasks": [{"title": "Go around", "done": True}]}
        for each in (view, scout):
            each.expect_value(wanted)
        assert lab.state("relayed") == wanted
    page.screenshot("via-kernel")


def test_a_room_in_the_kernel_alone_is_shown_through_it(open_notebook: OpenNotebook) -> None:
    cell = """\
import collabkernel as ck
room = ck.connect("scratch", url="memory://")
room.root["title"] = "in memory"
room.root"""
    page = open_notebook("ann", cell, "room.root['n'] = 5; print(room.to_json())")
    page.run_cell(0)
    view = page.view()
    view.expect_status("via kernel")
    view.put("edited <b>here</b>", "title")
    expect(page.run_cell(1)).to_have_text("{'title': 'edited <b>here</b>', 'n': 5}")
    view.expect_value({"n": 5, "title": "edited <b>here</b>"})


def test_a_deleted_room_is_not_made_again_by_a_page_that_is_open(lab: Lab, open_notebook: OpenNotebook) -> None:
    page = open_notebook("ann", board("deleted"))
    view = page.show()
    view.add("gone with the room", "tasks")
    lab.delete_room("deleted")
    view.expect_status("this room was deleted")
    expect(view.field("tasks", 0)).not_to_be_editable()
    assert "deleted" not in lab.rooms()
    page.screenshot("deleted")
    page.show().expect_value({"notes": "", "tasks": []})
