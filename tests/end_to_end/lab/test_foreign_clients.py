"""Clients that others wrote, with Yjs, y-py and pycrdt inside, converge with each other and with the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

from tests.end_to_end.lab.conditions import until
from tests.peers.foreign import CLIENTS, ForeignClient
from tests.peers.servers import PeerServer

# The first run installs them.
pytestmark = pytest.mark.timeout(900)


class Notebook(NamedTuple):
    """A file, and who has it open."""

    path: Path
    clients: dict[str, ForeignClient]


@pytest.fixture(params=[True, False], ids=["with y-py", "without y-py"])
def notebook(shared_server: PeerServer, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """All of them in one notebook of one cell; y-py asks for client ids of 32 bits, which pycrdt must be told."""
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("start")])
    path = shared_server.files / f"{request.param}.ipynb"
    nbformat.write(content, path)
    room = shared_server.room_of(path.name, type="notebook")
    with ExitStack() as stack:
        found = {}
        for name in CLIENTS if request.param else [each for each in CLIENTS if each != "ypy"]:
            found[name] = ForeignClient(name, shared_server, room, has_narrow_ids=request.param)
            stack.callback(found[name].stop)
        for client in found.values():
            client.wait_until_sees({"start"})
        yield Notebook(path, found)


@pytest.mark.anyio
async def test_they_converge_in_one_notebook_and_the_file_has_it(notebook: Notebook) -> None:
    clients = notebook.clients
    for name, client in clients.items():
        client.add(f"by {name}")
    orders = [client.wait_until_sees({"start", *(f"by {name}" for name in clients)}) for client in clients.values()]
    assert all(order == orders[0] for order in orders), "all see one order"

    # Each types into the cell of the next, all at once.
    names = list(clients)
    for i, name in enumerate(names):
        clients[name].type(orders[0].index(f"by {names[i - 1]}"), f", then {name}")
    wanted = {"start", *(f"by {names[i - 1]}, then {name}" for i, name in enumerate(names))}
    orders = [client.wait_until_sees(wanted) for client in clients.values()]
    assert all(order == orders[0] for order in orders), "all see one order"
    await until(lambda: sources(notebook.path) == orders[0])


def sources(path: Path) -> list[str]:
    """The sources of a notebook's cells."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
