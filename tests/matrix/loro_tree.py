"""loro: blocks are nodes of its movable tree, each with a text in its data. Split and merge copy text."""

from __future__ import annotations

from typing import Any

import loro

from tests.matrix.scenarios import Edit, Outline, Scenario

NAME = "loro"


def outcome(scenario: Scenario, is_last_first: bool) -> Outline:
    """What all see in the end; the last of them has the lowest peer id, or the first has."""
    first: Any = loro.LoroDoc()
    first.peer_id = 1
    tree = first.get_tree("blocks")
    tree.enable_fractional_index(0)
    _write(tree, None, scenario.outline)
    first.commit()
    ids = range(10, 10 + len(scenario.edits))
    docs: list[Any] = []
    for id, edit in zip(reversed(ids) if is_last_first else ids, scenario.edits, strict=True):
        doc: Any = loro.LoroDoc()
        doc.peer_id = id
        doc.import_(first.export(loro.ExportMode.Snapshot()))
        doc.get_tree("blocks").enable_fractional_index(0)
        _edit(doc.get_tree("blocks"), edit)
        doc.commit()
        docs.append(doc)
    for doc in docs:
        for other in docs:
            doc.import_(other.export(loro.ExportMode.Snapshot()))
    outlines = [_read(doc.get_tree("blocks"), None) for doc in docs]
    assert all(each == outlines[0] for each in outlines), outlines
    return outlines[0]


def _write(tree: Any, parent: Any, outline: Outline) -> None:
    for text, below in outline:
        node = tree.create(parent)
        _text(tree, node).insert(0, text)
        _write(tree, node, below)


def _text(tree: Any, node: Any) -> Any:
    return tree.get_meta(node).get_or_create_container("text", loro.LoroText())


def _below(tree: Any, parent: Any) -> list[Any]:
    return list((tree.roots if parent is None else tree.children(parent)) or [])


def _read(tree: Any, parent: Any) -> Outline:
    return [(_text(tree, node).to_string(), _read(tree, node)) for node in _below(tree, parent)]


def _edit(tree: Any, edit: Edit) -> None:
    node, parent, at = _find(tree, None, edit["block"])
    text = _text(tree, node)
    match edit["do"]:
        case "type":
            text.insert(edit["at"], edit["text"])
        case "split":
            tail = text.to_string()[edit["at"] :]
            text.delete(edit["at"], len(tail))
            _text(tree, tree.create_at(at + 1, parent)).insert(0, tail)
        case "merge":
            before = _text(tree, _below(tree, parent)[at - 1])
            before.insert(len(before.to_string()), text.to_string())
            tree.delete(node)
        case "delete":
            tree.delete(node)
        case "move":
            target = _find(tree, None, edit.get("after") or edit["into"])[0]
            if "after" in edit:
                tree.mov_after(node, target)
            else:
                tree.mov(node, target)


def _find(tree: Any, parent: Any, letter: str) -> Any:
    """A block, its parent, and where it is there."""
    for at, node in enumerate(_below(tree, parent)):
        if _text(tree, node).to_string().startswith(letter):
            return node, parent, at
        found = _find(tree, node, letter)
        if found is not None:
            return found
    return None
