"""Yjs with all blocks in one text, as Quill and its like have it: a line is a block, and nothing is nested.

Enter types the end of a line, Backspace at a line's start deletes it; a move cuts a line out and pastes it.
"""

from __future__ import annotations

from typing import Any

from pycrdt import Doc, Text

from tests.matrix.scenarios import Edit, Outline, Scenario

NAME = "Yjs, one text"


def outcome(scenario: Scenario, is_last_first: bool) -> Outline | None:
    """What all see in the end; None where something is nested. The last has the lowest client id, or the first has."""
    if any(below for _, below in scenario.outline) or any("into" in edit for edit in scenario.edits):
        return None
    first: Doc[Any] = Doc(client_id=1)
    first["text"] = Text("".join(f"{text}\n" for text, _ in scenario.outline))
    ids = range(10, 10 + len(scenario.edits))
    docs: list[Doc[Any]] = [Doc(client_id=id) for id in (reversed(ids) if is_last_first else ids)]
    for doc, edit in zip(docs, scenario.edits, strict=True):
        doc.apply_update(first.get_update())
        _edit(doc.get("text", type=Text), edit)
    for doc in docs:
        for other in docs:
            doc.apply_update(other.get_update(doc.get_state()))
    texts = [str(doc.get("text", type=Text)) for doc in docs]
    assert all(each == texts[0] for each in texts), texts
    return [(line, []) for line in texts[0].splitlines()]


def _edit(text: Text, edit: Edit) -> None:
    start = str(text).index(edit["block"])
    line = str(text)[start:].partition("\n")[0] + "\n"
    match edit["do"]:
        case "type":
            text.insert(start + edit["at"], edit["text"])
        case "split":
            text.insert(start + edit["at"], "\n")
        case "merge":
            del text[start - 1 : start]
        case "delete":
            del text[start : start + len(line)]
        case "move":
            del text[start : start + len(line)]
            after = str(text).index("\n", str(text).index(edit["after"]))
            text.insert(after + 1, line)
