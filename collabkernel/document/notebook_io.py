"""Notebooks in and out: an ``.ipynb`` file as blocks, and back without loss.

A cell is a block whose text is its source; its outputs are blocks below it, each with its record as JSON for its text,
since a figure is too large for a property. Members that are nested, or that nobody here knows, are kept as JSON. So
nbformat 1 to 4 (any minor version) come back as they were, but for what nbformat's own reading changes: a text in a
list of lines is one string here, and lines again in the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from collabkernel.document import block_types as types
from collabkernel.document.block_spec import BlockSpec, Property, Run, Text, plain
from collabkernel.document.markdown.id_map import IdMap, with_ids
from collabkernel.errors import InvalidValueError, TooLargeError
from collabkernel.limits import BLOCK_PROPERTY_BYTES, INT_MAX, INT_MIN, NOTEBOOK_BYTES

_TEXT_MIMES = frozenset({"application/javascript", "image/svg+xml"})
"""Types beside ``text/*`` that nbformat writes as lines."""
_TRANSIENT = frozenset({"orig_nbformat", "orig_nbformat_minor", "signature"})
"""Parts of a notebook's metadata that are no part of its file, says nbformat ..."""
_TRUST = frozenset({"trusted"})
"""... and of a cell's: what a file says of itself is not to be trusted."""
_RICH_OUTPUTS = frozenset({"execute_result", "display_data"})


def import_notebook(source: str, known: IdMap = ()) -> BlockSpec:
    """The document that a notebook file is, as a block of type ``document``.

    Args:
        source: The file's JSON.
        known: The blocks of an earlier state (``id_map``): those found again, by the cell's id first, keep their ids.

    Raises:
        InvalidValueError: If it is no notebook.
        TooLargeError: If it is over ``NOTEBOOK_BYTES``.
    """
    if len(source) > NOTEBOOK_BYTES:
        raise TooLargeError("notebook", len(source), NOTEBOOK_BYTES)
    try:
        notebook = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"this is no notebook: {error}") from None
    return with_ids(_document(notebook), known)


def export_notebook(document: BlockSpec) -> dict[str, Any]:
    """The notebook that a document is, with texts as strings: what nbformat has in memory.

    Blocks that are no cells are not in it.

    Raises:
        InvalidValueError: If somebody has written into a property what is no JSON.
    """
    properties = document.properties
    notebook = _members(document)
    for name in ("nbformat", "nbformat_minor"):
        if name in properties:
            notebook[name] = properties[name]
    cells = [_cell_out(block) for block in document.children if block.type == types.NOTEBOOK_CELL]
    if "worksheets" in properties:
        notebook["worksheets"] = list(_worksheets_out(_parsed(properties["worksheets"]), cells))
    else:
        notebook["cells"] = cells
    return notebook


def notebook_file(document: BlockSpec) -> str:
    """The notebook's file, in nbformat's own form: sorted keys, texts as lists of lines."""
    notebook = export_notebook(document)
    for cell in notebook.get("cells", ()):
        _split_cell(cell)
    return json.dumps(notebook, indent=1, sort_keys=True, separators=(",", ": "), ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- in


def _document(notebook: Any) -> BlockSpec:
    if not isinstance(notebook, dict):
        raise InvalidValueError("this is no notebook: it is no JSON object")
    members = _without(notebook, "metadata", _TRANSIENT)
    properties: dict[str, Property] = {} if "metadata" in members else {"missing": "metadata"}
    for name in ("nbformat", "nbformat_minor"):
        if _is_int(members.get(name)):
            properties[name] = members.pop(name)
    if "worksheets" in members:
        sheets, cells = _worksheets_in(members.pop("worksheets"))
        properties["worksheets"] = _json(sheets)
    else:
        cells = members.pop("cells", None)
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise InvalidValueError("this is no notebook: it has no list of cells")
    large = _keep_members(members, properties, ("metadata",))
    is_old = "worksheets" in properties
    return BlockSpec(types.DOCUMENT, properties, (), (*large, *(_cell_in(cell, is_old) for cell in cells)))


def _without(members: dict[str, Any], name: str, dropped: frozenset[str]) -> dict[str, Any]:
    """The members without those parts of one of them that nbformat never writes."""
    inner = members.get(name)
    if not isinstance(inner, dict) or dropped.isdisjoint(inner):
        return dict(members)
    return {**members, name: {key: value for key, value in inner.items() if key not in dropped}}


def _worksheets_in(sheets: Any) -> tuple[list[Any], list[Any]]:
    """Of nbformat 3: the sheets with the number of their cells, and the cells of all."""
    if not isinstance(sheets, list) or not all(
        isinstance(sheet, dict) and isinstance(sheet.get("cells"), list) for sheet in sheets
    ):
        raise InvalidValueError("this is no notebook: its worksheets have no cells")
    cells = [cell for sheet in sheets for cell in sheet["cells"]]
    return [{**sheet, "cells": len(sheet["cells"])} for sheet in sheets], cells


def _cell_in(cell: dict[str, Any], is_old: bool) -> BlockSpec:
    members = _without(cell, "metadata", _TRUST)
    properties: dict[str, Property] = {}
    if isinstance(members.get("cell_type"), str):
        properties["cell_type"] = members.pop("cell_type")
    if isinstance(members.get("id"), str):
        properties["cell_id"] = members.pop("id")
    if "execution_count" in members and (members["execution_count"] is None or _is_int(members["execution_count"])):
        properties["execution_count"] = members.pop("execution_count")
    text = _source_in(members, properties, is_old)
    outputs = _outputs_in(members, is_old) if properties.get("cell_type") == "code" else ()
    expected = {"metadata", *(("outputs",) if properties.get("cell_type") == "code" else ())}
    missing = sorted(expected - cell.keys()) + ([] if "source_member" in properties or text is not None else ["source"])
    if missing:
        properties["missing"] = ",".join(missing)
    large = _keep_members(members, properties, ("metadata", "attachments"))
    return BlockSpec(types.NOTEBOOK_CELL, properties, text or (), (*large, *outputs))


def _source_in(members: dict[str, Any], properties: dict[str, Property], is_old: bool) -> Text | None:
    """Take a cell's source out of its members; None if it has none.

    Before nbformat 4 the lines in a list may be without their ends.
    """
    for name in ("source", "input", "code"):
        source = members.get(name)
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = ("\n" if is_old and source and not source[0].endswith(("\n", "\r")) else "").join(source)
        if isinstance(source, str):
            del members[name]
            if name != "source":
                properties["source_member"] = name
            return _text(source)
    return None


def _text(words: str) -> Text:
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"a cell's source is no Unicode text: {error}") from None
    return (Run(words),) if words else ()


def _outputs_in(members: dict[str, Any], is_old: bool) -> tuple[BlockSpec, ...]:
    outputs = members.get("outputs")
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        return ()
    del members["outputs"]
    return tuple(_output_in(output if is_old else _joined_output(output)) for output in outputs)


def _output_in(output: dict[str, Any]) -> BlockSpec:
    kind = output.get("output_type")
    properties: dict[str, Property] = {"output_type": kind} if isinstance(kind, str) else {}
    return BlockSpec(types.NOTEBOOK_OUTPUT, properties, (Run(_json(output)),))


def _keep_members(
    members: dict[str, Any], properties: dict[str, Property], names: tuple[str, ...]
) -> Iterator[BlockSpec]:
    """Put the nested members into properties, the named ones each into its own; large ones become blocks."""
    parts = {name: members.pop(name) for name in names if name in members}
    if members:
        parts["more"] = members
    for name, value in parts.items():
        if name == "metadata" and value == {}:
            continue
        kept = _json(_joined_attachments(value) if name == "attachments" else value)
        if len(kept.encode()) <= BLOCK_PROPERTY_BYTES:
            properties[name] = kept
        else:
            yield BlockSpec(types.NOTEBOOK_DATA, {"member": name}, (Run(kept),))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and INT_MIN <= value <= INT_MAX


def _json(value: Any) -> str:
    """JSON that any reader of Unicode takes."""
    kept = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        kept.encode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return kept


# ---------------------------------------------------------------- out


def _members(block: BlockSpec) -> dict[str, Any]:
    """The nested members that ``_keep_members`` put away."""
    kept = {name: block.properties[name] for name in ("metadata", "attachments", "more") if name in block.properties}
    for child in block.children:
        if child.type == types.NOTEBOOK_DATA:
            kept[str(child.properties.get("member"))] = plain(child.text)
    members = {name: _parsed(value) for name, value in kept.items()}
    more = members.pop("more", {})
    if not isinstance(more, dict):
        raise InvalidValueError("the property 'more' of a notebook is no JSON object")
    if "metadata" not in str(block.properties.get("missing", "")).split(","):
        members.setdefault("metadata", {})
    return {**more, **members}


def _parsed(value: object) -> Any:
    try:
        return json.loads(str(value))
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"what a notebook keeps as JSON is none: {error}") from None


def _cell_out(block: BlockSpec) -> dict[str, Any]:
    properties = block.properties
    cell = _members(block)
    missing = str(properties.get("missing", "")).split(",")
    for name, member in (("cell_type", "cell_type"), ("cell_id", "id"), ("execution_count", "execution_count")):
        if name in properties:
            cell[member] = properties[name]
    if "source" not in missing or block.text:
        cell[str(properties.get("source_member", "source"))] = plain(block.text)
    outputs = [_parsed(plain(child.text)) for child in block.children if child.type == types.NOTEBOOK_OUTPUT]
    if outputs or (properties.get("cell_type") == "code" and "outputs" not in cell and "outputs" not in missing):
        cell["outputs"] = outputs
    return cell


def _worksheets_out(sheets: Any, cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The sheets with their cells; the last one takes what was added."""
    if not isinstance(sheets, list) or not all(isinstance(sheet, dict) for sheet in sheets):
        raise InvalidValueError("the worksheets of a notebook are no list")
    at = 0
    for sheet in sheets:
        count = sheet.get("cells")
        end = at + count if isinstance(count, int) and sheet is not sheets[-1] else len(cells)
        yield {**sheet, "cells": cells[at:end]}
        at = end


# ---------------------------------------------------------------- lines of text


def _joined_output(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output with its texts as strings, as nbformat reads it."""
    joined = dict(output)
    if output.get("output_type") in _RICH_OUTPUTS:
        if isinstance(output.get("data"), dict):
            joined["data"] = _joined_bundle(output["data"])
    elif _is_lines(output.get("text")):
        joined["text"] = "".join(output["text"])
    return joined


def _joined_attachments(attachments: Any) -> Any:
    if not isinstance(attachments, dict):
        return attachments
    return {
        name: _joined_bundle(bundle) if isinstance(bundle, dict) else bundle for name, bundle in attachments.items()
    }


def _joined_bundle(bundle: Mapping[str, Any]) -> dict[str, Any]:
    return {
        mime: "".join(value) if _is_lines(value) and not _is_json_mime(mime) else value
        for mime, value in bundle.items()
    }


def _is_lines(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def _is_json_mime(mime: str) -> bool:
    return mime == "application/json" or (mime.startswith("application/") and mime.endswith("+json"))


def _split_cell(cell: dict[str, Any]) -> None:
    """Texts as lists of lines, as nbformat 4 writes them."""
    _split(cell, "source")
    if isinstance(cell.get("attachments"), dict):
        for bundle in cell["attachments"].values():
            _split_bundle(bundle)
    for output in cell.get("outputs", ()) if cell.get("cell_type") == "code" else ():
        if output.get("output_type") in _RICH_OUTPUTS:
            _split_bundle(output.get("data"))
        elif output.get("output_type") == "stream":
            _split(output, "text")


def _split_bundle(bundle: Any) -> None:
    if isinstance(bundle, dict):
        for mime in bundle:
            if mime.startswith("text/") or mime in _TEXT_MIMES:
                _split(bundle, mime)


def _split(members: dict[str, Any], name: str) -> None:
    if isinstance(members.get(name), str):
        members[name] = members[name].splitlines(True)
