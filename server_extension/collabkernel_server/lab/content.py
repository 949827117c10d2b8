"""What is in a shared document: read from it, compared, merged, and put back by edits as small as the change.

Three kinds: texts, notebooks, and the rest (bytes, and types that other packages brought), which is one unit. A *base*
is what has to be kept of a content to merge with it later: all of a text, a lean notebook, a digest of the rest.
"""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from jupyter_ydoc import YNotebook, YUnicode
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Array, Doc, Map, Text

from collabkernel_server.lab.diff import changes, text_edits
from collabkernel_server.lab.mend import mend, mended_cell
from collabkernel_server.lab.merge import merge_text
from collabkernel_server.lab.merge_notebook import Cell, Notebook, lean, merge_notebook
from collabkernel_server.lab.names import document_class

Content: TypeAlias = str | bytes | Notebook
SEED_CLIENT = 0
"""Yjs client id of what was read from disk: the same bytes give the same operations, wherever they are read."""
_META_DEFAULTS = {"language_info": {"name": ""}, "kernelspec": {"name": "", "display_name": ""}}
_EMPTY_CELL: Cell = {
    "cell_type": "code",
    "execution_count": None,
    "metadata": {"trusted": True},
    "outputs": [],
    "source": "",
}
"""What a notebook without cells is shown with."""


async def read_content(document: YBaseDoc) -> Content:
    """What a replica holds; remote edits must be held back meanwhile. Cells have their ids, whatever their format."""
    if not isinstance(document, YNotebook):
        content: Content = await document.aget()
        return content
    ids = await mend(document)
    notebook: Notebook = await document.aget()
    _drop_copies(document, notebook)
    for index, cell in enumerate(notebook["cells"]):
        cell.setdefault("id", ids[index])  # those of an old format have none of their own, and all of them are there
        mended_cell(cell)
    return notebook


def for_file(notebook: Notebook) -> Notebook:
    """A notebook as its file has it: cells of nbformat 4.4 and older have no id there."""
    if (notebook.get("nbformat", 4), notebook.get("nbformat_minor", 5)) >= (4, 5):
        return notebook
    cells = [{key: value for key, value in cell.items() if key != "id"} for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


def from_file(content: Any) -> Content:
    """A file's content as a document has it: plain values, and the metadata that every shared notebook gets."""
    if not isinstance(content, Mapping):
        assert isinstance(content, str | bytes)
        return content
    notebook: Notebook = _plain(content)
    for key, value in _META_DEFAULTS.items():
        notebook.setdefault("metadata", {}).setdefault(key, dict(value))
    return notebook


def encode_base(content: Content) -> bytes:
    """What ``merged`` needs of a content later."""
    if isinstance(content, dict):
        return json.dumps(lean(for_file(content))).encode()
    return content.encode() if isinstance(content, str) else hashlib.sha256(content).hexdigest().encode()


def is_same(base: bytes | None, content: Content) -> bool:
    """Whether this is the content of the base, but for who is trusted."""
    return base is not None and (base == encode_base(content) or _same_notebook(base, content))


def _same_notebook(base: bytes, content: Content) -> bool:
    return isinstance(content, dict) and bool(json.loads(base) == lean(for_file(content)))


def distance(base: bytes, content: Content) -> int:
    """How many lines are different from a base."""
    if isinstance(content, bytes):
        return 0 if is_same(base, content) else 1
    old = _lines_of(json.loads(base)) if isinstance(content, dict) else base.decode().split("\n")
    new = _lines_of(content) if isinstance(content, dict) else content.split("\n")
    return sum(end - start + other_end - other_start for start, end, other_start, other_end in changes(old, new))


def _lines_of(notebook: Notebook) -> list[str]:
    return [line for cell in notebook["cells"] for line in ["", *str(cell["source"]).split("\n")]]


def merged(type_name: str, base: bytes | None, document: Content, disk: Content) -> Content:
    """The document with what was changed on disk since the base; nothing that anybody typed is lost."""
    if isinstance(document, dict) and isinstance(disk, dict):
        return merge_notebook(json.loads(base) if base else None, document, disk)
    if isinstance(document, str) and isinstance(disk, str) and issubclass(document_class(type_name), YUnicode):
        return merge_text(base.decode() if base is not None else None, document, disk)
    return disk if is_same(base, document) else document


def seed(type_name: str, content: Content, state: Mapping[str, Any]) -> tuple[bytes, Content]:
    """The Yjs update that makes a document of what was read from disk, and what is in it then."""
    ydoc: Doc[Any] = Doc(client_id=SEED_CLIENT)
    document = document_class(type_name)(ydoc)
    # A class may edit what it observes, on an event loop: jupyterlab-chat's does, and there is none in this thread.
    document.unobserve()
    if isinstance(content, dict):
        content = {**content, "cells": [_with_id(index, cell) for index, cell in enumerate(content["cells"])]}
        if not content["cells"]:
            content["cells"] = [_with_id(0, _EMPTY_CELL)]
    document.set(content)
    for key, value in state.items():
        document.ystate[key] = value
    return ydoc.get_update(), document.get()


# -- edits


class _ByteEdit(NamedTuple):
    """pycrdt counts UTF-8 bytes."""

    start: int
    length: int
    text: str


@dataclass(frozen=True, slots=True)
class _Replace:
    """Cells by others, or by none."""

    index: int
    count: int
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class _EditCell:
    """What changes inside a cell."""

    index: int
    source: list[_ByteEdit]
    values: dict[str, Any] = field(default_factory=dict)
    """New values by key; ``_GONE`` takes the key away."""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _EditText:
    edits: list[_ByteEdit]


@dataclass(frozen=True, slots=True)
class _SetMeta:
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _SetWhole:
    content: Content


Step: TypeAlias = _Replace | _EditCell | _EditText | _SetMeta | _SetWhole
_GONE: Any = object()


def steps(type_name: str, old: Content, new: Content) -> list[Step]:
    """The edits that make one content of another; may take long, and needs no document."""
    if isinstance(old, dict) and isinstance(new, dict):
        return list(_notebook_steps(old, new))
    if old == new:
        return []
    if isinstance(old, str) and isinstance(new, str) and issubclass(document_class(type_name), YUnicode):
        return [_EditText(_byte_edits(old, new))]
    return [_SetWhole(new)]


def apply_steps(document: YBaseDoc, plan: list[Step]) -> Iterator[None]:
    """Edit a replica that holds what ``steps`` was given; a step, which is one transaction, at a time."""
    for step in plan:
        with document.ydoc.transaction():
            _apply(document, step)
        yield


def _apply(document: YBaseDoc, step: Step) -> None:
    match step:
        case _EditText():
            _edit_text(document.ydoc.get("source", type=Text), step.edits)
        case _SetWhole():
            document.set(step.content)
        case _SetMeta():
            _set_values(document.ydoc.get("meta", type=Map), step.values)
        case _Replace():
            assert isinstance(document, YNotebook)
            ycells: Array[Any] = document.ycells
            del ycells[step.index : step.index + step.count]
            for offset, cell in enumerate(step.cells):
                ycells.insert(step.index + offset, document.create_ycell(cell))
        case _EditCell():
            assert isinstance(document, YNotebook)
            ycell = document.ycells[step.index]
            _edit_text(ycell["source"], step.source)
            _set_values(ycell["metadata"], step.metadata)
            if "outputs" in step.values:
                _set_outputs(ycell, step.values["outputs"])
            _set_values(ycell, {key: value for key, value in step.values.items() if key != "outputs"})


def _notebook_steps(old: Notebook, new: Notebook) -> Iterator[Step]:
    meta = _changed(old, new, left_out=("cells",))
    if meta:
        yield _SetMeta(meta)
    cells = [cell if cell.get("id") else {**cell, "id": str(uuid.uuid4())} for cell in new["cells"]]
    old_ids, new_ids = [cell["id"] for cell in old["cells"]], [cell["id"] for cell in cells]
    found = changes(old_ids, new_ids)
    for change in reversed(found):
        yield _Replace(change.start, change.end - change.start, cells[change.other_start : change.other_end])
    replaced = {j for change in found for j in range(change.other_start, change.other_end)}
    old_by_id = {cell["id"]: cell for cell in old["cells"]}
    for index, cell in enumerate(cells):
        if index not in replaced:
            yield from _cell_steps(index, old_by_id[cell["id"]], cell)


def _cell_steps(index: int, old: Cell, new: Cell) -> Iterator[Step]:
    if old == new:
        return
    if old["cell_type"] != new["cell_type"]:
        # Editors choose a cell's widget once; one that changes its kind is another cell to them.
        yield _Replace(index, 1, [new])
        return
    values = _changed(old, new, left_out=("source", "metadata", "id"))
    metadata = _changed(old.get("metadata", {}), new.get("metadata", {}))
    yield _EditCell(index, _byte_edits(old["source"], new["source"]), values, metadata)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    keys = [key for key in dict.fromkeys([*old, *new]) if key not in left_out]
    return {key: new.get(key, _GONE) for key in keys if old.get(key, _GONE) != new.get(key, _GONE)}


def _byte_edits(old: str, new: str) -> list[_ByteEdit]:
    found: list[_ByteEdit] = []
    at = at_bytes = 0
    for edit in text_edits(old, new):
        start = at_bytes + len(old[at : edit.start].encode())
        length = len(old[edit.start : edit.end].encode())
        found.append(_ByteEdit(start, length, edit.text))
        at, at_bytes = edit.end, start + length
    return found


def _edit_text(ytext: Text, edits: list[_ByteEdit]) -> None:
    for start, length, text in reversed(edits):
        if length:
            del ytext[start : start + length]
        if text:
            ytext.insert(start, text)


def _set_values(ymap: Map[Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if value is not _GONE:
            ymap[key] = Map(value) if isinstance(ymap.get(key), Map) else value
        elif key in ymap:
            del ymap[key]


def _set_outputs(ycell: Map[Any], outputs: Any) -> None:
    prepared = [] if outputs is _GONE else outputs
    youtputs = ycell.get("outputs")
    if not isinstance(youtputs, Array):
        ycell["outputs"] = youtputs = Array()
    youtputs.clear()
    youtputs.extend([_youtput(output) for output in prepared])


def _youtput(output: Mapping[str, Any]) -> Map[Any]:
    """One output as a shared notebook has it: a map, in which the text of a stream is a text."""
    values = copy.deepcopy(dict(output))
    if values.get("output_type") == "stream":
        text = values.get("text", "")
        values["text"] = Text(text if isinstance(text, str) else "".join(text))
    return Map(values)


def _drop_copies(document: YNotebook, content: Notebook) -> None:
    """Take cells that stand twice with one id out of the replica, as ``get`` has left them out of the content."""
    seen: set[str] = set()
    index = 0
    while len(document.ycells) > len(content["cells"]) and index < len(document.ycells):
        cell_id = document.ycells[index]["id"]
        if cell_id in seen:
            del document.ycells[index]
            continue
        seen.add(cell_id)
        index += 1


def _with_id(index: int, cell: Cell) -> Cell:
    """A cell with an id, which is the same each time the same file is read."""
    if cell.get("id"):
        return cell
    mark = f"{index}\n{cell.get('cell_type')}\n{cell.get('source')}"
    return {**cell, "id": hashlib.sha256(mark.encode()).hexdigest()[:16]}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
