"""Notebooks as blocks and back: byte for byte what nbformat writes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId
from collabkernel.document.block_spec import BlockSpec, Run, in_order, plain
from collabkernel.document.block_types import BUILTIN
from collabkernel.document.markdown.id_map import id_map
from collabkernel.document.notebook_io import export_notebook, import_notebook, notebook_file
from collabkernel.errors import InvalidValueError, TooLargeError
from collabkernel.limits import BLOCK_PROPERTY_BYTES, NOTEBOOK_BYTES
from tests.document.named import named
from tests.examples import examples

pytestmark = pytest.mark.core

NOTEBOOKS = sorted((Path(__file__).parent.parent / "fixtures/notebooks").glob("*.ipynb"))


def normalized(source: str) -> str:
    """What nbformat makes of a file, in the format that it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        notebook = nbformat.reads(source, as_version=nbformat.NO_CONVERT)
        return nbformat.writes(notebook, version=nbformat.NO_CONVERT)


def a_notebook(*cells: dict[str, Any], **members: Any) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **members})


def a_cell(id: str, source: Any, **members: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": id, "metadata": {}, "source": source, **members}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_real_notebook_comes_back_byte_for_byte(path: Path):
    source = path.read_text(encoding="utf-8")

    document = import_notebook(source)

    BUILTIN.check(document)
    assert normalized(json.dumps(export_notebook(document))) == normalized(source)
    if json.loads(source)["nbformat"] == 4:
        assert notebook_file(document) == normalized(source) + "\n"


def test_there_are_ten_of_all_formats():
    versions = {
        (nb["nbformat"], nb.get("nbformat_minor")) for nb in (json.loads(path.read_text()) for path in NOTEBOOKS)
    }

    assert len(NOTEBOOKS) >= 10
    assert {(2, None), (3, 0), (4, 0), (4, 1), (4, 2), (4, 4), (4, 5)} <= versions


def test_a_cell_is_a_block_with_its_outputs_below():
    output = {"output_type": "stream", "name": "stdout", "text": ["1\n", "2\n"]}
    cell = {"cell_type": "code", "id": "a", "metadata": {"x": 1}, "source": ["print(1)\n", "2"], "outputs": [output]}

    (block,) = import_notebook(a_notebook({**cell, "execution_count": None})).children

    assert block.type == "notebook_cell"
    assert plain(block.text) == "print(1)\n2"
    assert block.properties == {"cell_type": "code", "cell_id": "a", "execution_count": None, "metadata": '{"x":1}'}
    (shown,) = block.children
    assert (shown.type, shown.properties) == ("notebook_output", {"output_type": "stream"})
    assert json.loads(plain(shown.text))["text"] == "1\n2\n"


def test_members_that_nobody_knows_and_those_that_are_missing_stay_so():
    cells = [{"cell_type": "code", "color": "red"}, {"cell_type": 7, "source": 8}, {"source": [1], "outputs": 3}]
    source = a_notebook(*cells, flavour={"a": [None]}, nbformat_minor="x")

    document = import_notebook(source)

    BUILTIN.check(document)
    assert export_notebook(document) == json.loads(source)


def test_lines_of_attachments_are_joined_as_nbformat_does():
    lines = ["a\n", "b"]
    cell = a_cell("a", "b", attachments={"x": {"text/plain": lines, "image/png": lines, "application/json": lines}})

    (kept,) = export_notebook(import_notebook(a_notebook(cell)))["cells"]

    assert kept["attachments"] == {"x": {"text/plain": "a\nb", "image/png": "a\nb", "application/json": lines}}


def test_what_is_too_large_for_a_property_is_a_block():
    metadata = {"widgets": "x" * BLOCK_PROPERTY_BYTES}
    source = a_notebook(a_cell("a", "b", metadata=metadata), metadata=metadata)

    document = import_notebook(source)

    BUILTIN.check(document)
    assert [block.type for block in in_order(document)] == [
        "document",
        "notebook_data",
        "notebook_cell",
        "notebook_data",
    ]
    assert export_notebook(document) == json.loads(source)


def test_trust_that_a_file_claims_is_dropped():
    document = import_notebook(a_notebook(a_cell("a", "b", metadata={"trusted": True}), metadata={"signature": "x"}))

    assert export_notebook(document) == json.loads(a_notebook(a_cell("a", "b")))


def test_a_cell_that_was_added_is_in_the_last_worksheet():
    sheets = [{"cells": [a_cell("a", "b")]}, {"cells": [], "name": "c"}]
    document = import_notebook(json.dumps({"nbformat": 3, "metadata": {}, "worksheets": sheets}))
    more = BlockSpec("notebook_cell", {"cell_type": "markdown"}, (Run("new"),))

    notebook = export_notebook(BlockSpec("document", document.properties, (), (*document.children, more)))

    added = {"cell_type": "markdown", "metadata": {}, "source": "new"}
    assert notebook["worksheets"] == [sheets[0], {"cells": [added], "name": "c"}]


def test_cells_keep_their_ids_by_the_id_in_the_file():
    before = named(import_notebook(a_notebook(a_cell("a", "one"), a_cell("b", "two"), a_cell("c", "three"))))

    after = import_notebook(
        a_notebook(a_cell("c", "quite another"), a_cell("new", "two"), a_cell("a", "one")), id_map(before)
    )

    names = {block.properties["cell_id"]: block.id for block in before.children}
    assert [block.id for block in after.children] == [names["c"], None, names["a"]]
    assert after.id == OpId(1, 1)


@pytest.mark.parametrize(
    "source", ["", "[]", "{}", '{"cells": 1}', '{"cells": [1]}', '{"worksheets": [{}]}', "[" * 100_000]
)
def test_what_is_no_notebook_is_refused(source: str):
    with pytest.raises(InvalidValueError):
        import_notebook(source)


def test_half_of_a_character_is_refused():
    with pytest.raises(InvalidValueError):
        import_notebook(a_notebook(a_cell("a", "\ud800")))


def test_half_of_a_character_in_an_output_is_kept():
    cell = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [{"output_type": "x", "text": "\ud800"}]}

    assert export_notebook(import_notebook(a_notebook(cell)))["cells"] == [cell]


def test_a_notebook_over_the_limit_is_refused():
    with pytest.raises(TooLargeError):
        import_notebook(" " * (NOTEBOOK_BYTES + 1))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def has_no_lines(attachments: Any) -> bool:
    """Whether no attachment is a list of lines, which come back joined."""
    bundles = attachments.values() if isinstance(attachments, dict) else ()
    values = [value for bundle in bundles if isinstance(bundle, dict) for value in bundle.values()]
    return not any(isinstance(value, list) and all(isinstance(line, str) for line in value) for value in values)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
cells = st.builds(
    lambda known, more: {**more, **known},
    st.fixed_dictionaries(
        {},
        optional={
            "cell_type": st.sampled_from(["code", "markdown", "raw"]),
            "id": words,
            "metadata": st.dictionaries(words, json_values, max_size=2),
            "source": words,
            "attachments": json_values.filter(has_no_lines),
            "execution_count": json_values,
            "outputs": st.lists(st.dictionaries(words, json_values, max_size=3), max_size=2),
        },
    ),
    st.dictionaries(st.sampled_from(["more", "missing", "text", "x"]), json_values, max_size=2),
)


@examples(50)
@given(st.lists(cells, max_size=3), st.dictionaries(words, json_values, max_size=2))
def test_whatever_a_notebook_has_comes_back(cells: list[dict[str, Any]], metadata: dict[str, Any]):
    source = a_notebook(*cells, metadata={f"x{name}": value for name, value in metadata.items()})

    assert export_notebook(import_notebook(source)) == json.loads(source)
