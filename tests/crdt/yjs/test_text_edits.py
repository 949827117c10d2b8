"""What a person types is told from what a page notes by itself."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from collabkernel.crdt.yjs.policy import NOTEBOOK_POLICY
from collabkernel.crdt.yjs.text_edits import STRUCTS_MAX, edits_text
from collabkernel.errors import InvalidYjsUpdateError

pytestmark = pytest.mark.core


class Notebook:
    """A page's document with one cell, and the update of what is done to it."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc(client_id=7)
        self.cells = self.doc.get("cells", type=Array)
        self.meta = self.doc.get("meta", type=Map)
        self.state = self.doc.get("state", type=Map)
        self.cells.append(Map({"source": Text("one"), "execution_state": "idle", "outputs": Array()}))
        self.meta["metadata"] = Map({"kernelspec": {"name": "python3"}})
        self.state["dirty"] = False
        self._updates: list[bytes] = []
        self.doc.observe(lambda event: self._updates.append(event.update))

    def edits_text(self) -> bool:
        return edits_text(self._updates[-1], NOTEBOOK_POLICY)


def test_text_that_is_inserted_or_deleted_is_an_edit():
    notebook = Notebook()
    source = notebook.cells[0]["source"]

    source += "!"
    assert notebook.edits_text()
    with notebook.doc.transaction():
        del source[1]
        notebook.state["dirty"] = True
    assert notebook.edits_text()
    del source[0]
    assert notebook.edits_text()


def test_a_cell_that_is_deleted_is_an_edit():
    notebook = Notebook()

    del notebook.cells[0]

    assert notebook.edits_text()


def test_what_a_page_notes_when_it_is_opened_is_none():
    notebook = Notebook()

    notebook.state["document_id"] = "json:notebook:1"
    assert not notebook.edits_text()
    notebook.meta["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    assert not notebook.edits_text()
    notebook.meta["metadata"] = Map({"language_info": {"name": "python"}})
    assert not notebook.edits_text()
    notebook.cells[0]["execution_state"] = "running"
    assert not notebook.edits_text()


def test_an_update_that_is_none_or_that_is_long_is_refused():
    notebook = Notebook()
    with pytest.raises(InvalidYjsUpdateError):
        edits_text(b"\x01\xff", NOTEBOOK_POLICY)
    with notebook.doc.transaction():
        for number in range(STRUCTS_MAX + 1):
            notebook.state[str(number)] = True
    with pytest.raises(InvalidYjsUpdateError):
        notebook.edits_text()
