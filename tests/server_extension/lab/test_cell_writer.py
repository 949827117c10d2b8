"""What is written of a run into its cell: the cell has it, and a stock front end that follows shows it."""

from __future__ import annotations

from typing import Any

import pytest
from collabkernel_server.lab.cell_writer import CellWriter
from collabkernel_server.lab.outputs import CellOutputs, OutputBounds, Stream
from hypothesis import given
from hypothesis import strategies as st
from jupyter_ydoc import YNotebook
from pycrdt import ArrayEvent, Doc, TextEvent

pytestmark = pytest.mark.core


def notebook(*cell_ids: str) -> YNotebook:
    made = YNotebook(Doc())
    cells = [
        {"id": cell_id, "cell_type": "code", "source": "", "metadata": {}, "outputs": [], "execution_count": 1}
        for cell_id in cell_ids
    ]
    made.set({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    return made


class NoSpool:
    size_bytes = 0

    def write(self, text: str) -> None:
        raise AssertionError(f"nothing is that long here, {len(text)}")

    def close(self) -> str:
        return ""

    def discard(self) -> None:
        pass


class LabArea:
    """An output area as JupyterLab 4.6 follows it: streams at the last output's end alone, new outputs at the end."""

    def __init__(self, shared: YNotebook) -> None:
        self.outputs: list[Any] = []
        self._last_stream = ""
        self._subscription = shared.ycells[0]["outputs"].observe_deep(self._on_events)

    def _on_events(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, TextEvent):
                self._on_text(event.delta)
        for event in events:
            if isinstance(event, ArrayEvent):
                self._on_outputs(event.delta)

    def _on_text(self, delta: list[dict[str, Any]]) -> None:
        name, text = self.outputs[-1]
        for step in delta:  # lengths are of bytes here, of UTF-16 units there
            kept = text.encode()
            text = kept[: len(kept) - step.get("delete", 0)].decode() + step.get("insert", "")
        self.outputs[-1] = (name, text)

    def _on_outputs(self, delta: list[dict[str, Any]]) -> None:
        index = 0
        for step in delta:
            index += step.get("retain", 0)
            for _ in range(step.get("delete", 0)):
                del self.outputs[index]
            for output in step.get("insert", ()):
                self._add(output.to_py())

    def _add(self, output: dict[str, Any]) -> None:
        if output["output_type"] != "stream":
            self.outputs.append(output["data"]["text/plain"])
            self._last_stream = ""
            return
        assert not (self.outputs and output["name"] == self._last_stream), "JupyterLab would merge the two"
        self.outputs.append((output["name"], output["text"]))
        self._last_stream = output["name"]


def shown(run: CellOutputs) -> list[Any]:
    return [
        (item.name, item.text.text) if isinstance(item, Stream) else item.output["data"]["text/plain"]
        for item in run.items()
    ]


def make() -> tuple[YNotebook, CellOutputs, CellWriter]:
    made = notebook("a", "b")
    writer = CellWriter(made, "a")
    writer.start()
    return made, CellOutputs(OutputBounds(10_000, 100_000, 100), NoSpool), writer


def plain(text: str, display_id: str = "") -> dict[str, Any]:
    return {"data": {"text/plain": text}, "transient": {"display_id": display_id}}


STEPS = st.one_of(
    st.tuples(
        st.just("print"), st.sampled_from(["stdout", "stderr"]), st.text("a\u00e9\u4e16\r\n", min_size=1, max_size=5)
    ),
    st.tuples(st.just("show"), st.sampled_from(["x", "y", ""]), st.text("d", max_size=3)),
    st.tuples(st.just("update"), st.sampled_from(["x", "y"]), st.text("u", max_size=3)),
    st.tuples(st.just("clear"), st.booleans(), st.just("")),
    st.tuples(st.just("sync"), st.just(""), st.just("")),
)


@given(st.lists(STEPS, max_size=25))
def test_cell_and_stock_front_end_show_what_the_run_shows(steps: list[tuple[str, Any, str]]) -> None:
    made, run, writer = make()
    area = LabArea(made)
    for kind, where, text in [*steps, ("sync", "", "")]:
        match kind:
            case "print":
                run.print(where, text)
            case "show":
                run.show("display_data", plain(text, where))
            case "update":
                run.update(where, plain(text))
            case "clear":
                run.clear(wait=where)
            case "sync":
                writer.sync(run)
                assert area.outputs == shown(run)

    cell = made.get_cell(0)
    written = [
        (output["name"], output["text"]) if output["output_type"] == "stream" else output["data"]["text/plain"]
        for output in cell["outputs"]
    ]
    assert written == shown(run)


def test_letters_of_several_bytes_are_overwritten() -> None:
    made, run, writer = make()
    area = LabArea(made)
    for text in ("a\u00e9\u4e16\ra", "a"):
        run.print("stdout", text)
        writer.sync(run)

    assert area.outputs == [("stdout", "aa\u4e16")] == shown(run)


def test_run_goes_from_running_to_idle_with_its_count_at_the_end() -> None:
    made, _, writer = make()
    cell = made.ycells[0]
    assert (cell["execution_state"], cell["execution_count"]) == ("running", None)
    assert cell["metadata"]["trusted"] is True

    writer.finish(7)

    assert (cell["execution_state"], cell["execution_count"]) == ("idle", 7)
    assert isinstance(cell["execution_count"], float)


def test_growing_text_costs_what_is_new() -> None:
    _, run, writer = make()
    run.print("stdout", "x" * 5000)
    writer.sync(run)
    run.print("stdout", "y")

    assert writer.sync(run) < 100
    assert writer.sync(run) == 0


def test_outputs_that_a_person_cleared_stay_cleared() -> None:
    made, run, writer = make()
    run.show("display_data", plain("old"))
    run.print("stdout", "old, ")
    writer.sync(run)
    run.print("stdout", "new")
    made.ycells[0]["outputs"].clear()

    writer.sync(run)

    assert [output["text"] for output in made.get_cell(0)["outputs"]] == ["new"]


def test_outputs_that_somebody_else_changed_are_written_anew() -> None:
    made, run, writer = make()
    run.print("stdout", "a")
    writer.sync(run)
    made.ycells[0]["outputs"].append({"output_type": "display_data", "data": {}, "metadata": {}})

    run.print("stdout", "b")
    writer.sync(run)

    assert [output["text"] for output in made.get_cell(0)["outputs"]] == ["ab"]


def test_cell_is_found_where_it_was_moved_and_missed_where_it_is_gone() -> None:
    made, run, writer = make()
    cells = made.get()["cells"]
    made.set(made.get() | {"cells": [cells[1], cells[0]]})
    run.print("stdout", "text")
    writer.start()
    writer.sync(run)
    assert made.get_cell(1)["outputs"][0]["text"] == "text"
    assert writer.position == 1

    del made.ycells[1]

    assert writer.find() is None
    assert writer.sync(run) == 0
    writer.finish(1)
    writer.mark("idle")


def test_cell_is_found_behind_what_is_no_cell() -> None:
    made, run, writer = make()
    made.ycells.insert(0, "any client can put this here")
    run.print("stdout", "text")

    writer.sync(run)

    assert made.get_cell(1)["outputs"][0]["text"] == "text"


def test_integers_become_what_javascript_has() -> None:
    made, run, writer = make()
    run.show("display_data", {"data": {"application/json": {"n": [1, 2]}}})
    writer.sync(run)

    value = made.ycells[0]["outputs"][0]["data"]["application/json"]["n"][0]
    assert isinstance(value, float)
    assert made.get_cell(0)["outputs"][0]["data"]["application/json"]["n"] == [1, 2]
