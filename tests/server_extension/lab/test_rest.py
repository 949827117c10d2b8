"""Forks and histories of documents on a real server, as JupyterLab asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server_extension.lab.yjs_member import SYNC, YMember, new_file
from tests.server_extension.running_server import Answer, RunningServer, xsrf_headers

API = "api/collaboration/"


@pytest.fixture
def room(server: RunningServer, request: pytest.FixtureRequest) -> str:
    """The room of a file of this test alone, which somebody has opened."""
    made = new_file(server, f"{request.node.name.partition('[')[0]}.txt")
    YMember(server, made).sync().socket.close()
    return made


def ask(server: RunningServer, method: str, path: str, body: object = None, person: str | None = "ann") -> Answer:
    return server.request(method, API + path, body, person=person, **xsrf_headers())


def make_fork(server: RunningServer, room: str, **about: Any) -> str:
    answer = ask(server, "PUT", f"fork/{room}", about)
    assert answer.status == 201, answer
    return str(answer.json["fork_roomid"])


def wait_for(member: YMember, text: str) -> None:
    if member.text != text:
        member.receive(lambda _: member.text == text)


def test_fork_is_a_copy_of_its_own(server: RunningServer, room: str) -> None:
    fork = make_fork(server, room, title="mine", description="to try")

    with YMember(server, room).sync() as root, YMember(server, fork, "bob").sync() as bob:
        wait_for(bob, "plan")
        bob.edit(" B")
        bob.receive(lambda frame: frame[0] == SYNC and b" B" in frame)
        root.edit(" A")
        root.receive(lambda frame: frame[0] == SYNC and b" A" in frame)
        assert (root.text, bob.text) == ("plan A", "plan B")
    info = {"root_roomid": room, "synchronize": False, "title": "mine", "description": "to try"}
    assert ask(server, "GET", f"fork/{room}").json == {fork: info}


def test_fork_that_follows_gets_what_its_root_gets(server: RunningServer, room: str) -> None:
    fork = make_fork(server, room, synchronize=True)

    with YMember(server, room).sync() as root, YMember(server, fork, "bob").sync() as bob:
        wait_for(bob, "plan")
        root.edit(" A")
        wait_for(bob, "plan A")


def test_merged_fork_brings_its_edits_and_is_gone(server: RunningServer, room: str) -> None:
    fork = make_fork(server, room)
    with YMember(server, room).sync() as root, YMember(server, fork, "bob").sync() as bob:
        wait_for(bob, "plan")
        bob.edit(" B")
        bob.receive(lambda frame: frame[0] == SYNC and b" B" in frame)
        assert ask(server, "DELETE", f"fork/{fork}?merge=true").status == 200
        wait_for(root, "plan B")
        assert bob.close_code() == 4004
    assert ask(server, "GET", f"fork/{room}").json == {}
    assert ask(server, "DELETE", f"fork/{fork}").status == 404


def test_deleted_fork_leaves_its_root_alone(server: RunningServer, room: str) -> None:
    fork = make_fork(server, room)
    with YMember(server, fork, "bob").sync() as bob:
        wait_for(bob, "plan")
        bob.edit(" B")
        bob.receive(lambda frame: frame[0] == SYNC and b" B" in frame)
    assert ask(server, "DELETE", f"fork/{fork}?merge=false").status == 200
    with YMember(server, room).sync() as root:
        assert root.text == "plan"


def test_history_is_shown_step_by_step_and_brought_back(server: RunningServer, room: str) -> None:
    path = "test_history_is_shown_step_by_step_and_brought_back.txt"
    with YMember(server, room).sync() as ann:
        for text in (" one", " two"):
            ann.edit(text)
            ann.receive(lambda frame, text=text: frame[0] == SYNC and text.encode() in frame)
    history = ask(server, "GET", f"timeline/%2F{path}?format=text&&type=file").json
    assert history["roomId"] == room
    assert len(history["timestamps"]) == 3
    assert history["timestamps"] == sorted(history["timestamps"])
    fork = history["forkRoom"]
    with YMember(server, fork).sync() as page:
        wait_for(page, "plan one two")
        undone = ask(server, "PUT", f"undo_redo/{room}?action=undo&&steps=1&&forkRoom={fork}")
        assert undone.json == {"status": "undone"}
        wait_for(page, "plan one")
        redone = ask(server, "PUT", f"undo_redo/{room}?action=redo&&steps=1&&forkRoom={fork}")
        assert redone.json == {"status": "redone"}
        wait_for(page, "plan one two")
        ask(server, "PUT", f"undo_redo/{room}?action=undo&&steps=9&&forkRoom={fork}")
        wait_for(page, "plan")
        assert "error" in ask(server, "PUT", f"undo_redo/{room}?action=undo&&steps=1&&forkRoom={fork}").json
        assert ask(server, "PUT", f"undo_redo/{room}?action=restore&&steps=1&&forkRoom={fork}").json["code"] == 200
    assert ask(server, "GET", f"fork/{room}").json == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "fork/{room}", None),
        ("PUT", "fork/{room}", {}),
        ("DELETE", "fork/" + "0" * 32, None),
        ("GET", "timeline/a.txt?format=text&type=file", None),
        ("PUT", "undo_redo/{room}?action=undo&steps=1&forkRoom=" + "0" * 32, None),
    ],
)
def test_nobody_and_strangers_are_refused(
    server: RunningServer, room: str, method: str, path: str, body: object
) -> None:
    for person in (None, "stranger"):
        assert ask(server, method, path.format(room=room), body, person).status == 403


def test_reader_makes_and_ends_no_fork(server: RunningServer, room: str) -> None:
    fork = make_fork(server, room)

    assert ask(server, "PUT", f"fork/{room}", {}, "reader").status == 403
    assert ask(server, "DELETE", f"fork/{fork}", None, "reader").status == 403
    assert fork in ask(server, "GET", f"fork/{room}", None, "reader").json


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "fork/text:file:none", {}, 404),
        ("PUT", "fork/nonsense", {}, 400),
        ("PUT", "fork/{room}", {"title": 1}, 400),
        ("PUT", "fork/{room}", {"synchronize": "yes"}, 400),
        ("GET", "timeline/none.txt?format=text&type=file", None, 404),
        ("GET", "timeline/none.txt", None, 400),
        ("PUT", "undo_redo/{room}?action=undo&steps=1&forkRoom=" + "0" * 32, None, 404),
        ("PUT", "undo_redo/{room}?action=undo&steps=1", None, 400),
    ],
)
def test_bad_request_is_refused(
    server: RunningServer, room: str, method: str, path: str, body: object, status: int
) -> None:
    assert ask(server, method, path.format(room=room), body).status == status


def test_fork_is_no_history(server: RunningServer, room: str) -> None:
    fork = make_fork(server, room)

    assert ask(server, "PUT", f"undo_redo/{room}?action=undo&steps=1&forkRoom={fork}").status == 404
