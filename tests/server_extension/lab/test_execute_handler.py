"""Execution over HTTP on a real server: who may, and what arrives when nobody is connected."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from jupyter_ydoc import YNotebook

from tests.bounds import HANG_S
from tests.server_extension.lab.yjs_member import YMember, put_session
from tests.server_extension.running_server import Answer, RunningServer, xsrf_headers

CODE = "for i in range(3): print(i)"


@dataclass
class Notebook:
    """A notebook on a server that runs cells, and a kernel."""

    server: RunningServer
    document_id: str
    kernel_id: str

    def post(self, cell_id: str = "a", person: str | None = "ann", **body: object) -> Answer:
        asked = {"cell_id": cell_id, "document_id": self.document_id} | body
        path = f"api/kernels/{self.kernel_id}/execute"
        return self.server.request("POST", path, asked, person=person, **xsrf_headers())

    def queue(self) -> list[dict[str, str]]:
        queue: list[dict[str, str]] = self.server.request("GET", f"api/kernels/{self.kernel_id}/execute").json
        return queue

    def read(self) -> YNotebook:
        """What somebody finds who opens it now."""
        with_socket = YMember(self.server, self.document_id)
        try:
            return YNotebook(with_socket.sync().doc)
        finally:
            with_socket.socket.close()


@pytest.fixture(scope="module")
def notebook(start_server: Callable[..., RunningServer]) -> Iterator[Notebook]:
    server = start_server("--CollabKernelServer.server_side_execution=True")
    cells = [nbformat.v4.new_code_cell(CODE, id="a"), nbformat.v4.new_code_cell("print('x' * 10**7)", id="b")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), server.folder / "plan.ipynb")
    session = put_session(server, "plan.ipynb", {"format": "json", "type": "notebook"}).json
    kernel = server.request("POST", "api/kernels", {}, **xsrf_headers())
    assert kernel.status == 201, kernel
    yield Notebook(server, "{format}:{type}:{fileId}".format(**session), kernel.json["id"])
    server.stop()


def test_outputs_arrive_with_no_client_connected(notebook: Notebook) -> None:
    answer = notebook.post()
    assert (answer.status, answer.json["ahead"]) == (202, 0)
    while notebook.queue():
        pass  # nobody has the notebook open; the queue is all that is looked at

    cell = notebook.read().get_cell(0)
    assert [output["text"] for output in cell["outputs"]] == ["0\n1\n2\n"]
    assert cell["execution_count"] == 1


def test_ten_megabytes_are_fetched_by_their_address(notebook: Notebook) -> None:
    assert notebook.post("b").status == 202
    while notebook.queue():
        pass
    rest = notebook.read().get_cell(1)["outputs"][1]["data"]["text/html"]
    address = rest.split('href="/base/')[1].split('"')[0]

    answer = notebook.server.request("GET", address)

    assert answer.status == 200
    assert answer.body == b"x" * 10**7 + b"\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox; default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert notebook.server.request("GET", address, If_None_Match=answer.headers["Etag"]).status == 304
    assert b"xxx" not in notebook.server.request("GET", address, person=None).body  # it is the login page


@pytest.mark.parametrize(
    "name", ["0" * 64 + ".txt", "0" * 64 + ".exe", "..%2F..%2Frooms.sqlite", "rooms.sqlite", "%00", "0" * 64]
)
def test_other_addresses_have_nothing(notebook: Notebook, name: str) -> None:
    assert notebook.server.request("GET", f"api/collaboration/outputs/{name}").status == 404


@pytest.mark.parametrize(
    "body",
    [{"cell_id": 1}, {"cell_id": None}, {"document_id": None}, {"document_id": "text:file:x"}, {"document_id": "x"}],
)
def test_bad_body_is_a_bad_request(notebook: Notebook, body: dict[str, object]) -> None:
    assert notebook.post(**body).status == 400


def test_what_is_not_there_is_not_found(notebook: Notebook) -> None:
    assert notebook.post("nowhere").json["code"] == "cell-unknown"
    assert notebook.post(document_id="json:notebook:none").status == 404
    nobody = Notebook(notebook.server, notebook.document_id, "none")
    assert nobody.post().json["code"] == "kernel-unknown"


def test_who_may_not_write_may_not_run(notebook: Notebook) -> None:
    assert notebook.post(person=None).status == 403
    assert notebook.post(person="reader").status == 403
    assert notebook.post(person="stranger").status == 403


def test_server_runs_no_cells_unless_it_is_told_to(start_server: Callable[..., RunningServer]) -> None:
    server = start_server()

    assert server.request("POST", "api/kernels/none/execute", {}, **xsrf_headers()).status == 404
    server.stop()


def test_cell_of_a_killed_server_runs_no_more_when_the_notebook_is_opened_again(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    database = tmp_path / "rooms.sqlite"
    wishes = "--CollabKernelServer.server_side_execution=True", f"--CollabKernelServer.db_url=sqlite:///{database}"
    server = start_server(*wishes, folder=tmp_path)
    cells = [nbformat.v4.new_code_cell("import time; time.sleep(1000)", id="a")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), server.folder / "plan.ipynb")
    session = put_session(server, "plan.ipynb", {"format": "json", "type": "notebook"}).json
    kernel = server.request("POST", "api/kernels", {}, **xsrf_headers()).json
    killed = Notebook(server, "{format}:{type}:{fileId}".format(**session), kernel["id"])
    assert killed.post().status == 202
    with YMember(server, killed.document_id).sync() as page:
        running = YNotebook(page.doc).ycells[0]
        if running["execution_state"] != "running":
            page.receive(lambda _: running["execution_state"] == "running")
    server.process.kill()
    server.process.wait(HANG_S)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE leases SET expires_ms = 0")  # as time would have it

    with YMember(start_server(*wishes, folder=tmp_path), killed.document_id).sync() as ann:
        cell = YNotebook(ann.doc).ycells[0]
        if cell["execution_state"] != "idle":
            ann.receive(lambda _: cell["execution_state"] == "idle")
