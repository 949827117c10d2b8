"""What a run shows of the messages of its kernel, and how much of it stays in the notebook."""

from __future__ import annotations

from typing import Any

import pytest
from collabkernel_server.lab.outputs import CellOutputs, OutputBounds, Shown, Stream, bundle_bytes

pytestmark = pytest.mark.core


class Text:
    """A spool in memory."""

    def __init__(self) -> None:
        self.text = ""
        self.is_discarded = False

    @property
    def size_bytes(self) -> int:
        return len(self.text)

    def write(self, text: str) -> None:
        self.text += text

    def close(self) -> str:
        return "/base/outputs/all.txt"

    def discard(self) -> None:
        self.is_discarded = True


class Area:
    """A run, with what it spooled."""

    def __init__(self, inline_bytes: int = 100, cell_bytes: int = 1000, outputs: int = 10) -> None:
        self.spools: list[Text] = []
        self.run = CellOutputs(OutputBounds(inline_bytes, cell_bytes, outputs), self._spool)

    def _spool(self) -> Text:
        self.spools.append(Text())
        return self.spools[-1]

    @property
    def shown(self) -> list[Any]:
        return [
            (item.name, item.text.text) if isinstance(item, Stream) else item.output.get("data", item.output)
            for item in self.run.items()
        ]


def plain(text: str, display_id: str = "") -> dict[str, Any]:
    return {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": display_id}}


def test_stream_grows_until_something_else_is_shown() -> None:
    area = Area()
    area.run.print("stdout", "a")
    area.run.print("stdout", "b\n")
    area.run.print("stderr", "c")
    area.run.print("stdout", "d")
    area.run.show("execute_result", plain("7") | {"execution_count": 3})

    assert area.shown == [("stdout", "ab\n"), ("stderr", "c"), ("stdout", "d"), {"text/plain": "7"}]
    last = area.run.items()[-1]
    assert isinstance(last, Shown)
    assert last.output["execution_count"] == 3


def test_clear_that_waits_is_done_when_the_next_output_comes() -> None:
    area = Area()
    area.run.print("stdout", "old")
    area.run.clear(wait=True)
    assert area.shown == [("stdout", "old")]

    area.run.print("stdout", "new")

    assert area.shown == [("stdout", "new")]
    area.run.clear(wait=False)
    assert area.shown == []


def test_update_changes_every_display_of_that_id() -> None:
    area = Area()
    area.run.show("display_data", plain("one", "x"))
    area.run.show("display_data", plain("two", "y"))
    area.run.show("display_data", plain("one", "x"))

    assert area.run.update("x", plain("ONE"))
    assert not area.run.update("z", plain("nothing"))
    assert area.shown == [{"text/plain": "ONE"}, {"text/plain": "two"}, {"text/plain": "ONE"}]
    assert area.run.has_displays


def test_error_is_shown_even_when_nothing_else_finds_room() -> None:
    area = Area(outputs=1)
    area.run.show("display_data", plain("one"))
    area.run.show("display_data", plain("two"))
    area.run.fail("ValueError", "no", ["Traceback", "ValueError: no"])

    assert area.shown[1]["ename"] == "ValueError"
    assert "1 more outputs" in area.shown[2]["text/plain"]
    assert area.spools[0].text == "two\n"


def test_long_text_goes_on_in_a_file_that_has_all_of_it() -> None:
    area = Area(inline_bytes=100)
    area.run.print("stdout", "a" * 60)
    area.run.print("stdout", "b" * 60)
    area.run.print("stderr", "the end")

    stream, rest = area.shown
    assert stream == ("stdout", "a" * 60 + "b" * 40)
    assert "when the cell is done" in rest["text/plain"]
    assert rest["text/plain"].endswith("b" * 20 + "the end")
    assert area.spools[0].text == "a" * 60 + "b" * 60 + "the end"

    area.run.finish()
    assert "/base/outputs/all.txt" in area.shown[1]["text/html"]


def test_progress_bar_stays_in_the_notebook_however_long_it_runs() -> None:
    area = Area(inline_bytes=100)
    for percent in range(101):
        area.run.print("stderr", f"\r{percent:3} % " + "#" * 50)

    assert area.shown == [("stderr", "100 % " + "#" * 50)]
    assert not area.spools


def test_overwriting_text_that_is_still_too_long_goes_on_in_a_file() -> None:
    area = Area(inline_bytes=100)
    area.run.print("stdout", "x\ry\n" * 100_000)

    assert len(area.shown) == 2
    assert len(area.shown[0][1]) < 100_000


def test_all_outputs_of_a_cell_have_one_bound() -> None:
    area = Area(inline_bytes=100, cell_bytes=250)
    for _ in range(5):
        area.run.show("display_data", plain("d" * 50))
        area.run.print("stdout", "s" * 50)

    assert sum(len(str(shown)) for shown in area.shown[:-1]) < 500
    assert area.run.display_bytes_max == 0
    assert area.spools[0].text.count("s") == 250


def test_what_somebody_cleared_is_not_shown_again() -> None:
    area = Area()
    area.run.show("display_data", plain("seen"))
    area.run.print("stdout", "seen too, ")
    area.run.print("stdout", "and this not")

    area.run.forget(1, len("seen too, "))

    assert area.shown == [("stdout", "and this not")]


def test_long_traceback_is_cut_in_the_middle() -> None:
    area = Area(inline_bytes=400)
    area.run.fail("RecursionError", "deep", [f"frame {index}" for index in range(1000)])

    error, rest = area.shown
    assert "frame 0\n" in error["traceback"][0]
    assert error["traceback"][0].endswith("frame 999")
    assert bundle_bytes({"": "".join(error["traceback"])}) < 400
    assert area.spools[0].text.count("frame") == 1000
    assert rest["text/plain"]


def test_clearing_forgets_the_file() -> None:
    area = Area(inline_bytes=10)
    area.run.print("stdout", "x" * 50)
    area.run.clear(wait=False)
    area.run.print("stdout", "y")

    assert area.spools[0].is_discarded
    assert area.shown == [("stdout", "y")]
