"""The three-way merge of notebooks: laws, then what people would expect."""

from __future__ import annotations

import copy
import json

import pytest
from collabkernel_server.lab.merge_notebook import lean, merge_notebook
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.core


def code(cell_id, source="", outputs=(), count=None, **metadata):
    return {
        "id": cell_id,
        "cell_type": "code",
        "source": source,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": text} for text in outputs],
        "execution_count": count,
        "metadata": metadata,
    }


def notebook(*cells, minor=5, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}


def without_ids(nb):
    cells = [{key: value for key, value in cell.items() if key != "id"} for cell in nb["cells"]]
    return {**nb, "cells": cells, "nbformat_minor": 4}


def sources(nb):
    return [cell["source"] for cell in nb["cells"]]


def ids(nb):
    return [cell["id"] for cell in nb["cells"]]


cells = st.builds(
    code,
    st.sampled_from("abcdef"),
    st.sampled_from(["", "x = 1", "x = 2\ny", "print(x)", "print(x, y)"]),
    st.lists(st.sampled_from(["1\n", "2\n"]), max_size=1),
    st.sampled_from([None, 1, 2]),
)
notebooks = st.lists(cells, max_size=5, unique_by=lambda cell: cell["id"]).map(lambda found: notebook(*found))
anonymous = st.lists(cells, max_size=5).map(lambda found: without_ids(notebook(*found)))
any_notebooks = st.one_of(notebooks, anonymous)


@given(any_notebooks, any_notebooks)
def test_a_side_that_changed_nothing_gives_way(base, changed):
    assert merge_notebook(lean(base), changed, base) == changed


@given(any_notebooks, any_notebooks)
def test_a_document_that_changed_nothing_gives_way(base, changed):
    merged = merge_notebook(lean(base), base, changed)
    for cell, expected in zip(merged["cells"], changed["cells"], strict=True):
        assert {**cell, "id": ""} == {**expected, "id": ""}


@given(st.none() | notebooks, any_notebooks)
def test_two_equal_sides_are_that(base, same):
    assert merge_notebook(base, same, copy.deepcopy(same)) == same


@given(notebooks, notebooks, notebooks)
def test_no_line_that_either_side_added_is_lost_and_no_cell_stands_twice(base, document, disk):
    merged = merge_notebook(lean(base), document, disk)

    assert len(set(ids(merged))) == len(merged["cells"])
    text = "\n".join(sources(merged))
    old = {line for source in sources(base) for line in source.split("\n")}
    for side in (document, disk):
        for line in {line for source in sources(side) for line in source.split("\n")} - old:
            assert all(word in text for word in line.split())


def test_cells_of_both_sides_are_kept_in_their_places():
    base = notebook(code("a", "one"), code("b", "two"))
    document = notebook(code("a", "one"), code("d", "typed"), code("b", "two"))
    disk = notebook(code("k", "written"), code("a", "one, changed"), code("b", "two"))

    merged = merge_notebook(lean(base), document, disk)

    assert ids(merged) == ["k", "a", "d", "b"]
    assert sources(merged) == ["written", "one, changed", "typed", "two"]


def test_one_cell_edited_on_both_sides():
    base = notebook(code("a", "import os\n\nprint(os)"))
    document = notebook(code("a", "import os\nimport sys\n\nprint(os)"))
    disk = notebook(code("a", "import os\n\nprint(os.name)"))

    assert sources(merge_notebook(lean(base), document, disk)) == ["import os\nimport sys\n\nprint(os.name)"]


def test_a_deleted_cell_stays_when_the_other_side_edited_it():
    base = notebook(code("a", "one"), code("b", "two"))
    without = notebook(code("b", "two"))
    edited = notebook(code("a", "one, changed"), code("b", "two"))

    assert sources(merge_notebook(lean(base), without, edited)) == ["one, changed", "two"]
    assert sources(merge_notebook(lean(base), edited, without)) == ["one, changed", "two"]
    assert sources(merge_notebook(lean(base), base, without)) == ["two"]


def test_a_moved_cell_stands_once_with_the_edits_of_both():
    a, b, c = code("a", "one"), code("b", "two"), code("c", "three")
    moved = notebook(c, a, b)
    edited = notebook(a, b, code("c", "three, changed"))

    for document, disk in ((moved, edited), (edited, moved)):
        merged = merge_notebook(lean(notebook(a, b, c)), document, disk)
        assert ids(merged) == ["c", "a", "b"]
        assert sources(merged) == ["three, changed", "one", "two"]


def test_outputs_are_one_with_their_count_and_the_documents_win():
    base = notebook(code("a", "x", ["1\n"], 1), code("b", "y", ["1\n"], 2))
    document = notebook(code("a", "x", ["2\n"], 5), code("b", "y", ["1\n"], 2))
    disk = notebook(code("a", "x", ["3\n"], 7), code("b", "y", ["3\n"], 8))

    merged = merge_notebook(lean(base), document, disk)

    assert [cell["execution_count"] for cell in merged["cells"]] == [5, 8]
    assert [cell["outputs"][0]["text"] for cell in merged["cells"]] == ["2\n", "3\n"]


def test_metadata_is_merged_by_key():
    base = notebook(code("a", tags=["x"], old=1), kernelspec={"name": "python3", "display_name": "Python"})
    document = notebook(code("a", tags=["x", "y"], old=1), kernelspec={"name": "python3", "display_name": "Mine"})
    disk = notebook(code("a", tags=["x"], new=2), kernelspec={"name": "julia", "display_name": "Python"}, title="t")

    merged = merge_notebook(lean(base), document, disk)

    assert merged["cells"][0]["metadata"] == {"tags": ["x", "y"], "new": 2}
    assert merged["metadata"] == {"kernelspec": {"name": "julia", "display_name": "Mine"}, "title": "t"}


def test_trust_is_not_a_change_and_stays_with_its_outputs():
    base = notebook(code("a", "x", ["1\n"]), code("b", "y", ["1\n"]))
    document = notebook(code("a", "x", ["1\n"], trusted=True), code("b", "y", ["1\n"], trusted=True))
    disk = notebook(code("a", "x!", ["1\n"], trusted=False), code("b", "y", ["<b>"], trusted=False))

    merged = merge_notebook(lean(base), document, disk)

    assert [cell["metadata"]["trusted"] for cell in merged["cells"]] == [True, False]


def test_cells_without_ids_are_known_by_their_content():
    base = notebook(code("a", "import os"), code("b", "print(os.getcwd())"), code("c", "x = 1"))
    document = notebook(code("1", "import os"), code("2", "print(os.getcwd(), 1)"), code("3", "x = 1"))
    disk = notebook(code("", "x = 0"), code("", "import os"), code("", "print(os.getcwd())\nexit()"), minor=4)

    merged = merge_notebook(lean(without_ids(base)), without_ids(document), without_ids(disk))

    assert sources(merged) == ["x = 0", "import os", "print(os.getcwd(), 1)\nexit()"]


def test_a_program_that_makes_all_ids_anew_leaves_the_documents_cells():
    base = notebook(code("a", "one"), code("b", "two"))
    document = notebook(code("a", "one"), code("b", "two, typed"))
    disk = notebook(code("k1", "one"), code("k2", "two"), code("k3", "three"))

    merged = merge_notebook(lean(base), document, disk)

    assert ids(merged)[0] == "a"
    assert "two, typed" in sources(merged)
    assert "three" in sources(merged)


def test_without_a_base_the_cells_of_both_are_kept():
    merged = merge_notebook(None, notebook(code("a", "one"), code("d", "typed")), notebook(code("a", "one\ntwo")))

    assert sources(merged) == ["one\ntwo", "typed"]


def test_a_lean_notebook_is_small_and_enough():
    image = {"output_type": "display_data", "data": {"image/png": "A" * 100_000}, "metadata": {}}
    whole = notebook({**code("a", "plot()"), "outputs": [image]})
    disk = copy.deepcopy(whole)
    disk["cells"][0]["source"] = "plot(2)"

    assert len(json.dumps(lean(whole))) < 500
    assert lean(lean(whole)) == lean(whole)
    assert merge_notebook(json.loads(json.dumps(lean(whole))), whole, disk) == disk
