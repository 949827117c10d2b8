"""What a client left in a shared notebook that is none of it: the rest is read, and can be written."""

from __future__ import annotations

import json

import nbformat
import pytest
from collabkernel_server.lab.content import encode_base, for_file, read_content, steps
from collabkernel_server.lab.mend import CELLS_AT_ONCE
from jupyter_ydoc import YNotebook
from pycrdt import Array, Doc, Map, Text

from tests.server_extension.lab.file_world import notebook

pytestmark = [pytest.mark.core, pytest.mark.anyio]


def shared(*sources, minor=5):
    document = YNotebook(Doc())
    document.set(notebook(*sources, minor=minor))
    return document


def cell(**values):
    return Map({"id": "bad", "cell_type": "code", "source": Text("typed"), "metadata": Map({}), **values})


async def read(document):
    """The content, which a file can have, and which is the replica's."""
    content = await read_content(document)
    text = nbformat.writes(nbformat.from_dict(for_file(content)), version=nbformat.NO_CONVERT)
    assert json.loads(text)["cells"]
    assert encode_base(content)
    assert await read_content(document) == content
    assert steps("notebook", content, content) == []
    return content


@pytest.mark.filterwarnings("ignore")  # nbformat complains of what it writes all the same
@pytest.mark.parametrize("bad", [5, "text", None, {"id": "a"}, Array([1]), Text("text")])
async def test_what_is_no_cell_is_left_out(bad):
    document = shared("x = 1", "y = 2")
    document.ycells.insert(1, bad)

    content = await read(document)

    assert [each["source"] for each in content["cells"]] == ["x = 1", "y = 2"]
    assert len(document.ycells) == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "values",
    [
        {"id": None},
        {"id": [1]},
        {"id": ""},
        {"cell_type": None},
        {"cell_type": 5},
        {"source": "typed"},
        {"metadata": 5},
        {"metadata": {"plain": 1}},
        {"outputs": None},
        {"outputs": Array([5, Map({"data": {}}), Map({"output_type": "display_data", "data": 5})])},
        {"attachments": 5},
        {"attachments": {"a": 5}},
    ],
)
async def test_a_cell_with_a_bad_part_keeps_what_was_typed(values):
    document = shared("x = 1")
    document.ycells.append(cell(**values))

    content = await read(document)

    assert [each["source"] for each in content["cells"]] == ["x = 1", "typed"]
    assert content["cells"][1]["id"]
    assert content["cells"][1]["cell_type"] == "code"


@pytest.mark.filterwarnings("ignore")
async def test_a_map_without_anything_is_an_empty_cell():
    document = shared("x = 1", minor=4)
    document.ycells.append(Map({}))

    content = await read(document)

    assert [each["source"] for each in content["cells"]] == ["x = 1", ""]
    assert all(each["id"] for each in content["cells"])
    assert set(document.ycells[1].keys()) == {"id", "cell_type", "source", "metadata", "outputs"}


@pytest.mark.parametrize("bad", ["five", None, [4], True, float("inf"), -1, 10**6])
async def test_a_format_that_is_no_number_is_that_of_new_notebooks(bad):
    document = shared("x = 1")
    meta = document.ydoc.get("meta", type=Map)
    meta["nbformat"] = meta["nbformat_minor"] = meta["metadata"] = bad

    content = await read(document)

    assert content["nbformat"] == 4
    assert content["nbformat_minor"] == (1 if bad is True else 5)
    assert content["metadata"] == {}
    assert isinstance(meta["nbformat"], float), "JavaScript would have a BigInt"


async def test_a_notebook_in_order_is_not_edited():
    document = shared(*["x = 1"] * (CELLS_AT_ONCE + 1))
    before = document.ydoc.get_state()

    assert len((await read(document))["cells"]) == CELLS_AT_ONCE + 1

    assert document.ydoc.get_state() == before
