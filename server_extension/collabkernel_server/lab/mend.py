"""Makes a shared notebook readable in which a client has left what is no notebook's.

Any writer can put anything in the Yjs types of a document, and the room cannot know what a notebook is. What cannot be
a cell is taken out of the replica, what lacks a part gets an empty one, and texts that somebody can have typed stay.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

from jupyter_ydoc import YNotebook
from jupyter_ydoc.ynotebook import NBFORMAT_MAJOR_VERSION, NBFORMAT_MINOR_VERSION
from pycrdt import Array, Map, Text

MINORS = range(100)
"""Minor versions of the notebook format; the last one is 5."""
CELLS_AT_ONCE = 100
"""Looking at one takes 50 us; others have their turn in between."""


async def mend(document: YNotebook) -> list[str]:
    """Put a replica in order; the ids of its cells."""
    meta: Map[Any] = document.ydoc.get("meta", type=Map)
    with document.ydoc.transaction():
        _mend_meta(meta)
    ycells: Array[Any] = document.ycells
    ids: list[str] = []
    while len(ids) < len(ycells):
        ycell = ycells[len(ids)]
        if not isinstance(ycell, Map):
            del ycells[len(ids)]
            continue
        if not _is_whole(ycell):
            with document.ydoc.transaction():
                _mend_cell(ycell)
        ids.append(ycell["id"])
        if len(ids) % CELLS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return ids


def mended_cell(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell as ``get`` gives it, without outputs and attachments that no file can have."""
    if cell["cell_type"] == "code":
        outputs = cell.get("outputs")
        cell["outputs"] = [each for each in outputs if _is_output(each)] if isinstance(outputs, list) else []
    attachments = cell.get("attachments", {})
    if not isinstance(attachments, dict) or not all(isinstance(each, dict) for each in attachments.values()):
        del cell["attachments"]
    return cell


def _is_output(output: Any) -> bool:
    if not isinstance(output, dict) or not isinstance(output.get("output_type"), str):
        return False
    return isinstance(output.get("data", {}), dict)


def _mend_meta(meta: Map[Any]) -> None:
    # As floats, for JavaScript has no integers: one would come out there as a BigInt, which is no JSON.
    if meta.get("nbformat") != NBFORMAT_MAJOR_VERSION:
        meta["nbformat"] = float(NBFORMAT_MAJOR_VERSION)
    minor = meta.get("nbformat_minor")
    if not isinstance(minor, int | float) or minor not in MINORS:
        meta["nbformat_minor"] = float(NBFORMAT_MINOR_VERSION)
    if not isinstance(meta.get("metadata"), Map | dict):
        meta["metadata"] = Map({})


def _is_whole(ycell: Map[Any]) -> bool:
    return (
        _is_name(ycell.get("id"))
        and _is_name(ycell.get("cell_type"))
        and isinstance(ycell.get("source"), Text)
        and isinstance(ycell.get("metadata"), Map)
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _mend_cell(ycell: Map[Any]) -> None:
    if not _is_name(ycell.get("id")):
        ycell["id"] = str(uuid.uuid4())
    if not _is_name(ycell.get("cell_type")):
        ycell["cell_type"] = "code"
    source = ycell.get("source")
    if not isinstance(source, Text):
        ycell["source"] = Text(source if isinstance(source, str) else "")
    metadata = ycell.get("metadata")
    if not isinstance(metadata, Map):
        ycell["metadata"] = Map(dict(metadata) if isinstance(metadata, Mapping) else {})
    if ycell["cell_type"] == "code" and "outputs" not in ycell:
        ycell["outputs"] = Array()
