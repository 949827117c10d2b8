"""Other people's server extensions beside us: jupyterlab-chat and jupyter-server-nbmodel, as released.

They look for jupyter-server-ydoc, and find what stands in for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pycrdt import Array

from tests.peers import install
from tests.server_extension.lab.yjs_member import YMember, put_session
from tests.server_extension.running_server import RunningServer, xsrf_headers

# The first run installs.
pytestmark = pytest.mark.timeout(900)
EXTENSIONS = ("jupyter_server_fileid", "jupyter_server_nbmodel", "jupyterlab_chat", "tests.end_to_end.lab.chat_bot")
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "sum",
            "source": "print(1 + 1)",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    python = install.python_of("extensions")
    folder = tmp_path_factory.mktemp("server")
    (folder / "data").mkdir()  # jupyter-server-fileid expects it
    wish = "--CollabKernelServer.server_side_execution=True"
    server = RunningServer(folder, wish, python=python, extensions=EXTENSIONS)
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait(10)


def room_of(server: RunningServer, path: str, file_format: str, file_type: str) -> str:
    answer = put_session(server, path, {"format": file_format, "type": file_type})
    assert answer.status in (200, 201), answer
    return "{format}:{type}:{fileId}".format(**answer.json)


def wait_for(member: YMember, is_so: Callable[[], bool]) -> None:
    """Take frames until something has become so."""
    if not is_so():
        member.receive(lambda _: is_so())


def bodies(member: YMember) -> list[str]:
    messages: Any = member.doc.get("messages", type=Array).to_py()
    return [message["body"] for message in messages]


def test_message_that_the_server_writes_in_a_chat_is_seen_by_those_in_it(server: RunningServer) -> None:
    assert "Registered jupyterlab_chat server extension (RTC provider: jupyter_server_ydoc)" in server.log
    file = server.folder / "talk.chat"
    file.write_text("{}")
    room = room_of(server, "talk.chat", "text", "chat")

    with YMember(server, room).sync() as ann, YMember(server, room, "bob").sync() as bob:
        for member in (ann, bob):
            wait_for(member, lambda member=member: "hello from talk.chat" in bodies(member))
        assert ann.save(1)["status"] == "success"
    assert "hello from talk.chat" in [message["body"] for message in json.loads(file.read_text())["messages"]]


def test_outputs_of_a_cell_that_the_server_runs_are_seen_in_the_notebook(server: RunningServer) -> None:
    assert "collabkernel leaves cells to it" in server.log
    (server.folder / "sum.ipynb").write_text(json.dumps(NOTEBOOK))
    room = room_of(server, "sum.ipynb", "json", "notebook")
    kernel = server.request("POST", "api/kernels", {"name": "python3"}, **xsrf_headers())
    assert kernel.status == 201, kernel

    with YMember(server, room).sync() as ann:
        run = {"code": "print(1 + 1)", "metadata": {"cell_id": "sum", "document_id": room}}
        asked = server.request("POST", f"api/kernels/{kernel.json['id']}/execute", run, **xsrf_headers())
        assert asked.status == 202, asked
        wait_for(ann, lambda: streams(ann) == ["2\n"])
    assert server.request("DELETE", f"api/kernels/{kernel.json['id']}", **xsrf_headers()).status == 204


def streams(member: YMember) -> list[str]:
    """What the first cell has printed."""
    cells: Any = member.doc.get("cells", type=Array).to_py()
    return ["".join(output.get("text", "")) for output in cells[0]["outputs"]]


def test_nothing_went_wrong_on_the_way(server: RunningServer) -> None:
    took_s = server.stop()

    assert took_s < 5 * server.stop_s_max
    assert "Traceback" not in server.log, server.log
