"""Yjs, as pycrdt has it: blocks are maps in nested arrays, each with a text and an array of blocks.

Yjs moves nothing, so a move is what editors on Yjs make of it: the block is deleted, and a copy of it inserted. Split
and merge copy the text that changes its block.
"""

from __future__ import annotations

from typing import Any

from pycrdt import Array, Doc, Map, Text

from tests.matrix.scenarios import Edit, Outline, Scenario

NAME = "Yjs"


def outcome(scenario: Scenario, is_last_first: bool) -> Outline:
    """What all see in the end; the last of them has the lowest client id, or the first has."""
    first: Doc[Any] = Doc(client_id=1)
    first["blocks"] = Array([_block(each) for each in scenario.outline])
    ids = range(10, 10 + len(scenario.edits))
    docs: list[Doc[Any]] = [Doc(client_id=id) for id in (reversed(ids) if is_last_first else ids)]
    for doc, edit in zip(docs, scenario.edits, strict=True):
        doc.apply_update(first.get_update())
        with doc.transaction():
            _edit(doc.get("blocks", type=Array), edit)
    for doc in docs:
        for other in docs:
            doc.apply_update(other.get_update(doc.get_state()))
    outlines = [_read(doc.get("blocks", type=Array)) for doc in docs]
    assert all(each == outlines[0] for each in outlines), outlines
    return outlines[0]


def _block(outline: tuple[str, Outline]) -> Map[Any]:
    text, below = outline
    return Map({"text": Text(text), "below": Array([_block(each) for each in below])})


def _read(blocks: Array[Any]) -> Outline:
    return [(str(block["text"]), _read(block["below"])) for block in blocks]


def _edit(blocks: Array[Any], edit: Edit) -> None:
    beside, at = _find(blocks, edit["block"])
    block = beside[at]
    text = block["text"]
    match edit["do"]:
        case "type":
            text.insert(edit["at"], edit["text"])
        case "split":
            tail = str(text)[edit["at"] :]
            del text[edit["at"] :]
            beside.insert(at + 1, _block((tail, [])))
        case "merge":
            before = beside[at - 1]["text"]
            before.insert(len(str(before)), str(text))
            del beside[at]
        case "delete":
            del beside[at]
        case "move":
            (copy,) = _read_one(block)
            del beside[at]
            target, index = _find(blocks, edit.get("after") or edit["into"])
            if "after" in edit:
                target.insert(index + 1, _block(copy))
            else:
                target[index]["below"].append(_block(copy))


def _read_one(block: Map[Any]) -> Outline:
    return [(str(block["text"]), _read(block["below"]))]


def _find(blocks: Array[Any], letter: str) -> tuple[Array[Any], int]:
    """The array that a block is in, and where."""
    for i, block in enumerate(blocks):
        if str(block["text"]).startswith(letter):
            return blocks, i
        found = _find(block["below"], letter) if len(block["below"]) else None
        if found is not None and found[1] >= 0:
            return found
    return blocks, -1
