"""Contents of documents: what is read is what was put in, and edits are as small as the change."""

from __future__ import annotations

import asyncio
import copy

import pytest
from collabkernel_server.lab.content import (
    apply_steps,
    encode_base,
    for_file,
    from_file,
    is_same,
    merged,
    read_content,
    seed,
    steps,
)
from collabkernel_server.lab.names import document_class
from hypothesis import given
from hypothesis import strategies as st
from jupyter_ydoc import YUnicode, ydocs
from pycrdt import Doc, Text

from tests.server_extension.lab.file_world import notebook

pytestmark = [pytest.mark.core, pytest.mark.anyio]


def document_of(type_name, content):
    update, _ = seed(type_name, content, {"path": "a"})
    document = document_class(type_name)(Doc())
    document.ydoc.apply_update(update)
    return document


async def changed(type_name, old, new):
    """A replica edited from one content to another, and one that typed at the same time."""
    document = document_of(type_name, old)
    other = document_class(type_name)(Doc())
    other.ydoc.apply_update(document.ydoc.get_update())
    for _ in apply_steps(document, steps(type_name, await read_content(document), new)):
        pass
    return document, other


def together(document, other):
    document.ydoc.apply_update(other.ydoc.get_update())
    other.ydoc.apply_update(document.ydoc.get_update())


@given(st.text(alphabet="ab \n é😀", max_size=30), st.text(alphabet="ab \n é😀", max_size=30))
def test_steps_make_one_text_of_another(old, new):
    document = document_of("file", old)
    for _ in apply_steps(document, steps("file", old, new)):
        pass

    assert document.source == new


async def test_what_is_typed_at_the_same_time_stays_where_it_was_typed():
    document, other = await changed("file", "one\nthree\n", "zero\none\ntwo\nthree\n")
    other.ydoc.get("source", type=Text).insert(8, " typed")

    together(document, other)

    assert document.source == other.source == "zero\none\ntwo\nthre typede\n"


async def test_a_notebook_is_edited_cell_by_cell():
    old = notebook("x = 1", "y = 2", "z = 3")
    old["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "2\n"}]
    new = from_file(copy.deepcopy(old))
    new["cells"][0]["source"] = "x = 10"
    new["cells"][0]["metadata"] = {"tags": ["t"]}
    new["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "3\n"}]
    new["cells"][1]["execution_count"] = 7
    new["cells"][2]["cell_type"] = "markdown"
    for key in ("outputs", "execution_count"):
        del new["cells"][2][key]
    new["cells"].insert(0, {"id": "new", "cell_type": "markdown", "metadata": {}, "source": "# Title"})
    new["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python"}

    document, other = await changed("notebook", from_file(old), new)
    typed = other.ycells[0]["source"]
    typed.insert(0, "typed ")
    together(document, other)

    assert document.source == other.source
    assert [cell.pop("source") for cell in document.source["cells"]] == ["# Title", "typed x = 10", "y = 2", "z = 3"]
    read = document.source
    read["cells"][1]["source"] = "x = 10"
    assert read == new
    assert isinstance(document.ycells[2]["outputs"][0]["text"], Text)


async def test_cells_that_move_are_there_once():
    old = from_file(notebook("a", "b", "c"))
    new = {**old, "cells": [old["cells"][2], old["cells"][0], old["cells"][1]]}

    document, _ = await changed("notebook", old, new)

    assert document.source == new


async def test_an_old_notebook_has_ids_in_the_document_and_none_in_its_file():
    old = from_file(notebook("x = 1", "x = 1", minor=4))
    document = document_of("notebook", old)

    content = await read_content(document)

    assert len({cell["id"] for cell in content["cells"]}) == 2
    assert for_file(content) == old
    assert seed("notebook", old, {})[1] == seed("notebook", old, {})[1]


async def test_cells_that_stand_twice_are_one():
    document = document_of("notebook", from_file(notebook("x = 1")))
    document.ycells.append(document.create_ycell(notebook("x = 1")["cells"][0]))

    content = await read_content(document)

    assert len(content["cells"]) == len(document.ycells) == 1


def test_the_same_file_makes_the_same_document():
    for type_name, content in (("file", "text"), ("notebook", from_file(notebook("x", minor=4))), ("blob", b"\0")):
        first, second = (seed(type_name, content, {"path": "a"})[0] for _ in range(2))
        document = document_class(type_name)(Doc())
        document.ydoc.apply_update(first)
        document.ydoc.apply_update(second)
        assert document.source == seed(type_name, content, {})[1]


def test_a_notebook_without_cells_shows_an_empty_one():
    _, content = seed("notebook", from_file(notebook()), {})

    assert [cell["source"] for cell in content["cells"]] == [""]


def test_a_base_is_the_same_as_its_content_and_no_other():
    for content, other in (("a", "b"), (b"a", b"b"), (notebook("a"), notebook("b"))):
        assert is_same(encode_base(content), copy.deepcopy(content))
        assert not is_same(encode_base(content), other)
        assert not is_same(None, content)


def test_what_cannot_be_merged_is_the_documents_when_both_changed():
    assert merged("blob", encode_base(b"old"), b"old", b"disk") == b"disk"
    assert merged("blob", encode_base(b"old"), b"mine", b"disk") == b"mine"
    assert merged("file", b"a\n", "a\nb\n", "z\na\n") == "z\na\nb\n"


async def test_bytes_are_replaced_as_one():
    document, _ = await changed("blob", b"old", b"new")

    assert document.source == b"new"


class Eager(YUnicode):
    """Watches itself from the start, to edit what it sees on an event loop, as jupyterlab-chat's class does."""

    def __init__(self, ydoc):
        super().__init__(ydoc)
        self._subscriptions[self._ystate] = self._ystate.observe(lambda _: asyncio.get_running_loop())


def test_class_that_edits_on_the_event_loop_can_be_seeded_without_one(monkeypatch):
    monkeypatch.setitem(ydocs, "eager", Eager)

    assert seed("eager", "plan", {"path": "a"})[1] == "plan"
