"""The three-way merge of notebooks, cell by cell. Pure.

Cells are told apart by id; those without one (nbformat 4.4 and older), and those whose id another program made anew,
by what is in them. The order is merged as lines are. Of a cell that both sides have, the source is merged as text, each
metadata key is a unit, and outputs with their count are one: who changed it wins, and the document when both did. A
cell that one side deleted and the other edited stays.

A *lean* notebook, the form of a base, has digests in place of outputs and attachments: they are only compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from collabkernel_server.lab.diff import changes
from collabkernel_server.lab.merge import common, merge_text, pair, union

Notebook: TypeAlias = dict[str, Any]
Cell: TypeAlias = dict[str, Any]

_TRUSTED = "trusted"
"""Metadata of a cell that is never in a file: what it says depends on who reads."""
_DIGEST = "$sha256"
_UNITS = ("outputs", "attachments")
_MISSING = object()


def lean(notebook: Mapping[str, Any]) -> Notebook:
    """What a base needs of a notebook: everything but outputs and attachments, which are only compared."""
    return {
        **{key: value for key, value in notebook.items() if key != "cells"},
        "cells": [_lean_cell(cell) for cell in notebook.get("cells", [])],
    }


def merge_notebook(base: Notebook | None, document: Notebook, disk: Notebook) -> Notebook:
    """The document with what was changed on disk since ``base`` (lean or whole); without a base, all cells of both."""
    base_cells, document_cells, disk_cells = (list(nb.get("cells", [])) if nb else [] for nb in (base, document, disk))
    base_keys = _own_keys(base_cells)
    document_keys = _aligned(base_cells, base_keys, document_cells, "document", _ids(disk_cells))
    disk_keys = _aligned(base_cells, base_keys, disk_cells, "disk", _ids(document_cells))
    disk_keys = _added_by_both(document_cells, document_keys, disk_cells, disk_keys, set(base_keys))
    in_base = dict(zip(base_keys, base_cells, strict=True))
    in_document = dict(zip(document_keys, document_cells, strict=True))
    in_disk = dict(zip(disk_keys, disk_cells, strict=True))
    if base is None:
        base_keys = common(document_keys, disk_keys)
    edited = {key for key, cell in in_base.items() if _is_edited(cell, in_document.get(key), in_disk.get(key))}
    order = _merged_order(base_keys, document_keys, disk_keys, edited)
    merged = _merged_map(_without_cells(base), _without_cells(document), _without_cells(disk))
    merged["cells"] = [_merged_cell(in_base.get(key), in_document.get(key), in_disk.get(key)) for key in order]
    return merged


def _without_cells(notebook: Notebook | None) -> dict[str, Any]:
    return {key: value for key, value in (notebook or {}).items() if key != "cells"}


def _lean_cell(cell: Cell) -> Cell:
    lean_cell = {key: _digest(value) if key in _UNITS else value for key, value in cell.items()}
    lean_cell["metadata"] = _untrusted(cell.get("metadata", {}))
    return lean_cell


def _untrusted(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != _TRUSTED}


def _digest(value: Any) -> Any:
    """A short stand-in for a value that is only compared; small values are their own."""
    if not value or (isinstance(value, dict) and _DIGEST in value):
        return value
    # Part by part, so that other threads get in between: the encoder holds the interpreter for a whole value.
    digest = hashlib.sha256()
    for part in value if isinstance(value, list) else [value]:
        digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return {_DIGEST: digest.hexdigest()}


def _same(key: str, a: Any, b: Any) -> bool:
    return bool(a == b or (key in _UNITS and _digest(a) == _digest(b)))


def _ids(cells: Sequence[Cell]) -> set[str]:
    return {str(cell["id"]) for cell in cells if cell.get("id")}


def _own_keys(cells: Sequence[Cell]) -> list[str]:
    """A key for each cell: its id, or its place when it has none of its own."""
    seen: set[str] = set()
    keys = []
    for index, cell in enumerate(cells):
        key = str(cell.get("id") or "")
        keys.append(key if key and key not in seen else f"{index}:{key}")
        seen.add(keys[-1])
    return keys


def _aligned(
    cells: Sequence[Cell], keys: Sequence[str], others: Sequence[Cell], name: str, known: set[str]
) -> list[str]:
    """Keys for other cells: the key of the one that each was made of, or a new one.

    A cell whose id the other side knows (``known``) is that one, whatever is in it.
    """
    by_id = {str(cell["id"]): key for cell, key in zip(cells, keys, strict=True) if cell.get("id")}
    found: dict[int, str] = {}
    for index, cell in enumerate(others):
        key = by_id.pop(str(cell.get("id") or ""), None)
        if key is not None:
            found[index] = key
    taken = set(found.values())
    left = [index for index, key in enumerate(keys) if key not in taken]
    rest = [index for index, cell in enumerate(others) if index not in found and cell.get("id") not in known]
    for i, j in _alike([cells[index] for index in left], [others[index] for index in rest]):
        found[rest[j]] = keys[left[i]]
    own = _own_keys(others)
    taken = set(keys)
    return [found.get(index, key if key not in taken else f"{name}:{index}:{key}") for index, key in enumerate(own)]


def _alike(cells: Sequence[Cell], others: Sequence[Cell]) -> list[tuple[int, int]]:
    """Cells with the same content, in order; between them similar ones, if either has no id."""
    marks, other_marks = [_mark(cell) for cell in cells], [_mark(cell) for cell in others]
    pairs: list[tuple[int, int]] = []
    at = other_at = 0
    for start, end, other_start, other_end in [*changes(marks, other_marks), (len(cells), None, len(others), None)]:
        pairs += zip(range(at, start), range(other_at, other_start), strict=True)
        if end is None or other_end is None:
            break
        for i, j in pair(marks[start:end], other_marks[other_start:other_end]):
            if not cells[start + i].get("id") or not others[other_start + j].get("id"):
                pairs.append((start + i, other_start + j))
        at, other_at = end, other_end
    return pairs


def _mark(cell: Cell) -> str:
    return f"{cell.get('cell_type')}\n{cell.get('source', '')}"


def _added_by_both(
    document: Sequence[Cell], document_keys: list[str], disk: Sequence[Cell], disk_keys: list[str], old: set[str]
) -> list[str]:
    """The disk's keys, where a cell that both added has the document's."""
    ours = [index for index, key in enumerate(document_keys) if key not in old]
    theirs = [index for index, key in enumerate(disk_keys) if key not in old]
    keys = list(disk_keys)
    taken = {document_keys[index] for index in ours} & {disk_keys[index] for index in theirs}
    ours = [index for index in ours if document_keys[index] not in taken]
    theirs = [index for index in theirs if disk_keys[index] not in taken]
    for i, j in _alike([document[index] for index in ours], [disk[index] for index in theirs]):
        keys[theirs[j]] = document_keys[ours[i]]
    return keys


def _is_edited(base: Cell, ours: Cell | None, theirs: Cell | None) -> bool:
    """Whether a cell that one side deleted was edited by the other."""
    if (ours is None) == (theirs is None):
        return False
    left = ours if theirs is None else theirs
    assert left is not None
    return any(not _same(key, base.get(key), left.get(key)) for key in ("source", "cell_type", "outputs"))


def _merged_order(base: list[str], ours: list[str], theirs: list[str], edited: set[str]) -> list[str]:
    """The order of both sides; what either moved is where it was moved to, by the document if by both."""
    ours_in, ours_out = _moves(base, ours)
    theirs_in, theirs_out = _moves(base, theirs)
    placed_by_us = {key for keys in ours_in.values() for key in keys}
    placed_by_them = {key for keys in theirs_in.values() for key in keys}
    order: list[str] = []
    for i in range(len(base) + 1):
        inserted = [key for key in theirs_in.get(i, []) if key not in placed_by_us or key in ours_in.get(i, [])]
        order += union(ours_in.get(i, []), inserted)
        if i < len(base) and base[i] not in placed_by_us | placed_by_them:
            is_out = base[i] in ours_out or base[i] in theirs_out
            order += [base[i]] if not is_out or base[i] in edited else []
    return list(dict.fromkeys(order))


def _moves(base: list[str], side: list[str]) -> tuple[dict[int, list[str]], set[str]]:
    inserted: dict[int, list[str]] = {}
    removed: set[str] = set()
    for start, end, other_start, other_end in changes(base, side):
        removed.update(base[start:end])
        if other_end > other_start:
            inserted[start] = side[other_start:other_end]
    return inserted, removed


def _merged_cell(base: Cell | None, ours: Cell | None, theirs: Cell | None) -> Cell:
    if ours is None or theirs is None:
        cell = ours if theirs is None else theirs
        assert cell is not None, "a cell is in the order because a side has it"
        return cell
    cell = _merged_map(base, ours, theirs, left_out=("source", "metadata", "outputs", "execution_count", "id"))
    if "id" in ours:
        cell["id"] = ours["id"]
    cell["source"] = merge_text(None if base is None else base["source"], ours["source"], theirs["source"])
    run = _run_of(base, ours, theirs)
    cell.update({key: run[key] for key in ("outputs", "execution_count") if key in run})
    metadata = [_untrusted(c.get("metadata", {})) if c is not None else None for c in (base, ours, theirs)]
    cell["metadata"] = _merged_map(metadata[0], metadata[1] or {}, metadata[2] or {})
    if _TRUSTED in (trusted := run.get("metadata", {})):
        cell["metadata"][_TRUSTED] = trusted[_TRUSTED]
    return cell


def _run_of(base: Cell | None, ours: Cell, theirs: Cell) -> Cell:
    """The side whose outputs stand: the disk's, when it alone has others than the base."""
    if base is None or not all(_same(key, base.get(key), ours.get(key)) for key in ("outputs", "execution_count")):
        return ours
    if all(_same(key, base.get(key), theirs.get(key)) for key in ("outputs", "execution_count")):
        return ours
    return theirs


def _merged_map(
    base: Mapping[str, Any] | None, ours: Mapping[str, Any], theirs: Mapping[str, Any], left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """Each key is a unit; a map in a map is merged too."""
    merged: dict[str, Any] = {}
    for key in dict.fromkeys([*ours, *theirs]):
        if key in left_out:
            continue
        old = _MISSING if base is None else base.get(key, _MISSING)
        mine, other = ours.get(key, _MISSING), theirs.get(key, _MISSING)
        if isinstance(mine, Mapping) and isinstance(other, Mapping) and key not in _UNITS:
            merged[key] = _merged_map(old if isinstance(old, Mapping) else None, mine, other)
            continue
        value = other if old is not _MISSING and _same(key, old, mine) else mine
        if value is _MISSING and (base is None or old is _MISSING):
            value = other
        if value is _MISSING and mine is _MISSING and not _same(key, old, other):
            value = other
        if value is not _MISSING:
            merged[key] = value
    return merged
