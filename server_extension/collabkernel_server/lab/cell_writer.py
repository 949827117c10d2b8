"""Writes what a run shows into its cell of the shared notebook, with the edits that stock JupyterLab follows.

JupyterLab applies what comes for an output area by simple rules, and this keeps to them: text of a stream is cut and
continued at its end, and only the last output's; new outputs stand at the end; what changes in between is taken away
with all behind it, and put there again. New things are inserted *before* the old ones behind them are deleted, so that
every client hears of the deletion first. ``execution_count`` comes with the end of the run: JupyterLab takes a cell
that gets one for idle.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from jupyter_ydoc.utils import cast_all
from jupyter_ydoc.ynotebook import YNotebook
from pycrdt import Array, Map, Text

from collabkernel_server.lab.outputs import CellOutputs, Item, Shown, Stream
from collabkernel_server.lab.run_notes import IDLE, forget_run, note_run

RUNNING = "running"
"""Of a cell that runs, and of one that waits for that: stock JupyterLab shows ``[*]`` for no other word."""


class CellWriter:
    """One run of one cell. Its methods are called while the document's client holds remote edits back."""

    def __init__(self, notebook: YNotebook, cell_id: str, server_id: str = "") -> None:
        self.cell_id = cell_id
        self._server_id = server_id
        self._notebook = notebook
        self._index = 0
        self._written: list[Item] = []
        self._stream_text = ""
        """Of the last written output, when it is a stream."""

    def find(self) -> Map[Any] | None:
        """The cell; None when it is gone, or no code any more."""
        cells = self._notebook.ycells
        if not (self._index < len(cells) and _has_id(cells[self._index], self.cell_id)):
            found = (index for index, cell in enumerate(cells) if _has_id(cell, self.cell_id))
            self._index = next(found, -1)
        if self._index < 0:
            self._index = 0
            return None
        cell = cells[self._index]
        return cell if cell.get("cell_type") == "code" and isinstance(cell.get("outputs"), Array) else None

    @property
    def position(self) -> int:
        """Where the cell was when it was last looked for."""
        return self._index

    def mark(self, state: str) -> None:
        """Show that the cell waits, or that it does no more."""
        cell = self.find()
        with self._notebook.ydoc.transaction():
            if state == IDLE or cell is None:
                forget_run(self._notebook, self.cell_id)
            elif self._server_id:
                note_run(self._notebook, self.cell_id, self._server_id)
            if cell is not None:
                _change(cell, "execution_state", state)

    def start(self) -> None:
        """The run begins: nothing of an earlier one is shown."""
        cell = self.find()
        if cell is None:
            return
        with self._notebook.ydoc.transaction():
            _change(cell, "execution_state", RUNNING)
            _change(cell, "execution_count", None)
            # What this run shows comes from code that somebody ran here; JupyterLab sanitizes it otherwise.
            _change(cell["metadata"], "trusted", True)
            cell["outputs"].clear()
        self._written = []
        self._stream_text = ""

    def finish(self, execution_count: int | None) -> None:
        """The run is over."""
        cell = self.find()
        if cell is None:
            forget_run(self._notebook, self.cell_id)
            return
        with self._notebook.ydoc.transaction():
            forget_run(self._notebook, self.cell_id)
            _change(cell, "execution_state", IDLE)
            _change(cell, "execution_count", None if execution_count is None else float(execution_count))

    def sync(self, run: CellOutputs) -> int:
        """Bring the cell's outputs up to the run's; about how many bytes that took."""
        cell = self.find()
        if cell is None:
            return 0
        outputs = cell["outputs"]
        if len(outputs) != len(self._written):
            self._give_in(run, outputs)
        return self._write(outputs, run.items())

    def _give_in(self, run: CellOutputs, outputs: Array[Any]) -> None:
        """Somebody else changed them: cleared ones stay cleared, anything else is written anew."""
        if not len(outputs) and self._written:
            is_stream = isinstance(self._written[-1], Stream)
            run.forget(len(self._written) - is_stream, len(self._stream_text))
        elif len(outputs):
            outputs.clear()
        self._written = []
        self._stream_text = ""

    def _write(self, outputs: Array[Any], items: Sequence[Item]) -> int:
        kept = 0
        size_bytes = 0
        while kept < min(len(items), len(self._written)) and items[kept] is self._written[kept]:
            kept += 1
        fresh = items[kept:]
        gone = len(self._written) - kept
        with self._notebook.ydoc.transaction():
            if kept and kept == len(self._written) and isinstance(items[kept - 1], Stream):
                size_bytes += self._continue_stream(outputs[kept - 1]["text"], items[kept - 1])
            outputs.extend([_as_shared(item) for item in fresh])
            if gone:
                del outputs[kept : kept + gone]
        self._written = list(items)
        last = items[-1] if items else None
        self._stream_text = last.text.text if isinstance(last, Stream) else ""
        return size_bytes + sum(_size_bytes(item) for item in fresh)

    def _continue_stream(self, shared: Text, stream: Item) -> int:
        assert isinstance(stream, Stream)
        before, after = self._stream_text, stream.text.text
        if after is before:
            return 0
        same = _common_prefix(before, after)
        end = len(shared)
        if after[same:]:
            shared.insert(end, after[same:])
        if same < len(before):
            # Offsets in pycrdt's texts are of bytes.
            del shared[len(before[:same].encode()) : end]
        return len(after) - same + 64


def _has_id(cell: Any, cell_id: str) -> bool:
    return isinstance(cell, Map) and cell.get("id") == cell_id  # a client can put anything among the cells


def _change(target: Map[Any], key: str, value: Any) -> None:
    if target.get(key, ...) != value:
        target[key] = value


def _size_bytes(item: Item) -> int:
    return item.size_bytes if isinstance(item, Shown) else len(item.text)


def _as_shared(item: Item) -> Map[Any]:
    if isinstance(item, Stream):
        return Map({"output_type": "stream", "name": item.name, "text": Text(item.text.text)})
    # JavaScript has no integers: one would come out there as a BigInt, which is no JSON.
    output = copy.deepcopy(item.output)
    cast_all(output, int, float)
    return Map(output)


def _common_prefix(one: str, other: str) -> int:
    """How many characters two texts begin with alike; by bisection, since comparing slices is fast."""
    if other.startswith(one):
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
